"""Turn an array, such as one of an NPZ archive, into a grayscale image."""

import numpy as np
from PIL import Image

from osteo_ray.data.decoding.images import to_grayscale
from osteo_ray.data.decoding.levels import stretch_levels, stretch_range
from osteo_ray.data.decoding.refusals import check_size, refuse_errors
from osteo_ray.data.decoding.result import Decoded, UnreadableImageError


def convert_array(array: np.ndarray) -> Decoded:
    """Convert an array to 8-bit grayscale.

    Values of uint8 stay as they are, and truth values become black and white; all other types are
    scaled from their own range to 0..255. Three channels are red, green and blue. A fourth is the
    opacity, which is full at the largest value of uint8 and uint16, and at 1 for floats.

    Args:
        array: Truth values, integers or floats; (height, width), or (height, width, channels)
            with 1, 3 or 4 channels.

    Raises:
        UnreadableImageError: The array has another type or shape or a size that no radiograph has,
            or some of its pixels are not finite numbers.

    Example:
        >>> found = convert_array(np.arange(0, 6400, 100, dtype=np.uint16).reshape(8, 8))
        >>> found.mode, int(found.pixels.min()), int(found.pixels.max())
        ('uint16x1', 0, 255)
    """
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif":
        kind = getattr(array, "dtype", type(array).__name__)
        raise UnreadableImageError(f"an array of {kind}; expected numbers")
    shape = " × ".join(map(str, array.shape))
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))):
        raise UnreadableImageError(f"an array of shape ({shape}); expected one image")
    check_size(array.shape[1], array.shape[0])
    channels = array.shape[2] if array.ndim == 3 else 1
    with refuse_errors():
        planes = np.asarray(array).reshape(*array.shape[:2], channels)
        colours = _scale_array(planes[..., : min(channels, 3)])
        if channels == 4:
            opacity = _scale_opacity(planes[..., 3])
            gray = np.dstack([colours, opacity])
            pixels = to_grayscale(Image.fromarray(gray, "RGBA"))
        elif channels == 3:
            pixels = to_grayscale(Image.fromarray(colours, "RGB"))
        else:
            pixels = colours[..., 0]
        return Decoded(np.ascontiguousarray(pixels), "ARRAY", f"{array.dtype}x{channels}")


def _scale_array(values: np.ndarray) -> np.ndarray:
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    return stretch_range(values)


def _scale_opacity(opacity: np.ndarray) -> np.ndarray:
    """Return uint8, where 255 is opaque."""
    if opacity.dtype == np.uint8:
        return opacity
    if opacity.dtype.kind in "bf":
        full = 1.0
    elif opacity.dtype == np.uint16:
        full = 65_535.0
    else:
        raise UnreadableImageError(f"opacity as {opacity.dtype}; expected uint8, uint16 or floats")
    if not (opacity.min() >= 0 and opacity.max() <= full):  # also refuses NaN
        raise UnreadableImageError("opacity outside 0 to 1")
    return stretch_levels(opacity, 0, full)
