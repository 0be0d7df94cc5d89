"""The paper's augmentation, applied to whole batches on the device that trains.

Rotation, shift, shear, zoom and flip of an image are combined into one affine map, so the image is
resampled only once. The maps are drawn from a generator that the caller provides: what happens to
an image depends only on the seed and the epoch, not on batches or workers.
"""

import math

import numpy as np
import torch
from torch.nn import functional

from osteo_ray.models.settings import AugmentationSettings


def draw_affine(
    n_images: int, settings: AugmentationSettings, rng: np.random.Generator
) -> np.ndarray:
    """Draw one random affine map per image.

    Returns:
        float32, (n_images, 2, 3). A map turns output coordinates into input coordinates, both in
        [-1, 1] with x before y, as `torch.nn.functional.affine_grid` expects for squares.
    """
    angle = rng.uniform(-1, 1, n_images) * math.radians(settings.rotation_deg)
    shift = rng.uniform(-1, 1, (n_images, 2)) * settings.shift * 2  # each side is 2 units long
    shear = rng.uniform(-1, 1, n_images) * settings.shear
    if settings.shear_unit == "degrees":
        shear = np.tan(np.radians(shear))
    zoom = 1 + rng.uniform(-1, 1, (n_images, 2)) * settings.zoom
    mirrored = rng.random(n_images) < 0.5
    flip = np.where(mirrored & settings.flip, -1.0, 1.0)
    cosine, sine = np.cos(angle), np.sin(angle)
    rotation = np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)
    shearing = np.zeros((n_images, 2, 2))
    shearing[:, 0, 0] = shearing[:, 1, 1] = 1
    shearing[:, 0, 1] = shear
    scaling = np.zeros((n_images, 2, 2))
    scaling[:, 0, 0], scaling[:, 1, 1] = zoom[:, 0] * flip, zoom[:, 1]
    linear = rotation @ shearing @ scaling
    return np.concatenate([linear, shift[:, :, None]], -1).astype(np.float32)


def warp_images(images: torch.Tensor, affine: torch.Tensor) -> torch.Tensor:
    """Resample each image by its affine map; beyond the border, the edge is repeated.

    In images that are no squares, angles are those of the pixels as well: a rotation turns, and
    does not shear. Shifts are shares of height and width.

    Args:
        images: float32, (batch, 1, height, width).
        affine: float32, (batch, 2, 3), from `draw_affine`.

    Returns:
        float32, the shape of `images`.
    """
    height, width = images.shape[2:]
    if height != width:  # both sides are 2 units long, whatever their length in pixels
        units = affine.new_tensor([[1, height / width, 1], [width / height, 1, 1]])
        affine = affine * units
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
