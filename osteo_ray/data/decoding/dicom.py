"""Decode a DICOM file into a grayscale image; read patient, side and institution of its header."""

import io
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
)

from osteo_ray.data.decoding.dicom_checks import (
    PIXEL_ELEMENTS,
    check_header,
    check_inflated_size,
    read_high_bit,
)
from osteo_ray.data.decoding.dicom_display import read_presentation, show_floats, show_integers
from osteo_ray.data.decoding.gdcm_apart import decode_apart
from osteo_ray.data.decoding.refusals import refuse_errors
from osteo_ray.data.decoding.remarks import BURNED_IN, NO_SIGN, OVERLAY, POLARITY
from osteo_ray.data.decoding.result import Decoded, UnreadableImageError
from osteo_ray.data.decoding.signatures import DICOM_MARK, DICOM_MARK_AT, add_preamble, is_dicom
from osteo_ray.data.pixels import Bits

_ITEM = b"\xfe\xff\x00\xe0"
_PALETTES = tuple(
    f"{prefix}{colour}PaletteColorLookupTable{part}"
    for colour in ("Red", "Green", "Blue")
    for prefix, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
)
_ATTRIBUTES = {
    "maker": "Manufacturer",
    "device": "ManufacturerModelName",
    "view": "ViewPosition",
    "age": "PatientAge",
    "sex": "PatientSex",
}
_ELEMENTS = (
    *PIXEL_ELEMENTS,
    *_PALETTES,
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    *("PresentationLUTShape", "PresentationLUTSequence", "BurnedInAnnotation"),
    *("PatientID", "ImageLaterality", "Laterality", "InstitutionName"),
    "PatientOrientation",
    *_ATTRIBUTES.values(),
)
_OVERLAY_ROWS = tuple(0x6000_0010 + 0x2_0000 * number for number in range(16))
"""The only header elements that are read; names, dates and all others never enter memory."""


def decode_dicom(content: bytes, bits: Bits = 8) -> Decoded:
    """Decode a DICOM file to grayscale, as a viewer would show it.

    Stored values go through the modality lookup table or rescale, then through the first window or,
    if there is none, the first VOI lookup table. Without either, the middle 99 % of the values,
    padding excluded, are stretched over black..white. MONOCHROME1 is then inverted. Colors become
    luminance.

    Args:
        content: The file.
        bits: Of the gray values.

    Returns:
        The image, with the patient's identifier, the side of the body and the institution if the
        header has them.

    Raises:
        UnreadableImageError: The file is not DICOM, is damaged, has no pixels or several frames, or
            is stored in a way that is not supported. The message says which and quotes nothing
            from the header.
    """
    if not is_dicom(content):
        raise UnreadableImageError("not a DICOM file")
    with refuse_errors(hide_details=True):
        content = add_preamble(content)
        if content.startswith(DICOM_MARK, DICOM_MARK_AT):
            check_inflated_size(content)
        header = _read_header(content)
        check_header(header)
        remarks = _list_remarks(header)
        if header.get("PixelRepresentation") is None and "PixelData" in header:
            header.PixelRepresentation = 0
            content = _write(header)
        photometric = str(header.PhotometricInterpretation)
        stored = _decode_pixels(header, content)
        if stored.dtype.kind == "f":
            pixels, depth = show_floats(stored, header, bits), stored.dtype.name
        else:
            depth = str(int(header.BitsStored))
            pixels = show_integers(stored, header, bits)
        return Decoded(
            pixels,
            "DICOM",
            f"{photometric}/{depth}",
            patient_id=_read_text(header, "PatientID"),
            side=_read_side(header),
            left_edge=_read_left_edge(header),
            institution=_read_text(header, "InstitutionName"),
            attributes=_read_attributes(header),
            remarks=remarks,
        )


def _read_header(content: bytes) -> Dataset:
    wanted: list[Any] = [*_ELEMENTS, *_OVERLAY_ROWS]
    header = pydicom.dcmread(io.BytesIO(content), specific_tags=wanted, force=True)
    if not content.startswith(DICOM_MARK, DICOM_MARK_AT):
        # Without a preamble, pydicom tells from the bytes how elements are written. Pixels are then
        # stored as they are; compressed ones start with an item, and nothing says how to read them.
        implicit, little = header.original_encoding
        plain = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        pixels = header.get("PixelData", b"")
        if not pixels.startswith(_ITEM):
            header.file_meta.TransferSyntaxUID = plain if little else ExplicitVRBigEndian
    return header


def _write(header: Dataset) -> bytes:
    file = io.BytesIO()
    header.save_as(file, enforce_file_format=False)
    return file.getvalue()


def _list_remarks(header: Dataset) -> tuple[str, ...]:
    is_first = str(header.PhotometricInterpretation) == "MONOCHROME1"
    said = {
        BURNED_IN: (_read_text(header, "BurnedInAnnotation") or "").upper() == "YES",
        OVERLAY: any(tag in header for tag in _OVERLAY_ROWS),
        NO_SIGN: "PixelData" in header and header.get("PixelRepresentation") is None,
        POLARITY: is_first and read_presentation(header) == "IDENTITY",
    }
    return tuple(remark for remark, holds in said.items() if holds)


def _decode_pixels(header: Dataset, content: bytes) -> np.ndarray:
    """Return the stored values, (height, width), or colors, (height, width, 3)."""
    syntax = header.file_meta.TransferSyntaxUID
    jpeg2000 = syntax in JPEG2000TransferSyntaxes
    # Pillow refuses damaged data, where GDCM makes the best of it or even ends the process. But
    # Pillow cannot decode lossless JPEG, nor colors in JPEG 2000 with more than 8 bits.
    if (jpeg2000 and (header.SamplesPerPixel == 1 or header.BitsStored <= 8)) or (
        syntax in (JPEGBaseline8Bit, JPEGExtended12Bit)
    ):
        plugin = "pillow"
    elif jpeg2000 or syntax in JPEGTransferSyntaxes or syntax in JPEGLSTransferSyntaxes:
        plugin = "gdcm"
    else:
        plugin = ""  # pydicom itself
    bits, above = int(header.get("BitsStored", 0)), 0
    if "PixelData" in header:
        above = read_high_bit(header) + 1 - bits
        header.BitsStored = bits + above  # for pydicom, the values are at the lower end
    try:
        stored = (
            decode_apart(content)
            if plugin == "gdcm"
            else pixel_array(header, index=0, decoding_plugin=plugin)
        )
    except (RuntimeError, NotImplementedError):  # the plugins' own words may quote the header
        raise UnreadableImageError(
            f"pixel data damaged, or compressed in a way that is not supported ({syntax.name})"
        ) from None
    if above:
        header.BitsStored = bits
        stored = _lower(stored, bits, above)
    shape = (header.Rows, header.Columns, *((3,) if header.SamplesPerPixel == 3 else ()))
    if stored.shape != shape:
        raise UnreadableImageError("pixel data of another size than the header states")
    return np.ascontiguousarray(stored, stored.dtype.newbyteorder("="))


def _lower(stored: np.ndarray, bits: int, above: int) -> np.ndarray:
    """Bring values down that lie `above` bits too high, unless they obviously do not."""
    fits = (stored >= -(2 ** (bits - 1))) & (stored < 2**bits)
    if fits.all() and (stored & (2**above - 1)).any():
        raise UnreadableImageError(
            f"HighBit {bits + above - 1} with {bits} bits stored, but the values lie in the lowest "
            f"{bits} bits"
        )
    return stored >> above


def _read_text(header: Dataset, name: str) -> str | None:
    return str(header.get(name) or "").strip(" \0\t\r\n") or None


def _read_attributes(header: Dataset) -> dict[str, str]:
    found = {name: _read_text(header, element) for name, element in _ATTRIBUTES.items()}
    return {name: text for name, text in found.items() if text}


def _read_side(header: Dataset) -> str | None:
    side = _read_text(header, "ImageLaterality") or _read_text(header, "Laterality") or ""
    return side.upper() if side.upper() in ("L", "R") else None


def _read_left_edge(header: Dataset) -> str | None:
    towards = header.get("PatientOrientation")  # of rows and columns: where they lead
    rows = "" if not towards or isinstance(towards, str) else str(towards[0]).upper()
    return {"L": "R", "R": "L"}.get(rows[:1])
