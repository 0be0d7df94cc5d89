"""Pixels of many images, in memory or elsewhere."""

from typing import Protocol

import numpy as np


class PixelsElsewhere(Protocol):
    """Pixels that are not in memory, but can be indexed as an array of them."""

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray:
        """Read the pixels of some rows: uint8, (k, height, width), in the order of the rows."""
        ...

    def select(self, rows: np.ndarray) -> "PixelsElsewhere":
        """Return the pixels of some rows without reading them."""
        ...


Pixels = np.ndarray | PixelsElsewhere
"""uint8, (n, height, width), in memory or elsewhere."""


def select_pixels(pixels: Pixels, rows: np.ndarray) -> Pixels:
    """Return the pixels of some rows; those that are elsewhere stay there."""
    return pixels[rows] if isinstance(pixels, np.ndarray) else pixels.select(rows)
