"""Random masks that are drawn anew in each epoch, from superpixels that are found once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import open_small_world

from osteo_ray.arms.registry import ARMS
from osteo_ray.base.errors import InputError
from osteo_ray.base.tables import read_table
from osteo_ray.data.fresh_masks import FreshMasks
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.imputation import impute
from osteo_ray.data.masks import cover_area, keep_most
from osteo_ray.data.packed_masks import PackedMasks
from osteo_ray.experiment import superpixel_files
from osteo_ray.experiment.keep_masks import KeepMasks, read_keep_masks
from osteo_ray.experiment.stored_images import StoredImages
from osteo_ray.experiment.superpixel_files import list_divisions, read_superpixels
from osteo_ray.experiment.trials import Experiment, Trial
from osteo_ray.explain.superpixel_files import write_superpixels
from osteo_ray.explain.superpixels import find_superpixels
from osteo_ray.models.batches import ImageSet
from osteo_ray.models.classifier import build_classifier
from osteo_ray.models.settings import TrainingSettings
from osteo_ray.models.training import Recipe, TrainingData, Worker, train_classifier
from osteo_ray.pipeline.compare.in_process import run_in_process


def draw_superpixels(n: int, seed: int = 0) -> np.ndarray:
    """Blocks of 4 × 4 px of images of 16 px, in another order in each image."""
    rng = np.random.default_rng(seed)
    block = np.arange(16) // 4
    plain = block[:, None] * 4 + block
    return np.stack([rng.permutation(16)[plain] for _ in range(n)]).astype(np.uint16)


def cover_by_ranks(segments: np.ndarray, area_px: int, rng: np.random.Generator) -> np.ndarray:
    """The definition: the pixels of the superpixels in a random order, row by row."""
    order = rng.permutation(int(segments.max()) + 1)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return keep_most(-rank[segments], area_px)


@pytest.mark.parametrize("area_px", [0, 1, 15, 16, 17, 100, 255, 256])
def test_covered_area_is_that_of_the_definition(area_px: int) -> None:
    for number, segments in enumerate(draw_superpixels(5)):
        found = cover_area(segments, area_px, np.random.default_rng(number))
        expected = cover_by_ranks(segments, area_px, np.random.default_rng(number))
        np.testing.assert_array_equal(found, expected)
        assert found.sum() == area_px


def test_area_outside_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"an area in 0 \.\. 256 pixels, but got 257"):
        cover_area(draw_superpixels(1)[0], 257, np.random.default_rng(0))


def make_masks(n: int = 6, seed: int = 3) -> FreshMasks:
    return FreshMasks(draw_superpixels(n), np.arange(40, 40 + 5 * n, 5), np.arange(n) + 10, seed)


def test_draws_depend_on_seed_epoch_and_image_alone() -> None:
    masks, rows = make_masks(), np.arange(6)
    first = masks.draw(rows, epoch=0)
    assert first.dtype == bool
    assert first.sum((1, 2)).tolist() == masks.areas_px.tolist()
    np.testing.assert_array_equal(masks.draw(rows, epoch=0), first)
    np.testing.assert_array_equal(masks.draw(rows[::-1], epoch=0), first[::-1])
    np.testing.assert_array_equal(masks.select(rows[3:]).draw(np.array([1]), 0), first[[4]])
    for other in (masks.draw(rows, epoch=1), replace(masks, seed=4).draw(rows, epoch=0)):
        assert (other != first).any((1, 2)).all()


def test_batch_shows_the_masks_of_its_epoch() -> None:
    masks, rows = make_masks(), np.array([4, 0])
    pixels = np.full((6, 16, 16), 255, np.uint8)
    images = ImageSet(pixels, np.zeros(6, np.int64), masks, "masked")
    for epoch in (0, 7):
        batch = images.make_batch(rows, torch.device("cpu"), epoch)
        np.testing.assert_array_equal(batch[:, 0].numpy() > 0, masks.draw(rows, epoch))


# In a run


def test_superpixels_are_those_of_each_image(tmp_path: Path) -> None:
    experiment, pixels = open_small_world(tmp_path, ("original", "lime", "random_trained"))
    trials = [Trial("stripe_net", 0, "random_trained")]
    (division,) = list_divisions(experiment, trials)
    settings = experiment.settings
    write_superpixels(division.pixels, division.target, settings.lime, settings.image_size)
    assert list_divisions(experiment, trials) == []
    assert list_divisions(experiment, [Trial("stripe_net", 0, "lime")]) == []
    found = read_superpixels(experiment)
    for image, superpixels in zip(pixels, found, strict=True):
        expected = find_superpixels(image, experiment.settings.lime)
        np.testing.assert_array_equal(superpixels, expected)
    assert set(read_table(division.target)["image_id"].to_pylist()) == set(experiment.image_ids)


def test_superpixels_of_a_large_set_are_read_from_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = ("original", "lime", "random_trained", "random_other_area")
    experiment, pixels = open_small_world(tmp_path, arms)
    trials = [Trial("stripe_net", 0, arm) for arm in arms[2:]]
    (division,) = list_divisions(experiment, trials)
    settings = experiment.settings
    write_superpixels(division.pixels, division.target, settings.lime, settings.image_size)
    in_memory, before = read_superpixels(experiment), [read(experiment, arm) for arm in arms[2:]]
    monkeypatch.setattr(superpixel_files, "_MOST_BYTES", 2 * pixels.size - 1)
    on_disk, after = read_superpixels(experiment), [read(experiment, arm) for arm in arms[2:]]
    assert isinstance(in_memory, np.ndarray)
    assert isinstance(on_disk, StoredImages)
    assert on_disk.nbytes == in_memory.nbytes
    rows = np.array([69, 0, 33, 33])
    np.testing.assert_array_equal(on_disk[rows], in_memory[rows])
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one.masks.bits, other.masks.bits)
    (fresh, again) = (found[0].fresh for found in (before, after))
    assert fresh is not None
    assert again is not None
    np.testing.assert_array_equal(
        fresh.select(rows).draw(np.arange(4), 2), again.select(rows).draw(np.arange(4), 2)
    )


def read(experiment: Experiment, arm: str) -> KeepMasks:
    found = read_keep_masks(experiment, Trial("stripe_net", next(iter(experiment.seeds)), arm))
    assert found is not None
    return found


def test_superpixels_that_are_missing_are_told(tmp_path: Path) -> None:
    experiment, pixels = open_small_world(tmp_path, ("original", "lime", "random_trained"))
    with pytest.raises(InputError, match=f"but {len(pixels)} images have none. Run `osteo-ray"):
        read_superpixels(experiment)


@pytest.mark.parametrize("arm", ["random_trained", "random_each_epoch"])
def test_arm_trains_on_random_masks_and_is_tested_on_others(tmp_path: Path, arm: str) -> None:
    experiment, pixels = open_small_world(tmp_path, ("original", "lime", arm))
    run_in_process(experiment, pixels)
    seed = next(iter(experiment.seeds))
    lime, shown = (
        read_keep_masks(experiment, Trial("stripe_net", seed, name)) for name in ("lime", arm)
    )
    assert lime is not None
    assert shown is not None
    assert lime.fresh is None
    assert shown.fresh is not None
    split = experiment.splits[seed]
    test, training = split == "test", np.flatnonzero(split == "train")
    if ARMS[arm].tested_whole:
        assert shown.masks[split != "train"].all()
    else:
        np.testing.assert_array_equal(shown.masks[test], lime.masks[test])
        chosen = shown.masks[split == "validation"]
        assert (chosen != lime.masks[split == "validation"]).any((1, 2)).mean() > 0.9
    areas = lime.masks[training].sum((1, 2))
    for epoch in (0, 1):
        drawn = shown.fresh.draw(training, epoch)
        np.testing.assert_array_equal(drawn.sum((1, 2)), areas)
        assert (drawn != lime.masks[training]).any((1, 2)).mean() > 0.9
    np.testing.assert_array_equal(shown.masks[training], shown.fresh.draw(training, 0))


def test_addresses_of_other_arms_do_not_depend_on_superpixels(tmp_path: Path) -> None:
    experiment, _ = open_small_world(tmp_path, ("original", "lime", "random_trained"))
    settings = experiment.settings
    other = settings.lime.model_copy(update={"n_superpixels": 25})
    changed = replace(experiment, settings=replace(settings, lime=other))
    seed = next(iter(experiment.seeds))
    keys = {
        name: [one.key_of(Trial("stripe_net", seed, name)) for one in (experiment, changed)]
        for name in ("original", "random_trained")
    }
    assert keys["original"][0] == keys["original"][1]
    assert keys["random_trained"][0] != keys["random_trained"][1]


def test_each_epoch_of_a_training_shows_masks_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    draw = FreshMasks.draw

    def record(masks: FreshMasks, rows: np.ndarray, epoch: int) -> np.ndarray:
        shown.append(epoch)
        return draw(masks, rows, epoch)

    monkeypatch.setattr(FreshMasks, "draw", record)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 16, 16), dtype=np.uint8)
    labels = np.array([0, 1] * 3)
    training = ImageSet(pixels, labels, make_masks(), "masked")
    validation = ImageSet(pixels, labels, PackedMasks.pack(np.ones(pixels.shape, bool)), "masked")
    classifier = build_classifier(
        "test_byobnet", n_classes=2, image_size=ImageSize.square(16), weights="none", seed=0
    )
    settings = TrainingSettings(epochs=3, per_worker_batch_size=3)
    worker = Worker(torch.device("cpu"))
    train_classifier(classifier, TrainingData(training, validation), Recipe(settings, 1), worker)
    assert shown == [0, 0, 1, 1, 2, 2]


def test_removed_pixels_are_imputed_from_what_the_masks_of_the_epoch_keep() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 16, 16)).astype(np.uint8)
    shown = ImageSet(pixels, np.zeros(6, np.int64), make_masks(), "masked", "imputed")
    rows = np.array([4, 1])
    for epoch in (0, 1):
        keep = shown.make_regions(rows, torch.device("cpu"), epoch)[:, 0].numpy()
        batch = shown.make_batch(rows, torch.device("cpu"), epoch)[:, 0].numpy() * 255
        expected = [impute(image, mask) for image, mask in zip(pixels[rows], keep, strict=True)]
        np.testing.assert_allclose(batch, np.stack(expected), atol=1e-4)
    fixed = replace(shown, keep_masks=PackedMasks.pack(np.repeat(keep[:1], 6, axis=0)))
    batch = fixed.make_batch(rows, torch.device("cpu"))[:, 0].numpy() * 255
    np.testing.assert_allclose(batch[1], impute(pixels[1], keep[0]), atol=1e-4)
    outline = replace(fixed, view="silhouette").make_batch(rows, torch.device("cpu"))
    assert set(outline.unique().tolist()) == {0.0, 1.0}
