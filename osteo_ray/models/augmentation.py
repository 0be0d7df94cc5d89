"""The paper's augmentation, on whole batches and on the device that trains.

Every change is one affine map per image, so rotation, shift, shear, zoom and flip cost a single
resampling, and draw from a generator that the caller owns: which change an image gets depends on
the seed and the epoch only, not on batches or workers.
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
        float32, (n_images, 2, 3); maps output to input coordinates in [-1, 1], x before y, as
        `torch.nn.functional.affine_grid` takes them.
    """
    angle = rng.uniform(-1, 1, n_images) * math.radians(settings.rotation_deg)
    shift = rng.uniform(-1, 1, (n_images, 2)) * settings.shift * 2  # the side is 2 units long
    shear = rng.uniform(-1, 1, n_images) * settings.shear
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
    """Resample each image under its affine map; beyond the border its edge is repeated.

    Args:
        images: float32, (batch, 1, height, width).
        affine: float32, (batch, 2, 3), from `draw_affine`.

    Returns:
        float32, the shape of `images`.
    """
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
