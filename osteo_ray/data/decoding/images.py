"""Decode the bytes of an image file, of any format but DICOM, into a grayscale image."""

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from osteo_ray.data.decoding.levels import stretch_range
from osteo_ray.data.decoding.refusals import check_size, refuse_errors
from osteo_ray.data.decoding.result import Decoded, UnreadableImageError
from osteo_ray.data.decoding.signatures import explain_content, has_end_of_codestream

FORMATS = (
    "AVIF",
    "BMP",
    "GIF",
    "JPEG",
    "JPEG2000",
    "PNG",
    "PPM",
    "QOI",
    "SGI",
    "TIFF",
    "WEBP",
)
"""The only formats that Pillow may try.

The list leaves out formats that start an external program (EPS runs Ghostscript), formats without a
signature, which mistake other files for images (TGA, PCX, SPIDER), and formats that no radiograph
comes in.
"""

DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes with more than 8 bits, which its conversion to 8 bits would clip, not scale."""

MAX_SCANS = 500
"""Most scans of a progressive JPEG. Each scan rewrites the whole image, so a small file with very
many of them would take hours."""
_WHITE_IS_ZERO = 0  # of the TIFF tag PhotometricInterpretation, 262


def decode_image(content: bytes) -> Decoded:
    """Decode an image file to 8-bit grayscale, turned upright as its EXIF orientation asks.

    The content alone says which format it is; the file's name plays no part. Images with more than
    8 bits are scaled from their own range to 0..255, transparent pixels are shown on black, and of
    an animation or a file with several pages only the first is read.

    Raises:
        UnreadableImageError: The content is not an image, is damaged or cut short, or has a size
            that no radiograph has; the message says which.
    """
    if not content:
        raise UnreadableImageError("empty file")
    with refuse_errors(), _open(content) as image:
        check_size(*image.size)
        name, mode = image.format or "", image.mode
        if name in ("JPEG", "MPO") and content.count(b"\xff\xda") > MAX_SCANS:
            raise UnreadableImageError("too many scans (decompression bomb?)")
        if name == "JPEG2000" and not has_end_of_codestream(content):
            raise UnreadableImageError("truncated file")
        if name in ("JPEG", "MPO"):
            # Read the luminance as it is stored. It is twice as fast as a detour through colors and
            # gives the same pixels where there is no color.
            image.draft("L", image.size)
        inverted = name == "TIFF" and mode in DEEP_MODES and _is_white_zero(image)
        pixels = to_grayscale(_turn_upright(image))
        return Decoded(255 - pixels if inverted else pixels, name, mode)


def _open(content: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise UnreadableImageError(explain_content(content)) from None


def _turn_upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # a damaged EXIF block raises nearly anything, though the pixels are fine
        return image


def _is_white_zero(image: Image.Image) -> bool:
    """Tell whether the smallest value is white; Pillow inverts such images only up to 8 bits."""
    return image.tag_v2.get(262) == _WHITE_IS_ZERO  # type: ignore[attr-defined,no-any-return]


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
    return np.asarray(image.convert("L"))
