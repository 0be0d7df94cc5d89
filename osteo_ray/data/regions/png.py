"""Regions as PNG masks."""

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from osteo_ray.data.decoding.refusals import check_size, refuse_errors
from osteo_ray.data.decoding.result import UnreadableImageError


def decode_mask(content: bytes) -> np.ndarray:
    """Decode a PNG mask of any bit depth, in gray, with a palette or in color.

    Returns:
        bool, (height, width); True = inside the region: the value, the number in the palette or
        any color is not zero, and the pixel is not wholly transparent.

    Raises:
        UnreadableImageError: The content is no PNG file, is damaged, or has a size that no
            radiograph has.
    """
    with refuse_errors():
        try:
            image = Image.open(io.BytesIO(content), formats=("PNG",))
        except UnidentifiedImageError:
            raise UnreadableImageError("not a PNG file") from None
        with image:
            check_size(*image.size)
            values = np.asarray(image)
            n_colors = len(image.getbands()) - ("A" in image.getbands())
    if values.ndim == 2:
        return np.asarray(values != 0)
    inside = values[..., :n_colors].any(axis=2)
    return np.asarray(inside & (values[..., n_colors:] != 0).all(axis=2))
