"""Recognize a file by its bytes, whatever its name."""

import re
import struct
import zlib

from osteo_ray.data.decoding.result import UnreadableImageError

DICOM_MARK, DICOM_MARK_AT = b"DICM", 128
"""The mark of a DICOM file, and the number of bytes before it."""
GZIP_MARK = b"\x1f\x8b"
"""The first bytes of a file that gzip has compressed."""
_GROUP_2 = b"\2\0\0\0"
_TYPES = rb"(?:UL|CS|UI|DA|TM|LO|SH)"
_BARE_DICOM = re.compile(
    # The elements that describe the file ...
    rb"(?:DICM)?\x02\0\0\0UL\x04\0"
    # ... or, if these are missing as well, one of those that come first in every image: with its
    # type, with its bytes in reverse, or with a length of up to 255 bytes in place of the type.
    rb"|\x08\0[\0-\x60]\0" + _TYPES + rb"|\0\x08\0[\0-\x60]" + _TYPES + rb"|"
    rb"\x08\0[\0-\x60]\0.\0\0\0",
    re.DOTALL,
)
"""The start of a DICOM file without the usual preamble."""
_UNSUPPORTED = "{}, which is not supported; save it as PNG or TIFF"
_DAMAGED_JPEG = "damaged JPEG file"
_HEIF = tuple(
    b"ftyp" + brand
    for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
)
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "not an image but a PDF document"),
    (b"PK\x03\x04", "not an image but a ZIP archive"),
    (b"%!PS", "not an image but a PostScript program"),
    (b"\xc5\xd0\xd3\xc6", "not an image but a PostScript program"),
    (b"\x89PNG\r\n\x1a\n", "damaged PNG file"),
    (b"\xff\xd8\xff\xf7", _UNSUPPORTED.format("a JPEG-LS file")),
    (b"\xff\xd8\xff", _DAMAGED_JPEG),
    (b"GIF8", "damaged GIF file"),
    (b"II*\0", "damaged TIFF file"),
    (b"MM\0*", "damaged TIFF file"),
    (b"II+\0", "damaged TIFF file"),
    (b"MM\0+", "damaged TIFF file"),
    (b"RIFF", "damaged WEBP file"),
    (b"P7\n", _UNSUPPORTED.format("a PAM file")),
    (b"PF\n", _UNSUPPORTED.format("a PFM file in colors")),
    (b"\xff\n", _UNSUPPORTED.format("a JPEG XL file")),
    (b"\0\0\0\x0cJXL ", _UNSUPPORTED.format("a JPEG XL file")),
    (b"8BPS", _UNSUPPORTED.format("a Photoshop file")),
    (
        b"version https://git-lfs.github.com/spec/",
        "not an image but a pointer to one; fetch it by `git lfs pull`",
    ),
)


def is_dicom(content: bytes) -> bool:
    """Tell from its first bytes whether a content is a DICOM file; the file's name plays no part.

    Example:
        >>> is_dicom(bytes(128) + b"DICM"), is_dicom(b"DICM")
        (True, False)
    """
    return content.startswith(DICOM_MARK, DICOM_MARK_AT) or bool(_BARE_DICOM.match(content))


def unzip_start(content: bytes, n_bytes: int) -> bytes:
    """Return the first bytes of what gzip has compressed; fewer if it is damaged."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(content, n_bytes)
    except zlib.error:
        return b""


def add_preamble(content: bytes) -> bytes:
    """Give a DICOM file the preamble that it may lack; one without any header stays as it is."""
    bare = content.removeprefix(DICOM_MARK)
    if not content.startswith(DICOM_MARK, DICOM_MARK_AT) and bare.startswith(_GROUP_2):
        return bytes(DICOM_MARK_AT) + DICOM_MARK + bare
    return content


def has_end_of_codestream(content: bytes) -> bool:
    """Tell whether a JPEG 2000 codestream has its end.

    Without it, decoders may return half an image. No packet of pixels contains the two bytes that
    mark the end.
    """
    return content.rfind(b"\xff\xd9") > content.find(b"\xff\x93") > 0


def read_jpeg_size(stream: bytes) -> tuple[int, int, int, int]:
    """Return width, height, samples and bits of a JPEG or JPEG-LS codestream.

    Raises:
        UnreadableImageError, struct.error: It is damaged.
    """
    place = 2
    while True:
        marker, length = struct.unpack_from(">HH", stream, place)  # struct.error at the end
        if marker == 0xFFFF:  # a fill byte
            place += 1
            continue
        low = marker & 0xFF
        if marker < 0xFF01 or low in (0xD8, 0xD9, 0xDA):  # not a marker, or past the headers
            raise UnreadableImageError("damaged pixel data")
        if (0xC0 <= low <= 0xCF and low not in (0xC4, 0xC8, 0xCC)) or low == 0xF7:
            bits, height, width, samples = struct.unpack_from(">BHHB", stream, place + 4)
            return width, height, samples, bits
        place += 2 + length


def read_jpeg2000_size(stream: bytes) -> tuple[int, int, int, int]:
    """Return width, height, samples and bits of a JPEG 2000 codestream, bare or in a file.

    Raises:
        UnreadableImageError: There is no codestream.
    """
    start = stream.find(b"\xff\x4f\xff\x51")
    if start < 0:
        raise UnreadableImageError("damaged pixel data")
    right, bottom, left, top = struct.unpack_from(">4I", stream, start + 8)
    samples, bits = struct.unpack_from(">HB", stream, start + 40)
    return right - left, bottom - top, samples, (bits & 0x7F) + 1


def explain_content(content: bytes) -> str:
    """Say what a content is that no decoder knows, as far as its first bytes show.

    Example:
        >>> explain_content(b"%PDF-1.7")
        'not an image but a PDF document'
    """
    for signature, reason in _SIGNATURES:
        if content.startswith(signature):
            bits = _find_jpeg_bits(content) if reason == _DAMAGED_JPEG else 8
            return reason if bits == 8 else _UNSUPPORTED.format(f"a JPEG file of {bits} bits")
    if content.startswith(_HEIF, 4):
        return _UNSUPPORTED.format("a HEIF file")
    if content[:512].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "not an image but a web page"
    return "not an image, or of an unknown format"


def _find_jpeg_bits(content: bytes) -> int:
    try:
        return read_jpeg_size(content)[3]
    except (UnreadableImageError, struct.error):
        return 8
