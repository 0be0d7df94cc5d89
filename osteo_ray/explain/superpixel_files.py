"""Superpixels of a whole file of images, stored beside it."""

import numpy as np
import pyarrow as pa

from osteo_ray.base.digests import write_sealed
from osteo_ray.base.storage import Place, locate
from osteo_ray.base.tables import IMAGE_ROWS, SUPERPIXELS, read_table, write_table
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.pixels import show_8_bits, unpack_pixels
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.explain.superpixels import find_superpixels


def write_superpixels(
    pixels: str, target: Place, settings: LimeSettings, image_size: ImageSize
) -> None:
    """Find the superpixels of all images of a file of pixels, and store them.

    An image that cannot be divided, because all its pixels are equal, is a single superpixel.

    Args:
        pixels: The file of pixels.
        target: The file to write.
        settings: The algorithm and its parameters.
        image_size: Height and width of the images.
    """
    table = read_table(locate(pixels), ["image_id", "pixels"])
    found = []
    for stored in table["pixels"].to_pylist():
        image = show_8_bits(unpack_pixels(stored, image_size))
        flat = image.min() == image.max()
        labels = np.zeros_like(image) if flat else find_superpixels(image, settings)
        found.append(labels.astype(np.uint16).tobytes())
    columns = {"image_id": table["image_id"], "superpixels": found}
    stored = pa.table(columns, schema=SUPERPIXELS)
    write_table(target, stored, IMAGE_ROWS, how=write_sealed)
