"""A region at the size of a run."""

from dataclasses import dataclass

import numpy as np

from osteo_ray.data.decoding.resizing import resize_image
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.masks import pack_mask


@dataclass(frozen=True)
class Region:
    """Where the sign of disease is in an image.

    Attributes:
        packed: One bit per pixel at the size of the run, as `pack_mask` packs them; True = inside.
        width: Width of the mask as it was given, in pixels.
        height: Its height.
    """

    packed: bytes
    width: int
    height: int


def shrink_region(inside: np.ndarray, image_size: ImageSize) -> Region:
    """Resize a region as the pixels of its image are; a pixel is inside if half of it is.

    Args:
        inside: bool, (height, width); True = inside the region.
        image_size: Height and width that the images are resized to.

    Raises:
        ValueError: The region is empty, or too small to be seen at that size.
    """
    if not inside.any():
        raise ValueError("is empty")
    resized = resize_image(np.uint8(255) * inside, image_size) >= 128
    if not resized.any():
        raise ValueError(f"is smaller than a pixel once it is resized to {image_size.tell()}")
    height, width = inside.shape
    return Region(pack_mask(resized), width, height)
