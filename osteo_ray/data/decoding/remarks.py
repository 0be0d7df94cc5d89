"""What is to be known of a file though it can be read: further pages, and names in its header."""

import re
from collections.abc import Iterable

from PIL import ExifTags, Image

SEVERAL_PAGES = "the file holds several pages or frames, of which only the first is read"
NAMED_IN_HEADER = "the file's header holds text that looks like a patient's name or birth date"
BURNED_IN = "its header says that annotations are burned in, which may identify the patient"
OVERLAY = "an overlay lies beside the pixels and is not drawn into the image"
NO_SIGN = "its header lacks PixelRepresentation, so that its values are taken as unsigned"
POLARITY = (
    "MONOCHROME1 and a PresentationLUTShape of IDENTITY contradict each other, and the former is "
    "followed"
)
_TEXT_TAGS = (
    *(ExifTags.Base.ImageDescription, ExifTags.Base.DocumentName, ExifTags.Base.Artist),
    *(ExifTags.Base.UserComment, ExifTags.Base.XPTitle, ExifTags.Base.XPSubject),
    *(ExifTags.Base.XPComment, ExifTags.Base.XPAuthor, ExifTags.Base.XPKeywords),
)
_PERSONAL = re.compile(
    r"patient'?s?[ _]?(name|birth|id\b)|\b(date[ _]?of[ _]?birth|dob|birth[ _]?date|vorname|"
    r"nachname|geburtsdatum)\b|\b0010[, ]?00[1-3]0\b"  # also as DICOM numbers its elements
    r"|[^\W\d_]{2,}\^[^\W\d_]{2,}",  # a name as DICOM writes it
    re.IGNORECASE,
)

_NAMED_PATH = re.compile(
    r"[^\W\d_]{2,}\^[^\W\d_]{2,}"
    r"|[^\W\d_]{2,}[ ,_-]+[^\W\d_]{2,}[ ,_-]+"
    r"((19|20)\d\d-?[01]\d-?[0-3]\d|[0-3]\d[.-][01]\d[.-](19|20)\d\d)"
)


def list_remarks(image: Image.Image) -> tuple[str, ...]:
    """List the remarks on an image that Pillow has read."""
    return make_remarks(_count_frames(image), [*_list_texts(image)])


def make_remarks(n_pages: int, texts: Iterable[str]) -> tuple[str, ...]:
    """List the remarks on a file with so many pages, and these texts in its header."""
    found = [SEVERAL_PAGES] if n_pages > 1 else []
    if any(looks_personal(text) for text in texts):
        found.append(NAMED_IN_HEADER)
    return tuple(found)


def looks_personal(text: str) -> bool:
    """Tell whether a text speaks of a patient's name, number or birth date.

    Example:
        >>> looks_personal("Patient Name: Muster"), looks_personal("MUSTER^HANS")
        (True, True)
        >>> looks_personal("patients.csv"), looks_personal("knee, left")
        (False, False)
    """
    return _PERSONAL.search(text) is not None


def looks_personal_path(path: str) -> bool:
    """Tell whether a path holds a name as DICOM writes it, or a name and a birth date.

    Example:
        >>> looks_personal_path("normal/MUSTER^HANS/1.png")
        True
        >>> looks_personal_path("normal/Muster_Hans_19700131.png")
        True
        >>> looks_personal_path("normal/knee_left_2.png"), looks_personal_path("normal/1.png")
        (False, False)
    """
    return _NAMED_PATH.search(path) is not None


def _count_frames(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # damage beyond the first page, which is what counts
        return 2


def _list_texts(image: Image.Image) -> Iterable[str]:
    """List the texts of a header: PNG's text, JPEG's and GIF's comments, EXIF, TIFF's tags."""
    try:
        values = [*image.info.items()]
        exif = image.getexif()
        tags = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)} if len(exif) else {}
        values += [("", value) for tag, value in tags.items() if tag in _TEXT_TAGS]
    except Exception:  # a damaged EXIF block raises nearly anything, though the pixels are fine
        values = []
    for name, value in values:
        if isinstance(value, bytes) and name not in ("exif", "icc_profile"):
            wide = value[1:2] == b"\0"  # as Windows writes texts
            value = value.decode("utf-16-le" if wide else "utf-8", "ignore")
        if isinstance(value, str):
            yield f"{name} {value}"
