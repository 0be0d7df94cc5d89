"""Whole comparisons of tiny phantoms on a real local Ray cluster."""

import html
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import ray
from tiny_runs import ARMS, N_THREADS, SEEDS, TINY_FLAGS, configure, list_times, run_quietly

from osteo_ray.base.digests import write_record, write_sealed
from osteo_ray.base.errors import LeakError
from osteo_ray.base.events import read_events
from osteo_ray.base.runs import Run
from osteo_ray.commands.main import main
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.masks import unpack_mask
from osteo_ray.data.phantoms.sets import write_phantoms
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.experiment.dataset import read_dataset, read_pixels
from osteo_ray.experiment.external import (
    CohortRun,
    ExternalExperiment,
    list_external,
    read_cohort,
)
from osteo_ray.experiment.grid import list_grid
from osteo_ray.experiment.trials import describe_experiment, list_arms, plan_trials
from osteo_ray.pipeline.compare import stages

pytestmark = pytest.mark.ray

SPLITS = ("validation", "test")


def test_every_planned_trial_is_in_every_table(finished) -> None:
    assert finished.failures == []
    results = pd.read_parquet(finished.run.results)
    planned = {(seed, arm, split) for seed in SEEDS for arm in ARMS for split in SPLITS}
    assert set(zip(results["seed"], results["arm"], results["split"], strict=True)) == planned
    assert finished.comparison["unexplained"]["rule"] == "borrowed"
    assert "\nunexplained: borrowed\n" in finished.run.config.read_text()
    curves = pd.read_parquet(finished.run.curves)
    for _, epochs in curves.groupby(["seed", "arm"]):
        assert epochs["number"].tolist() == [0, 1]
        assert epochs["kept"].sum() == 1
    assert set(zip(curves["seed"], curves["arm"], strict=True)) == {p[:2] for p in planned}
    counted = {row["arm"]: row["n"] for row in finished.comparison["trainings"]}
    assert counted == dict.fromkeys(ARMS, len(SEEDS))
    predictions = pd.read_parquet(finished.run.predictions)
    splits = pd.read_parquet(finished.run.splits)
    for (seed, _, split), part in predictions.groupby(["seed", "arm", "split"]):
        expected = splits.loc[(splits["seed"] == seed) & (splits["split"] == split), "image_id"]
        assert sorted(part["image_id"]) == sorted(expected)
    shares = predictions[["p_normal", "p_osteoporosis"]].to_numpy()
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-9)


def test_each_training_and_explanation_is_an_event(finished) -> None:
    (lines,) = read_events(finished.run.logs)
    trained = [line["trial"] for line in lines if line["event"] == "training done"]
    there = [path.parent for path in finished.run.trials.rglob("predictions.parquet")]
    assert sorted(trained) == sorted(str(path.relative_to(finished.run.trials)) for path in there)
    explained = [line for line in lines if line["event"] == "images explained"]
    assert sum(line["images"] for line in explained) == 48 * 2
    masks = pd.read_parquet(finished.run.masks).query("kind == 'lime'")
    assert sum(line["samples"] for line in explained) == masks["n_samples"].sum()
    stages = [line["stage"] for line in lines if line["event"] == "stage started"]
    assert stages == ["train on originals", "explain", "train the other arms"]
    assert [lines[0]["event"], lines[-1]["event"]] == ["job started", "job done"]
    assert "Timeline" in finished.run.report.read_text()


def test_metrics_are_on_the_prometheus_endpoint(finished) -> None:
    (node,) = ray.nodes()
    url = f"http://127.0.0.1:{node['MetricsExportPort']}/metrics"
    wanted = {
        'osteo_ray_images_explained_total{.*outcome="done".*}',
        "osteo_ray_samples_total",
        'osteo_ray_trainings_total{.*arm="lime".*outcome="done".*}',
    }
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        missing = {name for name in wanted if not re.search(f"(?m)^ray_{name}.* [1-9]", text)}
        if not missing:
            return
        time.sleep(1)
    pytest.fail(f"not on the endpoint: {missing}")


@pytest.mark.long
def test_mlflow_holds_the_comparison_and_each_training(finished, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    run = Run(tmp_path / "it's tracked")
    shutil.copytree(finished.run.root, run.root)
    times = _list_times(run)
    for _ in range(2):  # the second finds everything there
        assert run_quietly(configure(run.root, mlflow="local")).untracked is None
    assert _list_times(run) == times
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (group,) = [one for one in client.search_experiments() if one.name == "osteo_ray"]
    found = client.search_runs([group.experiment_id])
    (whole,) = [one for one in found if "mlflow.parentRunId" not in one.data.tags]
    parts = [one for one in found if one is not whole]
    assert {one.data.tags["mlflow.parentRunId"] for one in parts} == {whole.info.run_id}
    results = pd.read_parquet(run.results).query("split == 'test'")
    assert len(parts) == len(results) == 8
    row = results.query("seed == 1 and arm == 'lime'").iloc[0]
    (part,) = [
        one for one in parts if (one.data.params["seed"], one.data.params["arm"]) == ("1", "lime")
    ]
    assert part.data.metrics["test/accuracy"] == row["accuracy"]
    for name in ("training_loss", "validation_loss", "validation_auc", "learning_rate"):
        steps = client.get_metric_history(part.info.run_id, name)
        assert [one.step for one in steps] == [0, 1]
    assert whole.data.tags["osteo_ray.verdict"] == finished.comparison["verdict"]["verdict"]
    assert whole.data.params["lime.samples"] == "12"
    files = {file.path for file in client.list_artifacts(whole.info.run_id)}
    assert files == {"report.html", "comparison.json"}


def test_without_its_store_mlflow_is_told_and_nothing_lost(
    finished, finished_copy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 1)  # of 10, which take 100 s
    run = finished_copy
    (run.root.parent / "mlflow.db").mkdir()  # no database can be there
    outcome = run_quietly(configure(run.root, mlflow="local"))
    assert outcome.untracked is not None
    assert "unable to open database file" in outcome.untracked
    assert outcome.comparison == finished.comparison


def test_copies_stay_on_one_side_and_conflicts_out(finished) -> None:
    images = pd.read_parquet(finished.run.images)
    splits = pd.read_parquet(finished.run.splits).merge(images, on="image_id")
    assert images["group"].nunique() < len(images)  # the phantoms hold copies
    assert splits.groupby(["seed", "group"])["split"].nunique().max() == 1
    assert not splits["conflict"].any()


def test_random_masks_have_the_area_of_lime_masks(finished) -> None:
    masks = pd.read_parquet(finished.run.masks)
    assert len(masks) == 48 * 2 * 3  # images, seeds, kinds
    # At this size the last feature map is one pixel, so no Grad-CAM map has a peak.
    masks = masks[masks["kind"] != "gradcam"]
    assert masks["error"].isna().all()
    area = masks.assign(
        area=[unpack_mask(m, ImageSize.square(32)).sum() for m in masks["keep_mask"]]
    ).pivot(index=["seed", "image_id"], columns="kind", values="area")
    assert (area["lime"] == area["random"]).all()


def test_comparison_and_report_are_written(finished) -> None:
    comparison = json.loads(finished.run.comparison.read_text())
    assert comparison["missing"] == []
    contrasts = {(row["arm"], row["baseline"]) for row in comparison["contrasts"]}
    assert ("lime", "original") in contrasts
    assert comparison["verdict"]["verdict"] == finished.comparison["verdict"]["verdict"]
    assert finished.run.report.read_text().count("data:image/") > 4  # samples are shown


def _list_times(run: Run) -> dict[Path, int]:
    """Return when each artifact of a run was written."""
    return {
        path: path.stat().st_mtime_ns
        for folder in (run.trials, run.masks, run.pixels)
        for path in folder.rglob("*.*")
    }


@pytest.mark.long
def test_arms_added_later_are_all_that_is_computed_and_equal_plain_loops(
    finished_copy: Run, tmp_path: Path
) -> None:
    import torch

    from osteo_ray.pipeline.compare.in_process import run_in_process

    run = finished_copy
    before, computed = _list_times(run), _count_computed(run)
    added = ("lime_crossfit", "lime_true_label", "permuted_labels", "random_trained")
    more = {"arms": [*ARMS, *added], "seeds": 1}
    outcome = run_quietly(configure(run.root, **more))
    assert outcome.failures == []
    assert {path: path.stat().st_mtime_ns for path in before} == before
    trained = _count_computed(run) - computed
    assert trained.pop("explanations") > 0
    there = {path.parent for path in run.trials.rglob("predictions.parquet")}
    anew = {str(path.relative_to(run.trials)) for path in there} - set(computed)
    assert trained == Counter(anew)
    assert {row["arm"] for row in outcome.comparison["arms"]} == {*ARMS, *added}
    assert outcome.comparison["judged"] == "lime_crossfit"
    assert json.loads(run.plan.read_text())[-1]["results_seen"] is True
    assert "The plan was changed after results had been seen" in run.report.read_text()
    config = configure(run.root, **more)
    data = read_dataset(run, config)
    plain = describe_experiment(Run(tmp_path / "plain"), config, data)
    shutil.copytree(run.pixels, plain.run.pixels)
    n_threads = torch.get_num_threads()
    try:
        run_in_process(
            plain,
            read_pixels(run, plain.image_ids.tolist(), ImageSize.square(32)),
            n_threads=N_THREADS,
        )
    finally:
        torch.set_num_threads(n_threads)
    swept = describe_experiment(run, config, data)
    for trial in plan_trials(plain)[1]:
        pd.testing.assert_frame_equal(
            pd.read_parquet(plain.path_of(trial) / "predictions.parquet"),
            pd.read_parquet(swept.path_of(trial) / "predictions.parquet"),
            check_exact=True,
        )


def test_grid_of_a_finished_run_is_added_and_equals_plain_loops(
    finished, finished_copy: Run, tmp_path: Path
) -> None:
    import torch

    from osteo_ray.models.training import Worker
    from osteo_ray.pipeline.compare.grid_row import predict_views

    run = finished_copy
    before, computed = _list_times(run), _count_computed(run)
    outcome = run_quietly(configure(run.root, grid=True))
    assert _count_computed(run) == computed
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (verdict,) = outcome.comparison["verdicts"]
    assert "whole images" in verdict["remarks"][-1]
    (earlier,) = finished.comparison["verdicts"]
    assert {**verdict, "remarks": verdict["remarks"][:-1]} == earlier
    assert outcome.comparison == {
        **finished.comparison,
        "verdict": {**finished.comparison["verdict"], "remarks": verdict["remarks"]},
        "verdicts": [verdict],
        "grid": outcome.comparison["grid"],
    }
    assert "Trained on one view, tested on another" in run.report.read_text()
    config = configure(run.root, grid=True)
    experiment = describe_experiment(run, config, read_dataset(run, config))
    rows = list_grid(experiment, list_arms(experiment))
    assert {row.trial.arm for row in rows} == {"original", "lime", "random_mask"}
    pixels = read_pixels(run, experiment.image_ids.tolist(), ImageSize.square(32))
    n_threads = torch.get_num_threads()
    for row in rows:
        alone = replace(row, target=tmp_path / row.target.name)
        predict_views([alone], experiment, pixels, Worker(torch.device("cpu"), N_THREADS))
        found, expected = (pd.read_parquet(str(one.target)) for one in (row, alone))
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
    torch.set_num_threads(n_threads)


def _count_computed(run: Run) -> Counter[str]:
    """Count the trainings and explanations of all jobs of a run, whether or not they were kept."""
    lines = [line for job in read_events(run.logs) for line in job]
    counts = Counter(line["trial"] for line in lines if line["event"] == "training done")
    counts["explanations"] = sum(
        line["images"] for line in lines if line["event"] == "images explained"
    )
    return counts


@pytest.mark.long
def test_an_external_cohort_is_added_to_a_finished_run(
    finished, finished_copy: Run, tmp_path: Path
) -> None:
    import torch

    from osteo_ray.models.training import Worker
    from osteo_ray.pipeline.compare.grid_row import predict_views

    run, folder = finished_copy, tmp_path / "clinic"
    write_phantoms(folder, PhantomSettings(n_images=20, size_px=48, seed=9, difficulty=0.6))
    known = sorted((run.phantom / "images" / "normal").iterdir())[0]
    shutil.copy(known, folder / "images" / "normal" / "known.png")
    before, computed = _list_times(run), _count_computed(run)
    config = configure(run.root, test_data=str(folder / "images"))
    outcome = run_quietly(config)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    external = outcome.comparison.pop("external")
    assert outcome.comparison == finished.comparison
    computed["explanations"] += len(SEEDS) * external["n_images"]
    assert _count_computed(run) == computed  # so nothing was trained
    assert external["n_images"] + len(external["dropped"]) == 21
    reasons = {row["path"]: row["reason"] for row in external["dropped"]}
    assert reasons["normal/known.png"] == f"It has the pixels of normal/{known.name} of the run."
    assert {row["inference"] for row in external["contrasts"]} == {"two-way"}
    page = run.report.read_text()
    assert "External cohort: images" in page
    assert "normal/known.png" in page
    assert external["agreement"][0]["words"] in html.unescape(page)
    experiment = describe_experiment(run, config, read_dataset(run, config))
    (place,) = (run.root / "cohort").iterdir()
    cohort = read_cohort(CohortRun(place, run))
    tested = ExternalExperiment.of(experiment, cohort)
    rows = list_external(tested, list_arms(experiment))
    assert {row.views for row in rows if row.trial.arm == "lime"} == {("lime", "original")}
    pixels = read_pixels(cohort.run, tested.image_ids.tolist(), ImageSize.square(32))
    n_threads = torch.get_num_threads()
    for row in rows:
        alone = replace(row, target=tmp_path / row.target.name)
        predict_views([alone], tested, pixels, Worker(torch.device("cpu"), N_THREADS))
        there, here = (pd.read_parquet(str(one.target)) for one in (row, alone))
        pd.testing.assert_frame_equal(there, here)
    torch.set_num_threads(n_threads)
    times = list_times(run.root / "cohort")
    again = run_quietly(config)
    assert again.comparison["external"] == external
    assert list_times(run.root / "cohort") == times


def test_a_rerun_computes_nothing_again(finished, finished_copy: Run) -> None:
    before = _list_times(finished_copy)
    computed = _count_computed(finished_copy)
    again = run_quietly(configure(finished_copy.root))
    assert len(read_events(finished_copy.logs)) == 2
    assert _count_computed(finished_copy) == computed
    assert again.comparison == finished.comparison
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_split_that_tears_copies_apart_is_refused(finished_copy: Run) -> None:
    torn = finished_copy.root
    groups = pd.read_parquet(torn / "images.parquet").set_index("image_id")["group"]
    splits = pd.read_parquet(torn / "splits.parquet")
    first = splits[splits["seed"] == 0]
    of_group = first.groupby(first["image_id"].map(groups))
    row = next(part.index[0] for _, part in of_group if len(part) > 1)
    splits.loc[row, "split"] = "test" if splits.loc[row, "split"] != "test" else "train"
    with write_record(torn / "splits.parquet") as unfinished:  # else it would be restored
        splits.to_parquet(unfinished)
    with pytest.raises(LeakError, match="1 group of images"):
        run_quietly(configure(torn))


def test_a_failed_trial_is_reported_and_the_others_finish(finished_copy: Run) -> None:
    broken = finished_copy.root
    seed_folder = broken / "trials" / "test_byobnet" / "seed-1"
    shutil.rmtree(seed_folder)
    with write_sealed(seed_folder) as file:  # with its digest, or it would be set aside as foreign
        file.write_text("a file where a folder must be: nothing of seed 1 can be stored")
    lime = next((broken / "trials" / "test_byobnet" / "seed-0").glob("lime-*"))
    shutil.rmtree(lime)  # one of the others, which must be trained again
    outcome = run_quietly(configure(broken, resources={"max_retries": 0}))
    reasons = {str(failure.trial): failure.reason for failure in outcome.failures}
    assert len(reasons) == 4
    assert "File exists" in reasons["test_byobnet, seed 1, original"]
    assert reasons["test_byobnet, seed 1, lime"] == "a first model that it needs is missing"
    assert lime.exists()
    assert len(outcome.comparison["missing"]) == 4
    assert "missing" in outcome.comparison["verdict"]["reason"]


def test_documents_of_before_the_verdict_are_told(
    finished, finished_copy: Run, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    outcome = replace(finished, run=finished_copy)
    monkeypatch.setattr(stages, "compare", lambda *_, **__: outcome)
    words = ["compare", "--out", str(finished_copy.root), *TINY_FLAGS]
    told = f"`osteo-ray card {finished_copy.root}` writes them anew"
    for has_documents in (False, True):
        if has_documents:
            finished_copy.card.mkdir()
        assert main(words) == 0
        assert (told in " ".join(capfd.readouterr().out.split())) == has_documents


def test_seeds_differ_in_their_predictions(finished) -> None:
    stored = pd.read_parquet(finished.run.predictions)
    stored = stored[stored["arm"] == "original"]
    first, second = (stored[stored["seed"] == seed] for seed in SEEDS)
    assert not np.isin(second["p_normal"], first["p_normal"]).any()


def start_command(out: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "osteo_ray.commands.main",
            "compare",
            "--out",
            str(out),
            *TINY_FLAGS,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(process: "subprocess.Popen[str]", folder: Path, pattern: str) -> None:
    """Wait until a file appears, at most as long as a whole run may take."""
    until = time.monotonic() + 240
    while not any(folder.rglob(pattern)):
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < until, f"no {pattern} in {folder}"
        time.sleep(0.05)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_stopped_at_each_stage_and_run_again_ends_as_if_undisturbed(
    finished, tmp_path: Path
) -> None:
    """Kill the command, interrupt it, kill it again; each start takes up what the last one left."""
    out = tmp_path / "stopped"
    done: dict[Path, int] = {}
    for moment, sent in (
        ("pixels/part-*.parquet", signal.SIGKILL),
        ("trials/**/model.safetensors", signal.SIGINT),
        ("masks/**/part-*.parquet", signal.SIGKILL),
    ):
        process = start_command(out)
        wait_for(process, out, moment)
        process.send_signal(sent)
        printed, _ = process.communicate(timeout=90)
        assert not (out / "comparison.json").exists()
        if sent == signal.SIGINT:
            assert process.returncode == 2
            assert "Run the same command again to resume" in " ".join(printed.split())
            assert "Traceback" not in printed
        assert {path: path.stat().st_mtime_ns for path in done} == done
        done = {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")}
    assert done
    again = run_quietly(configure(out))
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert again.comparison == finished.comparison
    pd.testing.assert_frame_equal(
        pd.read_parquet(again.run.predictions),
        pd.read_parquet(finished.run.predictions),
        check_exact=True,
    )
    columns = ["seed", "kind", "image_id", "keep_mask"]
    masks = [
        pd.read_parquet(run.masks)[columns].sort_values(columns[:3], ignore_index=True)
        for run in (again.run, finished.run)
    ]
    pd.testing.assert_frame_equal(*masks, check_exact=True)
