"""Arrays of many images, such as their pixels, in memory or elsewhere."""

from typing import Protocol

import numpy as np


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


def select_images(images: np.ndarray | ImagesElsewhere, rows: np.ndarray) -> Pixels:
    """Return the arrays of some rows; those that are elsewhere stay there."""
    return images[rows] if isinstance(images, np.ndarray) else images.select(rows)
