"""Experiments in planted worlds: what goes in, what is judged, how verdicts are counted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import ray.data
import torch
from rich.console import Console

from osteo_ray.base.errors import IncompleteError
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import write_json
from osteo_ray.commands.main import main
from osteo_ray.commands.validate_tables import list_missed_worlds, show_worlds
from osteo_ray.data.image_size import ImageSize
from osteo_ray.experiment.keep_masks import read_keep_masks
from osteo_ray.experiment.trials import MaskJob, Trial, plan_trials
from osteo_ray.models.classifier import build_classifier
from osteo_ray.pipeline.validate.planted_worlds import WORLDS
from osteo_ray.pipeline.validate.striped_images import draw_set
from osteo_ray.pipeline.validate.world_experiment import ARMS, judge_world, open_world, plant_masks
from osteo_ray.pipeline.validate.world_study import (
    has_verdict,
    join_false_gains,
    locate_verdict,
    summarize_world,
    validate_worlds,
)

GAIN, LOSS, APART = (WORLDS[name] for name in ("gain", "loss", "copies apart"))
CHEAP = WORLDS["nothing learned"]  # an epoch a training
SMALL = replace(
    GAIN,
    n_seeds=2,
    drawing=replace(GAIN.drawing, n_images=40),
    training=GAIN.training.model_copy(update={"epochs": 1}),
)


@pytest.fixture(autouse=True, scope="module")
def _keep_threads():
    n_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(n_threads)


def test_planted_masks_are_what_the_arms_show(tmp_path: Path) -> None:
    drawn = draw_set(SMALL.drawing, seed=3)
    experiment = open_world(SMALL, drawn, 3, Run(tmp_path))
    plant_masks(experiment, drawn)
    model, seed = SMALL.model, experiment.first_seed
    used = experiment.splits[seed] != ""

    def read(arm: str) -> np.ndarray:
        found = read_keep_masks(experiment, Trial(model, seed, arm))
        assert found is not None
        return found.masks[used]

    assert (read("lime") == drawn.keep_masks[used]).all()
    assert (read("complement") == ~drawn.keep_masks[used]).all()
    control = read("random_mask")
    assert (control.sum((1, 2)) == drawn.keep_masks[used].sum((1, 2))).all()
    assert (control != drawn.keep_masks[used]).any()
    other = experiment.masks_of(MaskJob(Trial(model, seed + 1, "original")))
    assert other.is_dir()
    assert {trial.arm for trials in plan_trials(experiment) for trial in trials} == set(ARMS)


def test_images_that_cannot_be_explained_have_no_planted_mask(tmp_path: Path) -> None:
    failing = replace(SMALL, drawing=replace(SMALL.drawing, failing=0.5))
    drawn = draw_set(failing.drawing, seed=3)
    experiment = open_world(failing, drawn, 3, Run(tmp_path))
    plant_masks(experiment, drawn)
    seed = experiment.first_seed
    found = read_keep_masks(experiment, Trial(failing.model, seed, "lime"))
    assert found is not None
    used = experiment.splits[seed] != ""
    assert 0 < drawn.failed.sum() < 20
    assert set(found.errors) == set(experiment.image_ids[drawn.failed & used].tolist())
    explained = used & ~drawn.failed
    assert (found.masks[explained] == drawn.keep_masks[explained]).all()


def test_an_experiment_repeats_itself_and_another_differs() -> None:
    first, again, other = (judge_world(SMALL, number) for number in (0, 0, 1))
    assert first == again
    assert first["accuracy"] != other["accuracy"]
    assert set(first["accuracy"]) == set(ARMS)
    assert ("lime", "original") in {(c["arm"], c["baseline"]) for c in first["contrasts"]}


def test_lime_explains_where_masks_are_not_planted() -> None:
    # Long enough a training for masks to make a difference.
    longer = replace(SMALL, training=GAIN.training.model_copy(update={"epochs": 8}))
    small = replace(longer, masks="lime", lime=SMALL.lime.model_copy(update={"samples": 17}))
    found = judge_world(small, 0)
    assert set(found["accuracy"]) == set(ARMS)
    planted = judge_world(longer, 0)
    assert found["accuracy"]["original"] == planted["accuracy"]["original"]
    assert found["accuracy"]["lime"] != planted["accuracy"]["lime"]


@pytest.mark.parametrize("name", sorted({world.model for world in WORLDS.values()}))
def test_networks_of_the_worlds_are_known_by_name(name: str) -> None:
    classifier = build_classifier(
        name, n_classes=2, image_size=ImageSize.square(32), weights="none", seed=0
    )
    assert sum(part.numel() for part in classifier.parameters()) < 10_000
    assert classifier.eval()(torch.zeros(3, 1, 32, 32)).shape == (3, 2)


def _tell(*verdicts: str) -> list[dict]:
    return [{"verdict": verdict, "accuracy": {"original": 0.5}} for verdict in verdicts]


def test_verdicts_are_counted_with_exact_intervals() -> None:
    right = summarize_world(GAIN, _tell(*["real gain"] * 39, "inconclusive"))
    assert right.verdicts == {"real gain": 39, "inconclusive": 1}
    assert (right.right.value, right.false_gain) == (0.975, None)
    assert not right.right.is_missed
    wrong = summarize_world(APART, _tell(*["real gain"] * 9, *["equivalent"] * 31))
    assert wrong.right.value == 31 / 40
    assert wrong.false_gain is not None
    assert wrong.false_gain.is_missed
    joined = join_false_gains([right, wrong])
    assert joined is not None
    assert (joined.n_hits, joined.n) == (9, 40)
    assert join_false_gains([right]) is None
    missed = list_missed_worlds([right, wrong])
    assert missed == ["copies apart: 77.5 % right", "22.5 % real gains where there are none"]
    console = Console(record=True, width=120)
    show_worlds(console, [right, wrong])
    text = console.export_text()
    assert "real gain 39, inconclusive 1" in text
    assert "in 9 of 40 experiments without one" in text


def test_what_is_there_is_not_run_again(tmp_path: Path) -> None:
    for number in range(APART.first_number, APART.first_number + 3):
        place = locate_verdict(tmp_path, APART.name, number)
        place.parent.mkdir(parents=True, exist_ok=True)
        write_json(place, _tell("equivalent")[0])
    (found,) = validate_worlds([APART], 3, tmp_path, n_actors=1, on_done=pytest.fail)
    assert found.verdicts == {"equivalent": 3}
    for damaged in ("{", "[]"):
        place.write_text(damaged)
        assert not has_verdict(tmp_path, APART.name, APART.first_number + 2)  # to be judged again


@pytest.mark.long
@pytest.mark.ray
def test_pool_judges_as_one_process_does(local_ray: None, tmp_path: Path) -> None:
    place = tmp_path / "out"
    kept = tmp_path / "kept"
    (found,) = validate_worlds([CHEAP], 1, place, n_actors=1, on_done=lambda: None)
    write_json(kept, judge_world(CHEAP, CHEAP.first_number))
    assert locate_verdict(place, CHEAP.name, CHEAP.first_number).read_text() == kept.read_text()
    assert found.verdicts == {"nothing learned": 1}
    assert pd.Series(found.accuracy)["lime"] < 0.7


@pytest.mark.ray
def test_study_that_gets_nowhere_says_what_is_kept(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ray.data.DataContext.get_current()
    monkeypatch.setattr(context, "execution_no_progress_timeout_s", 0.5)
    with pytest.raises(IncompleteError, match=r"Verdicts so far are kept; .* error: .*progress"):
        validate_worlds([LOSS], 1, tmp_path, n_actors=1, on_done=lambda: None)


def test_bad_words(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "worlds", "--only", "gian"]) == 2
    assert "Did you mean `gain`?" in " ".join(capfd.readouterr().err.split())
    assert main(["validate", "worlds", "--experiments", "0"]) == 2
    assert "at least one experiment, but got 0" in " ".join(capfd.readouterr().err.split())


@pytest.mark.ray
def test_command_tells_what_is_missed(
    local_ray: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(APART.first_number, APART.first_number + 40):
        place = locate_verdict(tmp_path / "worlds", APART.name, number)
        place.parent.mkdir(parents=True, exist_ok=True)
        write_json(place, _tell("real gain")[0])
    command = ["validate", "worlds", "--only", APART.name, "--out", str(tmp_path)]
    assert main(command) == 1
    assert "Missed: copies apart: 0.0 % right" in " ".join(capfd.readouterr().err.split())


@pytest.mark.ray
@pytest.mark.parametrize(
    ("kind", "study", "told"),
    [
        (
            "worlds",
            "world_study",
            "Finished verdicts are kept. Run the same command again to resume.",
        ),
        ("tables", "simulation_study", "Interrupted."),
    ],
)
def test_command_that_is_interrupted(
    local_ray: None,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    study: str,
    told: str,
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"osteo_ray.pipeline.validate.{study}.validate_{kind}", interrupt)
    monkeypatch.chdir(tmp_path)
    assert main(["validate", kind]) == 2
    assert told in " ".join(capfd.readouterr().err.split())
