"""Arrays of many images, such as their pixels, in memory or elsewhere."""

from typing import Protocol

import numpy as np

from osteo_ray.data.image_size import ImageSize


class ImagesElsewhere(Protocol):
    """One array per image, none of them in memory, that can be indexed as an array of them."""

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray:
        """Read the arrays of some rows: (k, height, width), in the order of the rows."""
        ...

    def select(self, rows: np.ndarray) -> "ImagesElsewhere":
        """Return the arrays of some rows without reading them."""
        ...


Pixels = np.ndarray | ImagesElsewhere
"""uint8, (n, height, width), in memory or elsewhere."""
Superpixels = np.ndarray | ImagesElsewhere
"""uint16, (n, height, width), in memory or elsewhere; numbered from 0 in each image."""


def unpack_pixels(stored: bytes, image_size: ImageSize) -> np.ndarray:
    """Return the image whose pixels a table holds as bytes, row by row.

    Returns:
        uint8, (height, width); it may be written to.

    Raises:
        ValueError: The bytes are not those of an image of that size.
    """
    return np.frombuffer(stored, np.uint8).reshape(image_size.shape).copy()


def select_images(images: np.ndarray | ImagesElsewhere, rows: np.ndarray) -> Pixels:
    """Return the arrays of some rows; those that are elsewhere stay there."""
    return images[rows] if isinstance(images, np.ndarray) else images.select(rows)
