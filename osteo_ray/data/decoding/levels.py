"""Scale pixel values of any type to 8 or 16 bits."""

from collections.abc import Iterator

import numpy as np

from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.pixels import Bits, find_white, type_of_bits

_ROWS_AT_A_TIME = 256


def split_rows(height: int) -> Iterator[slice]:
    """Split rows into blocks, so that work on a large image needs little extra memory.

    Example:
        >>> list(split_rows(300))
        [slice(0, 256, None), slice(256, 300, None)]
    """
    for start in range(0, height, _ROWS_AT_A_TIME):
        yield slice(start, min(start + _ROWS_AT_A_TIME, height))


def stretch_levels(values: np.ndarray, low: float, high: float, bits: Bits = 8) -> np.ndarray:
    """Scale low..high to black..white and clip what lies outside; if both are equal, all is black.

    Args:
        values: Numbers of any type, with at least one axis.
        low: The value that becomes 0; finite, in the unit of the values.
        high: The value that becomes white; finite, at least `low`.
        bits: Of the result; white is 255 or 65,535.

    Returns:
        uint8 or uint16, the shape of the values.
    """
    levels = np.zeros(values.shape, type_of_bits(bits))
    white = find_white(levels)
    # Work with halves: the full range of the largest floats exceeds what a float can hold.
    reach = high / 2 - low / 2
    for rows in split_rows(len(values) if reach > 0 else 0):
        clipped = np.clip(values[rows].astype(np.float64), low, high)
        levels[rows] = np.round((clipped / 2 - low / 2) / reach * white)
    return levels


def stretch_range(values: np.ndarray, bits: Bits = 8) -> np.ndarray:
    """Scale values from their own range to black..white.

    Args:
        values: Numbers of any type, with at least one axis.
        bits: Of the result; white is 255 or 65,535.

    Returns:
        uint8 or uint16, the shape of the values.

    Raises:
        UnreadableImageError: A value is not a finite number.
    """
    low, high = float(values.min()), float(values.max())
    require_finite(np.array([low, high]))  # both are NaN if any value is
    return stretch_levels(values, low, high, bits)


def require_finite(values: np.ndarray) -> None:
    """Refuse values among which one is NaN or infinite.

    Raises:
        UnreadableImageError: A value is not a finite number.
    """
    if not np.isfinite(values).all():
        raise UnreadableImageError("some pixels are not finite numbers")
