"""Refuse unusable images, each with a reason of one short line."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageFile

from osteo_ray.data.decoding.result import UnreadableImageError

MIN_SIDE_PX = 8
MAX_SIDE_PX = 20_000
MAX_ASPECT = 50
MAX_PIXELS = 89_478_485
"""Pillow's own limit, which is a quarter of a gibibyte at three bytes per pixel."""

BOMB = "too many pixels (decompression bomb?)"
_SILENT = logging.CRITICAL + 1
_LOGGERS = tuple(logging.getLogger(name) for name in ("PIL", "pydicom"))
_EXPLANATIONS = (  # for the first of these words that a decoder's message contains
    ("decompressed data too large", "text or colour profile too large (decompression bomb?)"),
    ("too much memory used for text", "text or colour profile too large (decompression bomb?)"),
    ("truncated", "truncated file"),
    ("only got", "truncated file"),
    ("not enough image data", "truncated file"),
    ("decoder error", "damaged or truncated pixels"),
    ("broken data stream", "damaged or truncated pixels"),
    ("could not create decoder object", "damaged or truncated pixels"),
    ("failed to read next frame", "damaged or truncated pixels"),
    ("cannot load this image", "damaged or truncated pixels"),
)


def check_size(width: int, height: int) -> None:
    """Refuse a size, in pixels, that no radiograph has, before memory is allocated for it.

    Raises:
        UnreadableImageError: A side is too short or too long, the image is too narrow, or it has
            too many pixels.
    """
    size, sides = f"{width} × {height} px", sorted((width, height))
    if sides[0] < MIN_SIDE_PX:
        raise UnreadableImageError(f"too small: {size}; expected sides of {MIN_SIDE_PX} px or more")
    if sides[1] > MAX_SIDE_PX:
        raise UnreadableImageError(f"too large: {size}; expected sides of {MAX_SIDE_PX} px or less")
    if sides[1] > MAX_ASPECT * sides[0]:
        raise UnreadableImageError(f"too narrow: {size}; expected at most {MAX_ASPECT} to 1")
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(BOMB)


@contextmanager
def refuse_errors(hide_details: bool = False) -> Iterator[None]:
    """Turn any error in the block into an `UnreadableImageError`; silence warnings and logs.

    Decoders answer damaged files with nearly every kind of exception.

    Args:
        hide_details: Whether to keep the decoder's own words, which may quote the file, out of the
            reason.
    """
    try:
        with _quiet():
            yield
    except UnreadableImageError:
        raise
    except UnicodeError:
        raise UnreadableImageError("cannot be decoded: text in an invalid encoding") from None
    except MemoryError:
        raise UnreadableImageError("decoding needs more memory than is available") from None
    except Exception as error:
        raise UnreadableImageError(_explain(error, hide_details)) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the decoders' warnings and logs, and have Pillow refuse files that are cut short."""
    for logger in _LOGGERS:
        if logger.level != _SILENT:  # set once, as setting it each time costs more than decoding
            logger.setLevel(_SILENT)
    lenient = ImageFile.LOAD_TRUNCATED_IMAGES  # another package may have set it
    try:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def _explain(error: Exception, hide_details: bool) -> str:
    """Return a reason of one short line."""
    if isinstance(error, Image.DecompressionBombError):
        return BOMB
    words = " ".join((getattr(error, "strerror", None) or str(error)).split())
    for pattern, reason in _EXPLANATIONS:
        if pattern in words.lower():
            return reason
    if hide_details or not words or not words.isprintable():
        return f"damaged file ({type(error).__name__})"
    return f"cannot be decoded: {words[:100]}"
