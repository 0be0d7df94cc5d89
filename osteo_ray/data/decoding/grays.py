"""Mix the channels of an image into gray."""

import numpy as np
from PIL import Image

from osteo_ray.data.decoding.levels import stretch_levels, stretch_range
from osteo_ray.data.decoding.result import UnreadableImageError

DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes with more than 8 bits, which its conversion to 8 bits would clip, not scale."""


def to_grayscale(image: Image.Image) -> np.ndarray:
    """Convert to gray; returns uint8, (height, width).

    Raises:
        UnreadableImageError: A pixel is not a finite number.
    """
    if image.mode in DEEP_MODES:
        return stretch_range(np.asarray(image))
    if image.mode == "LAB":  # Pillow has no direct conversion to gray
        image = image.convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.asarray(image if image.mode == "L" else image.convert("L"))  # either way a copy


def mix_channels(colours: np.ndarray, opacity: np.ndarray | None) -> np.ndarray:
    """Convert numbers of any type to gray: uint8, (height, width), transparent pixels on black.

    Values of uint8 stay as they are; all others are scaled from the range that they share over all
    channels.

    Args:
        colours: Truth values, integers or floats; (height, width, 1) for gray, or (height, width,
            3) for red, green and blue.
        opacity: (height, width), or None if all is opaque. Full opacity is 255 for uint8, 1 for
            truth values and floats, and the largest value present for unsigned integers of more
            bits, as many of their files hold fewer bits than they have room for.

    Raises:
        UnreadableImageError: A pixel is not a finite number, or opacity has a type or a value that
            means nothing.
    """
    levels = colours if colours.dtype == np.uint8 else stretch_range(colours)
    levels = np.ascontiguousarray(levels)
    if opacity is not None:
        alpha = _scale_opacity(opacity)
        three = np.broadcast_to(levels, (*levels.shape[:2], 3))
        return to_grayscale(Image.fromarray(np.dstack([three, alpha]), "RGBA"))
    if levels.shape[2] == 3:
        return to_grayscale(Image.fromarray(levels, "RGB"))
    return levels[..., 0]


def _scale_opacity(opacity: np.ndarray) -> np.ndarray:
    """Return uint8, where 255 is opaque."""
    if opacity.dtype == np.uint8:
        return opacity
    if opacity.dtype.kind in "bf":
        full = 1.0
    elif opacity.dtype.kind == "u":
        full = float(opacity.max()) or 1.0
    else:
        raise UnreadableImageError(
            f"opacity as {opacity.dtype}; expected unsigned integers or floats"
        )
    if not (opacity.min() >= 0 and opacity.max() <= full):  # also refuses NaN
        raise UnreadableImageError("opacity outside 0 to 1")
    return stretch_levels(opacity, 0, full)
