"""Decode the bytes of one file, or one array of an archive, into a grayscale image."""

import hashlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

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
"""The formats Pillow may try, and no others.

Left out are those that start an external program (EPS runs Ghostscript), those that know no
signature and so take other files for images (TGA, PCX, SPIDER), and those no radiograph comes in.
"""

DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes of more than 8 bits; converting them to 8 bits would clip, not scale."""

MIN_SIDE_PX = 8
MAX_SIDE_PX = 20_000
MAX_ASPECT = 50
MAX_PIXELS = 89_478_485
"""Pillow's own limit: a quarter of a gibibyte at three bytes per pixel."""
MAX_SCANS = 500
"""Of a progressive JPEG; each goes over the whole image, so that a small file can take hours."""

_BOMB = "too many pixels (decompression bomb?)"
_NOT_FINITE = "pixels that are not finite numbers"
_ROWS_AT_A_TIME = 256
_PREAMBLE = 128  # bytes before the mark of a DICOM file
_SILENT = logging.CRITICAL + 1
_WHITE_IS_ZERO = 0  # of the TIFF tag PhotometricInterpretation, 262
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "not an image but a PDF document"),
    (b"PK\x03\x04", "not an image but a ZIP archive"),
    (b"%!PS", "not an image but a PostScript program"),
    (b"\xc5\xd0\xd3\xc6", "not an image but a PostScript program"),
    (b"\x89PNG\r\n\x1a\n", "damaged PNG file"),
    (b"\xff\xd8\xff", "damaged JPEG file"),
    (b"GIF8", "damaged GIF file"),
    (b"II*\0", "damaged TIFF file"),
    (b"MM\0*", "damaged TIFF file"),
    (b"RIFF", "damaged WEBP file"),
)
_EXPLANATIONS = (  # of the decoders' messages, the first that contains the words
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


class UnreadableImageError(Exception):
    """A file that holds no usable image; the message is the reason given in the rejects table."""


@dataclass(frozen=True)
class Decoded:
    """An image, and what its file says of it.

    Attributes:
        pixels: uint8, (height, width); upright.
        format: Of the file: "PNG", "JPEG", "TIFF", "DICOM", "ARRAY" and so on.
        mode: How the file stores pixels: Pillow's mode ("RGB", "L", "I;16"); of DICOM, the
            photometric interpretation and the bits stored ("MONOCHROME2/12"); of an array, its
            type and number of channels ("uint16x1").
        patient_id: Of a DICOM header. Serves to keep a patient's images together, in memory; not
            to be stored.
        side: Of a DICOM header: "L" or "R".
    """

    pixels: np.ndarray
    format: str
    mode: str
    patient_id: str | None = None
    side: str | None = None


def is_dicom(content: bytes) -> bool:
    """Whether a content is a DICOM file, as its preamble says; the name plays no part.

    Example:
        >>> is_dicom(bytes(128) + b"DICM"), is_dicom(b"DICM")
        (True, False)
    """
    return content[_PREAMBLE : _PREAMBLE + 4] == b"DICM"


def decode_image(content: bytes) -> Decoded:
    """Read the bytes of an image file as 8-bit grayscale, upright as its EXIF orientation says.

    What the file is shows in its content; the name plays no part. Images of more than 8 bits are
    scaled from their own range to 0..255; transparency is laid on black; of an animation or a file
    of several pages, the first is read.

    Raises:
        UnreadableImageError: The content is no image, damaged, cut short or of a size no radiograph
            has; the message says why.
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
            # The luminance, as it is stored: twice as fast as going through colours, and the same
            # where there is no colour.
            image.draft("L", image.size)
        inverted = name == "TIFF" and mode in DEEP_MODES and _is_white_zero(image)
        pixels = _to_grayscale(_turn_upright(image))
        return Decoded(255 - pixels if inverted else pixels, name, mode)


def convert_array(array: np.ndarray) -> Decoded:
    """Read an array as 8-bit grayscale.

    Values of uint8 are taken as they are and truth values as black and white; all others are scaled
    from their own range to 0..255. Three channels are red, green and blue, a fourth is opacity: of
    uint8 and uint16 up to the type's largest value, of floats up to 1.

    Args:
        array: Of truth values, integers or floats; (height, width), or (height, width, channels)
            with 1, 3 or 4 channels.

    Raises:
        UnreadableImageError: The array is not of these types or shapes, of a size no radiograph
            has, or holds pixels that are not finite numbers.

    Example:
        >>> found = convert_array(np.arange(0, 6400, 100, dtype=np.uint16).reshape(8, 8))
        >>> found.mode, int(found.pixels.min()), int(found.pixels.max())
        ('uint16x1', 0, 255)
    """
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif":
        kind = getattr(array, "dtype", type(array).__name__)
        raise UnreadableImageError(f"array of {kind}; expected numbers")
    shape = " × ".join(map(str, array.shape))
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))):
        raise UnreadableImageError(f"array of shape ({shape}); expected one image")
    check_size(array.shape[1], array.shape[0])
    channels = array.shape[2] if array.ndim == 3 else 1
    with refuse_errors():
        planes = np.asarray(array).reshape(*array.shape[:2], channels)
        colours = _scale_array(planes[..., : min(channels, 3)])
        if channels == 4:
            opacity = _scale_opacity(planes[..., 3])
            gray = np.dstack([colours, opacity])
            pixels = _to_grayscale(Image.fromarray(gray, "RGBA"))
        elif channels == 3:
            pixels = _to_grayscale(Image.fromarray(colours, "RGB"))
        else:
            pixels = colours[..., 0]
        return Decoded(np.ascontiguousarray(pixels), "ARRAY", f"{array.dtype}x{channels}")


def check_size(width: int, height: int) -> None:
    """Refuse sizes that no radiograph has, before memory is set aside for them.

    Raises:
        UnreadableImageError: A side is too short or too long, the image too narrow, or there are
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
        raise UnreadableImageError(_BOMB)


def has_end_of_codestream(content: bytes) -> bool:
    """Whether a JPEG 2000 codestream has its end; without it, decoders may return half a picture.

    No packet of pixels contains the two bytes that mark the end.
    """
    return content.rfind(b"\xff\xd9") > content.find(b"\xff\x93") > 0


def split_rows(height: int) -> Iterator[slice]:
    """Split rows into pieces, to work on large images with little memory.

    Example:
        >>> list(split_rows(300))
        [slice(0, 256, None), slice(256, 300, None)]
    """
    for start in range(0, height, _ROWS_AT_A_TIME):
        yield slice(start, min(start + _ROWS_AT_A_TIME, height))


def stretch_levels(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scale low..high to 0..255 and clip what lies outside; all black if they are equal.

    Args:
        values: Numbers of any type, with at least one axis.
        low: In the unit of the values; finite.
        high: Likewise; not less than low.

    Returns:
        uint8, of the shape of the values.
    """
    levels = np.zeros(values.shape, np.uint8)
    # Halves, as the whole range of the largest floats is beyond what a float can hold.
    reach = high / 2 - low / 2
    for rows in split_rows(len(values) if reach > 0 else 0):
        clipped = np.clip(values[rows].astype(np.float64), low, high)
        levels[rows] = np.round((clipped / 2 - low / 2) / reach * 255)
    return levels


@contextmanager
def refuse_errors(hide_details: bool = False) -> Iterator[None]:
    """Turn whatever goes wrong inside into an `UnreadableImageError`, without warnings or logs.

    Decoders meet damaged files with nearly every kind of exception.

    Args:
        hide_details: Keep the decoder's own words out of the reason; they may quote the file.
    """
    try:
        with _quiet():
            yield
    except UnreadableImageError:
        raise
    except UnicodeError:
        raise UnreadableImageError("cannot be decoded: text that is not text") from None
    except MemoryError:
        raise UnreadableImageError("needs more memory than there is") from None
    except Exception as error:
        raise UnreadableImageError(_explain(error, hide_details)) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back warnings and logs of the decoders, and have Pillow refuse files cut short."""
    for name in ("PIL", "pydicom"):
        logger = logging.getLogger(name)
        if logger.level != _SILENT:  # set for good: setting it anew costs more than decoding
            logger.setLevel(_SILENT)
    lenient = ImageFile.LOAD_TRUNCATED_IMAGES  # other packages may have set it
    try:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def explain_content(content: bytes) -> str:
    """Return what is wrong with a content that no decoder knows, as far as its start shows.

    Example:
        >>> explain_content(b"%PDF-1.7")
        'not an image but a PDF document'
    """
    for signature, reason in _SIGNATURES:
        if content.startswith(signature):
            return reason
    if content[:512].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "not an image but a web page"
    return "not an image, or of an unknown format"


def _explain(error: Exception, hide_details: bool) -> str:
    """Return a reason of one short line."""
    if isinstance(error, Image.DecompressionBombError):
        return _BOMB
    words = " ".join((getattr(error, "strerror", None) or str(error)).split())
    for pattern, reason in _EXPLANATIONS:
        if pattern in words.lower():
            return reason
    if hide_details or not words or not words.isprintable():
        return f"damaged file ({type(error).__name__})"
    return f"cannot be decoded: {words[:100]}"


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
    except Exception:  # a damaged EXIF block raises nearly anything; the pixels are fine
        return image


def _is_white_zero(image: Image.Image) -> bool:
    """Whether the smallest value is white; Pillow sees to that only up to 8 bits."""
    return image.tag_v2.get(262) == _WHITE_IS_ZERO  # type: ignore[attr-defined,no-any-return]


def _to_grayscale(image: Image.Image) -> np.ndarray:
    """Return uint8, (height, width)."""
    if image.mode in DEEP_MODES:
        return _stretch_range(np.asarray(image))
    if image.mode == "LAB":  # has no direct way to gray
        image = image.convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.asarray(image.convert("L"))


def _scale_array(values: np.ndarray) -> np.ndarray:
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    return _stretch_range(values)


def _scale_opacity(opacity: np.ndarray) -> np.ndarray:
    """Return uint8, where 255 is opaque."""
    if opacity.dtype == np.uint8:
        return opacity
    if opacity.dtype.kind in "bf":
        full = 1.0
    elif opacity.dtype == np.uint16:
        full = 65_535.0
    else:
        raise UnreadableImageError(f"opacity in {opacity.dtype}; expected uint8, uint16 or floats")
    if not (opacity.min() >= 0 and opacity.max() <= full):  # also of what is not a number
        raise UnreadableImageError("opacity outside 0 to 1")
    return stretch_levels(opacity, 0, full)


def _stretch_range(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if not np.isfinite((low, high)).all():  # both see to anything that is not a number
        raise UnreadableImageError(_NOT_FINITE)
    return stretch_levels(values, low, high)


def resize_image(image: np.ndarray, size_px: int) -> np.ndarray:
    """Resize to a square, antialiased; the aspect ratio is not kept, as in the paper.

    Args:
        image: uint8, (height, width).

    Returns:
        uint8, (size_px, size_px).
    """
    resized = Image.fromarray(image).resize((size_px, size_px), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def resize_whole(image: np.ndarray, most_px: int) -> np.ndarray:
    """Shrink so that no side is longer than `most_px`, in proportion; small images stay.

    Args:
        image: uint8, (height, width).

    Returns:
        uint8, (height, width).
    """
    factor = min(1.0, most_px / max(image.shape))
    size = tuple(max(1, round(side * factor)) for side in image.shape[::-1])
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def identify_image(path: str, digest: str) -> str:
    """Return an identifier of an image from its path within the source and its pixels' digest.

    Example:
        >>> len(identify_image("normal/1.png", "ab"))
        16
    """
    return hashlib.sha256(f"{path}\0{digest}".encode()).hexdigest()[:16]
