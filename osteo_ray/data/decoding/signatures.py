"""Recognize a file by its bytes, whatever its name."""

DICOM_MARK, DICOM_MARK_AT = b"DICM", 128
"""The mark of a DICOM file, and the number of bytes before it."""
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


def is_dicom(content: bytes) -> bool:
    """Tell from its preamble whether a content is a DICOM file; the file's name plays no part.

    Example:
        >>> is_dicom(bytes(128) + b"DICM"), is_dicom(b"DICM")
        (True, False)
    """
    return content.startswith(DICOM_MARK, DICOM_MARK_AT)


def has_end_of_codestream(content: bytes) -> bool:
    """Tell whether a JPEG 2000 codestream has its end.

    Without it, decoders may return half an image. No packet of pixels contains the two bytes that
    mark the end.
    """
    return content.rfind(b"\xff\xd9") > content.find(b"\xff\x93") > 0


def explain_content(content: bytes) -> str:
    """Say what a content is that no decoder knows, as far as its first bytes show.

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
