"""Our quickshift gives the labels of scikit-image's, which `lime` calls."""

import numpy as np
import pytest
from skimage.color import gray2rgb
from skimage.segmentation import quickshift

from osteo_ray.data.phantoms.sets import make_phantoms
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.explain.quickshift import divide_by_quickshift

RNG = np.random.default_rng(0)
DRAWN = {
    "noise": RNG.integers(0, 256, (48, 48), np.uint8),
    "dark noise, where colours are linear": RNG.integers(0, 6, (48, 48), np.uint8),
    "black but for one pixel": (np.arange(50 * 50) == 1260).reshape(50, 50).astype(np.uint8) * 255,
    "steps, all ties": np.repeat(np.arange(0, 240, 24, dtype=np.uint8), 5)[None].repeat(40, 0),
    "checkerboard": (np.indices((33, 47)).sum(0) % 2 * 200).astype(np.uint8),
    "smaller than the window": RNG.integers(0, 256, (3, 9), np.uint8),
}


def expect_equal(image: np.ndarray, kernel_size: float, max_dist: float, ratio: float) -> int:
    settings = {"kernel_size": kernel_size, "max_dist": max_dist, "ratio": ratio}
    found = divide_by_quickshift(image, **settings)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, quickshift(gray2rgb(image), **settings))
    return int(found.max()) + 1


@pytest.mark.parametrize("size_px", [64, 96, 128])
@pytest.mark.parametrize("kernel_size", [1.0, 4 / 3, 4.0])
def test_phantoms(size_px: int, kernel_size: float) -> None:
    settings = PhantomSettings(n_images=4, size_px=size_px, duplicate_share=0.0)
    for phantom in make_phantoms(settings):
        assert expect_equal(phantom.image, kernel_size, 200.0, 0.2) > 1


@pytest.mark.parametrize("image", DRAWN.values(), ids=DRAWN)
@pytest.mark.parametrize(
    ("kernel_size", "max_dist", "ratio"),
    [(4.0, 200.0, 0.2), (1.0, 200.0, 1.0), (2.5, 3.0, 0.0), (2.0, 1.0, 0.5), (1.5, 0.5, 0.2)],
)
def test_drawn_images(image: np.ndarray, kernel_size: float, max_dist: float, ratio: float) -> None:
    expect_equal(image, kernel_size, max_dist, ratio)


def test_window_that_is_wider_than_the_image_takes_no_longer() -> None:
    image = DRAWN["noise"][:12, :9]
    for kernel_size in (4.0, 10.0):
        expect_equal(image, kernel_size, 3.0, 0.2)
    labels = divide_by_quickshift(image, kernel_size=1e6, max_dist=200.0, ratio=0.2)
    assert labels.max() == 0


def test_pixels_farther_than_the_longest_way_stay_apart() -> None:
    image = DRAWN["noise"]
    assert expect_equal(image, 2.0, 0.5, 0.2) == image.size
    assert expect_equal(image, 2.0, 3.0, 0.2) > expect_equal(image, 2.0, 200.0, 0.2)
