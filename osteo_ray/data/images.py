"""Decode one file into a grayscale image."""

import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes of more than 8 bits; converting them to 8 bits would clip, not scale."""


class UnreadableImageError(Exception):
    """A file that holds no usable image; the message is the reason given in the rejects table."""


def read_image(path: Path) -> np.ndarray:
    """Read an image file as 8-bit grayscale, upright as its EXIF orientation says.

    Images of more than 8 bits are scaled from their own range to 0..255; transparency is laid on
    black; of an animation, the first frame is read.

    Returns:
        uint8, (height, width).

    Raises:
        UnreadableImageError: The file cannot be opened or decoded; the message says why.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)  # damaged EXIF blocks; pixels are fine
            with Image.open(io.BytesIO(path.read_bytes())) as image:
                return _to_grayscale(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise UnreadableImageError("not an image, or of an unknown format") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImageError("too many pixels (decompression bomb?)") from None
    except OSError as error:
        raise UnreadableImageError(error.strerror or str(error)) from None
    except (ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise UnreadableImageError(f"cannot be decoded: {error}") from None


def _to_grayscale(image: Image.Image) -> np.ndarray:
    if image.mode in DEEP_MODES:
        values = np.asarray(image, np.float64)
        low, high = values.min(), values.max()
        if not np.isfinite((low, high)).all():
            raise UnreadableImageError("pixels that are not finite numbers")
        scaled: np.ndarray = np.round((values - low) * (255 / max(high - low, 1e-12)))
        return scaled.astype(np.uint8)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.asarray(image.convert("L"))


def resize_image(image: np.ndarray, size_px: int) -> np.ndarray:
    """Resize to a square, antialiased; the aspect ratio is not kept, as in the paper.

    Args:
        image: uint8, (height, width).

    Returns:
        uint8, (size_px, size_px).
    """
    resized = Image.fromarray(image).resize((size_px, size_px), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def identify_image(path: str, digest: str) -> str:
    """Return an identifier of an image from its path within the source and its pixels' digest.

    Example:
        >>> len(identify_image("normal/1.png", "ab"))
        16
    """
    return hashlib.sha256(f"{path}\0{digest}".encode()).hexdigest()[:16]
