"""Trials and explanations without Ray: what is stored, found again, seen and kept apart."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy import ndimage

from osteo_ray.arms.registry import ARMS, list_presets
from osteo_ray.base.errors import LeakError
from osteo_ray.base.events import Explained
from osteo_ray.base.mappings import merge_settings
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import (
    FAITHFULNESS,
    HEATMAPS,
    MASKS,
    PIXELS,
    SUPERPIXELS,
    read_parts,
    read_table,
    write_table,
)
from osteo_ray.config.build import build_config
from osteo_ray.config.compare import Seeds
from osteo_ray.data.decoding.resizing import resize_image
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.masks import unpack_mask
from osteo_ray.data.phantoms.sets import make_phantoms
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.experiment.dataset import Dataset
from osteo_ray.experiment.first_weights import FirstWeights
from osteo_ray.experiment.trials import (
    Experiment,
    MaskJob,
    Trial,
    describe_experiment,
    plan_trials,
)
from osteo_ray.explain import gradcam, lime, superpixels
from osteo_ray.explain.jobs import Explainable, find_done, list_kinds, plan_job, read_done
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.explain.superpixels import find_superpixels
from osteo_ray.models import forward
from osteo_ray.models.batches import ImageSet
from osteo_ray.models.checkpoint import Checkpoint, describe_checkpoint
from osteo_ray.models.classifier import Classifier, build_classifier, load_classifier
from osteo_ray.models.epochs import Epoch, TrainingListener
from osteo_ray.models.prediction import predict_probabilities
from osteo_ray.models.training import (
    DivergedError,
    Recipe,
    TrainingData,
    Worker,
    make_deterministic,
)
from osteo_ray.pipeline.compare import one_trial
from osteo_ray.pipeline.compare.mask_jobs import list_explanations
from osteo_ray.pipeline.compare.one_trial import run_trial
from osteo_ray.pipeline.explain import pool
from osteo_ray.pipeline.explain.actor import ExplainingActor, derive_rng

CPU = torch.device("cpu")
MODEL = "test_efficientnet"
SIZE_PX = 32
N_IMAGES = 16
FLAT, SET_ASIDE = 3, 5  # an image that LIME cannot explain; one outside the split
SPLIT = np.array(["train", "validation", "test", "train"] * 4, dtype="<U10")
SPLIT[SET_ASIDE] = ""
# Arms whose masks are drawn anew, or explain all classes, are tested in modules of their own.
FULL = tuple(
    name
    for name in list_presets()["full"]
    if not (ARMS[name].needs_superpixels or name == "class_agnostic")
)
SETTINGS: dict[str, Any] = {
    "models": [MODEL],
    "weights": ["none"],
    "seeds": 1,
    "arms": FULL,
    "crossfit_folds": 2,
    "image_size": SIZE_PX,
    "training": {"epochs": 1, "per_worker_batch_size": 8},
    "lime": {"samples": 12, "top_k": 2, "kernel_size": 1.5},
}
FIRST = Trial(MODEL, 0, "original")


def make_pixels() -> np.ndarray:
    phantoms = make_phantoms(
        PhantomSettings(n_images=N_IMAGES, size_px=SIZE_PX, duplicate_share=0.0, seed=1)
    )
    pixels = np.stack(
        [resize_image(phantom.image, ImageSize.square(SIZE_PX)) for phantom in phantoms]
    )
    pixels[FLAT] = 90
    return pixels


def make_experiment(root: Path, **changes: Any) -> Experiment:
    settings = merge_settings({**SETTINGS, "out": str(root)}, changes)
    images = pd.DataFrame(
        {
            "image_id": [f"image-{number:02}" for number in range(N_IMAGES)],
            "path": [f"{number}.png" for number in range(N_IMAGES)],
            "label": ["normal", "worn"] * (N_IMAGES // 2),
            "group": np.arange(N_IMAGES),
        }
    )
    splits = {0: SPLIT, 1: np.roll(SPLIT, 1)}
    dataset = Dataset(images, splits, ("normal", "worn"), "data")
    return describe_experiment(Run(root), build_config(settings), dataset)


def write_pixels(experiment: Experiment, pixels: np.ndarray) -> None:
    rows = [
        {"image_id": name, "digest": f"digest of {name}", "pixels": image.tobytes()}
        for name, image in zip(experiment.image_ids.tolist(), pixels, strict=True)
    ]
    parts = {"part-a": rows[:10], "part-b": rows[10:]}
    for name, part in parts.items():
        path = experiment.run.pixels / f"{name}.parquet"
        write_table(path, pa.Table.from_pylist(part, schema=PIXELS))


def make_explainable(experiment: Experiment, **changes: Any) -> Explainable:
    explainable = Explainable(
        model=MODEL,
        seed=0,
        fingerprint=experiment.key_of(FIRST),
        lime_seed=0,
        checkpoint=experiment.path_of(FIRST) / "model.safetensors",
        frozen=experiment.path_of(FIRST) / "frozen",
        faithfulness=experiment.run.faithfulness,
        masks=experiment.masks_of(MaskJob(FIRST)),
        heatmaps=experiment.run.heatmaps / MODEL / "seed-0",
        wanted=frozenset(experiment.image_ids[SPLIT != ""].tolist()),
        kinds=list_kinds("lime"),
    )
    return replace(explainable, **changes)


def explain(
    experiment: Experiment,
    *explainables: Explainable,
    slices: tuple[tuple[str, int, int], ...] = (("part-a", 0, 10), ("part-b", 0, 6)),
) -> list[Explained]:
    """Call an actor on slices of the pixel files; return what it tells, call by call."""
    job = plan_job(
        explainables, experiment.settings.lime, n_classes=2, image_size=ImageSize.square(SIZE_PX)
    )
    worker = ExplainingActor(job)
    files, starts, stops = zip(*slices, strict=True)
    batch = {
        "file": np.array([str(experiment.run.pixels / f"{name}.parquet") for name in files]),
        "start": np.array(starts),
        "stop": np.array(stops),
    }
    return list(worker(batch))


def read_masks(directory: Path) -> pd.DataFrame:
    """Return the masks table in one order, whatever the files it lies in."""
    table = read_parts(directory, MASKS).to_pandas()
    return table.sort_values(["kind", "image_id"], ignore_index=True)


def run(experiment: Experiment, trial: Trial, pixels: np.ndarray, **named: Any) -> Path:
    run_trial(trial, experiment, pixels, Worker(CPU), **named)
    return experiment.path_of(trial)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    make_deterministic(1)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return make_pixels()


@pytest.fixture(autouse=True, scope="module")
def _flat_image_is_one_superpixel():
    """Have the flat image found to be one superpixel, so that it cannot be explained."""

    def find(image: np.ndarray, settings: LimeSettings) -> np.ndarray:
        if np.ptp(image) == 0:
            return np.zeros(image.shape, np.int64)
        return find_superpixels(image, settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(superpixels, "find_superpixels", find)
        yield


@pytest.fixture(autouse=True, scope="module")
def _heat_maps_have_a_peak():
    """Make heat maps of the images: at this size the last feature map is a single pixel."""

    def compute(
        _: object, images: torch.Tensor, classes: np.ndarray, *, rectified: bool = True
    ) -> np.ndarray:
        return (images[:, 0].numpy() + classes[:, None, None]) / 2

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gradcam, "compute_heatmaps", compute)
        yield


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory, pixels: np.ndarray) -> Experiment:
    """An experiment whose first models are trained and have explained what the arms need."""
    experiment = make_experiment(tmp_path_factory.mktemp("run"))
    write_pixels(experiment, pixels)
    first, second = plan_trials(experiment)
    for trial in first:
        run(experiment, trial, pixels)
    explain(experiment, *list_explanations(experiment, second).values())
    return experiment


@pytest.fixture(scope="module")
def masks(experiment: Experiment) -> pd.DataFrame:
    return read_masks(experiment.masks_of(MaskJob(FIRST)))


# A trial and its artifacts


@pytest.mark.parametrize("arm", FULL)
def test_trial_leaves_model_predictions_and_history(
    experiment: Experiment, pixels: np.ndarray, arm: str
) -> None:
    path = run(experiment, Trial(MODEL, 0, arm), pixels)
    names = {file.name for file in path.glob("[!.]*")}
    record = {"unexplained.json"} if ARMS[arm].masks else set()  # of the flat image
    assert names == {"history.json", "model.safetensors", "predictions.parquet"} | record
    history = json.loads((path / "history.json").read_text())
    assert [set(epoch) for epoch in history] == [set(Epoch.__dataclass_fields__)]
    found = pq.read_table(path / "predictions.parquet").to_pandas()
    assert list(found) == [
        *("model", "seed", "arm", "split", "image_id", "label"),
        *("p_normal", "p_worn"),
    ]
    assert set(zip(found["model"], found["seed"], found["arm"], strict=True)) == {(MODEL, 0, arm)}
    for split in ("validation", "test"):
        part = found[found["split"] == split]
        rows = np.flatnonzero(split == SPLIT)
        assert part["image_id"].tolist() == experiment.image_ids[rows].tolist()
        labels = experiment.labels_of(Trial(MODEL, 0, arm))
        assert part["label"].tolist() == labels[rows].tolist()
    assert len(found) == 4 + 3  # one validation image is set aside
    np.testing.assert_allclose(found["p_normal"] + found["p_worn"], 1, atol=1e-12)


def test_predictions_are_those_of_the_stored_model(
    experiment: Experiment, pixels: np.ndarray
) -> None:
    path = experiment.path_of(FIRST)
    found = pq.read_table(path / "predictions.parquet").to_pandas()
    found = found[found["split"] == "test"]
    file = path / "model.safetensors"
    assert describe_checkpoint(file) == Checkpoint(
        MODEL, ("normal", "worn"), ImageSize.square(SIZE_PX)
    )
    classifier = load_classifier(file, MODEL, n_classes=2, image_size=ImageSize.square(SIZE_PX))
    test = ImageSet(pixels[SPLIT == "test"], np.zeros(4, np.int64))
    expected = predict_probabilities(classifier, test, batch_size=3, device=CPU)
    np.testing.assert_allclose(found[["p_normal", "p_worn"]], expected, atol=1e-6)


def test_labels_become_numbers_in_the_order_of_the_classes(
    experiment: Experiment, pixels: np.ndarray, look, tmp_path: Path
) -> None:
    sets = look(FIRST, replace(experiment, run=Run(tmp_path)), pixels)
    rows = np.flatnonzero(SPLIT == "train")
    assert sets["training"].labels.tolist() == (rows % 2).tolist()
    assert sets["training"].labels.dtype == np.int64


def test_finished_trial_is_not_run_again(
    experiment: Experiment, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = experiment.path_of(FIRST)
    before = {file: file.stat().st_mtime_ns for file in (path, *path.iterdir())}

    def fail(*arguments: Any, **named: Any) -> None:
        raise AssertionError("must not train")

    monkeypatch.setattr(one_trial, "train_classifier", fail)
    assert experiment.is_done(FIRST)
    run(experiment, FIRST, pixels)
    assert {file: file.stat().st_mtime_ns for file in (path, *path.iterdir())} == before


def test_cut_off_trial_leaves_nothing_that_counts_and_ends_the_same(
    experiment: Experiment, pixels: np.ndarray, tmp_path: Path
) -> None:
    other = replace(experiment, run=Run(tmp_path))

    class Stop(TrainingListener):
        def epoch_ended(self, epoch: object) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(other, FIRST, pixels, listener=Stop())
    assert not other.is_done(FIRST)
    path = run(other, FIRST, pixels)
    for name in ("model.safetensors", "predictions.parquet", "history.json"):
        expected = (experiment.path_of(FIRST) / name).read_bytes()
        assert (path / name).read_bytes() == expected
    assert list(path.parent.iterdir()) == [path]


# What an arm sees


class Seen(Exception):
    """Carries out what a training would have been given."""


def test_training_that_predicts_nan_has_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def predict(*_: Any, **__: Any) -> np.ndarray:
        return np.array([[0.5, 0.5], [np.nan, np.nan], [0.1, 0.9]])

    monkeypatch.setattr(one_trial, "predict_probabilities", predict)
    monkeypatch.setattr(one_trial, "train_classifier", lambda *_, **__: [])
    experiment = make_experiment(tmp_path)
    message = r"for 1 of 3 validation images; the first is 9\.png"
    with pytest.raises(DivergedError, match=message):
        run_trial(FIRST, experiment, make_pixels(), Worker(CPU))
    assert not experiment.is_done(FIRST)


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, ImageSet]]:
    """Return the sets with which a trial would train, without training."""

    def train(classifier: object, data: TrainingData, *rest, **named):
        raise Seen(data.training, data.validation)

    def find(trial: Trial, experiment: Experiment, pixels: np.ndarray) -> dict[str, ImageSet]:
        with pytest.raises(Seen) as seen:
            run_trial(trial, experiment, pixels, Worker(CPU))
        return dict(zip(("training", "validation"), seen.value.args, strict=True))

    monkeypatch.setattr(one_trial, "train_classifier", train)
    return find


def unpack_bits(packed: bytes) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))[: SIZE_PX**2]
    return bits.reshape(SIZE_PX, SIZE_PX).astype(bool)


def _stack(directory: Path, kind: str) -> np.ndarray:
    """Return keep-masks by number of the image; whole where there is none."""
    keep = np.ones((N_IMAGES, SIZE_PX, SIZE_PX), bool)
    masks = read_masks(directory)
    for row in masks[(masks["kind"] == kind) & masks["error"].isna()].itertuples():
        keep[int(row.image_id.removeprefix("image-"))] = unpack_bits(row.keep_mask)
    return keep


def _borrow(keep: np.ndarray) -> np.ndarray:
    """Give each image whose mask is whole or empty the mask of another one, image by image."""
    given = keep.copy()
    for number, part in enumerate(SPLIT):
        if part and keep[number].mean() in (0, 1):
            digest = hashlib.sha256(f"image-{number:02}".encode()).digest()
            rng = np.random.default_rng([0, int(digest[:8].hex(), 16)])
            others = rng.permutation([at for at, other in enumerate(SPLIT) if other == part])
            given[number] = next(keep[at] for at in others if 0 < keep[at].mean() < 1)
    return given


@pytest.fixture(scope="module")
def shown(experiment: Experiment, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Return what each arm has to show, worked out another way: float, (n, height, width)."""

    def masks(teacher: str, kind: str = "lime", target: Any = "predicted") -> np.ndarray:
        return _borrow(read(teacher, kind, target))

    def read(teacher: str, kind: str = "lime", target: Any = "predicted") -> np.ndarray:
        return _stack(experiment.masks_of(MaskJob(Trial(MODEL, 0, teacher), target)), kind)

    lime = masks("original")
    parts = [read(f"fold-{number}") for number in (0, 1)]
    told = [
        read_masks(experiment.masks_of(MaskJob(Trial(MODEL, 0, f"fold-{number}"))))["image_id"]
        for number in (0, 1)
    ]
    crossfit = read("original")
    for part, ids in zip(parts, told, strict=True):
        rows = [int(name.removeprefix("image-")) for name in ids.unique()]
        crossfit[rows] = part[rows]
    crossfit = _borrow(crossfit)
    used = SPLIT != ""
    mean_area = round(lime[SPLIT == "train"].mean(0).sum())
    often = lime[SPLIT == "train"].mean(0).ravel()
    mean = np.isin(np.arange(SIZE_PX**2), np.argsort(-often, kind="stable")[:mean_area])
    image = pixels / 255
    boxes = np.zeros_like(lime)
    for box, mask in zip(boxes, lime, strict=True):
        for place in ndimage.find_objects(mask.astype(int)):
            box[place] = True
    disc = np.ones((5, 5), bool)  # OpenCV's, of radius 2 px: 5 % of 32 px
    disc[[0, -1]] = [False, False, True, False, False]
    wider = np.stack([ndimage.binary_dilation(mask, disc) for mask in lime])
    fixed = image * np.where(used[:, None, None], mean.reshape(SIZE_PX, SIZE_PX), True)
    return {
        "original": image,
        "original_retrained": image,
        "permuted_labels": image * masks("shuffled"),
        "lime": image * lime,
        "lime_crossfit": image * crossfit,
        "lime_true_label": image * masks("original", target="true"),
        "random_mask": image * masks("original", "random"),
        "gradcam": image * masks("original", "gradcam"),
        "untrained_lime": image * masks("untrained"),
        "silhouette": lime.astype(float),
        "complement": image * np.where(used[:, None, None], ~lime, lime),
        "mean_mask": fixed,
        "lime_box": image * np.where(used[:, None, None], boxes, lime),
        "lime_dilated": image * np.where(used[:, None, None], wider, lime),
    }


@pytest.mark.parametrize("arm", sorted(set(FULL) - {"other_image_mask", "centre_mask"}))
def test_each_arm_sees_what_its_name_says(
    experiment: Experiment,
    shown: dict[str, np.ndarray],
    pixels: np.ndarray,
    look: Callable[..., dict[str, ImageSet]],
    tmp_path: Path,
    arm: str,
) -> None:
    trial = Trial(MODEL, 0, arm)
    sets = look(trial, _copy(experiment, tmp_path, without=trial), pixels)
    for name, split in (("training", "train"), ("validation", "validation")):
        rows = np.flatnonzero(split == SPLIT)
        batch = sets[name].make_batch(np.arange(len(rows)), CPU)
        assert batch.shape == (len(rows), 1, SIZE_PX, SIZE_PX)
        np.testing.assert_allclose(batch[:, 0], shown[arm][rows], atol=1e-6)


def _copy(experiment: Experiment, place: Path, without: Trial | None = None) -> Experiment:
    """Return an experiment in another place, where masks and first models are done."""
    copy = replace(experiment, run=Run(place))
    shutil.copytree(experiment.run.masks, copy.run.masks)
    for trial in set(plan_trials(experiment)[0]) - {without}:
        shutil.copytree(experiment.path_of(trial), copy.path_of(trial))
    return copy


def test_every_arm_differs_from_the_others(
    experiment: Experiment, pixels: np.ndarray, look, tmp_path: Path
) -> None:
    copy = _copy(experiment, tmp_path)
    seen = []
    for arm in plan_trials(experiment)[1]:
        training = look(arm, copy, pixels)["training"]
        image = training.make_batch(np.arange(len(training)), CPU).numpy().tobytes()
        seen.append((image, training.labels.tobytes(), experiment.start_of(arm)))
    assert len(set(seen)) == len(FULL) - 1


def test_no_image_is_explained_by_a_model_that_trained_on_it(experiment: Experiment) -> None:
    trial = Trial(MODEL, 0, "lime_crossfit")
    seen = np.zeros(N_IMAGES, int)
    for job, images in experiment.list_jobs(trial).items():
        trained = experiment.split_of(job.teacher) == "train"
        assert trained.sum() >= 2
        assert not (images & trained).any()
        seen += images
    assert seen.tolist() == (SPLIT != "").astype(int).tolist()


def test_first_model_of_the_papers_protocol_saw_another_split(tmp_path: Path) -> None:
    arms = ["original", "lime", "original_retrained"]
    paper = make_experiment(tmp_path, protocol="paper", arms=arms)
    (job,) = paper.list_jobs(Trial(MODEL, 0, "lime"))
    assert job.teacher.arm == "resplit"
    other = paper.split_of(job.teacher)
    assert ((other == "train") & (SPLIT == "test")).any()
    assert set(np.flatnonzero(other == "")) == {SET_ASIDE}
    assert paper.start_of(Trial(MODEL, 0, "original_retrained")) == job.teacher
    first, second = plan_trials(paper)
    assert [trial.arm for trial in first] == ["original", "resplit"]
    assert [trial.arm for trial in second] == ["lime", "original_retrained"]


def test_training_may_go_on_from_the_first_model(
    experiment: Experiment,
    pixels: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert experiment.start_of(Trial(MODEL, 0, "lime")) is None
    assert experiment.start_of(Trial(MODEL, 0, "original_retrained")) == FIRST
    on = make_experiment(tmp_path, second_start="first")
    assert on.start_of(Trial(MODEL, 0, "lime")) == FIRST
    assert on.start_of(FIRST) is None
    assert on.start_of(Trial(MODEL, 0, "permuted_labels")) == Trial(MODEL, 0, "shuffled")
    begun: list[torch.Tensor] = []

    def keep(classifier: Classifier, *rest: object, **named: object) -> None:
        begun.extend(value.clone() for value in classifier.state_dict().values())
        raise Seen

    monkeypatch.setattr(one_trial, "train_classifier", keep)
    with pytest.raises(Seen):
        run(_copy(experiment, tmp_path), Trial(MODEL, 0, "original_retrained"), pixels)
    file = experiment.path_of(FIRST) / "model.safetensors"
    first = load_classifier(file, MODEL, n_classes=2, image_size=ImageSize.square(SIZE_PX))
    for one, other in zip(begun, first.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_untrained_model_is_as_it_was_drawn(experiment: Experiment) -> None:
    path = experiment.path_of(Trial(MODEL, 0, "untrained"))
    assert json.loads((path / "history.json").read_text()) == []
    drawn = build_classifier(
        MODEL, n_classes=2, image_size=ImageSize.square(SIZE_PX), weights="none", seed=0
    )
    found = load_classifier(
        path / "model.safetensors", MODEL, n_classes=2, image_size=ImageSize.square(SIZE_PX)
    )
    for one, other in zip(drawn.state_dict().values(), found.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_each_source_of_chance_has_a_seed_of_its_own(
    monkeypatch: pytest.MonkeyPatch, pixels: np.ndarray, tmp_path: Path
) -> None:
    seeds = Seeds(split=21, initialisation=22, order=23, augmentation=24, lime=25)
    experiment = replace(make_experiment(tmp_path), seeds={0: seeds})
    given: list[Any] = []

    def keep(classifier: Classifier, data: TrainingData, recipe: Recipe, *rest, **named) -> None:
        given.extend([classifier, recipe])
        raise Seen

    monkeypatch.setattr(one_trial, "train_classifier", keep)
    with pytest.raises(Seen):
        run(experiment, FIRST, pixels)
    classifier, recipe = given
    assert (recipe.seed, recipe.augmentation_seed) == (23, 24)
    drawn = build_classifier(
        MODEL, n_classes=2, image_size=ImageSize.square(SIZE_PX), weights="none", seed=22
    )
    for one, other in zip(
        drawn.state_dict().values(), classifier.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)
    masks = list_explanations(experiment, [Trial(MODEL, 0, "lime")])
    assert masks[MaskJob(FIRST)].lime_seed == 25


def test_shuffled_labels_stay_with_groups_and_sets_aside_are_left(tmp_path: Path) -> None:
    groups = np.arange(N_IMAGES) // 2 * 2
    labels = np.array(["normal", "normal", "worn", "worn"] * (N_IMAGES // 4))
    made = make_experiment(tmp_path)
    experiment = replace(made, groups=groups, labels=labels, splits={0: np.full(16, "train")})
    shuffled = experiment.labels_of(Trial(MODEL, 0, "permuted_labels"))
    assert sorted(shuffled) == sorted(labels)
    assert (shuffled != labels).any()
    assert (shuffled[::2] == shuffled[1::2]).all()
    assert (experiment.labels_of(Trial(MODEL, 0, "shuffled")) == shuffled).all()
    assert (experiment.labels_of(Trial(MODEL, 0, "lime")) == labels).all()


def test_arms_are_those_of_the_configuration() -> None:
    assert all(arm.name == name for name, arm in ARMS.items())


@pytest.mark.parametrize("rule", ["borrowed", "whole"])
def test_image_without_explanation_is_shown_by_the_rule(
    experiment: Experiment, masks: pd.DataFrame, pixels: np.ndarray, look, tmp_path: Path, rule: str
) -> None:
    failed = masks[masks["error"].notna()]
    assert failed["image_id"].tolist() == [f"image-{FLAT:02}"] * 3
    settings = replace(experiment.settings, unexplained=rule)
    copy = replace(experiment, run=Run(tmp_path), settings=settings)
    shutil.copytree(experiment.run.masks, copy.run.masks)
    training = look(Trial(MODEL, 0, "lime"), copy, pixels)["training"]
    rows = np.flatnonzero(SPLIT == "train").tolist()
    row = rows.index(FLAT)
    assert training.keep_masks is not None
    others = [mask for at, mask in enumerate(training.keep_masks) if at != row]
    if rule == "whole":
        assert training.keep_masks[row].all()
    else:
        assert any((training.keep_masks[row] == mask).all() for mask in others)
        assert 0 < training.keep_masks[row].mean() < 1
    assert not training.keep_masks[:].all((1, 2)).all()


def test_missing_masks_stop_a_masked_arm(
    experiment: Experiment, masks: pd.DataFrame, pixels: np.ndarray, tmp_path: Path
) -> None:
    trial = Trial(MODEL, 0, "lime")
    copy = replace(experiment, run=Run(tmp_path))
    with pytest.raises(RuntimeError, match="mask for every image, but 15 have none"):
        run(copy, trial, pixels)
    part = masks[~((masks["kind"] == "lime") & (masks["image_id"] == "image-08"))]
    table = pa.Table.from_pandas(part, MASKS, preserve_index=False)
    write_table(copy.masks_of(MaskJob(FIRST)) / "part-0.parquet", table)
    with pytest.raises(RuntimeError, match="but 1 have none"):
        run(copy, trial, pixels)
    assert not copy.is_done(trial)


# Keys


def _key(arm: str = "lime", seed: int = 0, **changes: Any) -> str:
    return make_experiment(Path("/nowhere"), **changes).key_of(Trial(MODEL, seed, arm))


CHANGES: list[dict[str, Any]] = [
    {"training": {"epochs": 2}},
    {"training": {"per_worker_batch_size": 9}},
    {"training": {"learning_rate": 0.5}},
    {"training": {"augmentation": {"flip": False}}},
    {"image_size": 48},
    {"resources": {"workers": 2}},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
@pytest.mark.parametrize("arm", ["original", "lime"])
def test_key_changes_with_what_changes_a_result(arm: str, changes: dict[str, Any]) -> None:
    assert _key(arm, **changes) != _key(arm)


@pytest.mark.parametrize("arm", ["original", "lime"])
def test_key_changes_with_the_split(arm: str) -> None:
    experiment = make_experiment(Path("/nowhere"), seeds=2)
    splits = {0: SPLIT, 1: np.roll(SPLIT, 2)}
    moved = replace(experiment, splits=splits)
    for seed, same in ((0, True), (1, False)):
        trial = Trial(MODEL, seed, arm)
        assert (moved.key_of(trial) == experiment.key_of(trial)) == same


def test_training_refuses_a_split_that_tears_a_group_apart(tmp_path: Path) -> None:
    groups = np.arange(N_IMAGES)
    one_of_each = [int(np.flatnonzero(name == SPLIT)[0]) for name in ("train", "test")]
    groups[one_of_each] = 0
    torn = replace(make_experiment(tmp_path), groups=groups)
    with pytest.raises(LeakError, match=r"1 group of images .*png \((train|test)\)"):
        run(torn, FIRST, make_pixels())
    assert not torn.is_done(FIRST)
    random = replace(torn, settings=make_experiment(tmp_path, split="random").settings)
    random.check_split(0)  # asked for, and reported


def test_key_tells_trials_apart() -> None:
    keys = {_key(arm, seed, seeds=2) for arm in ARMS for seed in (0, 1)}
    assert len(keys) == 2 * len(ARMS)
    experiment = make_experiment(Path("/nowhere"), models=[MODEL, "resnet18"])
    assert experiment.key_of(Trial("resnet18", 0, "lime")) not in keys
    for other in (
        replace(experiment, fingerprint="other data"),
        replace(experiment, weights={MODEL: FirstWeights(None, "other weights")}),
    ):
        assert other.key_of(FIRST) != experiment.key_of(FIRST)


@pytest.mark.parametrize(
    "changes",
    [
        {"out": "/elsewhere"},
        {"resources": {"max_retries": 9}},
        {"resources": {"cpus_per_worker": 2}},
        {"seeds": 9},
        {"arms": ["original", "lime"]},
        {"statistics": {"margin": 0.2}},
        {"models": [MODEL, "resnet18"]},
    ],
    ids=str,
)
def test_key_ignores_what_does_not(changes: dict[str, Any]) -> None:
    for arm in ("original", "lime"):
        assert _key(arm, **changes) == _key(arm)


@pytest.mark.parametrize("changes", [{"samples": 13}, {"top_k": 3}, {"fill": "black"}], ids=str)
def test_lime_settings_belong_to_masked_arms_and_masks_only(changes: dict[str, Any]) -> None:
    assert _key("original", lime=changes) == _key("original")
    for arm in ("lime", "random_mask", "silhouette"):
        assert _key(arm, lime=changes) != _key(arm)
    one, other = (make_experiment(Path("/run"), lime=lime) for lime in ({}, changes))
    assert one.masks_of(MaskJob(FIRST)) != other.masks_of(MaskJob(FIRST))


def test_background_and_folds_belong_to_the_trainings_that_they_change() -> None:
    for arm in ("original", "fold-0"):
        assert _key(arm, background="mean") == _key(arm)
    for arm in ("lime", "lime_crossfit", "random_mask"):
        assert _key(arm, background="mean") != _key(arm)
    for arm in ("original", "lime", "untrained"):
        assert _key(arm, crossfit_folds=3) == _key(arm)
    for arm in ("fold-0", "lime_crossfit"):
        assert _key(arm, crossfit_folds=3) != _key(arm)


def test_arms_of_a_seed_share_masks_of_one_teacher() -> None:
    experiment = make_experiment(Path("/run"), seeds=2)
    arms = ("lime", "random_mask", "silhouette", "complement", "other_image_mask", "mean_mask")
    jobs = {job for arm in arms for job in experiment.list_jobs(Trial(MODEL, 0, arm))}
    assert jobs == {MaskJob(FIRST)}
    folder = experiment.masks_of(MaskJob(FIRST))
    assert experiment.masks_of(MaskJob(Trial(MODEL, 1, "original"))) != folder
    assert experiment.masks_of(MaskJob(FIRST, "true")) != folder
    retrained = make_experiment(Path("/run"), training={"epochs": 3})
    assert retrained.masks_of(MaskJob(FIRST)) != folder  # another first model


# The explainer


def test_masks_table_holds_each_wanted_image_once_a_kind(
    experiment: Experiment, masks: pd.DataFrame
) -> None:
    wanted = sorted(experiment.image_ids[SPLIT != ""].tolist())
    for kind in ("lime", "random", "gradcam"):
        assert masks.loc[masks["kind"] == kind, "image_id"].tolist() == wanted
    assert len(masks) == 3 * len(wanted)
    lime = masks[(masks["kind"] == "lime") & masks["error"].isna()]
    assert lime["n_samples"].isin([8, 12]).all()  # 8: all combinations of 3 superpixels
    assert lime["explained_class"].isin([0, 1]).all()
    assert (lime["local_fit"] <= 1).all()
    assert (lime["weights"].map(len) >= 2).all()
    assert lime["unstable"].any()
    assert lime["unstable"][~(lime["stability"] >= 0.92)].all()  # those without a stability too
    random = masks[masks["kind"] != "lime"]
    assert random[["weights", "n_samples", "local_fit", "explained_class"]].isna().all(axis=None)


@pytest.mark.parametrize("kind", ["random", "gradcam"])
def test_control_has_the_area_of_the_lime_mask(masks: pd.DataFrame, kind: str) -> None:
    found = masks[masks["error"].isna()].set_index("image_id")
    control = found[found["kind"] == kind]["keep_mask"]
    lime = found[found["kind"] == "lime"]["keep_mask"][control.index]
    assert len(control) > 0
    pairs = [
        (unpack_mask(one, ImageSize.square(SIZE_PX)), unpack_mask(other, ImageSize.square(SIZE_PX)))
        for one, other in zip(lime, control, strict=True)
    ]
    assert [one.sum() for one, _ in pairs] == [other.sum() for _, other in pairs]
    assert any(0 < one.sum() < one.size for one, _ in pairs)
    assert any((one != other).any() for one, other in pairs)


def test_unexplainable_image_gets_an_error_and_the_others_their_masks(masks: pd.DataFrame) -> None:
    flat = masks[masks["image_id"] == f"image-{FLAT:02}"]
    assert flat["error"].str.contains("at least 2 superpixels").all()
    assert (flat["keep_mask"] == b"").all()
    assert masks.loc[masks["image_id"] != f"image-{FLAT:02}", "error"].isna().all()


def test_masks_do_not_depend_on_slices_or_their_order(
    experiment: Experiment, masks: pd.DataFrame, tmp_path: Path
) -> None:
    explainable = make_explainable(experiment, masks=tmp_path / "masks")
    slices = (("part-b", 4, 6), ("part-a", 7, 10), ("part-a", 0, 7), ("part-b", 0, 4))
    explain(experiment, explainable, slices=slices)
    assert len(list((tmp_path / "masks").glob("*.parquet"))) == 4
    # To the last digit: which images share a batch depends on slices, and must not be seen.
    pd.testing.assert_frame_equal(read_masks(tmp_path / "masks"), masks, check_exact=True)


def test_slice_that_is_tried_again_keeps_what_was_stored(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explainable = make_explainable(experiment, masks=tmp_path / "masks")
    counts = explain(experiment, explainable)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "masks").iterdir()}

    def fail(*arguments: Any, **named: Any) -> None:
        raise AssertionError("must not explain")

    monkeypatch.setattr(lime, "explain_by_lime", fail)
    again = explain(experiment, explainable)
    assert again == [replace(found, n_samples=0) for found in counts]
    assert all(found.n_samples > 0 for found in counts)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "masks").iterdir()} == files


def test_counts_are_told_after_each_classifier(experiment: Experiment, tmp_path: Path) -> None:
    one, other = (make_explainable(experiment, masks=tmp_path / name) for name in ("a", "b"))
    counts = explain(experiment, one, other)
    # The first ten hold the flat image, an error, and the one set aside, which is not wanted.
    told = [(found.n_images, found.n_errors) for found in counts]
    assert told == [(9, 1)] * 2 + [(6, 0)] * 2
    assert [found.explainable for found in counts] == [one.name, other.name] * 2
    pd.testing.assert_frame_equal(read_masks(one.masks), read_masks(other.masks))


def test_done_images_are_passed_over(
    experiment: Experiment, masks: pd.DataFrame, tmp_path: Path
) -> None:
    folder = tmp_path / "masks"
    first = frozenset({"image-00", "image-01", "image-12"})
    explain(experiment, make_explainable(experiment, masks=folder, wanted=first))
    assert read_done(folder) == dict.fromkeys(("lime", "random", "gradcam"), first)
    files = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    rest = make_explainable(experiment, masks=folder, done=read_done(folder))
    assert sum(found.n_images for found in explain(experiment, rest)) == 15 - 3
    assert files.items() <= {path: path.stat().st_mtime_ns for path in folder.iterdir()}.items()
    pd.testing.assert_frame_equal(read_masks(folder), masks)
    whole = make_explainable(experiment, masks=folder, done=read_done(folder))
    assert sum(found.n_images for found in explain(experiment, whole)) == 0
    assert len(read_masks(folder)) == len(masks)


def test_done_means_image_and_kind(
    experiment: Experiment,
    masks: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "masks"
    named = {"masks": folder, "faithfulness": tmp_path / "faithfulness"}
    measured = frozenset({"image-00", "image-11"})
    first = make_explainable(experiment, kinds=("lime",), faithfulness_ids=measured, **named)
    explain(experiment, first)
    done = read_done(folder)
    assert done == {"lime": first.wanted}
    wanted = replace(first, kinds=list_kinds("lime"), done=done)
    assert wanted.pending == first.wanted
    assert wanted.list_missing("image-00") == ("random", "gradcam")
    assert wanted.list_missing(f"image-{SET_ASIDE:02}") == ()
    assert find_done(done, ["lime"]) == first.wanted
    assert find_done(done, list_kinds("lime")) == frozenset()

    def fail(*arguments: Any, **named: Any) -> None:
        raise AssertionError("must not explain by LIME again")

    monkeypatch.setattr(lime, "explain_by_lime", fail)
    counts = explain(experiment, wanted)
    assert sum(found.n_images for found in counts) == 15
    assert sum(found.n_errors for found in counts) == 1  # the flat image, which LIME refused
    assert sum(found.n_samples for found in counts) == 0
    pd.testing.assert_frame_equal(read_masks(folder), masks, check_exact=True)
    whole = replace(wanted, done=read_done(folder))
    assert whole.pending == frozenset()
    assert sum(found.n_images for found in explain(experiment, whole)) == 0
    # Figures of all kinds are those that one go gives.
    monkeypatch.undo()
    at_once = replace(wanted, masks=tmp_path / "other", faithfulness=tmp_path / "figures", done={})
    explain(experiment, at_once)
    found, expected = (
        sorted(read_parts(one.faithfulness, FAITHFULNESS).to_pylist(), key=str)
        for one in (wanted, at_once)
    )
    assert len(found) == 6
    assert found == expected


def test_later_kinds_follow_the_class_that_lime_explained(
    experiment: Experiment, tmp_path: Path
) -> None:
    folder, ids = tmp_path / "masks", ("image-00", "image-01")
    for chosen in (0, 1):  # one of them is not the predicted class
        targets = dict.fromkeys(ids, chosen)
        first = make_explainable(
            experiment,
            masks=folder / str(chosen),
            faithfulness=tmp_path / f"figures-{chosen}",
            faithfulness_ids=frozenset(ids),
            wanted=frozenset(ids),
            kinds=("lime",),
            targets=targets,
        )
        explain(experiment, first)
        more = replace(first, kinds=("lime", "gradcam"), done=read_done(first.masks))
        explain(experiment, more)
        at_once = replace(
            more, masks=folder / f"{chosen}-whole", faithfulness=tmp_path / f"all-{chosen}", done={}
        )
        explain(experiment, at_once)
        pd.testing.assert_frame_equal(read_masks(more.masks), read_masks(at_once.masks))
        found, expected = (
            sorted(read_parts(one.faithfulness, FAITHFULNESS).to_pylist(), key=str)
            for one in (more, at_once)
        )
        assert len(found) == 4
        assert found == expected


@pytest.mark.parametrize(("area", "area_px"), [(0.2, 205), (0.1, 102), (0.0001, 1)])
def test_leading_masks_keep_the_share_that_is_asked_for(
    experiment: Experiment, tmp_path: Path, area: float, area_px: int
) -> None:
    explainable = make_explainable(
        experiment, masks=tmp_path, wanted=frozenset({"image-00"}), kinds=("gradcam",), area=area
    )
    explain(experiment, explainable)
    (packed,) = read_masks(tmp_path)["keep_mask"]
    assert unpack_mask(packed, ImageSize.square(SIZE_PX)).sum() == area_px  # of 1024 pixels


def test_images_that_lack_different_kinds_are_each_completed(
    experiment: Experiment, masks: pd.DataFrame, tmp_path: Path
) -> None:
    folder = tmp_path / "masks"
    explain(experiment, make_explainable(experiment, masks=folder, kinds=("lime",)))
    some = make_explainable(
        experiment, masks=folder, kinds=("lime", "gradcam"), wanted=frozenset({"image-00"})
    )
    explain(experiment, replace(some, done=read_done(folder)))
    explain(experiment, make_explainable(experiment, masks=folder, done=read_done(folder)))
    pd.testing.assert_frame_equal(read_masks(folder), masks, check_exact=True)


def test_lost_images_get_an_error_for_each_kind_that_they_lack(
    experiment: Experiment, tmp_path: Path
) -> None:
    ids = frozenset({"image-00", "image-01"})
    first = make_explainable(experiment, masks=tmp_path, wanted=ids, kinds=("lime",))
    assert pool._quarantine(first, frozenset({"image-00", "image-12"})) == 1
    assert read_done(tmp_path) == {"lime": {"image-00"}}
    # Later, other kinds are wanted, and the same image is lost again.
    more = replace(first, kinds=("lime", "layercam"), done=read_done(tmp_path))
    assert pool._quarantine(more, frozenset({"image-00"})) == 1
    found = read_masks(tmp_path)
    assert found["kind"].tolist() == ["layercam", "lime"]
    assert found["error"].str.contains("explained this image alone died 3 times").all()


def test_nothing_is_done_where_there_are_no_masks(tmp_path: Path) -> None:
    assert read_done(tmp_path / "none") == {}
    assert find_done({}, ["lime"]) == frozenset()


def test_heat_maps_of_chosen_images_are_drawn_once(experiment: Experiment, tmp_path: Path) -> None:
    chosen = frozenset({"image-00", "image-11"})
    explainable = make_explainable(
        experiment,
        heatmaps=tmp_path,
        heatmap_ids=chosen,
        done=dict.fromkeys(list_kinds("lime"), frozenset(experiment.image_ids.tolist())),
    )
    explain(experiment, explainable)
    files = {path.stem: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    assert files.keys() == chosen
    rows = read_parts(tmp_path, HEATMAPS).to_pylist()
    assert {(row["model"], row["seed"]) for row in rows} == {(MODEL, 0)}
    assert all(len(row["heatmap"]) == SIZE_PX**2 for row in rows)
    explain(experiment, explainable)
    again = {path.stem: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    assert again == files


def test_superpixels_of_chosen_images_are_kept(experiment: Experiment, tmp_path: Path) -> None:
    explainable = make_explainable(
        experiment,
        heatmaps=tmp_path / "heatmaps",
        heatmap_ids=frozenset({"image-00", "image-11"}),
        superpixels=tmp_path / "kept",
        done=dict.fromkeys(list_kinds("lime"), frozenset(experiment.image_ids.tolist())),
    )
    explain(experiment, explainable)
    kept = {
        row["image_id"]: np.frombuffer(row["superpixels"], np.uint16).reshape(SIZE_PX, SIZE_PX)
        for row in read_parts(tmp_path / "kept", SUPERPIXELS).to_pylist()
    }
    assert set(kept) == {"image-00", "image-11"}
    settings = experiment.settings.lime.scale_to(ImageSize.square(SIZE_PX))
    stored = read_parts(experiment.run.pixels, PIXELS).to_pylist()
    for row in stored:
        if row["image_id"] in kept:
            image = np.frombuffer(row["pixels"], np.uint8).reshape(SIZE_PX, SIZE_PX)
            assert np.array_equal(kept[row["image_id"]], find_superpixels(image, settings))


def test_right_and_wrong_images_are_chosen_for_the_report(experiment: Experiment) -> None:
    jobs = list_explanations(experiment, [Trial(MODEL, 0, "lime")])
    (found,) = [one.heatmap_ids for one in jobs.values()]
    table = read_table(experiment.path_of(FIRST) / "predictions.parquet").to_pandas()
    test = table[table["split"] == "test"]
    said = np.where(test["p_worn"] > test["p_normal"], "worn", "normal")
    outcomes = test.assign(right=said == test["label"]).groupby(["label", "right"])["image_id"]
    expected = {one for _, ids in outcomes for one in sorted(ids)[:6]}
    assert found == expected
    assert (experiment.run.place_shown_superpixels(), True) == next(
        (one.superpixels, bool(one.heatmap_ids)) for one in jobs.values()
    )


def test_faithfulness_of_chosen_images_is_measured(experiment: Experiment, tmp_path: Path) -> None:
    chosen = frozenset({"image-00", "image-11", f"image-{FLAT:02}"})
    explainable = make_explainable(
        experiment,
        masks=tmp_path / "masks",
        faithfulness=tmp_path / "faithfulness",
        faithfulness_ids=chosen,
    )
    explain(experiment, explainable)
    rows = read_parts(tmp_path / "faithfulness", FAITHFULNESS).to_pylist()
    named = sorted((row["image_id"], row["kind"]) for row in rows)
    kinds = ("gradcam", "lime", "random")
    assert named == [(i, k) for i in ("image-00", "image-11") for k in kinds]
    for row in rows:
        assert 0 <= row["insertion_auc"] <= 1
        assert 0 <= row["deletion_auc"] <= 1
        assert -1 <= row["drop"] <= 1


def test_frozen_form_is_written_once_and_changes_no_mask(
    experiment: Experiment, masks: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "_WORTH_FREEZING", 0)
    frozen = tmp_path / "frozen"
    explainable = make_explainable(experiment, masks=tmp_path / "masks", frozen=frozen)
    explain(experiment, explainable)
    assert sorted(path.name for path in frozen.glob("model.*")) == ["model.bin", "model.xml"]
    found = read_masks(tmp_path / "masks")
    assert found["keep_mask"].tolist() == masks["keep_mask"].tolist()
    for one, other in zip(found["weights"].dropna(), masks["weights"].dropna(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_random_streams_differ_by_content_model_seed_and_purpose() -> None:
    streams = [
        ("a", "m", 0, "lime"),
        ("b", "m", 0, "lime"),
        ("a", "n", 0, "lime"),
        ("a", "m", 1, "lime"),
        ("a", "m", 0, "random"),
    ]
    drawn = [derive_rng(*stream).random(4).tolist() for stream in streams]
    assert len({tuple(numbers) for numbers in drawn}) == len(streams)
    assert derive_rng(*streams[0]).random(4).tolist() == drawn[0]
