"""Curves of trainings: their table, what went wrong in them, and where they are shown."""

import base64
import json
import struct
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from osteo_ray.base.damage import DamagedError
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import scan_table, write_json, write_table
from osteo_ray.config.build import build_config
from osteo_ray.experiment.curves import CURVES, describe_trainings, is_falling, read_curves
from osteo_ray.experiment.dataset import Dataset
from osteo_ray.experiment.trials import LAST, Experiment, Trial, describe_experiment
from osteo_ray.models.epochs import Epoch
from osteo_ray.pipeline.compare.tensorboard import FILE, write_events
from osteo_ray.report.curves_figure import draw_curves
from osteo_ray.report.style import encode_svg

MODEL = "test_byobnet"
FALLING = [0.9, 0.8, 0.7, 0.6, 0.5]
SETTLED = [0.9, 0.5, 0.5, 0.5, 0.495]


def make_experiment(tmp_path: Path, **training: Any) -> Experiment:
    config = build_config(
        {
            **{"out": str(tmp_path), "seeds": 3, "models": [MODEL], "training": training},
            "arms": ["original", "lime"],
        }
    )
    images = pd.DataFrame(
        {"image_id": ["a", "b"], "path": ["a", "b"], "label": ["normal", "worn"], "group": [0, 1]}
    )
    split = np.array(["train", "train"])
    dataset = Dataset(images, dict.fromkeys(range(3), split), ("normal", "worn"), "fingerprint")
    return describe_experiment(Run(tmp_path), config, dataset)


def write_history(
    experiment: Experiment, trial: Trial, losses: list[float], classes: int = 2
) -> None:
    epochs = [
        Epoch(number, loss + 1, loss, 1e-3 / (number + 1), None if number else 0.75, classes)
        for number, loss in enumerate(losses)
    ]
    path = experiment.path_of(trial)
    path.mkdir(parents=True)
    (path / LAST).write_text(json.dumps([asdict(epoch) for epoch in epochs]))


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """Three trainings of `original`, of which one collapsed; two of `lime`, one still falling."""
    experiment = make_experiment(tmp_path)
    for trial, losses, classes in (
        (Trial(MODEL, 0, "original"), SETTLED, 2),
        (Trial(MODEL, 1, "original"), SETTLED, 1),
        (Trial(MODEL, 2, "original"), SETTLED, 2),
        (Trial(MODEL, 0, "lime"), FALLING, 2),
        (Trial(MODEL, 2, "lime"), SETTLED, 2),
    ):
        write_history(experiment, trial, losses, classes)
    trials = [Trial(MODEL, seed, arm) for arm in ("original", "lime") for seed in range(3)]
    done = [trial for trial in trials if experiment.is_done(trial)]
    write_table(experiment.run.curves, read_curves(experiment, done))
    return experiment


@pytest.mark.parametrize(
    ("losses", "falls"),
    [
        (FALLING, True),
        (SETTLED, False),  # its lowest is the last, but only 1 % below
        ([0.5, 0.6, 0.7, 0.8, 0.4], True),
        ([0.4, 0.6, 0.7, 0.8, 0.5], False),  # the lowest is the first
        ([0.5], False),
        ([1.0, 0.981], False),  # 1.9 %
        ([1.0, 0.979], True),
        ([*np.linspace(1, 0.5, 16), 0.5, 0.495, 0.495, 0.495], True),  # fifths: .533 and .496
        ([*np.linspace(1, 0.5, 12), *[0.5] * 7, 0.49], False),
    ],
)
def test_rule_of_convergence(losses: list[float], falls: bool) -> None:
    assert is_falling(losses) == falls


def test_what_went_wrong_is_named_and_counted(experiment: Experiment) -> None:
    curves = read_curves(
        experiment,
        [Trial(MODEL, seed, "original") for seed in range(3)]
        + [Trial(MODEL, seed, "lime") for seed in (0, 2)],
    )
    lost = Trial(MODEL, 1, "lime")
    lime, original = describe_trainings(curves, [lost], [lost])
    assert lime == {
        **{"model": MODEL, "arm": "lime", "n": 3},
        **{"collapsed": [], "diverged": [1], "unconverged": [0]},
        "words": f"{MODEL}, lime: 1 of 3 diverged; 1 of 3 had not converged, as the validation "
        "loss was still falling",
    }
    assert original["collapsed"] == [1]
    assert original["words"] == f"{MODEL}, original: 1 of 3 predicts one class only"
    (lime, original) = describe_trainings(curves, [lost], [])
    assert (lime["n"], lime["diverged"]) == (3, [])
    (fine,) = describe_trainings(read_curves(experiment, [Trial(MODEL, 0, "original")]), [], [])
    assert (fine["n"], fine["words"]) == (1, "")


def test_collapse_counts_only_in_the_epoch_that_is_kept(tmp_path: Path) -> None:
    experiment, trial = make_experiment(tmp_path), Trial(MODEL, 0, "original")
    path = experiment.path_of(trial)
    path.mkdir(parents=True)
    epochs = [Epoch(0, 1, 0.5, 1, 1, 1), Epoch(1, 1, 0.4, 1, 1, 2), Epoch(2, 1, 0.6, 1, 1, 1)]
    (path / LAST).write_text(json.dumps([asdict(epoch) for epoch in epochs]))
    for keep, kept in (("best", 1), ("last", 2)):
        training = experiment.settings.training.model_copy(update={"keep": keep})
        other = replace(experiment, settings=replace(experiment.settings, training=training))
        renamed = other.path_of(trial)
        if renamed != path:
            renamed.mkdir()
            (renamed / LAST).write_bytes((path / LAST).read_bytes())
        curves = read_curves(other, [trial])
        assert curves["kept"].to_pylist() == [number == kept for number in range(3)]
        (found,) = describe_trainings(curves, [], [])
        assert found["collapsed"] == ([0] if keep == "last" else [])


def test_untrained_models_and_histories_of_earlier_versions_are_read(tmp_path: Path) -> None:
    experiment = make_experiment(tmp_path)
    old, none = Trial(MODEL, 0, "original"), Trial(MODEL, 0, "untrained")
    for trial, history in (
        (old, [{"number": 0, "training_loss": 1.0, "validation_loss": 0.5}]),
        (none, []),
    ):
        path = experiment.path_of(trial)
        path.mkdir(parents=True)
        (path / LAST).write_text(json.dumps(history))
    curves = read_curves(experiment, [old, none])
    assert curves.schema == CURVES
    assert curves.num_rows == 1
    assert curves["learning_rate"].to_pylist() == [None]
    assert [row["words"] for row in describe_trainings(curves, [], [])] == [""]
    write_table(experiment.run.curves, curves)
    drawn = draw_curves(curves.to_pandas(), [MODEL], ["original", "lime"])[MODEL]
    assert drawn["loss"] is not None
    assert drawn["auc"] is None


@pytest.mark.parametrize(
    "other", [{}, [5], [{"number": 0}], [{"number": 0, "validation_loss": "low"}]]
)
def test_history_of_another_form_is_damaged(tmp_path: Path, other: object) -> None:
    experiment, trial = make_experiment(tmp_path), Trial(MODEL, 0, "original")
    write_json(experiment.path_of(trial) / LAST, other)
    with pytest.raises(DamagedError, match=f"{LAST}.*it holds something else"):
        read_curves(experiment, [trial])


def test_figure_has_a_panel_per_arm(experiment: Experiment) -> None:
    curves = scan_table(experiment.run.curves).to_pandas()
    drawn = draw_curves(curves, [MODEL], ["original", "lime", "silhouette"])[MODEL]
    for name, label in (("loss", "Loss"), ("auc", "AUC"), ("rate", "Learning rate")):
        uri = encode_svg(drawn[name])
        assert uri is not None
        svg = base64.b64decode(uri.partition(",")[2]).decode()
        assert label in svg
        assert "Original" in svg
        assert "LIME mask" in svg
        assert "Silhouette" not in svg  # nothing was trained
        assert svg.count(">Epoch<") == 2
    assert draw_curves(curves[:0], [MODEL], ["original"]) == {}


def read_events(path: Path) -> list[tuple[str, int, float]]:
    """Read the scalars of an event file: records of length, check sum, content and check sum."""
    from tensorboardX.proto.event_pb2 import Event

    raw, at, found = path.read_bytes(), 0, []
    while at < len(raw):
        (length,) = struct.unpack_from("<Q", raw, at)
        event = Event.FromString(raw[at + 12 : at + 12 + length])
        found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
        at += 16 + length
    return found


def test_tensorboard_reads_the_same_curves(experiment: Experiment) -> None:
    write_events(experiment)
    files = sorted(experiment.run.tensorboard.rglob("[!.]*.*"))
    assert [file.name for file in files] == [FILE] * 5
    times = [file.stat().st_mtime_ns for file in files]
    (lime,) = (file for file in files if "seed-0/lime-" in str(file))
    found = read_events(lime)
    losses = [(step, value) for tag, step, value in found if tag == "loss/validation"]
    assert losses == [(step, pytest.approx(loss)) for step, loss in enumerate(FALLING, 1)]
    assert [step for tag, step, _ in found if tag == "validation/auc"] == [1]
    assert {tag for tag, *_ in found} == {
        *("loss/training", "loss/validation", "learning_rate"),
        *("validation/auc", "validation/predicted_classes"),
    }
    write_events(experiment)  # finds everything there
    assert [file.stat().st_mtime_ns for file in files] == times
