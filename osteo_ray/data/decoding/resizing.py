"""Resize grayscale images."""

import numpy as np
from PIL import Image


def resize_image(image: np.ndarray, size_px: int) -> np.ndarray:
    """Resize to a square with antialiasing, whatever the aspect ratio, as the paper does.

    Args:
        image: uint8, (height, width).
        size_px: Side of the square.

    Returns:
        uint8, (size_px, size_px).
    """
    resized = Image.fromarray(image).resize((size_px, size_px), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def resize_whole(image: np.ndarray, most_px: int) -> np.ndarray:
    """Shrink an image in proportion until no side exceeds `most_px`; never enlarge it.

    Args:
        image: uint8, (height, width).
        most_px: Longest side allowed, at least 1.

    Returns:
        uint8, (height, width).
    """
    factor = min(1.0, most_px / max(image.shape))
    size = tuple(max(1, round(side * factor)) for side in image.shape[::-1])
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
