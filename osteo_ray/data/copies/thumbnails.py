"""Reduce images to thumbnails in which copies can be compared, and read them from a file."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from osteo_ray.data.decoding.identity import check_image
from osteo_ray.data.decoding.resizing import resize_image
from osteo_ray.data.image_size import ImageSize

SIDE = 112
"""Side of a thumbnail in pixels."""
SQUARE = ImageSize.square(2 * SIDE)
"""Size of the square that a thumbnail is made from."""

_GRAIN = 0.7  # in pixels of the file; strong compression removes finer structure

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Thumbnails:
    """Thumbnails in a file.

    Attributes:
        path: Raw uint8 (n, 112, 112), row by row.
        rows: int64 (m,); the row of each image, in the order of the images.
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
        """Return the thumbnails of some images, without reading them."""
        return replace(self, rows=self.rows[images])


def join_thumbnails(path: Path, *parts: Thumbnails) -> Thumbnails:
    """Write the thumbnails of several sets into one file, those of the first set first.

    Args:
        path: The file.
        parts: The sets, at least one.
    """
    rows, n_stored = [], 0
    with path.open("wb") as file:
        for part in parts:
            stored = part.open() if len(part.rows) else np.zeros((0, SIDE, SIDE), np.uint8)
            stored.tofile(file)
            rows.append(part.rows + n_stored)
            n_stored += len(stored)
    return Thumbnails(path, np.concatenate(rows), all(part.workers_see for part in parts))


def make_thumbnail(image: Bytes, square: Bytes | None = None) -> Bytes:
    """Reduce an image to a small square in which copies can be compared.

    It is resized to a square, whatever its aspect ratio, and stretched to the full range of gray.
    Margins stay, since keypoints find what lies between them, and cutting them would enlarge what
    small copies show only blurred. In images smaller than twice the thumbnail's side, the
    finest grain is blurred, because a copy may lack it.

    Args:
        image: uint8 (H, W), 0..255.
        square: The image resized to `SQUARE`, if that has been done already.

    Returns:
        uint8 (112, 112); all 0 for a constant image, which resembles no other.

    Raises:
        ValueError: `image` is not a uint8 array (H, W) with at least one pixel.

    Example:
        >>> make_thumbnail(np.arange(6000, dtype=np.uint16).reshape(60, 100).astype(np.uint8)).max()
        np.uint8(255)
    """
    check_image(image)
    square = resize_image(image, SQUARE) if square is None else square
    small = cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    blurred = _blur_grain(np.asarray(small, np.float32), list(image.shape))
    low, high = float(blurred.min()), float(blurred.max())
    stretched = (blurred - low) * (255 / max(high - low, 1))
    return np.asarray(np.rint(stretched), np.uint8)


def _blur_grain(thumbnail: Floats, sides: list[int]) -> Floats:
    """Blur what is finer than the grain of an image with these sides; nothing from 224 px on."""
    # Resizing to `SIDE` has blurred already. A sigma of 0 would mean "same as the other" to OpenCV.
    tall, wide = (
        math.sqrt(max((_GRAIN * SIDE / side) ** 2 - (_GRAIN / 2) ** 2, 1e-4)) for side in sides
    )
    border = cv2.BORDER_REPLICATE
    blurred = cv2.GaussianBlur(thumbnail, (0, 0), wide, sigmaY=tall, borderType=border)
    return np.asarray(blurred, np.float32)
