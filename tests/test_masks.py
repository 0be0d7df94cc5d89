"""Polarity, packing and views of keep-masks; masks of a wanted area, random or most important."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.imputation import impute
from osteo_ray.data.masks import (
    apply_view,
    cover_area,
    keep_most,
    make_background,
    order_pixels,
    pack_mask,
    unpack_mask,
)
from osteo_ray.data.packed_masks import PackedMasks, change_masks


@pytest.mark.parametrize("size_px", [1, 2, 3, 5, 7, 8, 13, 31, 64])
def test_packing_can_be_undone(size_px: int) -> None:
    mask = np.random.default_rng(size_px).random((size_px, size_px)) < 0.4
    packed = pack_mask(mask)
    found = unpack_mask(packed, ImageSize.square(size_px))
    assert found.dtype == bool
    assert len(packed) == -(-(size_px**2) // 8)
    np.testing.assert_array_equal(found, mask)


def test_kept_pixels_are_ones_row_by_row() -> None:
    mask = np.array([[True, True, False], [False, False, False], [False, False, True]])
    assert pack_mask(mask) == bytes([0b11000000, 0b10000000])
    np.testing.assert_array_equal(
        unpack_mask(bytes([0b11000000, 0b10000000]), ImageSize.square(3)), mask
    )


@pytest.mark.parametrize("n_bytes", [0, 7, 9])
def test_bytes_of_another_size_are_refused(n_bytes: int) -> None:
    with pytest.raises(ValueError, match=f"Expected 8 bytes .* 8×8, but got {n_bytes}"):
        unpack_mask(bytes(n_bytes), ImageSize.square(8))


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((3, 1, 5, 6), np.float32) + 0.01)


@pytest.fixture(scope="module")
def keep_masks() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).random((3, 1, 5, 6)) < 0.5)


def test_polarity() -> None:
    image = torch.tensor([[[[0.25, 0.75]]]])
    keep = torch.tensor([[[[True, False]]]])
    assert apply_view(image, keep, "masked").tolist() == [[[[0.25, 0.0]]]]
    assert apply_view(image, keep, "silhouette").tolist() == [[[[1.0, 0.0]]]]


def test_views_equal_numpy(images: torch.Tensor, keep_masks: torch.Tensor) -> None:
    expected = {
        "image": images.numpy(),
        "masked": np.where(keep_masks.numpy(), images.numpy(), 0),
        "silhouette": keep_masks.numpy().astype(np.float32),
    }
    for view, pixels in expected.items():
        found = apply_view(images, keep_masks, view)  # type: ignore[arg-type]
        assert found.dtype == torch.float32
        np.testing.assert_array_equal(found.numpy(), pixels)


def test_whole_image_needs_no_masks(images: torch.Tensor) -> None:
    assert torch.equal(apply_view(images, None, "image"), images)


@pytest.mark.parametrize("view", ["masked", "silhouette"])
def test_masks_that_are_missing_or_of_another_shape_are_refused(
    images: torch.Tensor, keep_masks: torch.Tensor, view
) -> None:
    with pytest.raises(ValueError, match="but got none"):
        apply_view(images, None, view)
    for wrong in (keep_masks[:, 0], keep_masks[:2], keep_masks[..., :5]):
        with pytest.raises(ValueError, match=r"Expected keep-masks of shape \(3, 1, 5, 6\)"):
            apply_view(images, wrong, view)


def _draw_segments(rng: np.random.Generator) -> np.ndarray:
    """Draw a segmentation by nearest centres, numbered without gaps."""
    height, width, n = rng.integers(4, 40), rng.integers(4, 40), rng.integers(1, 15)
    centres = rng.random((n, 2)) * (height, width)
    row, column = np.mgrid[:height, :width]
    distance = (row[..., None] - centres[:, 0]) ** 2 + (column[..., None] - centres[:, 1]) ** 2
    return np.unique(distance.argmin(-1), return_inverse=True)[1].reshape(height, width)


@pytest.mark.parametrize("seed", range(60))
def test_area_is_exact_and_all_superpixels_but_one_are_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    segments = _draw_segments(rng)
    area = int(rng.integers(0, segments.size + 1))
    mask = cover_area(segments, area, rng)
    assert mask.dtype == bool
    assert mask.shape == segments.shape
    assert mask.sum() == area
    shares = np.bincount(segments.ravel(), mask.ravel()) / np.bincount(segments.ravel())
    cut = np.flatnonzero((shares > 0) & (shares < 1))
    assert len(cut) <= 1
    for number in cut:  # kept from its top down
        inside = mask.ravel()[segments.ravel() == number]
        assert (np.diff(inside.astype(int)) <= 0).all()


def test_whole_superpixels_are_kept_where_they_fit_exactly() -> None:
    segments = np.repeat(np.arange(4), 6).reshape(4, 6)
    for seed in range(20):
        mask = cover_area(segments, 12, np.random.default_rng(seed))
        assert sorted(mask.sum(1)) == [0, 0, 6, 6]


def test_same_generator_same_mask_and_chance_reaches_every_superpixel() -> None:
    segments = np.repeat(np.arange(8), 4).reshape(8, 4)
    masks = [cover_area(segments, 4, np.random.default_rng(seed)) for seed in range(80)]
    again = [cover_area(segments, 4, np.random.default_rng(seed)) for seed in range(80)]
    np.testing.assert_array_equal(masks, again)
    counts = np.sum(masks, axis=0)[:, 0]
    assert counts.sum() == 80
    assert counts.min() >= 3  # ten each is expected


def test_no_area_and_all_of_it() -> None:
    segments = np.arange(6).reshape(2, 3)
    rng = np.random.default_rng(0)
    assert not cover_area(segments, 0, rng).any()
    assert cover_area(segments, 6, rng).all()


@pytest.mark.parametrize("area", [-1, 7])
def test_impossible_area_is_refused(area: int) -> None:
    with pytest.raises(ValueError, match=rf"0 \.\. 6 pixels, but got {area}"):
        cover_area(np.arange(6).reshape(2, 3), area, np.random.default_rng(0))


@st.composite
def _draw_importance(draw: st.DrawFn) -> np.ndarray:
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    # Few values, so that there are ties; with zeros of both signs and what has no end.
    number = st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 0.25, 2.0, np.inf])
    values = draw(st.lists(number, min_size=height * width, max_size=height * width))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return np.array(values, dtype).reshape(height, width)


@settings(max_examples=80)
@given(_draw_importance(), st.data())
def test_most_important_pixels_by_brute_force(importance: np.ndarray, data: st.DataObject) -> None:
    area = data.draw(st.integers(0, importance.size))
    left = list(np.ndindex(importance.shape))  # row-major
    expected = np.zeros(importance.shape, bool)
    for _ in range(area):  # the first of the largest that are left
        best = max(left, key=lambda place: importance[place])
        expected[best] = True
        left.remove(best)
    found = keep_most(importance, area)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", [(1, 1), (40, 50), (300, 300)])
@pytest.mark.parametrize("digits", [0, 2, 17])
def test_pixels_are_ordered_as_by_a_stable_sort(shape: tuple[int, int], digits: int) -> None:
    importance = np.random.default_rng(0).normal(size=shape).round(digits)
    importance[0, 0], importance[-1, -1] = -0.0, np.inf
    for values in (importance, importance.astype(np.float16)):
        rows = np.lexsort((np.arange(values.size), -values.ravel()))
        assert order_pixels(values).tolist() == rows.tolist()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
def test_masks_and_whole_numbers_are_importances_too(dtype: type) -> None:
    importance = np.array([[0, 1], [1, 0]], dtype)
    assert order_pixels(importance).tolist() == [1, 2, 0, 3]
    assert keep_most(importance, 3).tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize("area", [-1, 7])
def test_impossible_area_of_importance_is_refused(area: int) -> None:
    with pytest.raises(ValueError, match=rf"0 \.\. 6 pixels, but got {area}"):
        keep_most(np.zeros((2, 3)), area)


def test_importance_without_an_order_is_refused() -> None:
    importance = np.array([[0.1, np.nan], [0.3, 0.2]])
    for area in (0, 2, 4):
        with pytest.raises(ValueError, match="can be ordered, but got NaN"):
            keep_most(importance, area)


# Masks of controls

PARTS = np.array(["train", "train", "train", "test", "test", ""])


def _draw_masks() -> np.ndarray:
    return np.random.default_rng(0).random((len(PARTS), 6, 8)) < 0.4


def change(masks: np.ndarray, how: str, split: np.ndarray) -> np.ndarray:
    packed = PackedMasks.pack(masks)
    before = packed.bits.copy()
    changed = change_masks(packed, how, split, np.random.default_rng(0))
    np.testing.assert_array_equal(packed.bits, before)
    return changed[:]


def test_packed_masks_are_an_array_of_bools() -> None:
    masks = _draw_masks()
    packed = PackedMasks.pack(masks)
    assert packed.shape == masks.shape
    assert len(packed) == len(masks)
    np.testing.assert_array_equal(packed, masks)
    np.testing.assert_array_equal(np.stack(list(packed)), masks)
    rows = np.array([3, 0, 3])
    for one in (2, -1, rows, slice(1, 4), np.arange(6) > 2, rows[:0]):
        np.testing.assert_array_equal(packed[one], masks[one])
        assert packed[one].dtype == bool
    assert [mask.tobytes() for mask in packed.bits] == [pack_mask(mask) for mask in masks]
    np.testing.assert_array_equal(packed.select(rows), masks[rows])
    np.testing.assert_array_equal(packed.areas_px, masks.sum((1, 2)))
    np.testing.assert_array_equal(packed.sum_pixels(rows), masks[rows].sum(0))
    changed = packed.put(np.array([1, 4]), masks[[0, 0]])
    np.testing.assert_array_equal(changed, masks[[0, 0, 2, 3, 0, 5]])
    np.testing.assert_array_equal(packed, masks)
    assert PackedMasks.whole(3, ImageSize.square(5))[:].all()
    assert PackedMasks.whole(3, ImageSize.square(5)).areas_px.tolist() == [25, 25, 25]


def test_pixels_of_many_masks_are_counted() -> None:
    masks = np.random.default_rng(1).random((600, 3, 5)) < 0.3
    counted = PackedMasks.pack(masks).sum_pixels(np.arange(600))
    np.testing.assert_array_equal(counted, masks.sum(0))


def test_complement_keeps_what_was_removed_and_nothing_else() -> None:
    masks = _draw_masks()
    changed = change(masks, "complement", PARTS)
    assert (changed[:-1] ^ masks[:-1]).all()
    assert (changed[-1] == masks[-1]).all()  # set aside


def test_other_image_lends_its_mask_within_a_part() -> None:
    masks = _draw_masks()
    changed = change(masks, "other_image", PARTS)
    whose = [[(mask == other).all() for other in masks].index(True) for mask in changed]
    assert sorted(whose) == list(range(len(PARTS)))
    assert all(number != own for own, number in enumerate(whose[:-1]))
    assert [PARTS[number] for number in whose] == PARTS.tolist()
    again = change(masks, "other_image", PARTS)
    assert (again == changed).all()


def test_mean_and_centre_are_one_mask_of_the_area_of_training_masks() -> None:
    masks = _draw_masks()
    area = round(masks[:3].sum((1, 2)).mean())
    for how in ("mean", "centre"):
        changed = change(masks, how, PARTS)
        assert (changed[:-1] == changed[0]).all()
        assert changed[0].sum() == area
    often = masks[:3].sum(0)
    mean = change(masks, "mean", PARTS)[0]
    assert often[mean].min() >= often[~mean].max()
    blank = np.zeros((4, 8, 8), bool)
    blank[:, :4, :4] = True
    middle = change(blank, "centre", np.full(4, "train"))[0]
    assert np.argwhere(middle).min() == 2
    assert np.argwhere(middle).max() == 5


def test_masks_stay_as_they_are_or_the_change_is_unknown() -> None:
    masks = _draw_masks()
    packed = PackedMasks.pack(masks)
    assert change_masks(packed, "none", PARTS, np.random.default_rng(0)) is packed
    with pytest.raises(ValueError, match="got `upside_down`"):
        change(masks, "upside_down", PARTS)


def test_background_stands_where_nothing_is_kept() -> None:
    image = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    keep = np.zeros(image.shape, bool)
    keep[:4] = True
    assert (make_background(image, "black", keep) == 0).all()
    assert (make_background(image, "mean", keep) == round(image.mean())).all()
    np.testing.assert_array_equal(make_background(image, "imputed", keep), impute(image, keep))
    blurred = make_background(image, "blur", keep)
    assert blurred.shape == image.shape
    assert not (blurred == image).all()
    keep = _draw_masks()[0]
    tensors = [torch.from_numpy(part)[None, None] for part in (image / 255, keep, blurred / 255)]
    found = apply_view(tensors[0].float(), tensors[1], "masked", tensors[2].float())
    np.testing.assert_allclose(found[0, 0], np.where(keep, image, blurred) / 255, atol=1e-6)
