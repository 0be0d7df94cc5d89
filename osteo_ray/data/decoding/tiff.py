"""Decode TIFF files of sample formats that Pillow would refuse, clip, or take for others.

Pillow reads the tags and undoes the compression; the bytes are put together here.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from osteo_ray.data.decoding.deep import turn_upright
from osteo_ray.data.decoding.grays import mix_channels
from osteo_ray.data.decoding.refusals import check_size
from osteo_ray.data.decoding.remarks import make_remarks
from osteo_ray.data.decoding.result import Decoded, UnreadableImageError
from osteo_ray.data.pixels import Bits, find_white

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIP_OFFSETS, _ORIENTATION, _CHANNELS, _ROWS_PER_STRIP, _STRIP_SIZES = 273, 274, 277, 278, 279
_PLANAR, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES = (
    284,
    317,
    *range(322, 326),
)
_EXTRA, _FORMAT = 338, 339
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}  # of _FORMAT; 4 means that it is not known
_COLOURS = {0: 1, 1: 1, 2: 3}  # channels of _PHOTOMETRIC: white is zero, black is zero, RGB
_PACKED = (5, 8, 32946, 32773, 34925, 50000)  # LZW, Deflate twice, PackBits, LZMA, Zstandard
_UNASSOCIATED = 2  # opacity that has not darkened the colors yet
_DIFFERENCES, _FLOAT_DIFFERENCES = 2, 3


def decode_unusual_tiff(content: bytes, *, tried: bool, bits: Bits = 8) -> Decoded | None:
    """Decode the first page of a TIFF file if it holds more than unsigned samples of 8 bits.

    Args:
        content: The file.
        tried: Whether Pillow has tried, and does not know this kind of TIFF file.
        bits: Of the gray values.

    Returns:
        The image, upright; None if Pillow reads such files rightly.

    Raises:
        UnreadableImageError: The file is damaged, or of a kind that is not supported; the message
            names the kind. Other errors mean that it is damaged.
    """
    tags, n_pages = _read_tags(content)
    depths, kinds = (
        _list(tags, _BITS, 1),
        [_KINDS.get(code, "") for code in _list(tags, _FORMAT, 1)],
    )
    channels = _get(tags, _CHANNELS, 1)
    is_gray = _COLOURS.get(_get(tags, _PHOTOMETRIC, 1)) == 1
    is_plain = max(depths) <= 8 and set(kinds) == {"u"} and not (is_gray and channels > 1)
    is_packed = depths == [12] and kinds == ["u"] and is_gray  # two values in three bytes
    if (is_plain or is_packed) and not tried:
        return None
    layout = _read_layout(tags, depths, kinds)
    check_size(layout.width, layout.height)
    samples = _read_samples(layout, content)
    colours, opacity = _COLOURS[layout.photometric], None
    if layout.channels > colours and _get(tags, _EXTRA, 0) == _UNASSOCIATED:
        opacity = samples[..., colours]
    levels = samples[..., :colours]
    pixels = mix_channels(levels, opacity, bits)
    if layout.photometric == 0:
        pixels = find_white(pixels) - pixels
    mode = f"{layout.dtype.name}x{layout.channels}"
    upright = turn_upright(pixels, _get(tags, _ORIENTATION, 1))
    texts = [value for value in tags.values() if isinstance(value, str)]
    return Decoded(upright, "TIFF", mode, remarks=make_remarks(n_pages, texts))


def _read_tags(content: bytes) -> tuple[ImageFileDirectory_v2, int]:
    """Return the tags of the first page, and the number of pages."""
    if content.startswith(b"MM\0+"):  # of which Pillow takes the offsets for shorter ones
        raise UnreadableImageError(
            "a big-endian TIFF file with offsets of 64 bits, which is not supported"
        )
    head = content[: 16 if content.startswith(b"II+") else 8]
    tags, file = ImageFileDirectory_v2(head), io.BytesIO(content)
    file.seek(tags.next)
    tags.load(file)
    places, other = [tags.next], ImageFileDirectory_v2(head)
    while 0 < places[-1] < len(content) and places[-1] not in places[:-1]:
        file.seek(places[-1])
        try:
            other.load(file)
        except (OSError, struct.error):
            break
        places.append(other.next)
    return tags, len(places)


def _list(tags: ImageFileDirectory_v2, name: int, default: int) -> list[int]:
    return [int(value) for value in np.ravel(tags.get(name, default))]


def _get(tags: ImageFileDirectory_v2, name: int, default: int) -> int:
    return _list(tags, name, default)[0]


@dataclass(frozen=True)
class _Layout:
    """How samples lie in the file: in strips or tiles, each compressed by itself."""

    width: int
    height: int
    channels: int
    photometric: int
    dtype: "np.dtype[Any]"
    compression: int
    predictor: int
    planar: bool
    segment: tuple[int, int]  # rows and columns of a strip or tile
    tiled: bool
    places: list[tuple[int, int]]  # offset and length of each, in bytes


def _read_layout(tags: ImageFileDirectory_v2, bits: list[int], kinds: list[str]) -> _Layout:
    """Read how samples lie; refuse what is not supported."""
    channels, photometric = _get(tags, _CHANNELS, 1), _get(tags, _PHOTOMETRIC, 1)
    what = f"a TIFF file of {'/'.join(map(str, bits[:4]))} bits"
    if len(set(bits)) > 1 or len(set(kinds)) > 1:
        raise UnreadableImageError(f"{what} and differing samples; expected one kind of sample")
    allowed = {"u": (8, 16, 32, 64), "i": (8, 16, 32, 64), "f": (16, 32, 64)}.get(kinds[0], ())
    if bits[0] not in allowed or _get(tags, _FILL_ORDER, 1) != 1:
        raise UnreadableImageError(f"{what} in a sample format that is not supported")
    colours = _COLOURS.get(photometric)
    if colours is None or channels not in (colours, colours + 1):
        raise UnreadableImageError(
            f"{what} in {channels} channels and color space {photometric}; expected gray or RGB, "
            "with or without opacity"
        )
    compression, predictor = _get(tags, _COMPRESSION, 1), _get(tags, _PREDICTOR, 1)
    if compression not in (1, *_PACKED) or predictor not in (1, _DIFFERENCES, _FLOAT_DIFFERENCES):
        raise UnreadableImageError(
            f"{what} with compression {compression}, which is not supported; save it without any"
        )
    width, height, tiled = _get(tags, _WIDTH, 0), _get(tags, _HEIGHT, 0), _TILE_OFFSETS in tags
    names = (_TILE_OFFSETS, _TILE_SIZES) if tiled else (_STRIP_OFFSETS, _STRIP_SIZES)
    offsets, sizes = (_list(tags, name, 0) for name in names)
    segment = (min(_get(tags, _ROWS_PER_STRIP, height), height), width)
    if tiled:
        segment = (_get(tags, _TILE_HEIGHT, 0), _get(tags, _TILE_WIDTH, 0))
        check_size(*segment)
    order = "<" if tags.prefix == b"II" else ">"
    return _Layout(
        width,
        height,
        channels,
        photometric,
        np.dtype(f"{order}{kinds[0]}{bits[0] // 8}"),
        compression,
        predictor if compression != 1 else 1,
        channels > 1 and _get(tags, _PLANAR, 1) == 2,
        segment,
        tiled,
        list(zip(offsets, sizes, strict=True)),
    )


def _read_samples(layout: _Layout, content: bytes) -> np.ndarray:
    """Return (height, width, channels), in the byte order of this machine."""
    samples = np.zeros(
        (layout.height, layout.width, layout.channels), layout.dtype.newbyteorder("=")
    )
    together = 1 if layout.planar else layout.channels
    corners = list(_list_corners(layout))
    if len(corners) > len(layout.places):
        raise UnreadableImageError("truncated file")
    for (plane, row, column), (start, length) in zip(corners, layout.places, strict=False):
        rows, columns = layout.segment
        if not layout.tiled:
            rows = min(rows, layout.height - row)
        size = rows * columns * together * layout.dtype.itemsize
        data = content[start : start + length]
        if layout.compression != 1:
            data = _unpack(data, layout.compression, rows, size // rows)
        if len(data) < size:
            raise UnreadableImageError("truncated file")
        found = np.frombuffer(data[:size], np.uint8).reshape(rows, -1)
        values = _undo_differences(found, layout, together).reshape(rows, columns, together)
        target = samples[row : row + rows, column : column + columns, plane : plane + together]
        target[:] = values[: target.shape[0], : target.shape[1]]
    return samples


def _list_corners(layout: _Layout) -> Iterator[tuple[int, int, int]]:
    """List the plane, the first row and the first column of each strip or tile."""
    for plane in range(layout.channels if layout.planar else 1):
        for row in range(0, layout.height, layout.segment[0]):
            for column in range(0, layout.width, layout.segment[1]):
                yield plane, row, column


def _undo_differences(rows: np.ndarray, layout: _Layout, together: int) -> np.ndarray:
    """Return the samples of rows of bytes, uint8 (rows, bytes), whatever predictor they have."""
    dtype, size = layout.dtype, layout.dtype.itemsize
    if layout.predictor == _FLOAT_DIFFERENCES:
        # Differences of bytes; all first bytes of a row come first, and the highest are first.
        steps = rows.reshape(len(rows), -1, together)
        whole = np.cumsum(steps, axis=1, dtype=np.uint8).reshape(len(rows), size, -1)
        return np.ascontiguousarray(np.moveaxis(whole, 1, 2)).view(dtype.newbyteorder(">"))
    values = rows.view(dtype)
    if layout.predictor == _DIFFERENCES:
        whole = values.view(f"{dtype.byteorder}u{size}").astype(f"=u{size}")
        whole = np.cumsum(whole.reshape(len(rows), -1, together), axis=1, dtype=whole.dtype)
        return whole.view(dtype.newbyteorder("="))
    return values


def _unpack(data: bytes, compression: int, rows: int, row_bytes: int) -> bytes:
    """Undo the compression of a strip or tile, as if it were one of gray bytes.

    It becomes a TIFF file of its own, since Pillow hands these only to libtiff, which never writes
    more than the size that is stated.
    """
    longs = {
        _WIDTH: row_bytes,
        _HEIGHT: rows,
        _BITS: 8,
        _COMPRESSION: compression,
        _PHOTOMETRIC: 1,
        _STRIP_OFFSETS: 8,
        _CHANNELS: 1,
        _ROWS_PER_STRIP: rows,
        _STRIP_SIZES: len(data),
    }
    padded = data + bytes(len(data) % 2)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in longs.items())
    directory = struct.pack("<H", len(longs)) + entries + bytes(4)
    head = struct.pack("<2sHI", b"II", 42, 8 + len(padded))
    with Image.open(io.BytesIO(head + padded + directory), formats=["TIFF"]) as image:
        return image.tobytes()
