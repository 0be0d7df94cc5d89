"""Insertion, deletion and drop: by hand, in closed form, and against a slow loop."""

from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_explain_command import SIZE_PX, read_masks, store
from test_kept_classifiers import make_explainable, write_phantom_pixels

from osteo_ray.base.tables import FAITHFULNESS, read_parts
from osteo_ray.data.image_size import ImageSize
from osteo_ray.explain.explainer import Explanation, LoadedClassifier
from osteo_ray.explain.faithfulness import UNMEASURED, Faithfulness, measure_faithfulness
from osteo_ray.explain.jobs import plan_job
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.pipeline.explain import actor

SHAPE = (10, 12)
PATTERN = np.random.default_rng(7).normal(size=SHAPE)


def classify_pattern(pixels: np.ndarray) -> np.ndarray:
    """Tell three classes, not linearly, of one image: float (h, w) in [0, 1] → (3,)."""
    likeness = (pixels * PATTERN[: pixels.shape[0], : pixels.shape[1]]).sum()
    scores = np.array([likeness, 3 * pixels[2:5, 3:6].mean() ** 2, 4 * pixels.std()])
    odds = np.exp(scores - scores.max())
    return odds / odds.sum()


def predict_pattern(images: torch.Tensor) -> torch.Tensor:
    assert images.dtype == torch.float32
    return torch.from_numpy(np.stack([classify_pattern(image[0]) for image in images.numpy()]))


def predict_brightness(region: np.ndarray):
    """Return a classifier whose class 1 is as likely as a region is bright."""

    def predict(images: torch.Tensor) -> torch.Tensor:
        brightness = images[:, 0, torch.from_numpy(region)].double().mean(1)
        return torch.stack([1 - brightness, brightness], 1)

    return predict


def measure(predict: Any, image: np.ndarray, **changes: Any) -> Faithfulness:
    options = {
        "fill": np.zeros_like(image),
        "importance": image,
        "keep_mask": np.zeros(image.shape, bool),
        "explained_class": 1,
        "n_steps": 10,
        "batch_size": 8,
        **changes,
    }
    explained = {name: options.pop(name) for name in ("keep_mask", "importance", "explained_class")}

    def compute_logits(images: torch.Tensor) -> torch.Tensor:
        return predict(images).double().clamp_min(1e-300).log()

    classifier = LoadedClassifier(torch.nn.Identity(), compute_logits, torch.device("cpu"))
    fill = options.pop("fill")
    return measure_faithfulness(classifier, image, fill, Explanation(**explained), **options)


def measure_slowly(
    image: np.ndarray,
    fill: np.ndarray,
    importance: np.ndarray,
    keep_mask: np.ndarray,
    explained_class: int,
    n_steps: int,
) -> tuple[float, float, float]:
    """Follow Petsiuk et al. 2018 one pixel, one image and one trapezium at a time."""

    def classify(pixels: np.ndarray) -> float:
        return float(classify_pattern(pixels.astype(np.float32) / 255)[explained_class])

    places = sorted(np.ndindex(image.shape), key=lambda place: (-importance[place], place))
    areas = []
    for first, then in ((fill, image), (image, fill)):
        shown, area = first.copy(), 0.0
        done, before = 0, classify(first)
        for step in range(1, n_steps + 1):
            start = done
            while done < step * image.size // n_steps:
                shown[places[done]] = then[places[done]]
                done += 1
            after = classify(shown)
            area += (done - start) / image.size * (before + after) / 2
            before = after
        areas.append(area)
    hidden = np.where(keep_mask, fill, image)
    return areas[0], areas[1], classify(image) - classify(hidden)


@pytest.mark.parametrize("batch_size", [1, 7, 100])
@pytest.mark.parametrize(
    ("shape", "n_steps"), [(SHAPE, 12), ((7, 9), 10), ((3, 6), 40), (SHAPE, 1)]
)
def test_equals_a_slow_loop(shape: tuple[int, int], n_steps: int, batch_size: int) -> None:
    rng = np.random.default_rng(n_steps)
    image, fill = rng.integers(0, 256, (2, *shape), dtype=np.uint8)
    importance = rng.integers(-3, 4, shape) / 4  # with many ties
    keep_mask = rng.random(shape) < 0.3
    for explained_class in range(3):
        found = measure(
            predict_pattern,
            image,
            fill=fill,
            importance=importance,
            keep_mask=keep_mask,
            explained_class=explained_class,
            n_steps=n_steps,
            batch_size=batch_size,
        )
        expected = measure_slowly(image, fill, importance, keep_mask, explained_class, n_steps)
        np.testing.assert_allclose(astuple(found), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_rows", [1, 4, 10])
def test_brightness_of_a_region_in_closed_form(n_rows: int) -> None:
    # Of a white image on black, the probability grows straight until the region is back.
    image = np.full(SHAPE, 255, np.uint8)
    region = np.zeros(SHAPE, bool)
    region[10 - n_rows :] = True
    share = n_rows / 10
    predict = predict_brightness(region)
    found = measure(predict, image, importance=region, keep_mask=region)
    assert astuple(found) == pytest.approx((1 - share / 2, share / 2, 1))
    reversed_ = measure(predict, image, importance=-region.astype(float), keep_mask=~region)
    assert astuple(reversed_) == pytest.approx((share / 2, 1 - share / 2, 0))


def test_fill_and_half_a_region() -> None:
    image, fill = np.full((2, 4), 204, np.uint8), np.full((2, 4), 51, np.uint8)
    region = np.array([[True] * 4, [False] * 4])
    half = np.array([[True, False, True, False], [True, False, False, False]])
    found = measure(
        predict_brightness(region), image, fill=fill, importance=region, keep_mask=half, n_steps=2
    )
    # Insertion 0.2, 0.8, 0.8; deletion 0.8, 0.2, 0.2; half of what the region adds to the fill.
    assert astuple(found) == pytest.approx((0.65, 0.35, 0.3))


def test_ties_go_row_by_row() -> None:
    image = np.full(SHAPE, 255, np.uint8)
    top = np.zeros(SHAPE, bool)
    top[:5] = True
    flat = np.ones(SHAPE)
    assert measure(predict_brightness(top), image, importance=flat).insertion_auc == 0.75
    assert measure(predict_brightness(~top), image, importance=flat).insertion_auc == 0.25


def test_right_order_beats_the_reverse() -> None:
    rng = np.random.default_rng(0)
    image, fill = rng.integers(0, 256, (2, *SHAPE), dtype=np.uint8)
    gain = PATTERN * (image.astype(float) - fill)
    options = {"fill": fill, "explained_class": 0}
    right = measure(predict_pattern, image, importance=gain, keep_mask=gain > 0, **options)
    wrong = measure(predict_pattern, image, importance=-gain, keep_mask=gain < 0, **options)
    assert right.insertion_auc > wrong.insertion_auc + 0.1
    assert right.deletion_auc < wrong.deletion_auc - 0.1
    assert right.drop > wrong.drop


def test_only_the_order_of_importances_counts() -> None:
    image = np.random.default_rng(1).integers(0, 256, SHAPE, dtype=np.uint8)
    importance = np.random.default_rng(2).normal(size=SHAPE)
    one = measure(predict_pattern, image, importance=importance)
    assert measure(predict_pattern, image, importance=np.exp(importance) * 1e-3) == one
    assert measure(predict_pattern, image, importance=importance.round()) != one


def test_empty_and_full_keep_mask() -> None:
    image = np.random.default_rng(3).integers(0, 256, SHAPE, dtype=np.uint8)
    everything = np.ones(SHAPE, bool)
    predict = predict_brightness(everything)
    assert measure(predict, image, keep_mask=~everything).drop == 0
    assert measure(predict, image, keep_mask=everything).drop == pytest.approx(image.mean() / 255)
    bright = measure(predict, 255 - np.zeros_like(image), keep_mask=everything)
    assert bright.drop == 1
    dark = np.zeros_like(image)
    assert measure(predict, dark, fill=dark + 255, keep_mask=everything).drop == -1


def test_equal_images_are_classified_once_in_whole_batches() -> None:
    seen: list[torch.Tensor] = []

    def predict(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return predict_pattern(images)

    image = np.random.default_rng(4).integers(1, 256, SHAPE, dtype=np.uint8)
    keep_mask = np.random.default_rng(5).random(SHAPE) < 0.5
    measure(predict, image, keep_mask=keep_mask)
    assert [len(batch) for batch in seen] == [8, 8, 5]
    assert len(torch.cat(seen).unique(dim=0)) == 21


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("row", [0, 3, -1])
def test_probabilities_that_are_no_numbers_are_refused(value: float, row: int) -> None:
    def predict(images: torch.Tensor) -> torch.Tensor:
        found = predict_pattern(images)
        found[row, 1] = value
        return found

    with pytest.raises(ValueError, match="finite logits, but the classifier gave NaN"):
        measure(predict, np.ones(SHAPE, np.uint8))


def _refuse_to_predict(images: torch.Tensor) -> torch.Tensor:
    raise AssertionError("must not be called")


@pytest.mark.parametrize("name", ["fill", "importance", "keep_mask"])
def test_other_shapes_are_refused(name: str) -> None:
    wrong = {name: np.zeros((10, 11), np.uint8)}
    said = rf"{name.replace('_', '-')} of shape \(10, 12\), but got \(10, 11\)"
    with pytest.raises(ValueError, match=said):
        measure(_refuse_to_predict, np.ones(SHAPE, np.uint8), **wrong)


def test_no_steps_and_no_order_are_refused() -> None:
    image = np.ones(SHAPE, np.uint8)
    with pytest.raises(ValueError, match="at least 1 step, but got 0"):
        measure(_refuse_to_predict, image, n_steps=0)
    with pytest.raises(ValueError, match="got NaN"):
        measure(_refuse_to_predict, image, importance=np.full(SHAPE, np.nan))


@pytest.mark.parametrize("broken", ["logits", "importances"])
def test_what_cannot_be_measured_keeps_its_masks_and_says_so(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure_or_break(
        classifier: LoadedClassifier, image: Any, fill: Any, found: Explanation, **options: Any
    ) -> Faithfulness:
        run = classifier.compute_logits
        calls.append(1)
        if len(calls) == 3 and broken == "logits":
            classifier = replace(classifier, compute_logits=lambda images: run(images) * np.nan)
        elif len(calls) == 3:
            found = replace(found, importance=found.importance * np.nan)
        return measure_faithfulness(classifier, image, fill, found, **options)

    calls: list[int] = []
    monkeypatch.setattr(actor, "measure_faithfulness", measure_or_break)
    store(tmp_path / "0.safetensors")
    write_phantom_pixels(tmp_path / "pixels.parquet", 4)
    ids = frozenset("01")
    options = {"kinds": ("gradcam",), "wanted": ids, "faithfulness_ids": ids}
    usual, other = (
        make_explainable(tmp_path, 0, masks=tmp_path / name, faithfulness=beside, **options)
        for name, beside in (("usual", tmp_path / "a"), ("other", tmp_path / "b"))
    )
    job = plan_job(
        [usual, other], LimeSettings(), n_classes=2, image_size=ImageSize.square(SIZE_PX)
    )
    file = np.array([str(tmp_path / "pixels.parquet")])
    slices = {"file": file, "start": np.array([0]), "stop": np.array([2])}
    list(actor.ExplainingActor(job)(slices))

    first, second = read_masks(usual.masks)
    noted = {"note": "; ".join(filter(None, [first["note"], UNMEASURED]))}
    assert read_masks(other.masks) == [first | noted, second]
    figures = [read_parts(one.faithfulness, FAITHFULNESS).to_pylist() for one in (usual, other)]
    assert figures[1] == figures[0][1:] != []
