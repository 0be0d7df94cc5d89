"""Kinds of superpixels, and images that have none."""

from typing import get_args

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from osteo_ray.data.image_size import ImageSize
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


def test_quickshift_is_that_of_the_package_at_224_pixels_and_grows_with_the_image() -> None:
    lime = {"kernel_size": 4.0, "max_dist": 200.0, "ratio": 0.2}
    assert LimeSettings().scale_quickshift(ImageSize.square(224)) == lime
    doubled = {"kernel_size": 8.0, "max_dist": 400.0, "ratio": 0.4}
    assert LimeSettings().scale_quickshift(ImageSize.square(448)) == doubled
    assert LimeSettings(ratio=0.1).scale_quickshift(ImageSize.square(448)) == {
        **doubled,
        "ratio": 0.1,
    }
    assert LimeSettings().scale_quickshift(ImageSize.square(28))["kernel_size"] == 1
    assert LimeSettings().scale_quickshift(ImageSize.square(2240))["ratio"] == 1
    scaled = LimeSettings(top_k=3).scale_to(ImageSize.square(448))
    assert (scaled.top_k, scaled.kernel_size, scaled.max_dist, scaled.ratio) == (3, 8, 400, 0.4)
    assert scaled.scale_to(ImageSize.square(64)) == scaled  # what is given stays


def test_images_of_any_size_have_about_as_many_superpixels() -> None:
    phantoms = list(make_phantoms(PhantomSettings(n_images=4, size_px=256, duplicate_share=0.0)))
    counts = {}
    for size_px in (64, 128, 256):
        small = [
            np.asarray(Image.fromarray(one.image).resize((size_px, size_px), Image.Resampling.BOX))
            for one in phantoms
        ]
        counts[size_px] = [int(find_superpixels(one, LimeSettings()).max()) + 1 for one in small]
    means = {size_px: np.mean(found) for size_px, found in counts.items()}
    assert 0.6 < means[64] / means[256] < 1.6
    assert 0.6 < means[128] / means[256] < 1.6
    assert min(means.values()) > 10


@pytest.mark.parametrize("kind", ["grid", "slic"])
def test_more_superpixels_than_samples_are_refused_beforehand(kind: Superpixels) -> None:
    with pytest.raises(ValidationError, match="samples 50 and n_superpixels 50"):
        LimeSettings(superpixels=kind, n_superpixels=50, samples=50)
    LimeSettings(superpixels=kind, n_superpixels=50, samples=51)


@pytest.mark.parametrize("fill", [-1, 256, "gray"])
def test_fill_is_a_word_or_a_gray_value(fill: object) -> None:
    with pytest.raises(ValidationError, match="fill"):
        LimeSettings(fill=fill)  # type: ignore[arg-type]
