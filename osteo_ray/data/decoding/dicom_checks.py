"""Check a DICOM file's header against its pixel data before any pixel is decoded."""

import io
import struct
import zlib

from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.filereader import read_dataset
from pydicom.uid import (
    UID,
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGExtended12Bit,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
)

from osteo_ray.data.decoding.refusals import check_size
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.decoding.signatures import (
    DICOM_MARK,
    DICOM_MARK_AT,
    has_end_of_codestream,
    read_jpeg2000_size,
    read_jpeg_size,
)

PIXEL_ELEMENTS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_MAX_INFLATED = 2**29  # bytes; the largest image that is read has 2**28
_BOMB_INFLATED, _BOMB_RATIO = 2**26, 200  # radiographs of this size never shrink that much
_MAX_PADDING = 1024  # bytes after the pixels; one is usual, a few hundred occur
_SAMPLES = {
    "MONOCHROME1": 1,
    "MONOCHROME2": 1,
    "PALETTE COLOR": 1,
    "RGB": 3,
    "YBR_FULL": 3,
    "YBR_FULL_422": 3,
    "YBR_ICT": 3,
    "YBR_RCT": 3,
}
"""Samples per pixel, for each photometric interpretation that is read."""


def check_inflated_size(content: bytes) -> None:
    """Refuse a deflated file that would inflate enormously; pydicom itself sets no limit.

    Raises:
        UnreadableImageError: The file grows too large, or ends early.
    """
    file = io.BytesIO(content)
    file.seek(DICOM_MARK_AT + len(DICOM_MARK))
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    limit = max(_BOMB_INFLATED, min(_MAX_INFLATED, _BOMB_RATIO * len(content)))
    inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    rest = file.read()
    while rest and not inflater.eof:
        size += len(inflater.decompress(rest, 2**20))
        if size > limit:
            raise UnreadableImageError("grows too large when inflated (decompression bomb?)")
        rest = inflater.unconsumed_tail
    if not inflater.eof:
        raise UnreadableImageError("truncated file")


def check_header(header: Dataset) -> None:
    """Refuse a header that describes no single readable image, or other pixels than it holds.

    Raises:
        UnreadableImageError: The message says what is wrong.
    """
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        raise UnreadableImageError(f"several frames ({frames}); expected one")
    elements = [name for name in PIXEL_ELEMENTS if name in header]
    if not elements:
        raise UnreadableImageError("no pixel data: a report, or a file cut short")
    if len(elements) > 1:
        raise UnreadableImageError("several kinds of pixel data; expected one")
    required = ["Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated"]
    if elements[0] == "PixelData":
        required.append("BitsStored")
    if header.get("SamplesPerPixel") == 3:
        required.append("PlanarConfiguration")
    missing = [name for name in required if header.get(name) is None]
    if missing:
        raise UnreadableImageError(f"no {missing[0]} in the header")
    check_size(int(header.Columns), int(header.Rows))
    samples = _SAMPLES.get(str(header.PhotometricInterpretation))
    if samples is None or samples != header.SamplesPerPixel:
        raise UnreadableImageError("colors stored in a way that is not supported")
    allocated = int(header.BitsAllocated)
    expected = {"PixelData": (8, 16), "FloatPixelData": (32,), "DoubleFloatPixelData": (64,)}[
        elements[0]
    ]
    if allocated not in expected:
        raise UnreadableImageError(
            f"{allocated} bits per pixel; expected {' or '.join(map(str, expected))}"
        )
    if elements[0] == "PixelData":
        _check_bits(header, allocated)
    if header.get("PresentationLUTSequence"):
        raise UnreadableImageError("a presentation lookup table, which is not supported")
    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax not in AllTransferSyntaxes:
        raise UnreadableImageError("no transfer syntax in the header, or an unknown one")
    if syntax.is_encapsulated:
        _check_codestream(header, syntax)
    else:
        _check_length(header, header[elements[0]].value or b"")


def _check_bits(header: Dataset, allocated: int) -> None:
    """Refuse bits stored, and a highest of them, that cannot both be true."""
    stored = int(header.BitsStored)
    if not 1 <= stored <= allocated:
        raise UnreadableImageError("a number of bits stored that does not fit the bits allocated")
    highest = read_high_bit(header)
    if not stored <= highest + 1 <= allocated:
        raise UnreadableImageError(
            f"HighBit {highest}, which does not fit {stored} bits stored of {allocated} allocated"
        )
    syntax = header.file_meta.get("TransferSyntaxUID")
    if highest + 1 > stored and (header.SamplesPerPixel > 1 or _is_jpeg(syntax)):
        raise UnreadableImageError(
            f"HighBit {highest} with {stored} bits stored in compressed pixels or colors, which is "
            "not supported"
        )


def read_high_bit(header: Dataset) -> int:
    """Return the number of the highest bit stored; by default what the standard demands."""
    highest = header.get("HighBit")
    return int(header.BitsStored) - 1 if highest is None else int(highest)


def _is_jpeg(syntax: UID | None) -> bool:
    return syntax in JPEGTransferSyntaxes or (
        syntax in JPEG2000TransferSyntaxes or syntax in JPEGLSTransferSyntaxes
    )


def _check_length(header: Dataset, data: bytes) -> None:
    """Refuse pixel data that is cut short, or so long that rows and columns must be wrong."""
    row = header.Columns * header.SamplesPerPixel * header.BitsAllocated // 8
    if header.PhotometricInterpretation == "YBR_FULL_422":
        row = row * 2 // 3  # two pixels share their two color differences
    expected = row * header.Rows
    if len(data) < expected:
        raise UnreadableImageError(f"truncated pixel data: {len(data)} of {expected} bytes")
    if len(data) > expected + max(row, _MAX_PADDING):
        raise UnreadableImageError(
            f"pixel data of {len(data)} bytes; expected {expected} for {header.Columns} × "
            f"{header.Rows} px"
        )


def _check_codestream(header: Dataset, syntax: UID) -> None:
    """Refuse compressed pixels whose size differs from the header's, or that have no end.

    Decoders take the size from the compressed data, so a decompression bomb may hide behind a
    modest header; and GDCM fills what is missing with gray.
    """
    jpeg = syntax in JPEGTransferSyntaxes and syntax not in JPEG2000TransferSyntaxes
    if not (jpeg or syntax in JPEG2000TransferSyntaxes or syntax in JPEGLSTransferSyntaxes):
        return  # pydicom checks run lengths against the header as it decodes them
    try:
        stream = _get_codestream(header)
        if syntax in JPEG2000TransferSyntaxes:
            found, complete = read_jpeg2000_size(stream), has_end_of_codestream(stream)
        else:
            found, complete = read_jpeg_size(stream), b"\xff\xd9" in stream[-16:]
    except (struct.error, ValueError, TypeError):  # the data is too short for what it should hold
        raise UnreadableImageError("damaged pixel data") from None
    if not complete:
        raise UnreadableImageError("truncated pixel data")
    width, height, samples, bits = found
    if (width, height, samples) != (header.Columns, header.Rows, header.SamplesPerPixel):
        raise UnreadableImageError("compressed pixels of another size than the header states")
    if syntax == JPEGExtended12Bit and bits > 8:
        raise UnreadableImageError("lossy JPEG with 12 bits, which is not supported")
    if bits > header.BitsAllocated:
        raise UnreadableImageError("compressed pixels with more bits than the header states")


def _get_codestream(header: Dataset) -> bytes:
    offsets = None
    if "ExtendedOffsetTable" in header and "ExtendedOffsetTableLengths" in header:
        offsets = (header.ExtendedOffsetTable, header.ExtendedOffsetTableLengths)
    return get_frame(header.PixelData, 0, number_of_frames=1, extended_offsets=offsets)
