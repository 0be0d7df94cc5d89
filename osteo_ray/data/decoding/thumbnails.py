"""What is kept of every image to find its copies: a digest of the pixels, and a thumbnail."""

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from osteo_ray.data.decoding.images import resize_image

SIDE = 112
"""Of a thumbnail, in pixels."""
SQUARE_PX = 2 * SIDE
"""Side of the square that a thumbnail is made from."""

_WHITE_LEVEL, _WHITE_SHARE = 0.9, 0.75  # of a margin's line: brightness, share of its pixels
_GRAIN = 0.7  # pixels of a file; structure finer than this does not survive a strong encoding

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Thumbnails:
    """Thumbnails in a file.

    Attributes:
        path: Raw uint8 (n, 112, 112), row by row.
        rows: int64 (m,), the rows that are meant, in the order of the images.
        workers_see: Whether every worker can read the file.
    """

    path: Path
    rows: Ints
    workers_see: bool = True

    def open(self) -> Bytes:
        """Map the file: uint8 (n, 112, 112)."""
        file = np.memmap(self.path, np.uint8, "r").reshape(-1, SIDE, SIDE)
        return np.asarray(file)

    def read(self, images: Ints) -> Bytes:
        """Read the thumbnails of some images: uint8 (len(images), 112, 112)."""
        return self.open()[self.rows[images]]

    def select(self, images: Ints) -> "Thumbnails":
        """Return those of some images."""
        return replace(self, rows=self.rows[images])


def digest_pixels(image: Bytes) -> str:
    """Digest what an image shows, so that the same pixels in two file formats are equal.

    Args:
        image: uint8 (H, W), 0..255.

    Returns:
        64 hexadecimal digits (SHA-256 of shape and pixels).

    Raises:
        ValueError: `image` is not a uint8 array (H, W) with at least one pixel.

    Example:
        >>> digest_pixels(np.zeros((2, 3), np.uint8)) == digest_pixels(np.zeros((3, 2), np.uint8))
        False
    """
    _check_image(image)
    shape = f"{image.shape[0]}x{image.shape[1]}:".encode()
    return hashlib.sha256(shape + image.tobytes()).hexdigest()


def make_thumbnail(image: Bytes, square: Bytes | None = None) -> Bytes:
    """Reduce an image to a small square in which copies can be compared.

    White margins are cut off, the rest is squashed and stretched to the full range of gray. Of an
    image of less than twice the thumbnail's side, the finest grain is blurred: a copy may lack it.

    Args:
        image: uint8 (H, W), 0..255.
        square: The image resized to `SQUARE_PX`, where that has been done already.

    Returns:
        uint8 (112, 112); all 0 for a constant image, which is like no other.

    Raises:
        ValueError: `image` is not a uint8 array (H, W) with at least one pixel.

    Example:
        >>> make_thumbnail(np.arange(6000, dtype=np.uint16).reshape(60, 100).astype(np.uint8)).max()
        np.uint8(255)
    """
    _check_image(image)
    inner = _cut_white_margins(resize_image(image, SQUARE_PX) if square is None else square)
    small = cv2.resize(inner, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    sides = [whole * part / SQUARE_PX for whole, part in zip(image.shape, inner.shape, strict=True)]
    blurred = _blur_grain(np.asarray(small, np.float32), sides)
    low, high = float(blurred.min()), float(blurred.max())
    stretched = (blurred - low) * (255 / max(high - low, 1))
    return np.asarray(np.rint(stretched), np.uint8)


def mirror(thumbnail: Bytes) -> Bytes:
    """Return a thumbnail as in a mirror: left and right swapped."""
    return np.ascontiguousarray(thumbnail[:, ::-1])


def _blur_grain(thumbnail: Floats, sides: list[float]) -> Floats:
    """Blur what is finer than the grain of an image (height, width); nothing from 224 px on."""
    # The resizing to `SIDE` has blurred already; 0 would mean "as the other" to OpenCV.
    tall, wide = (
        math.sqrt(max((_GRAIN * SIDE / side) ** 2 - (_GRAIN / 2) ** 2, 1e-4)) for side in sides
    )
    border = cv2.BORDER_REPLICATE
    blurred = cv2.GaussianBlur(thumbnail, (0, 0), wide, sigmaY=tall, borderType=border)
    return np.asarray(blurred, np.float32)


def _check_image(image: Bytes) -> None:
    if image.dtype != np.uint8 or image.ndim != 2 or image.size == 0:
        raise ValueError(
            "Expected image to be a uint8 array (H, W) with at least one pixel, "
            f"but got {image.dtype} {image.shape}."
        )


def _cut_white_margins(image: Bytes) -> Bytes:
    """Cut off the outer rows, then columns, that are white; uint8 (H, W) -> uint8 (h, w)."""
    darkest, brightest, _, _ = cv2.minMaxLoc(image)
    level = darkest + _WHITE_LEVEL * (brightest - darkest)

    def is_inside(lines: Bytes) -> npt.NDArray[np.bool_]:
        return np.asarray((lines >= level).sum(axis=1) < _WHITE_SHARE * lines.shape[1])

    for _ in range(2):
        # Most images have no margin, which their outermost lines tell.
        has_margin = not is_inside(image[[0, -1]]).all()
        if has_margin and len(inside := np.flatnonzero(is_inside(image))):
            first, last = inside[0], inside[-1]
            # Beside a margin lies a line that resizing has mixed with it.
            first += 0 < first < last
            last -= first < last < len(image) - 1
            image = image[first : last + 1]
        image = image.T
    return image
