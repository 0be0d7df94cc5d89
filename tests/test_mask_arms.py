"""What the arms that change LIME masks show: boxes, wider masks, other areas, all classes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted import open_small_world

from osteo_ray.base.tables import MASKS, read_parts
from osteo_ray.data.fresh_masks import pass_areas_on
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.masks import unpack_mask
from osteo_ray.data.packed_masks import PackedMasks, change_masks
from osteo_ray.experiment.keep_masks import KeepMasks, read_keep_masks
from osteo_ray.experiment.trials import Experiment, Trial
from osteo_ray.explain.explainer import Explanation, LoadedClassifier, Picture, Request
from osteo_ray.explain.explainers.lime import Lime
from osteo_ray.explain.explainers.lime_union import SOME_CLASSES, LimeUnion
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.pipeline.compare.in_process import run_in_process

TRAIN = np.array(["train"])


def change(mask: np.ndarray, how: str) -> np.ndarray:
    (changed,) = change_masks(PackedMasks.pack([mask]), how, TRAIN, np.random.default_rng(0))
    return changed


def draw(*rows: str) -> np.ndarray:
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def test_box_by_hand() -> None:
    mask = draw("......", ".#....", "...#..", "..#...", "......", "......")
    box = draw("......", ".###..", ".###..", ".###..", "......", "......")
    np.testing.assert_array_equal(change(mask, "box"), box)
    empty = np.zeros((6, 6), bool)
    np.testing.assert_array_equal(change(empty, "box"), empty)


def test_wider_mask_by_hand() -> None:
    side_px, radius_px = 40, 2  # 5 % of the side
    mask = np.zeros((side_px, side_px), bool)
    mask[20, 10] = True
    row, column = np.mgrid[:side_px, :side_px]
    near = (row - 20) ** 2 + (column - 10) ** 2 <= radius_px**2
    found = change(mask, "dilated")
    assert found[near].all()
    # OpenCV draws its disc a little wider than the circle.
    assert not found[(np.abs(row - 20) > radius_px) | (np.abs(column - 10) > radius_px)].any()
    assert change(np.ones((8, 8), bool), "dilated").all()


def test_images_that_are_set_aside_keep_their_masks() -> None:
    masks = np.zeros((2, 40, 40), bool)
    masks[:, 20, 10:13] = True
    for how in ("box", "dilated"):
        packed, split = PackedMasks.pack(masks), np.array(["train", ""])
        changed = change_masks(packed, how, split, np.random.default_rng(0))
        np.testing.assert_array_equal(changed[1], masks[1])


def test_areas_stay_in_their_part_and_no_image_keeps_its_own() -> None:
    areas_px = np.arange(10)
    split = np.array(["train"] * 5 + ["test"] * 4 + [""])
    passed = pass_areas_on(areas_px, split, np.random.default_rng(1))
    assert sorted(passed[:5]) == [0, 1, 2, 3, 4]
    assert sorted(passed[5:9]) == [5, 6, 7, 8]
    assert passed[9] == 9
    assert (passed[:9] != areas_px[:9]).all()


# In a run


def read(experiment: Experiment, arm: str) -> KeepMasks:
    found = read_keep_masks(experiment, Trial("stripe_net", next(iter(experiment.seeds)), arm))
    assert found is not None
    return found


def test_random_masks_of_other_areas(tmp_path: Path) -> None:
    arms = ("original", "lime_dilated", "random_other_area")
    experiment, pixels = open_small_world(tmp_path, arms)
    # Masks of different areas, so that it can be seen whose area it is.
    run_in_process(experiment, pixels)
    wide, other = read(experiment, "lime_dilated"), read(experiment, "random_other_area")
    lime = read(experiment, "lime")
    split = experiment.splits[next(iter(experiment.seeds))]
    for part in ("train", "validation", "test"):
        rows = split == part
        areas = [sorted(one.masks[rows].sum((1, 2)).tolist()) for one in (lime, other)]
        assert areas[0] == areas[1]
    assert not (lime.masks[:] & ~wide.masks[:]).any()
    assert wide.masks.areas_px.sum() > lime.masks.areas_px.sum()
    assert other.fresh is None
    np.testing.assert_array_equal(read(experiment, "random_other_area").masks, other.masks)


def test_mask_of_all_classes_is_their_union(loaded: LoadedClassifier) -> None:
    settings = LimeSettings(superpixels="grid", n_superpixels=16, samples=80, top_k=3)
    image = np.random.default_rng(5).integers(0, 256, (32, 32), dtype=np.uint8)
    request = Request(Picture("i", "d", image), np.random.default_rng(2), area_px=100)
    (found,) = LimeUnion(settings).explain(loaded, [request])
    assert not isinstance(found, ValueError)
    rngs = np.random.default_rng(2).spawn(2)
    single = [
        Lime(settings).explain(loaded, [replace(request, explained_class=number, rng=rng)])[0]
        for number, rng in enumerate(rngs)
    ]
    masks = [one.keep_mask for one in single if not isinstance(one, ValueError)]
    np.testing.assert_array_equal(found.keep_mask, masks[0] | masks[1])
    assert not (
        masks[0] & masks[1]
    ).any()  # what speaks for one of two classes is against the other
    assert found.figures["n_samples"] == sum(one.figures["n_samples"] for one in single)  # type: ignore[union-attr]
    assert found.explained_class == loaded.predict_class(image)


@pytest.mark.parametrize("dead", [(2,), (0, 2), (0, 1, 2)])
def test_classes_that_cannot_be_explained_add_nothing_to_the_union(dead: tuple[int, ...]) -> None:
    import torch

    def predict(images: torch.Tensor) -> torch.Tensor:
        bright = images[:, 0, :16, :16].mean((1, 2)) - images[:, 0, 16:, 16:].mean((1, 2))
        return torch.stack([bright, -bright, 0 * bright], 1)

    class Deaf(Lime):
        def _explain_one(self, classifier: LoadedClassifier, request: Request) -> Explanation:
            if request.explained_class in dead:
                raise ValueError(f"nothing of {request.explained_class}")
            return super()._explain_one(classifier, request)

    class Union(LimeUnion, Deaf):
        pass

    settings = LimeSettings(superpixels="grid", n_superpixels=16, samples=80, top_k=3)
    image = np.random.default_rng(5).integers(0, 256, (32, 32), dtype=np.uint8)
    request = Request(Picture("i", "d", image), np.random.default_rng(2), area_px=100)
    loaded = LoadedClassifier(torch.nn.Identity(), predict, torch.device("cpu"))
    (found,) = Union(settings).explain(loaded, [request])
    if len(dead) == 3:
        assert str(found) == "nothing of 0"
        return
    assert isinstance(found, Explanation)
    single = [
        Lime(settings).explain(loaded, [replace(request, explained_class=number, rng=rng)])[0]
        for number, rng in enumerate(np.random.default_rng(2).spawn(3))
        if number not in dead
    ]
    masks = [one.keep_mask for one in single if isinstance(one, Explanation)]
    assert len(masks) == 3 - len(dead)
    np.testing.assert_array_equal(found.keep_mask, np.any(masks, axis=0))
    assert SOME_CLASSES in found.figures["note"]
    assert found.explained_class == loaded.predict_class(image)


def test_class_without_any_probability_leaves_the_union_of_the_others() -> None:
    import torch

    def predict(images: torch.Tensor) -> torch.Tensor:
        bright = images[:, 0, :16, :16].mean((1, 2)) - images[:, 0, 16:, 16:].mean((1, 2))
        return torch.stack([bright, -bright, bright - 2000], 1)  # exp(-2000) is 0

    settings = LimeSettings(superpixels="grid", n_superpixels=16, samples=80, top_k=3)
    image = np.random.default_rng(5).integers(0, 256, (32, 32), dtype=np.uint8)
    request = Request(Picture("i", "d", image), np.random.default_rng(2), area_px=100)
    loaded = LoadedClassifier(torch.nn.Identity(), predict, torch.device("cpu"))
    (found,) = LimeUnion(settings).explain(loaded, [request])
    assert isinstance(found, Explanation)
    assert found.keep_mask.any()
    assert found.figures["note"] == SOME_CLASSES


@pytest.fixture(scope="module")
def loaded() -> LoadedClassifier:
    """A classifier that sees brightness in one corner."""
    import torch

    from osteo_ray.models.classifier import build_classifier

    def predict(images: torch.Tensor) -> torch.Tensor:
        bright = images[:, 0, :16, :16].mean((1, 2)) - images[:, 0, 16:, 16:].mean((1, 2))
        return torch.stack([bright, -bright], 1) * 5

    module = build_classifier(
        "test_byobnet", n_classes=2, image_size=ImageSize.square(32), weights="none", seed=0
    )
    return LoadedClassifier(module, predict, torch.device("cpu"))


def test_class_agnostic_arm_in_a_run(tmp_path: Path) -> None:
    arms = ("original", "class_agnostic")
    experiment, pixels = open_small_world(tmp_path, arms)
    with pytest.raises(RuntimeError, match="Expected a mask for every image"):
        read(experiment, "class_agnostic")
    run_in_process(experiment, pixels)
    size_px = experiment.settings.image_size
    table = read_parts(experiment.run.masks, MASKS).to_pylist()
    union = {row["image_id"] for row in table if row["kind"] == "lime_union" and not row["error"]}
    assert union
    (row,) = [
        row for row in table if row["kind"] == "lime_union" and row["seed"] == 0
        and row["image_id"] == min(union)
    ]  # fmt: skip
    shown = read(experiment, "class_agnostic").masks
    np.testing.assert_array_equal(
        shown[experiment.image_ids.tolist().index(row["image_id"])],
        unpack_mask(row["keep_mask"], size_px),
    )
