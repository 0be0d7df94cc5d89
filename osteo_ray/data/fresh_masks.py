"""Random masks that are drawn anew in each epoch of a training."""

from dataclasses import dataclass, replace

import numpy as np

from osteo_ray.data.masks import cover_area
from osteo_ray.data.pixels import Superpixels, select_images


@dataclass(frozen=True)
class FreshMasks:
    """Random superpixels of each image, of a given area.

    A draw depends on the seed, the epoch and the number of the image, and not on what is drawn
    beside it.

    Attributes:
        superpixels: Those of each image; in memory, or read when they are needed.
        areas_px: int, (n,); how many pixels of each image are kept.
        numbers: int, (n,); the number of each image.
        seed: Determines all draws.
    """

    superpixels: Superpixels
    areas_px: np.ndarray
    numbers: np.ndarray
    seed: int

    def draw(self, rows: np.ndarray, epoch: int) -> np.ndarray:
        """Draw the masks of some rows for an epoch: bool, (len(rows), height, width), True = kept.

        Args:
            rows: int, (k,); rows of `superpixels`.
            epoch: Number of the epoch, from 0.
        """
        superpixels = self.superpixels[rows]
        keep_masks = np.empty(superpixels.shape, bool)
        for place, row in enumerate(rows):
            rng = np.random.default_rng([self.seed, epoch, int(self.numbers[row])])
            keep_masks[place] = cover_area(superpixels[place], int(self.areas_px[row]), rng)
        return keep_masks

    def select(self, rows: np.ndarray) -> "FreshMasks":
        """Return the masks of some rows; each image keeps its number, and so its draws."""
        return replace(
            self,
            superpixels=select_images(self.superpixels, rows),
            areas_px=self.areas_px[rows],
            numbers=self.numbers[rows],
        )


def pass_areas_on(areas_px: np.ndarray, split: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give each image the area of another image's mask, from the same part of the split.

    Args:
        areas_px: int, (n,).
        split: str, (n,); the part of the split that each image is in, or empty for images that are
            set aside, whose areas do not change.
        rng: Pairs the images.

    Returns:
        int, (n,).
    """
    passed = areas_px.copy()
    for part in np.unique(split[split != ""]):
        rows = rng.permutation(np.flatnonzero(split == part))
        passed[rows] = areas_px[np.roll(rows, 1)]
    return passed
