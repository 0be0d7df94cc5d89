"""The search for training settings: its candidates, its choices, and what follows from them."""

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import clusters
import numpy as np
import pytest
import ray
import torch
from planted import open_small_world
from test_running import make_site, record_stages
from test_trials import MODEL, make_experiment, make_pixels

from osteo_ray.base.damage import DamagedError
from osteo_ray.base.errors import IncompleteError, InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import write_json
from osteo_ray.base.time_left import Stage
from osteo_ray.cluster.placement import Layout
from osteo_ray.config.build import build_config
from osteo_ray.config.tuning import (
    TUNING_SEED,
    Choice,
    TuningSettings,
    draw_candidates,
    read_training,
)
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.experiment.costs import Speed
from osteo_ray.experiment.searches import (
    Tried,
    conclude_search,
    place_search,
    read_choices,
    read_searches,
    write_search,
)
from osteo_ray.experiment.trials import Experiment, Trial
from osteo_ray.models.epochs import Epoch, TrainingListener
from osteo_ray.models.settings import TrainingSettings
from osteo_ray.models.training import Worker
from osteo_ray.pipeline.compare import costing, tuning
from osteo_ray.pipeline.compare.costing import check_search_hours
from osteo_ray.pipeline.compare.one_trial import run_trial, try_settings
from osteo_ray.pipeline.compare.search_job import search_settings
from osteo_ray.pipeline.compare.tuning import tune_arms
from osteo_ray.report.search_figure import draw_searches
from osteo_ray.report.style import encode_svg

GIVEN = TrainingSettings(epochs=9, learning_rate=1e-3)


def make_config(**changes: Any) -> Any:
    return build_config({"data": "/knees", "tuning": {"trials": 3}, **changes})


# Candidates


def test_candidates_are_the_same_for_the_same_seed_and_the_first_is_what_was_given() -> None:
    one, again = (draw_candidates(GIVEN, TuningSettings(trials=20)) for _ in range(2))
    other = draw_candidates(GIVEN, TuningSettings(trials=20, seed=1))
    assert one == again
    assert one[0] == other[0] == GIVEN
    assert one[1:] != other[1:]
    assert one[:5] == draw_candidates(GIVEN, TuningSettings(trials=5))


def test_candidates_lie_in_the_stated_space() -> None:
    drawn = draw_candidates(GIVEN, TuningSettings(trials=400))[1:]
    rates = np.array([one.learning_rate for one in drawn])
    assert 1e-4 <= rates.min() < 1.1e-4
    assert 9e-3 < rates.max() <= 1e-2
    assert np.median(np.log10(rates)) == pytest.approx(-3, abs=0.15)
    decays = [one.optimizer.weight_decay for one in drawn]
    assert 1e-5 <= min(decays) < max(decays) <= 1e-1
    assert {one.epochs for one in drawn} == {3, 6, 9}
    assert {one.augmentation.rotation_deg for one in drawn} == {0.0, 10.0, 20.0}
    assert all(one.augmentation.flip == (one.augmentation.rotation_deg > 0) for one in drawn)
    fixed = {"per_worker_batch_size", "loss", "schedule", "network", "keep", "patience"}
    assert len({one.model_dump_json(include=fixed) for one in drawn}) == 1


def test_candidates_survive_as_plain_types() -> None:
    for one in draw_candidates(TrainingSettings(recipe="modern"), TuningSettings(trials=8)):
        assert read_training(one.model_dump(mode="json")) == one


# Choices


def try_losses(*losses: tuple[float, ...]) -> list[Tried]:
    settings = [
        one.model_dump(mode="json") for one in draw_candidates(GIVEN, TuningSettings(trials=9))
    ]
    return [
        Tried(number, settings[number], of_one, tuple(0.5 for _ in of_one))
        for number, of_one in enumerate(losses)
    ]


def test_lowest_loss_of_any_epoch_is_chosen() -> None:
    found = conclude_search("m", "lime", try_losses((0.7, 0.6), (0.9, 0.5, 0.8), (), (0.5,)))
    assert found.chosen == 1
    assert found.n_epochs == 6


def test_candidate_that_diverged_is_not_chosen_however_low_its_loss_was() -> None:
    steady, fast = try_losses((0.7, 0.6), (0.9, 0.4))
    fast = replace(fast, failed="The loss is no longer finite in epoch 3")
    assert conclude_search("m", "lime", [steady, fast]).chosen == 0
    with pytest.raises(IncompleteError, match=r"to have a result, but none has\..*in epoch 3"):
        conclude_search("m", "lime", [fast])


def test_nothing_finished() -> None:
    lost = Tried(0, {}, (), failed="The loss is no longer finite")
    with pytest.raises(IncompleteError, match=r"one of 1 candidates for m, lime.*no longer finite"):
        conclude_search("m", "lime", [lost])


def test_searches_are_read_as_they_were_written(tmp_path: Path) -> None:
    run = Run(tmp_path)
    found = conclude_search("m", "lime", try_losses((0.7,), (0.6,)))
    write_search(run, found)
    write_search(run, replace(found, model="torchvision:resnet18"))
    assert {path.name for path in run.tuning.iterdir()} == {"m", "torchvision-resnet18"}
    assert read_searches(run, ["m", "other"], ["original", "lime"]) == [found]
    config = make_config(models=["m"], weights="none", arms=["original", "lime"])
    (choice,) = read_choices(run, config)
    assert (choice.model, choice.arm) == ("m", "lime")
    assert choice.training == draw_candidates(GIVEN, TuningSettings(trials=9))[1]
    assert read_choices(run, make_config(models=["m"], weights="none", tuning={})) == ()
    for other in ([], {"tried": [{"number": 0}], "chosen": 0}):
        write_json(place_search(run, "m", "lime"), other)
        with pytest.raises(DamagedError, match="it holds something else"):
            read_searches(run, ["m"], ["lime"])


@pytest.fixture
def world(tmp_path: Path) -> tuple[Experiment, np.ndarray]:
    return open_small_world(tmp_path, ("original", "lime", "silhouette"))


def choose(experiment: Experiment, arm: str, **changes: Any) -> Experiment:
    training = experiment.settings.training.model_copy(update=changes)
    choice = Choice(experiment.models[0], arm, training)
    return replace(experiment, settings=replace(experiment.settings, choices=(choice,)))


def test_choices_move_their_arm_and_what_is_explained_by_it(
    world: tuple[Experiment, np.ndarray],
) -> None:
    experiment, _ = world
    model, seed = experiment.models[0], experiment.first_seed
    trials = {arm: Trial(model, seed, arm) for arm in (*experiment.arms, "fold-0", "untrained")}

    def moved(other: Experiment) -> set[str]:
        return {
            arm for arm, trial in trials.items() if other.key_of(trial) != experiment.key_of(trial)
        }

    tuned = choose(experiment, "silhouette", learning_rate=0.5)
    assert moved(tuned) == {"silhouette"}
    assert tuned.training_of(trials["silhouette"]).learning_rate == 0.5
    assert tuned.training_of(trials["lime"]) == experiment.settings.training
    # Teachers are trained as `original` is, and masks are those of the new teacher.
    tuned = choose(experiment, "original", learning_rate=0.5)
    assert moved(tuned) == set(trials)
    assert tuned.training_of(trials["fold-0"]).learning_rate == 0.5
    assert tuned.epochs_of(trials["untrained"]) == 0


def test_a_training_follows_the_choice(
    world: tuple[Experiment, np.ndarray], worker: Worker
) -> None:
    experiment, pixels = world
    trial = Trial(experiment.models[0], experiment.first_seed, "original")
    tuned = choose(experiment, "original", epochs=2)
    heard = Heard()
    run_trial(trial, tuned, pixels, worker, heard)
    assert [epoch.number for epoch in heard.epochs] == [0, 1]


class Heard(TrainingListener):
    def __init__(self) -> None:
        self.epochs: list[Epoch] = []

    def epoch_ended(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)


@pytest.fixture
def worker() -> Worker:
    return Worker(torch.device("cpu"))


def test_candidates_are_trained_as_the_comparison_would(
    world: tuple[Experiment, np.ndarray], worker: Worker
) -> None:
    experiment, pixels = world
    trial = Trial(experiment.models[0], experiment.first_seed, "original")
    training = experiment.settings.training.model_copy(update={"epochs": 2})
    tried, trained = Heard(), Heard()
    try_settings(trial, experiment, training, pixels, worker, tried)
    assert not experiment.is_done(trial)  # nothing is stored
    run_trial(trial, choose(experiment, "original", epochs=2), pixels, worker, trained)
    assert tried.epochs == trained.epochs


# What is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tuning": {"trials": 1}}, "0, or at least 2 candidates"),
        ({"resources": {"workers": 2}}, "--tuning.trials with --workers 1"),
        ({"first_seed": TUNING_SEED}, f"seeds below {TUNING_SEED}"),
    ],
)
def test_settings_that_cannot_be_searched_with(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_config(**changes)


def test_a_search_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config(models=["a"], weights="none", arms=["original", "silhouette"], seeds=2)
    config = config.model_copy(update={"data": "phantom"})
    speed = Speed({"a": 1.0}, trainings_at_once=1, workers=1, explainers=1)
    monkeypatch.setattr(costing, "calibrate", lambda *_: speed)
    layout = Layout.__new__(Layout)
    # 100 images: 70 × 3 × 30 + 20 × 30 + 30 passes a training, two arms, three candidates, 1/s;
    # and 100 explanations of 1000 passes
    expected = (6 * (70 * 3 * 30 + 20 * 30 + 30) + 100 * 1000) / 3600
    allowed = config.model_copy(
        update={"tuning": TuningSettings(trials=3, max_hours=expected + 0.1)}
    )
    source = PhantomSettings(n_images=100)
    check_search_hours(allowed, source, layout)
    with pytest.raises(InputError, match=rf"3 candidates for each of 2 arms.*{expected:.2g} hours"):
        check_search_hours(config, source, layout)


# The figure


def test_figure_has_a_panel_per_arm() -> None:
    tried = try_losses((0.7, 0.6), (9.0,), ())
    found = [conclude_search("m", arm, tried) for arm in ("original", "lime")]
    figure = encode_svg(draw_searches(found)) or ""
    kind, _, content = figure.partition(";base64,")
    assert kind == "data:image/svg+xml"
    drawn = base64.b64decode(content).decode()
    assert [drawn.count(f">{label}<") for label in ("Original", "LIME mask")] == [1, 1]
    one = encode_svg(draw_searches(found[:1])) or ""
    assert "LIME mask" not in base64.b64decode(one.partition(";base64,")[2]).decode()
    assert draw_searches([]) is None


# On the cluster


def search_here(monkeypatch: pytest.MonkeyPatch) -> list[Trial]:
    """Have a search try its candidates on paper: the second is best; return what is asked for."""
    asked: list[Trial] = []

    def search(trial: Trial, candidates: Any, experiment: Experiment, *rest: object) -> list[Tried]:
        asked.append(trial)
        if trial.arm == "lime":  # its masks come from a model with the settings that were chosen
            teacher = Trial(trial.model, TUNING_SEED, "original")
            assert experiment.training_of(teacher) == read_training(candidates[1])
        return [Tried(n, one, (1.0 + abs(n - 1),)) for n, one in enumerate(candidates)]

    monkeypatch.setattr(tuning, "search_settings", search)
    monkeypatch.setattr(tuning, "share_pixels", lambda *_: None)
    return asked


def test_each_arm_is_searched_once_and_the_baseline_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stages, asked = record_stages(monkeypatch), search_here(monkeypatch)
    arms = ["original", "lime", "original_retrained"]
    experiment = make_experiment(tmp_path, arms=arms)
    config = build_config(
        {"models": [MODEL], "weights": "none", "arms": arms, "tuning": {"trials": 3}}
    )
    split = experiment.splits[0]
    tuned = tune_arms(experiment, config, split, make_site())
    assert [trial.arm for trial in asked] == arms
    assert {trial.seed for trial in asked} == {TUNING_SEED}
    teacher = Trial(MODEL, TUNING_SEED, "original")
    assert stages == [[teacher], ["original"]]  # trained and explained, and nothing else
    chosen = draw_candidates(config.training, config.tuning)[1]
    assert {tuned.training_of(Trial(MODEL, 0, arm)).learning_rate for arm in arms} == {
        chosen.learning_rate
    }
    assert tuned.seeds == experiment.seeds
    assert tune_arms(experiment, config, split, make_site()) == tuned
    assert len(asked) == 3  # what exists is kept
    wider = replace(experiment, arms=(*experiment.arms, "silhouette"))
    more = config.model_copy(update={"arms": (*config.arms, "silhouette")})
    tune_arms(wider, more, split, make_site())
    assert [trial.arm for trial in asked[3:]] == ["silhouette"]


def test_a_teacher_that_is_lost_ends_the_search(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record_stages(monkeypatch, Trial(MODEL, TUNING_SEED, "original"))
    search_here(monkeypatch)
    experiment = make_experiment(tmp_path, arms=["original", "lime"])
    config = build_config(
        {"models": [MODEL], "weights": "none", "arms": ["original", "lime"],
         "tuning": {"trials": 3}}
    )  # fmt: skip
    with pytest.raises(IncompleteError, match=r"the search for lime needs, but .*diverged"):
        tune_arms(experiment, config, experiment.splits[0], make_site())


@pytest.mark.long
def test_candidates_run_on_tune(local_ray: None, tmp_path: Path) -> None:
    experiment, pixels = make_experiment(tmp_path), make_pixels()
    trial = Trial(experiment.models[0], experiment.first_seed, "original")
    given = experiment.settings.training
    candidates = [
        given.model_copy(update=changes).model_dump(mode="json")
        for changes in ({}, {"learning_rate": 1e30}, {"epochs": 1})
    ]
    site = clusters.make_site(experiment)
    stage = Stage(tuning.SEARCH, "candidates", 3, 1.0)
    with site.progress.showing([stage]), site.stage(tuning.SEARCH) as listener:
        found = search_settings(trial, candidates, experiment, ray.put(pixels), site, listener)
    heard = Heard()
    worker = Worker(torch.device("cpu"), site.layout.slot.cpus)
    try_settings(trial, experiment, given, pixels, worker, heard)
    assert [one.settings for one in found] == candidates
    assert found[0].losses == tuple(epoch.validation_loss for epoch in heard.epochs)
    assert found[0].aucs == tuple(epoch.validation_auc for epoch in heard.epochs)
    assert "no longer finite" in found[1].failed
    assert found[1].losses == ()
    assert len(found[2].losses) == 1
