"""Kinds of superpixels, and images that have none."""

from typing import get_args

import numpy as np
import pytest

from osteo_ray.data.phantoms.sets import make_phantoms
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.explain.settings import LimeSettings, Superpixels
from osteo_ray.explain.superpixels import find_superpixels

KINDS = get_args(Superpixels)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return next(
        iter(make_phantoms(PhantomSettings(n_images=4, size_px=96, duplicate_share=0.0)))
    ).image


@pytest.mark.parametrize("kind", KINDS)
def test_superpixels_cover_the_image_and_are_numbered_without_gaps(
    image: np.ndarray, kind: str
) -> None:
    segments = find_superpixels(image, LimeSettings(superpixels=kind, n_superpixels=20))
    assert segments.shape == image.shape
    assert segments.dtype == np.int64
    np.testing.assert_array_equal(np.unique(segments), np.arange(segments.max() + 1))
    assert 5 <= segments.max() + 1 <= 60
    again = find_superpixels(image, LimeSettings(superpixels=kind, n_superpixels=20))
    np.testing.assert_array_equal(segments, again)


@pytest.mark.parametrize("kind", ["slic", "felzenszwalb", "grid"])
def test_more_superpixels_are_found_where_more_are_wanted(image: np.ndarray, kind: str) -> None:
    few, many = (
        find_superpixels(image, LimeSettings(superpixels=kind, n_superpixels=wanted)).max()
        for wanted in (9, 80)
    )
    assert few < many


def test_grid_by_hand() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(4, 6)
    segments = find_superpixels(image, LimeSettings(superpixels="grid", n_superpixels=6))
    expected = [[0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2], [3, 3, 4, 4, 5, 5], [3, 3, 4, 4, 5, 5]]
    np.testing.assert_array_equal(segments, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_constant_image_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="all its pixels are equal"):
        find_superpixels(np.full((40, 40), 7, np.uint8), LimeSettings(superpixels=kind))


@pytest.mark.parametrize("kind", KINDS)
def test_image_smaller_than_a_superpixel_is_one_or_a_few(kind: str) -> None:
    image = np.array([[0, 9], [200, 255]], np.uint8)
    segments = find_superpixels(image, LimeSettings(superpixels=kind))
    assert segments.shape == (2, 2)
    assert segments.min() == 0
