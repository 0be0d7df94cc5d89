"""Trainings that cannot be what their settings say are refused before they, or pixels, are read."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.commands.main import main
from osteo_ray.commands.parsing import BAD_INPUT
from osteo_ray.config.build import build_config
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.experiment.dataset import Dataset
from osteo_ray.experiment.trials import Experiment, describe_experiment
from osteo_ray.models import rehearsal
from osteo_ray.models.settings import NetworkSettings, RecipeName, TrainingSettings
from osteo_ray.pipeline import before_reading
from osteo_ray.pipeline.compare import plan, stages
from osteo_ray.pipeline.compare.model_check import check_models
from osteo_ray.pipeline.compare.training_check import check_listed, check_trainings

LABELS = np.array(["normal"] * 20 + ["worn"] * 4)
SPLIT = np.array(
    ["train"] * 14 + ["validation"] * 3 + ["test"] * 3 + ["train", "train", "test", "validation"]
)


def make_experiment(
    tmp_path: Path, arms: tuple[str, ...] = ("original",), **training: Any
) -> Experiment:
    config = build_config(
        {"out": str(tmp_path), "seeds": 1, "arms": arms, "crossfit_folds": 2, "training": training}
    )
    images = pd.DataFrame(
        {
            "image_id": [f"i{number}" for number in range(24)],
            "path": [f"{number}.png" for number in range(24)],
            "label": LABELS,
            "group": np.arange(24),
            "digest": "x",
        }
    )
    dataset = Dataset(images, {0: SPLIT}, ("normal", "worn"), "fingerprint")
    return describe_experiment(Run(tmp_path), config, dataset)


def test_batch_size_is_held_to_the_training_images(tmp_path: Path) -> None:
    check_trainings(make_experiment(tmp_path, per_worker_batch_size=15))
    check_trainings(make_experiment(tmp_path))  # the default is an upper limit
    assert make_experiment(tmp_path).settings.training.per_worker_batch_size == 16
    check_trainings(make_experiment(tmp_path, per_worker_batch_size=32))
    with pytest.raises(InputError, match=r"batch size of at most 16.*got 17"):
        check_trainings(make_experiment(tmp_path, per_worker_batch_size=17))


def test_models_of_folds_may_have_a_batch_of_all_their_images(tmp_path: Path) -> None:
    arms = ("original", "lime_crossfit")
    experiment = make_experiment(tmp_path, arms, per_worker_batch_size=16)
    check_trainings(experiment)
    shared = replace(experiment.settings, workers=9)
    fine = shared.training.model_copy(update={"per_worker_batch_size": 1})
    with pytest.raises(InputError, match=r"^Seed 0, fold-0: Expected at least 9 training images"):
        check_trainings(replace(experiment, settings=replace(shared, training=fine)))


def test_class_that_a_fold_lacks_cannot_be_balanced(tmp_path: Path) -> None:
    arms, weights = ("original", "lime_crossfit"), {"class_weights": "balanced"}
    check_trainings(make_experiment(tmp_path, arms, per_worker_batch_size=8, loss=weights))
    experiment = make_experiment(tmp_path, arms, per_worker_batch_size=8, loss=weights)
    split = np.where(np.arange(24) == 20, "", SPLIT)  # one `worn` is left, in one of two folds
    lacking = replace(experiment, splits={0: split})
    with pytest.raises(InputError, match=r"^Seed 0, fold-\d: .*class `worn` has none among 7"):
        check_trainings(lacking)
    check_trainings(
        replace(make_experiment(tmp_path, arms, per_worker_batch_size=8), splits={0: split})
    )


def test_every_part_of_the_training_images_has_some(tmp_path: Path) -> None:
    crossfit = make_experiment(tmp_path, ("original", "lime_crossfit"))
    for n_folds, found in ((8, None), (16, "fill 14 at most"), (1000, "fill 16 at most")):
        divided = replace(crossfit, settings=replace(crossfit.settings, crossfit_folds=n_folds))
        if found is None:
            check_trainings(divided)
            continue
        with pytest.raises(InputError, match=rf"{n_folds} parts of --crossfit-folds, .*{found}"):
            check_trainings(divided)
        check_trainings(replace(divided, arms=("original", "lime")))


def test_listing_is_enough_to_refuse_what_can_never_be(tmp_path: Path) -> None:
    source = PhantomSettings(n_images=100)
    for size, fits in ((72, True), (73, False)):
        config = build_config({"out": str(tmp_path), "training": {"per_worker_batch_size": size}})
        if fits:
            check_listed(config, source)
        else:
            with pytest.raises(InputError, match="at most 70"):
                check_listed(config, source)


def test_network_without_blocks_to_skip_is_refused_beforehand() -> None:
    skipping = TrainingSettings(network=NetworkSettings(drop_connect=0.2))
    models: dict[str, str | None] = {"test_efficientnet": "none", "mobilenetv3_small_050": "none"}
    (problem,) = check_here(models, skipping)
    assert "as --training.network.drop-connect 0.2 asks, but `EfficientNet` has none" in problem
    assert check_here(models, TrainingSettings()) == []


def check_here(
    models: dict[str, str | None], training: TrainingSettings, code: str = "", n_classes: int = 2
) -> list[str]:
    check = check_models._function  # type: ignore[attr-defined]
    codes = {name: code for name in models if code}
    return list(check(models, ImageSize.square(32), (), training, codes, (), n_classes))


NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3)
        self.head = nn.Linear(4, n_classes)

    def forward(self, images):
        return self.head(self.stem(images).mean((2, 3)))


class Pair(Net):
    def forward(self, images):
        found = super().forward(images)
        return (found, found) if self.training else found


class Tests(Net):
    def forward(self, images):
        assert not self.training, "for tests only"
        return super().forward(images)


class Frozen(Net):
    def __init__(self, n_classes):
        super().__init__(n_classes)
        self.requires_grad_(False)


class Idle(Frozen):
    def __init__(self, n_classes):
        super().__init__(n_classes)
        self.unused = nn.Linear(2, 2)


class Fixed(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.flat = nn.Flatten()

    def forward(self, images):
        return self.flat(images)[:, :2]


class Dense(nn.Sequential):
    def __init__(self, n_classes):
        super().__init__(nn.Flatten(), nn.Linear(1024, n_classes))


BODY = nn.Conv2d(1, 4, 3)


class Cached(Net):
    def __init__(self, n_classes):
        super().__init__(n_classes)
        self.stem = BODY


class Projected(Net):
    def __init__(self, n_classes, keep=setattr):
        super().__init__(n_classes)
        keep(self, "drawn", torch.randn(4, 4))

    def forward(self, images):
        return self.head(self.stem(images).mean((2, 3)) @ self.drawn)


class Buffered(Projected):
    def __init__(self, n_classes):
        super().__init__(n_classes, nn.Module.register_buffer)


class Learned(Net):
    seen = 0

    def forward(self, images):
        self.seen += self.training
        return (1 + self.seen) * super().forward(images)


class Two(Net):
    def __init__(self, n_classes, pretrained):
        super().__init__(n_classes)
        self.more = nn.Linear(2, 2) if pretrained else nn.Identity()
"""


@pytest.mark.parametrize("recipe", ["paper", "modern"])
@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("Net", None),
        ("Dense", None),
        ("Pair", "Expected net.py to take a step of training, but it raises TypeError: "),
        ("Tests", "raises AssertionError: for tests only (line 24). Correct the file; docs/net"),
        ("Frozen", "`net.py:Frozen` to have parameters that learn, but all of its 4 are frozen."),
        ("Idle", "Expected net.py to take a step of training, but it raises RuntimeError: "),
        ("Fixed", "`net.py:Fixed` to have parameters that learn, but it has none. Choose"),
    ],
)
def test_own_networks_that_cannot_be_trained_are_refused_beforehand(
    function: str, words: str | None, recipe: RecipeName
) -> None:
    training = TrainingSettings(recipe=recipe)
    found = check_here({f"net.py:{function}": "none"}, training, NET)
    assert len(found) == (words is not None)
    assert "".join(found).count("\n") == 0
    assert (words or "") in "".join(found)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("Cached", "`Cached` in net.py to build a new network at each call, but what two calls"),
        ("Projected", "to give the same logits once it is read from a file, but they differ by"),
        ("Learned", "to give the same logits once it is read from a file, but they differ by"),
        ("Two", "Expected net.py to be filled from a file, but it raises RuntimeError: "),
        ("Buffered", None),
    ],
)
def test_own_networks_that_a_file_cannot_make_again_are_refused(
    function: str, words: str | None
) -> None:
    found = check_here({f"net.py:{function}": None}, TrainingSettings(), NET)
    assert len(found) == (words is not None)
    assert "".join(found).count("\n") == 0
    assert (words or "") in "".join(found)


def test_step_that_a_network_of_a_library_cannot_take_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("shapes cannot be multiplied\n(2x288)")

    monkeypatch.setattr(rehearsal, "train_classifier", fail)
    (found,) = check_here({"test_efficientnet": "none"}, TrainingSettings())
    assert found == (
        "Expected `test_efficientnet` to take a step of training on images of 32 px, but it raises "
        "RuntimeError: shapes cannot be multiplied. Choose another network or --image-size."
    )


def test_network_whose_own_head_has_a_hidden_layer_is_trained() -> None:
    assert check_here({"mambaout_femto": "none"}, TrainingSettings()) == []


@pytest.mark.parametrize("command", ["compare", "plan"])
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--training.per-worker-batch-size", "500"], "batch size of at most 112, the number of"),
        (["--training.per-worker-batch-size", "1"], "at least 2 images per step"),
        (["--workers", "200"], r"at least 200 training images for 200 workers"),
        (
            ["--workers", "2", "--resources.gpus-per-worker", "0.5"],
            "whole GPU for each of 2 workers of a training, since NCCL",
        ),
        (["--resources.gpus-per-worker", "2"], "since a worker computes on one, but got 2"),
        (["--recipe", "moderm"], "recipe"),
        (
            ["--training.augmentation.shear", "11"],
            r"shear factor of at most 1, but got 11\. For degrees",
        ),
    ],
)
def test_command_refuses_before_it_starts_ray(
    command: str,
    flags: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise AssertionError("must not start Ray")

    for module in (stages, plan):
        monkeypatch.setattr(module, "connect", fail)
    # Whatever machine the tests run on shall seem large enough.
    monkeypatch.setattr(before_reading, "check_machine", lambda _: None)
    code = main([command, "--out", str(tmp_path / "run"), *flags])
    said = " ".join(capsys.readouterr().err.split())
    assert code == BAD_INPUT
    assert message.replace("\\", "") in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


def test_networks_are_tried_with_as_many_classes_as_there_are(tmp_path: Path) -> None:
    three = NET + "\ndef make(n_classes):\n    return Net(3)\n"
    assert check_here({"net.py:make": "none"}, TrainingSettings(), three, n_classes=3) == []
    (problem,) = check_here({"net.py:make": "none"}, TrainingSettings(), three)
    assert "float32 (2, 2)" in problem
    for grade in range(3):
        (tmp_path / f"grade {grade}").mkdir()
        (tmp_path / f"grade {grade}" / "1.png").write_bytes(b"not looked into")
    assert open_source(str(tmp_path)).n_classes == 3
    assert PhantomSettings().n_classes == 2
