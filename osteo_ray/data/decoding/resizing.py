"""Resize grayscale images."""

import numpy as np
from PIL import Image

from osteo_ray.data.image_size import ImageSize


def resize_image(image: np.ndarray, image_size: ImageSize) -> np.ndarray:
    """Resize with antialiasing, whatever the aspect ratio, as the paper does with its squares.

    Args:
        image: uint8 or uint16, (height, width).
        image_size: Height and width to resize to.

    Returns:
        The type of the image, (height, width).
    """
    width_first = (image_size.width, image_size.height)
    deep = image.dtype == np.uint16  # Pillow resizes floats with all of their digits
    source = Image.fromarray(image.astype(np.float32) if deep else image)
    found = np.asarray(source.resize(width_first, Image.Resampling.BILINEAR))
    return np.rint(found).astype(np.uint16) if deep else found


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
