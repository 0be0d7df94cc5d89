"""Decode NIfTI files: images, and single slices of volumes."""

import math
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from osteo_ray.data.decoding.grays import mix_channels
from osteo_ray.data.decoding.refusals import check_size, refuse_errors
from osteo_ray.data.decoding.remarks import make_remarks
from osteo_ray.data.decoding.result import Decoded, UnreadableImageError
from osteo_ray.data.decoding.signatures import GZIP_MARK, unzip_start
from osteo_ray.data.pixels import Bits

AS_STORED = (
    "a NIfTI image is shown as it is stored, whatever its orientation: its first axis runs from "
    "left to right, its second from top to bottom"
)
_MOST_BYTES = 2 * 2**30  # of a file that has been decompressed
_COLOURS = ("R", "G", "B")


def decode_nifti(content: bytes, number: int | None, bits: Bits = 8) -> Decoded:
    """Decode an image, or a slice of a volume, to grayscale.

    Axes of length 1 do not count. Of the two others, the first is the row from left to right, and
    the second leads from row to row, as ITK writes images; affine maps, units and display ranges
    play no part. Slope and intercept do. Values of uint8 without these stay as they are, up to the
    scale of the result, and all others are scaled from the range that the image itself uses.

    Args:
        content: The file, compressed or not: NIfTI-1 or NIfTI-2, header and data in one.
        number: Number of the slice along the third axis, from 0; None for a single image.
        bits: Of the gray values.

    Raises:
        UnreadableImageError: It is damaged, holds several slices and no number is given, or holds
            something else than gray values or colors.
    """
    # Imported here: few data sets hold such files.
    from nibabel.nifti1 import Nifti1Image
    from nibabel.nifti2 import Nifti2Image

    with refuse_errors():
        whole = _unzip(content) if content.startswith(GZIP_MARK) else content
        if whole[344:348] == b"ni1\0" or whole[4:8] == b"ni2\0":
            raise UnreadableImageError(
                "one half of a NIfTI pair (.hdr and .img); save both as one .nii.gz"
            )
        kind = Nifti2Image if _is_second(whole) else Nifti1Image
        file = kind.from_bytes(whole)
        shape = tuple(map(int, file.header.get_data_shape()))
        _check_shape(shape, number)
        _check_whole(file.dataobj, shape, len(whole))
        stored = file.header.get_data_dtype()
        if stored.kind not in "biufV" or stored.itemsize > 8:
            raise UnreadableImageError(f"a NIfTI file of {stored}; expected gray values or RGB")
        picture = _take_slice(file.dataobj, shape, number)
        colours, opacity = _split_channels(picture.T)
        pixels = np.ascontiguousarray(mix_channels(colours, opacity, bits))
        texts = (AS_STORED, *make_remarks(1, _list_texts(file.header)))
        return Decoded(pixels, "NIFTI", _name_type(stored), remarks=texts)


def _is_second(content: bytes) -> bool:
    return content[:4] in (b"\x1c\2\0\0", b"\0\0\2\x1c")  # 540, the length of its header


def _unzip(content: bytes) -> bytes:
    whole = zlib.decompressobj(zlib.MAX_WBITS | 16)
    found = whole.decompress(content, _MOST_BYTES)
    if whole.unconsumed_tail:
        raise UnreadableImageError(f"more than {_MOST_BYTES >> 30} GiB once decompressed")
    if not whole.eof:
        raise UnreadableImageError("truncated file")
    return found


def _check_shape(shape: tuple[int, ...], number: int | None) -> None:
    """Require one image, or a volume and the number of one of its slices."""
    sides = " × ".join(map(str, shape))
    if number is not None:
        volume = len(shape) == 3 or (len(shape) > 3 and math.prod(shape[3:]) == 1)
        if not volume:
            raise UnreadableImageError(
                f"has a slice in its row, but holds {sides} values, which is no volume"
            )
        if not 0 <= number < shape[2]:
            raise UnreadableImageError(
                f"has slice {number} in its row, but holds {sides} values; expected 0 to "
                f"{shape[2] - 1}"
            )
        check_size(*shape[:2])
        return
    flat = [side for side in shape if side != 1]
    if len(flat) > 2:
        raise UnreadableImageError(
            f"a volume of {sides} values; list it in a table whose column `slice` says which "
            "slices to use, counted from 0 along the third axis"
        )
    if len(flat) < 2:
        raise UnreadableImageError(f"{sides} values; expected an image")
    check_size(*flat)


def _check_whole(values: Any, shape: tuple[int, ...], n_bytes: int) -> None:
    if values.offset + math.prod(shape) * values.dtype.itemsize > n_bytes:
        raise UnreadableImageError("truncated file")


def _take_slice(values: Any, shape: tuple[int, ...], number: int | None) -> np.ndarray:
    """Return (width, height), scaled by slope and intercept."""
    flat = [side for side in shape if side != 1]
    place = (slice(None), slice(None), number, *(0 for _ in shape[3:]))
    picture = np.asanyarray(values).reshape(flat) if number is None else values[place]
    return np.asanyarray(picture)


def _split_channels(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    names = picture.dtype.names
    if names is None:
        return picture[..., None], None
    colours = np.stack([picture[name] for name in _COLOURS], axis=-1)
    return colours, picture["A"] if "A" in names else None


def _name_type(stored: np.dtype[Any]) -> str:
    return stored.name if stored.names is None else "".join(stored.names)


def _list_texts(header: Any) -> Iterable[str]:
    """List the texts of a header, and of its extensions, which may be a DICOM header."""
    for name in ("descrip", "aux_file", "intent_name", "db_name"):
        if name in header:
            yield bytes(header[name].item()).decode("utf-8", "ignore")
    for extension in header.extensions:
        content = extension.content if hasattr(extension, "content") else b""
        yield content.decode("utf-8", "ignore") if isinstance(content, bytes) else str(content)


def is_nifti(content: bytes) -> bool:
    """Tell from its first bytes whether a content is a NIfTI file, compressed or not.

    Example:
        >>> is_nifti(bytes(344) + b"n+1" + bytes(5)), is_nifti(b"n+2")
        (True, False)
    """
    start = unzip_start(content, 352) if content.startswith(GZIP_MARK) else content[:352]
    return start[344:348] in (b"n+1\0", b"ni1\0") or start[4:8] in (b"n+2\0", b"ni2\0")
