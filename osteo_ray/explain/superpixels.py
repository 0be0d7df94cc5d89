"""Superpixels: the pieces of an image that LIME switches on and off."""

import math
from collections.abc import Callable

import numpy as np
from skimage.segmentation import felzenszwalb, slic

from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.pixels import show_8_bits
from osteo_ray.explain.quickshift import divide_by_quickshift
from osteo_ray.explain.settings import LimeSettings, Superpixels


def find_superpixels(image: np.ndarray, settings: LimeSettings) -> np.ndarray:
    """Divide an image into superpixels; by default by quickshift, as `lime` 0.2.0.1 does.

    Args:
        image: uint8 or uint16, (height, width); the latter is divided as it looks in 8 bits.
        settings: The algorithm (`superpixels`) and its parameters.

    Returns:
        int64, (height, width); the superpixel of each pixel, numbered from 0 without gaps.

    Raises:
        ValueError: All pixels are equal, so that rounding alone would decide where to divide.
    """
    image = show_8_bits(image)
    if image.min() == image.max():
        raise ValueError("Expected an image that shows something, but all its pixels are equal.")
    segments = _ALGORITHMS[settings.superpixels](image, settings)
    return np.unique(segments, return_inverse=True)[1].reshape(image.shape)


def _by_quickshift(image: np.ndarray, settings: LimeSettings) -> np.ndarray:
    return divide_by_quickshift(image, **settings.scale_quickshift(ImageSize(*image.shape)))


def _by_slic(image: np.ndarray, settings: LimeSettings) -> np.ndarray:
    segments: np.ndarray = slic(
        image, n_segments=settings.n_superpixels, compactness=_COMPACTNESS, channel_axis=None
    )
    return segments


def _by_felzenszwalb(image: np.ndarray, settings: LimeSettings) -> np.ndarray:
    # The algorithm makes pieces of any size; the smallest allowed size limits their number. To
    # scale the other two with the image changes their number more: 8 to 65 of 50, not 12 to 27.
    smallest = image.size // (4 * settings.n_superpixels)
    segments: np.ndarray = felzenszwalb(
        image, scale=_SCALE, sigma=_SIGMA, min_size=max(smallest, 1)
    )
    return segments


def _by_grid(image: np.ndarray, settings: LimeSettings) -> np.ndarray:
    height, width = image.shape
    rows = max(1, round(math.sqrt(settings.n_superpixels * height / width)))
    columns = max(1, round(settings.n_superpixels / rows))
    row = np.arange(height) * rows // height
    column = np.arange(width) * columns // width
    return np.asarray(row[:, None] * columns + column)


_COMPACTNESS = 0.1  # for SLIC, on gray values in [0, 1]
_SCALE, _SIGMA = 100.0, 0.8  # for the algorithm of Felzenszwalb and Huttenlocher

_ALGORITHMS: dict[Superpixels, Callable[[np.ndarray, LimeSettings], np.ndarray]] = {
    "quickshift": _by_quickshift,
    "slic": _by_slic,
    "felzenszwalb": _by_felzenszwalb,
    "grid": _by_grid,
}
