"""Mix the channels of an image into gray."""

import numpy as np
from PIL import Image

from osteo_ray.data.decoding.levels import stretch_levels, stretch_range
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.pixels import Bits, widen

DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes with more than 8 bits, which its conversion to 8 bits would clip, not scale."""
_LUMINANCE = (19_595, 38_470, 7_471)
"""Weights of red, green and blue in 65,536 parts, as Pillow has them."""


def to_grayscale(image: Image.Image, bits: Bits = 8) -> np.ndarray:
    """Convert to gray of 8 or 16 bits; returns uint8 or uint16, (height, width).

    Raises:
        UnreadableImageError: A pixel is not a finite number.
    """
    if image.mode in DEEP_MODES:
        values = np.asarray(image)
        levels = stretch_range(values, bits)
        see_through = image.info.get("transparency")  # the gray of transparent pixels
        if see_through is not None:
            levels[values == see_through] = 0
        return levels
    if image.mode == "LAB":  # Pillow has no direct conversion to gray
        image = image.convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    gray = np.asarray(image if image.mode == "L" else image.convert("L"))  # either way a copy
    return widen(gray, bits)


def mix_channels(colours: np.ndarray, opacity: np.ndarray | None, bits: Bits = 8) -> np.ndarray:
    """Convert numbers of any type to gray, (height, width), transparent pixels on black.

    Values of uint8 stay as they are, up to the scale of the result; all others are scaled from the
    range that they share over all channels.

    Args:
        colours: Truth values, integers or floats; (height, width, 1) for gray, or (height, width,
            3) for red, green and blue.
        opacity: (height, width), or None if all is opaque. Full opacity is 255 for uint8, 1 for
            truth values and floats, and the largest value present for unsigned integers of more
            bits, as many of their files hold fewer bits than they have room for.
        bits: Of the result, which is uint8 or uint16.

    Raises:
        UnreadableImageError: A pixel is not a finite number, or opacity has a type or a value that
            means nothing.
    """
    levels = colours if colours.dtype == np.uint8 else stretch_range(colours, bits)
    levels = np.ascontiguousarray(levels)
    deep = levels.dtype == np.uint16
    if opacity is not None and deep:
        gray = mix_luminance(levels).astype(np.uint32)
        shown = (gray * _scale_opacity(opacity, bits) + 32_767) // 65_535
        return np.asarray(shown, np.uint16)
    if opacity is not None:
        alpha = _scale_opacity(opacity)
        three = np.broadcast_to(levels, (*levels.shape[:2], 3))
        return to_grayscale(Image.fromarray(np.dstack([three, alpha]), "RGBA"), bits)
    return mix_luminance(levels) if deep else widen(mix_luminance(levels), bits)


def mix_luminance(colours: np.ndarray) -> np.ndarray:
    """Return the luminance (ITU-R 601) of colors.

    Args:
        colours: uint8 or uint16, (height, width, 1) for gray, or (height, width, 3).

    Returns:
        The type of the colors, (height, width).
    """
    if colours.shape[2] == 1:
        return colours[..., 0]
    if colours.dtype == np.uint8:
        return to_grayscale(Image.fromarray(np.ascontiguousarray(colours), "RGB"))
    mixed = np.zeros(colours.shape[:2], np.uint32) + 2**15  # no sum exceeds 32 bits
    for channel, weight in enumerate(_LUMINANCE):
        mixed += weight * colours[..., channel].astype(np.uint32)
    return (mixed >> 16).astype(np.uint16)


def _scale_opacity(opacity: np.ndarray, bits: Bits = 8) -> np.ndarray:
    """Return uint8 or uint16, where the largest value is opaque."""
    if opacity.dtype == np.uint8:
        return widen(opacity, bits)
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
    return stretch_levels(opacity, 0, full, bits)
