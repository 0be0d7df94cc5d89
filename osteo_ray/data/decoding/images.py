"""Decode the bytes of an image file, of any format but DICOM, into a grayscale image."""

import io

from PIL import Image, ImageOps, UnidentifiedImageError

from osteo_ray.data.decoding.deep import EXIF_ORIENTATION, decode_deep, find_depth, turn_upright
from osteo_ray.data.decoding.grays import DEEP_MODES, to_grayscale
from osteo_ray.data.decoding.refusals import check_size, refuse_errors
from osteo_ray.data.decoding.remarks import list_remarks
from osteo_ray.data.decoding.result import Decoded, UnreadableImageError
from osteo_ray.data.decoding.signatures import explain_content, has_end_of_codestream
from osteo_ray.data.decoding.tiff import decode_unusual_tiff
from osteo_ray.data.pixels import Bits

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

MAX_SCANS = 500
"""Most scans of a progressive JPEG. Each scan rewrites the whole image, so a small file with very
many of them would take hours."""
_TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def decode_image(content: bytes, bits: Bits = 8) -> Decoded:
    """Decode an image file to grayscale, turned upright as its EXIF orientation asks.

    The content alone says which format it is; the file's name plays no part. Images with more than
    8 bits are scaled from their own range to black..white, transparent pixels are shown on black,
    and of an animation or a file with several pages only the first is read.

    Args:
        content: The file.
        bits: Of the gray values.

    Raises:
        UnreadableImageError: The content is not an image, is damaged or cut short, or has a size
            that no radiograph has; the message says which.
    """
    if not content:
        raise UnreadableImageError("empty file")
    if content.startswith(_TIFF_MARKS):
        with refuse_errors():
            found = decode_unusual_tiff(content, tried=False, bits=bits)
            if found is None and not _is_known(content):
                found = decode_unusual_tiff(content, tried=True, bits=bits)
        if found is not None:
            return found
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
        image.load()
        if mode not in DEEP_MODES and find_depth(content, name) > 8:
            pixels, mode = decode_deep(content, name, bits)
            pixels = turn_upright(pixels, image.getexif().get(EXIF_ORIENTATION, 1))
        else:
            pixels = to_grayscale(_turn_upright(image), bits)
        return Decoded(pixels, name, mode, remarks=list_remarks(image))


def _is_known(content: bytes) -> bool:
    """Tell whether Pillow can open a TIFF file."""
    try:
        with Image.open(io.BytesIO(content), formats=["TIFF"]):
            return True
    except UnidentifiedImageError:
        return False


def _open(content: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise UnreadableImageError(explain_content(content)) from None


def _turn_upright(image: Image.Image) -> Image.Image:
    try:
        ImageOps.exif_transpose(image, in_place=True)  # otherwise it copies even what is upright
    except MemoryError:
        raise
    except Exception:  # a damaged EXIF block raises nearly anything, though the pixels are fine
        pass
    return image
