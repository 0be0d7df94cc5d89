"""Decode one DICOM file into a grayscale image, and take from its header what grouping needs."""

import io
import struct
import zlib

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.filereader import read_dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
)

from osteo_ray.data.decoding.gdcm_apart import decode_apart
from osteo_ray.data.decoding.images import (
    Decoded,
    UnreadableImageError,
    check_size,
    has_end_of_codestream,
    is_dicom,
    refuse_errors,
    split_rows,
    stretch_levels,
)

_PREAMBLE = 128
_MAX_INFLATED = 2**29  # bytes; the largest image that is read has 2**28
_BOMB_INFLATED, _BOMB_RATIO = 2**26, 200  # radiographs of this size never shrink that much
_MAX_PADDING = 1024  # bytes after the pixels; one is usual, a few hundred occur
_PERCENTILES = (0.5, 99.5)
_PIXEL_ELEMENTS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_PALETTES = tuple(
    f"{prefix}{colour}PaletteColorLookupTable{part}"
    for colour in ("Red", "Green", "Blue")
    for prefix, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
)
_ELEMENTS = (
    *_PIXEL_ELEMENTS,
    *_PALETTES,
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    *("PatientID", "ImageLaterality", "Laterality"),
)
"""The only elements of a header that are read: names, dates and the rest never enter memory."""
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
"""Samples per pixel of the photometric interpretations that are read."""


def decode_dicom(content: bytes) -> Decoded:
    """Read the bytes of a DICOM file as 8-bit grayscale, as a viewer would show it.

    Stored values go through the modality lookup table or rescale; then through the first window, or
    else the first VOI lookup table. Without either, the middle 99 % of the values, leaving out
    padding, are stretched over 0..255. MONOCHROME1 is inverted after that. Colours become
    luminance.

    Returns:
        The image, with the patient's identifier and the side of the body if the header has them.

    Raises:
        UnreadableImageError: The file is no DICOM file, damaged, without pixels, of several frames,
            or stored in a way that is not supported; the message says why and quotes no header.
    """
    if not is_dicom(content):
        raise UnreadableImageError("not a DICOM file")
    with refuse_errors(hide_details=True):
        _check_inflated_size(content)
        header = _read_header(content)
        _check_header(header)
        photometric = str(header.PhotometricInterpretation)
        stored = _decode_pixels(header, content)
        if stored.dtype.kind == "f":
            pixels, depth = _show_floats(stored, header), stored.dtype.name
        else:
            depth = str(int(header.BitsStored))
            pixels = _show_integers(stored, header)
        return Decoded(
            pixels,
            "DICOM",
            f"{photometric}/{depth}",
            patient_id=_read_text(header, "PatientID"),
            side=_read_side(header),
        )


def _read_header(content: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(content), specific_tags=list(_ELEMENTS))


# Checks before pixels are decoded


def _check_inflated_size(content: bytes) -> None:
    """Refuse a deflated file that grows beyond measure; pydicom inflates without a limit."""
    file = io.BytesIO(content)
    file.seek(_PREAMBLE + 4)
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


def _check_header(header: Dataset) -> None:
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        raise UnreadableImageError(f"several frames ({frames}); expected one")
    elements = [name for name in _PIXEL_ELEMENTS if name in header]
    if not elements:
        raise UnreadableImageError("no pixel data: a report, or a file cut short")
    if len(elements) > 1:
        raise UnreadableImageError("several kinds of pixel data; expected one")
    required = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated")
    missing = [name for name in required if header.get(name) is None]
    if missing:
        raise UnreadableImageError(f"no {missing[0]} in the header")
    check_size(int(header.Columns), int(header.Rows))
    samples = _SAMPLES.get(str(header.PhotometricInterpretation))
    if samples is None or samples != header.SamplesPerPixel:
        raise UnreadableImageError("colours stored in a way that is not supported")
    allocated = int(header.BitsAllocated)
    expected = {"PixelData": (8, 16), "FloatPixelData": (32,), "DoubleFloatPixelData": (64,)}
    if allocated not in expected[elements[0]]:
        raise UnreadableImageError(f"{allocated} bits per pixel; expected 8 or 16")
    if elements[0] == "PixelData" and not 1 <= int(header.get("BitsStored", 0)) <= allocated:
        raise UnreadableImageError("wrong number of bits stored")
    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax not in AllTransferSyntaxes:
        raise UnreadableImageError("no transfer syntax in the header, or an unknown one")
    if syntax.is_encapsulated:
        _check_codestream(header, syntax)
    else:
        _check_length(header, header[elements[0]].value or b"")


def _check_length(header: Dataset, data: bytes) -> None:
    """Refuse pixels that are cut short, or so many that rows and columns must be wrong."""
    row = header.Columns * header.SamplesPerPixel * header.BitsAllocated // 8
    if header.PhotometricInterpretation == "YBR_FULL_422":
        row = row * 2 // 3  # two pixels share their two colour differences
    expected = row * header.Rows
    if len(data) < expected:
        raise UnreadableImageError(f"truncated pixel data: {len(data)} of {expected} bytes")
    if len(data) > expected + max(row, _MAX_PADDING):
        raise UnreadableImageError(
            f"pixel data of {len(data)} bytes; expected {expected} for {header.Columns} × "
            f"{header.Rows} px"
        )


def _check_codestream(header: Dataset, syntax: UID) -> None:
    """Refuse compressed pixels of another size than the header's, or without an end.

    Decoders take the size from the compressed data, so that a bomb may hide behind a modest header;
    and GDCM fills up in gray what is missing.
    """
    jpeg = syntax in JPEGTransferSyntaxes and syntax not in JPEG2000TransferSyntaxes
    if not (jpeg or syntax in JPEG2000TransferSyntaxes or syntax in JPEGLSTransferSyntaxes):
        return  # run lengths are checked against the header as they are decoded
    try:
        stream = _get_codestream(header)
        if syntax in JPEG2000TransferSyntaxes:
            found, complete = _read_jpeg2000_size(stream), has_end_of_codestream(stream)
        else:
            found, complete = _read_jpeg_size(stream), b"\xff\xd9" in stream[-16:]
    except (struct.error, ValueError, TypeError):  # too short for what it should hold
        raise UnreadableImageError("damaged pixel data") from None
    if not complete:
        raise UnreadableImageError("truncated pixel data")
    width, height, samples, bits = found
    if (width, height, samples) != (header.Columns, header.Rows, header.SamplesPerPixel):
        raise UnreadableImageError("compressed pixels of another size than the header says")
    if syntax == JPEGExtended12Bit and bits > 8:
        raise UnreadableImageError("lossy JPEG of 12 bits, which is not supported")
    if bits > header.BitsAllocated:
        raise UnreadableImageError("compressed pixels of more bits than the header says")


def _get_codestream(header: Dataset) -> bytes:
    offsets = None
    if "ExtendedOffsetTable" in header and "ExtendedOffsetTableLengths" in header:
        offsets = (header.ExtendedOffsetTable, header.ExtendedOffsetTableLengths)
    return get_frame(header.PixelData, 0, number_of_frames=1, extended_offsets=offsets)


def _read_jpeg_size(stream: bytes) -> tuple[int, int, int, int]:
    """Return width, height, samples and bits of a JPEG or JPEG-LS codestream."""
    place = 2
    while True:
        marker, length = struct.unpack_from(">HH", stream, place)  # struct.error at the end
        if marker == 0xFFFF:  # filling
            place += 1
            continue
        low = marker & 0xFF
        if marker < 0xFF01 or low in (0xD8, 0xD9, 0xDA):  # no marker, or past the headers
            raise UnreadableImageError("damaged pixel data")
        if (0xC0 <= low <= 0xCF and low not in (0xC4, 0xC8, 0xCC)) or low == 0xF7:
            bits, height, width, samples = struct.unpack_from(">BHHB", stream, place + 4)
            return width, height, samples, bits
        place += 2 + length


def _read_jpeg2000_size(stream: bytes) -> tuple[int, int, int, int]:
    """Return width, height, samples and bits of a JPEG 2000 codestream."""
    start = stream.find(b"\xff\x4f\xff\x51")
    if start < 0:
        raise UnreadableImageError("damaged pixel data")
    right, bottom, left, top = struct.unpack_from(">4I", stream, start + 8)
    samples, bits = struct.unpack_from(">HB", stream, start + 40)
    return right - left, bottom - top, samples, (bits & 0x7F) + 1


# Pixels


def _decode_pixels(header: Dataset, content: bytes) -> np.ndarray:
    """Return stored values, (height, width), or colours, (height, width, 3)."""
    syntax = header.file_meta.TransferSyntaxUID
    jpeg2000 = syntax in JPEG2000TransferSyntaxes
    # Pillow refuses damaged data where GDCM makes the best of it, or ends the process; but of JPEG
    # 2000 with more than 8 bits it knows only grayscale, and lossless JPEG not at all.
    if (jpeg2000 and (header.SamplesPerPixel == 1 or header.BitsStored <= 8)) or (
        syntax in (JPEGBaseline8Bit, JPEGExtended12Bit)
    ):
        plugin = "pillow"
    elif jpeg2000 or syntax in JPEGTransferSyntaxes or syntax in JPEGLSTransferSyntaxes:
        plugin = "gdcm"
    else:
        plugin = ""  # pydicom itself
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
    shape = (header.Rows, header.Columns, *((3,) if header.SamplesPerPixel == 3 else ()))
    if stored.shape != shape:
        raise UnreadableImageError("pixel data of another size than the header says")
    return np.ascontiguousarray(stored, stored.dtype.newbyteorder("="))


def _show_integers(stored: np.ndarray, header: Dataset) -> np.ndarray:
    """Return uint8, (height, width)."""
    if header.SamplesPerPixel == 3:
        colours = stored
        if stored.dtype != np.uint8 or header.BitsStored != 8:
            colours = stretch_levels(stored, 0, 2 ** int(header.BitsStored) - 1)
        return _mix_colours(colours)
    # Each step depends on the stored value alone: one table for all of them does the work. It is
    # in the order of the bit patterns, negative values last.
    patterns = stored.view(f"u{stored.dtype.itemsize}")
    levels = np.arange(2 ** (8 * stored.dtype.itemsize), dtype=patterns.dtype).view(stored.dtype)
    if header.PhotometricInterpretation == "PALETTE COLOR":
        table = _look_up_palette(levels, header)
    else:
        values = _apply_modality(levels.astype(np.float64), header)
        shown = _apply_window(values, header)
        if shown is None:
            shown = _stretch(values, *_find_range(values, _count_levels(patterns, levels, header)))
        table = _invert_if_needed(np.round(shown * 255).astype(np.uint8), header)
    pixels = np.empty(stored.shape, np.uint8)
    for rows in split_rows(len(stored)):
        pixels[rows] = table[patterns[rows]]
    return pixels


def _show_floats(stored: np.ndarray, header: Dataset) -> np.ndarray:
    """Return uint8, (height, width)."""
    if str(header.PhotometricInterpretation) not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnreadableImageError("colours stored in a way that is not supported")
    values = _apply_modality(stored.astype(np.float64), header)
    if not np.isfinite(values).all():
        raise UnreadableImageError("pixels that are not finite numbers")
    shown = _apply_window(values, header)
    if shown is None:
        shown = _stretch(values, *np.percentile(values, _PERCENTILES).tolist())
    return _invert_if_needed(np.round(shown * 255).astype(np.uint8), header)


def _invert_if_needed(gray: np.ndarray, header: Dataset) -> np.ndarray:
    inverted = str(header.PhotometricInterpretation) == "MONOCHROME1"
    shown: np.ndarray = 255 - gray if inverted else gray
    return shown


def _look_up_palette(levels: np.ndarray, header: Dataset) -> np.ndarray:
    """Return the luminance of each level, uint8."""
    if header.get("RedPaletteColorLookupTableDescriptor") is None:
        raise UnreadableImageError("no palette in the header")
    colours = apply_color_lut(levels.reshape(1, -1), header)
    if colours.dtype != np.uint8:
        # Some writers put entries of 8 bits into words of 16.
        colours = stretch_levels(colours, 0, 255 if colours.max() <= 255 else 65_535)
    gray: np.ndarray = _mix_colours(colours)[0]
    return gray


def _mix_colours(colours: np.ndarray) -> np.ndarray:
    """Return the luminance of uint8 (height, width, 3) as uint8 (height, width)."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(colours), "RGB").convert("L"))


def _apply_modality(values: np.ndarray, header: Dataset) -> np.ndarray:
    """Turn stored values into those of the modality, such as densities."""
    if header.get("ModalityLUTSequence"):
        return _look_up(values, header.ModalityLUTSequence[0], header)[0]
    slope, intercept = (
        _read_number(header, "RescaleSlope"),
        _read_number(header, "RescaleIntercept"),
    )
    if slope == 0:
        raise UnreadableImageError("rescale slope of zero")
    scaled: np.ndarray = values * (1 if slope is None else slope) + (intercept or 0)
    return scaled


def _apply_window(values: np.ndarray, header: Dataset) -> np.ndarray | None:
    """Return grays from 0 to 1, or nothing if the header has no usable window or lookup table."""
    centre, width = _read_number(header, "WindowCenter"), _read_number(header, "WindowWidth")
    function = str(header.get("VOILUTFunction") or "LINEAR").strip().upper()
    if centre is not None and width is not None:
        # The formulas of the standard, part 3, C.11.2.1.2 and C.11.2.1.3.
        if function == "SIGMOID" and width > 0:
            sigmoid: np.ndarray = 1 / (1 + np.exp(-4 * (values - centre) / width))
            return sigmoid
        if function == "LINEAR_EXACT" and width > 0:
            return _stretch(values, centre - width / 2, centre + width / 2)
        if function not in ("SIGMOID", "LINEAR_EXACT") and width >= 1:
            middle, reach = centre - 0.5, (width - 1) / 2
            return _stretch(values, middle - reach, middle + reach)
    if header.get("VOILUTSequence"):
        shown, bits = _look_up(values, header.VOILUTSequence[0], header)
        return _stretch(shown, 0, 2**bits - 1)
    return None


def _stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map low..high to 0..1 and clip; if they are equal, what lies above is white."""
    if not high > low:
        return (values > low).astype(np.float64)
    return np.clip((values - low) / (high - low), 0, 1)


def _look_up(values: np.ndarray, item: Dataset, header: Dataset) -> tuple[np.ndarray, int]:
    """Return the entries of a lookup table at the values, and the bits of an entry."""
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    entries = entries or 2**16  # which 16 bits cannot hold
    data = item.LUTData
    if isinstance(data, bytes):
        order = "<" if header.file_meta.TransferSyntaxUID.is_little_endian else ">"
        packed = len(data) < 2 * entries  # entries of 8 bits, one per byte
        data = np.frombuffer(data, "u1" if packed else f"{order}u2")
    table = np.atleast_1d(np.asarray(data, np.float64))[:entries]
    if len(table) < entries or not 8 <= bits <= 16:
        raise UnreadableImageError("damaged lookup table")
    return table[np.clip(np.round(values) - first, 0, entries - 1).astype(np.intp)], bits


def _count_levels(patterns: np.ndarray, levels: np.ndarray, header: Dataset) -> np.ndarray:
    """Count the pixels of each level; padding does not count, unless there is nothing else.

    Args:
        patterns: Unsigned integers, (height, width): positions among the levels.
        levels: The stored value of each bit pattern.
        header: For the padding.
    """
    counts = np.zeros(len(levels), np.int64)
    for rows in split_rows(len(patterns)):
        counts += np.bincount(patterns[rows].ravel(), minlength=len(levels))
    padding = [
        # Signed values are at times declared unsigned, and the other way round: the pattern counts.
        np.int64(header[name].value).astype(levels.dtype)
        for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")
        if header.get(name) is not None
    ]
    if not padding:
        return counts
    padded = (levels >= min(padding)) & (levels <= max(padding))
    return counts if counts[~padded].sum() == 0 else np.where(padded, 0, counts)


def _find_range(values: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """Return percentiles of values that occur several times each, as `np.percentile` would."""
    order = np.argsort(values, kind="stable")
    ordered, ranks = values[order], np.cumsum(counts[order])
    low, high = (
        np.interp(
            place := percentile / 100 * (ranks[-1] - 1),
            (rank := np.floor(place)) + np.array([0, 1]),
            ordered[np.searchsorted(ranks, [rank, min(rank + 1, ranks[-1] - 1)], side="right")],
        )
        for percentile in _PERCENTILES
    )
    return float(low), float(high)


# Header


def _read_number(header: Dataset, name: str) -> float | None:
    """Return the first number of an element; nothing if there is none, or no finite one."""
    value = header.get(name)
    if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue":
        value = value[0] if len(value) else None
    if value is None or value == "" or not np.isfinite(float(value)):
        return None
    return float(value)


def _read_text(header: Dataset, name: str) -> str | None:
    return str(header.get(name) or "").strip(" \0\t\r\n") or None


def _read_side(header: Dataset) -> str | None:
    side = _read_text(header, "ImageLaterality") or _read_text(header, "Laterality") or ""
    return side.upper() if side.upper() in ("L", "R") else None
