"""Gray values: how deep they are, and arrays of many images, in memory or elsewhere."""

from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from osteo_ray.data.image_size import ImageSize

if TYPE_CHECKING:
    import torch

Bits = Literal[8, 16]
"""Bits of a gray value; all of them are used, whatever the file had."""


class ImagesElsewhere(Protocol):
    """One array per image, none of them in memory, that can be indexed as an array of them."""

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray:
        """Read the arrays of some rows: (k, height, width), in the order of the rows."""
        ...

    def select(self, rows: np.ndarray) -> "ImagesElsewhere":
        """Return the arrays of some rows without reading them."""
        ...


Pixels = np.ndarray | ImagesElsewhere
"""uint8 or uint16, (n, height, width), in memory or elsewhere."""
Superpixels = np.ndarray | ImagesElsewhere
"""uint16, (n, height, width), in memory or elsewhere; numbered from 0 in each image."""


def type_of_bits(bits: Bits) -> "np.dtype[np.uint8] | np.dtype[np.uint16]":
    """Return the type of gray values of so many bits."""
    return np.dtype(np.uint8) if bits == 8 else np.dtype(np.uint16)


def find_white(image: np.ndarray) -> int:
    """Return the value of white in an image: 255 or 65,535.

    Raises:
        ValueError: It holds no gray values of 8 or 16 bits.
    """
    if image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"Expected gray values as uint8 or uint16, but got {image.dtype}.")
    return int(np.iinfo(image.dtype).max)


def show_8_bits(image: np.ndarray) -> np.ndarray:
    """Render gray values to 8 bits, rounded; those of 8 bits are returned as they are.

    Example:
        >>> show_8_bits(np.array([[0, 128, 129, 65535]], np.uint16)).tolist()
        [[0, 0, 1, 255]]
    """
    if find_white(image) == 255:
        return image
    return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)


def widen(image: np.ndarray, bits: Bits) -> np.ndarray:
    """Turn gray values of 8 bits, uint8, into those of so many bits, without loss."""
    return image if bits == 8 else image.astype(np.uint16) * np.uint16(257)


def scale_pixels(pixels: "torch.Tensor") -> "torch.Tensor":
    """Return gray values, uint8 or uint16, as float32 in [0, 1]."""
    import torch

    return pixels.float() / (255 if pixels.dtype == torch.uint8 else 65_535)


def unpack_pixels(stored: bytes, image_size: ImageSize) -> np.ndarray:
    """Return the image whose pixels a table holds as bytes, row by row.

    Returns:
        uint8 or uint16, as the number of bytes says; (height, width); it may be written to.

    Raises:
        ValueError: The bytes are not those of an image of that size.
    """
    bits: Bits = 8 if len(stored) == image_size.area_px else 16
    return np.frombuffer(stored, type_of_bits(bits)).reshape(image_size.shape).copy()


def select_images(images: np.ndarray | ImagesElsewhere, rows: np.ndarray) -> Pixels:
    """Return the arrays of some rows; those that are elsewhere stay there."""
    return images[rows] if isinstance(images, np.ndarray) else images.select(rows)
