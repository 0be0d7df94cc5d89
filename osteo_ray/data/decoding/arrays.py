"""Turn an array, such as one of an NPZ archive, into a grayscale image."""

import numpy as np

from osteo_ray.data.decoding.grays import mix_channels
from osteo_ray.data.decoding.refusals import check_size, refuse_errors
from osteo_ray.data.decoding.result import Decoded, UnreadableImageError
from osteo_ray.data.pixels import Bits


def convert_array(array: np.ndarray, bits: Bits = 8) -> Decoded:
    """Convert an array to grayscale.

    Values of uint8 stay as they are, and truth values become black and white; all other types are
    scaled from their own range to black..white. Three channels are red, green and blue, and a
    fourth is the opacity; `mix_channels` says at which value it is full.

    Args:
        array: Truth values, integers or floats; (height, width), or (height, width, channels)
            with 1, 3 or 4 channels.
        bits: Of the gray values.

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
        opacity = planes[..., 3] if channels == 4 else None
        pixels = mix_channels(planes[..., : min(channels, 3)], opacity, bits)
        return Decoded(np.ascontiguousarray(pixels), "ARRAY", f"{array.dtype}x{channels}")
