"""The stages of a comparison and its tables; trainings and explanations are only named."""

import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from rich.console import Console
from test_trials import FIRST, MODEL, make_experiment

from osteo_ray.base.errors import IncompleteError
from osteo_ray.base.progress import Clock, JobProgress
from osteo_ray.base.tables import read_table, write_table
from osteo_ray.cluster.placement import Layout, Slot
from osteo_ray.cluster.settings import ResourceSettings
from osteo_ray.experiment.looks import take_seeds
from osteo_ray.experiment.trials import Experiment, MaskJob, Trial
from osteo_ray.explain.jobs import ExplainJob
from osteo_ray.pipeline.compare import mask_jobs, running
from osteo_ray.pipeline.compare.conclusion import gather_predictions
from osteo_ray.pipeline.compare.mask_jobs import list_explanations
from osteo_ray.pipeline.compare.running import run_experiment
from osteo_ray.pipeline.compare.sweeps import Failure
from osteo_ray.pipeline.site import Site


class Ignoring:
    """Stands in for an observer: counts and logs nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **named: self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass


def make_site() -> Site:
    slot = Slot(cpus=1, gpus=0)
    layout = Layout(
        slot=slot,
        workers=1,
        slots=2,
        explainer=slot,
        explainers=2,
        classifiers_bytes=2**30,
        pixels_bytes=2**30,
        nodes=({"CPU": 2},),
    )
    progress = JobProgress(Console(file=io.StringIO()))
    return Site(layout, ResourceSettings(), progress, Clock(), Ignoring())  # type: ignore[arg-type]


def record_stages(monkeypatch: pytest.MonkeyPatch, *failing: Trial) -> list[list[Any]]:
    """Record what each stage is asked to do; trainings in `failing` fail, the others do nothing."""
    stages: list[list[Any]] = []

    def sweep(trials: Sequence[Trial], *rest: object) -> list[Failure]:
        stages.append(list(trials))
        return [Failure(trial, "diverged") for trial in trials if trial in failing]

    def explain(pixels: object, job: Any, **named: object) -> None:
        stages.append([one.teacher for one in job.explainables])

    monkeypatch.setattr(running, "run_sweep", sweep)
    monkeypatch.setattr(running, "explain_images", explain)
    monkeypatch.setattr(running, "share_pixels", lambda *arguments: None)
    return stages


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[Any]]]:
    return partial(record_stages, monkeypatch)


def test_stages_follow_one_another(record, tmp_path: Path) -> None:
    stages = record()
    experiment = make_experiment(tmp_path, arms=["original", "lime", "lime_crossfit"])
    finished = run_experiment(experiment, make_site())
    folds = [Trial(MODEL, 0, f"fold-{number}") for number in range(2)]
    assert {stages[0][0], *stages[0][1:]} == {FIRST, *folds}
    assert sorted(stages[1]) == ["fold-0", "fold-1", "original"]
    assert stages[2] == [Trial(MODEL, 0, "lime"), Trial(MODEL, 0, "lime_crossfit")]
    assert (finished.failures, finished.looks) == ([], ())
    assert list(finished.clock.durations_s) == [running.FIRST, running.EXPLAIN, running.SECOND]


def test_what_depends_on_a_lost_training_is_not_begun(record, tmp_path: Path) -> None:
    lost = Trial(MODEL, 0, "fold-1")
    stages = record(lost)
    experiment = make_experiment(tmp_path, arms=["original", "lime", "lime_crossfit"])
    failures = run_experiment(experiment, make_site()).failures
    assert sorted(stages[1]) == ["fold-0", "original"]
    assert stages[2] == [Trial(MODEL, 0, "lime")]
    assert [failure.trial for failure in failures] == [lost, Trial(MODEL, 0, "lime_crossfit")]
    assert "first model" in failures[1].reason


def test_some_trials_are_run_with_what_they_need_and_without_looks(record, tmp_path: Path) -> None:
    stages = record()
    experiment = make_experiment(tmp_path, seeds=2, arms=["original", "lime", "silhouette"])
    run_experiment(experiment, make_site(), [Trial(MODEL, 1, "lime")])
    teacher = Trial(MODEL, 1, "original")
    assert stages == [[teacher], ["original"], [Trial(MODEL, 1, "lime")]]


def test_images_of_the_report_are_chosen_by_the_baseline_just_trained(
    record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record()
    monkeypatch.setattr(mask_jobs, "_SAMPLES", 1)
    experiment = make_experiment(tmp_path, arms=["original", "lime"])
    in_test = experiment.splits[0] == "test"
    ids, labels = (found[in_test].tolist() for found in (experiment.image_ids, experiment.labels))
    by_class = {
        name: [i for i, one in zip(ids, labels, strict=True) if one == name] for name in labels
    }
    wrong = [found[-1] for found in by_class.values()]

    def train(trials: Sequence[Trial], *rest: object) -> list[Failure]:
        if FIRST in trials:
            said = [
                (label == "worn") != (one in wrong) for one, label in zip(ids, labels, strict=True)
            ]
            columns = {"image_id": ids, "label": labels, "split": ["test"] * len(ids)}
            scores = {
                "p_normal": [1.0 - one for one in said],
                "p_worn": [float(one) for one in said],
            }
            place = experiment.path_of(FIRST) / "predictions.parquet"
            write_table(place, pa.table({**columns, **scores}))
        return []

    jobs: list[ExplainJob] = []
    monkeypatch.setattr(running, "run_sweep", train)
    monkeypatch.setattr(running, "explain_images", lambda _, job, **named: jobs.append(job))
    run_experiment(experiment, make_site())
    (explained,) = jobs[0].explainables
    assert explained.heatmap_ids == {*wrong, *(found[0] for found in by_class.values())}
    (resumed,) = list_explanations(experiment, [Trial(MODEL, 0, "lime")]).values()
    assert resumed.heatmap_ids == explained.heatmap_ids


def test_the_first_seeds_are_those_of_the_whole(tmp_path: Path) -> None:
    whole = make_experiment(tmp_path, seeds=2)
    part = take_seeds(whole, 1)
    assert (list(part.seeds), list(part.splits)) == ([0], [0])
    assert part.plan_hash == whole.plan_hash
    assert part.key_of(FIRST) == whole.key_of(FIRST)
    assert part.masks_of(MaskJob(FIRST)) == whole.masks_of(MaskJob(FIRST))


def write_predictions(experiment: Experiment, trial: Trial) -> None:
    row = {**vars(trial), "split": "test", "image_id": "a", "label": "worn", "p_normal": 0.5}
    table = pa.Table.from_pylist([{**row, "p_worn": 0.5}])
    write_table(experiment.path_of(trial) / "predictions.parquet", table)


def test_predictions_are_gathered_by_model_seed_and_arm(tmp_path: Path) -> None:
    models, arms = [MODEL, "resnet18"], ["original", "lime"]
    experiment = make_experiment(tmp_path, seeds=2, models=models, arms=arms)
    trials = [Trial(model, seed, arm) for model in models for seed in (0, 1) for arm in arms]
    left_out = trials.pop(3)
    for trial in reversed(trials):
        write_predictions(experiment, trial)
    found = gather_predictions(experiment, [Failure(left_out, "diverged")])
    stored = read_table(experiment.run.predictions)
    for table in (found, stored):
        rows = table.to_pandas()[["model", "seed", "arm"]].astype({"model": str, "arm": str})
        expected = pd.DataFrame([vars(trial) for trial in trials])
        pd.testing.assert_frame_equal(rows, expected, check_dtype=False)


def test_without_any_training_nothing_is_gathered(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError, match=r"The first failure: .*original: diverged"):
        gather_predictions(make_experiment(tmp_path), [Failure(FIRST, "diverged")])
