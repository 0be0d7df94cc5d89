"""Turn the stored values of a DICOM file into the grays that a viewer would show."""

from typing import Any

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from osteo_ray.data.decoding.grays import mix_luminance
from osteo_ray.data.decoding.levels import require_finite, split_rows, stretch_levels, stretch_range
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.pixels import Bits, find_white, type_of_bits, widen

_PERCENTILES = (0.5, 99.5)


def show_integers(stored: np.ndarray, header: Dataset, bits: Bits = 8) -> np.ndarray:
    """Show stored integers in gray.

    Args:
        stored: Integers, (height, width), or colors, (height, width, 3).
        header: Says what the values mean.
        bits: Of the gray values.

    Returns:
        uint8 or uint16, (height, width).

    Raises:
        UnreadableImageError: The header's tables are missing or damaged.
    """
    if header.SamplesPerPixel == 3:
        is_usual = stored.dtype == np.uint8 and header.BitsStored == 8
        # Otherwise from their own range, since many files declare more bits than they use.
        return _mix_colours(stored if is_usual else stretch_range(stored, bits), bits)
    # Each step depends on the stored value alone, so a table of all possible values does the work.
    # Its order is that of the bit patterns: negative values come last.
    patterns = stored.view(f"u{stored.dtype.itemsize}")
    levels = np.arange(2 ** (8 * stored.dtype.itemsize), dtype=patterns.dtype).view(stored.dtype)
    if header.PhotometricInterpretation == "PALETTE COLOR":
        table = _look_up_palette(levels, header, bits)
    else:
        values = _apply_modality(levels.astype(np.float64), header)
        shown = _apply_window(values, header)
        if shown is None:
            shown = _stretch(values, *_find_range(values, _count_levels(patterns, levels, header)))
        table = _invert_if_needed(_round_grays(shown, bits), header)
    pixels = np.empty(stored.shape, table.dtype)
    for rows in split_rows(len(stored)):
        pixels[rows] = table[patterns[rows]]
    return pixels


def show_floats(stored: np.ndarray, header: Dataset, bits: Bits = 8) -> np.ndarray:
    """Show stored floats in gray.

    Args:
        stored: Floats, (height, width).
        header: Says what the values mean.
        bits: Of the gray values.

    Returns:
        uint8 or uint16, (height, width).

    Raises:
        UnreadableImageError: Some pixels are not finite numbers, or the header's tables are
            damaged.
    """
    if str(header.PhotometricInterpretation) not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnreadableImageError("colors stored in a way that is not supported")
    values = _apply_modality(stored.astype(np.float64), header)
    require_finite(values)
    shown = _apply_window(values, header)
    if shown is None:
        shown = _stretch(values, *np.percentile(values, _PERCENTILES).tolist())
    return _invert_if_needed(_round_grays(shown, bits), header)


def _round_grays(shown: np.ndarray, bits: Bits) -> np.ndarray:
    """Turn grays in 0..1 into those of so many bits."""
    return np.asarray(np.round(shown * (2**bits - 1)), type_of_bits(bits))


def _invert_if_needed(gray: np.ndarray, header: Dataset) -> np.ndarray:
    # In a radiograph, MONOCHROME1 and INVERSE say the same, so that both invert only once.
    inverted = (
        str(header.PhotometricInterpretation) == "MONOCHROME1"
        or read_presentation(header) == "INVERSE"
    )
    shown: np.ndarray = find_white(gray) - gray if inverted else gray
    return shown


def read_presentation(header: Dataset) -> str:
    """Return the PresentationLUTShape, in capitals, or an empty string."""
    return str(header.get("PresentationLUTShape") or "").strip().upper()


def _look_up_palette(levels: np.ndarray, header: Dataset, bits: Bits) -> np.ndarray:
    """Return the luminance of each level."""
    if header.get("RedPaletteColorLookupTableDescriptor") is None:
        raise UnreadableImageError("no palette in the header")
    colours = apply_color_lut(levels.reshape(1, -1), header)
    if colours.dtype != np.uint8:
        # Some writers store entries of 8 bits in words of 16.
        colours = stretch_levels(colours, 0, 255 if colours.max() <= 255 else 65_535, bits)
    gray: np.ndarray = _mix_colours(colours, bits)[0]
    return gray


def _mix_colours(colours: np.ndarray, bits: Bits) -> np.ndarray:
    """Return the luminance of uint8 or uint16 (height, width, 3) as (height, width)."""
    gray = mix_luminance(colours)
    return widen(gray, bits) if gray.dtype == np.uint8 else gray


def _apply_modality(values: np.ndarray, header: Dataset) -> np.ndarray:
    """Turn stored values into those of the modality, such as densities."""
    if header.get("ModalityLUTSequence"):
        return _look_up(values, header.ModalityLUTSequence[0], header)[0]
    slope = _read_number(header, "RescaleSlope")
    intercept = _read_number(header, "RescaleIntercept")
    if slope == 0:
        raise UnreadableImageError("a rescale slope of zero")
    scaled: np.ndarray = values * (1 if slope is None else slope) + (intercept or 0)
    return scaled


def _apply_window(values: np.ndarray, header: Dataset) -> np.ndarray | None:
    """Return grays in 0..1, or None if the header has no usable window or lookup table."""
    centre, width = _read_number(header, "WindowCenter"), _read_number(header, "WindowWidth")
    function = str(header.get("VOILUTFunction") or "LINEAR").strip().upper()
    if centre is not None and width is not None:
        # The formulas of the DICOM standard, part 3, C.11.2.1.2 and C.11.2.1.3.
        if function == "SIGMOID" and width > 0:
            sigmoid: np.ndarray = 1 / (1 + np.exp(-4 * (values - centre) / width))
            return sigmoid
        if function != "LINEAR_EXACT" and width >= 1:
            middle, reach = centre - 0.5, (width - 1) / 2
            return _stretch(values, middle - reach, middle + reach)
        if width > 0:  # the standard's LINEAR is for whole numbers, and has no window below 1
            return _stretch(values, centre - width / 2, centre + width / 2)
    if header.get("VOILUTSequence"):
        shown, bits = _look_up(values, header.VOILUTSequence[0], header)
        return _stretch(shown, 0, 2**bits - 1)
    return None


def _stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map low..high to 0..1 and clip; if both are equal, whatever lies above is white."""
    if not high > low:
        return (values > low).astype(np.float64)
    return np.clip((values - low) / (high - low), 0, 1)


def _look_up(values: np.ndarray, item: Dataset, header: Dataset) -> tuple[np.ndarray, int]:
    """Return the entries of a lookup table for the values, and the number of bits in an entry."""
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    entries = entries or 2**16  # the standard's way to write 2**16, which 16 bits cannot hold
    data = item.LUTData
    if isinstance(data, bytes):
        order = "<" if header.file_meta.TransferSyntaxUID.is_little_endian else ">"
        packed = len(data) < 2 * entries  # entries of 8 bits, one in each byte
        data = np.frombuffer(data, "u1" if packed else f"{order}u2")
    table = np.atleast_1d(np.asarray(data, np.float64))[:entries]
    if len(table) < entries or not 8 <= bits <= 16:
        raise UnreadableImageError("a damaged lookup table")
    return table[np.clip(np.round(values) - first, 0, entries - 1).astype(np.intp)], bits


def _count_levels(patterns: np.ndarray, levels: np.ndarray, header: Dataset) -> np.ndarray:
    """Count the pixels of each level, without padding unless there is nothing else.

    Args:
        patterns: Unsigned integers, (height, width): the bit pattern of each pixel.
        levels: The stored value of each bit pattern.
        header: Says which values are padding.

    Returns:
        int64, the shape of `levels`.
    """
    counts = np.zeros(len(levels), np.int64)
    for rows in split_rows(len(patterns)):
        counts += np.bincount(patterns[rows].ravel(), minlength=len(levels))
    padding = [
        # Some writers declare signed values unsigned, or the reverse: compare bit patterns.
        np.int64(header[name].value).astype(levels.dtype)
        for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")
        if header.get(name) is not None
    ]
    if not padding:
        return counts
    padded = (levels >= min(padding)) & (levels <= max(padding))
    return counts if counts[~padded].sum() == 0 else np.where(padded, 0, counts)


def _find_range(values: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """Return percentiles, as `np.percentile` does, of values each of which occurs repeatedly."""
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


def _read_number(header: Dataset, name: str) -> float | None:
    """Return the first number of an element, or None if it has none or one that is not finite.

    Raises:
        UnreadableImageError: It holds something else than numbers.
    """
    element = header.get_item(name)
    if isinstance(element, RawDataElement) and element.VR in (None, "DS"):
        # Read as text: pydicom refuses the decimal commas that some writers use.
        value: Any = (element.value or b"").decode("latin-1").split("\\")[0].strip(" \0")
        value = str(value).replace(",", ".")
    else:
        value = header.get(name)
    if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue":
        value = value[0] if len(value) else None
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise UnreadableImageError(f"a {name} that is no number") from None
    return number if np.isfinite(number) else None
