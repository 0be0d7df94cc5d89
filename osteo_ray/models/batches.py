"""The images, labels and masks of one set, and the batches that are made from them."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from osteo_ray.data.fresh_masks import FreshMasks
from osteo_ray.data.masks import apply_view, make_background
from osteo_ray.data.settings import Background, View


@dataclass(frozen=True)
class ImageSet:
    """The images of one split as one arm sees them.

    Attributes:
        pixels: uint8, (n, height, width).
        labels: int64, (n,); class numbers.
        keep_masks: bool, (n, height, width), True = kept; or masks that are drawn anew for each
            epoch; None if the view needs no masks.
        view: What a batch shows.
        background: What replaces the pixels that a mask does not keep.
    """

    pixels: np.ndarray
    labels: np.ndarray
    keep_masks: np.ndarray | FreshMasks | None = None
    view: View = "image"
    background: Background = "black"

    def __len__(self) -> int:
        return len(self.labels)

    def make_batch(self, rows: np.ndarray, device: torch.device, epoch: int = 0) -> torch.Tensor:
        """Return the images of some rows: float32, (len(rows), 1, height, width), in [0, 1].

        Args:
            rows: int, (k,).
            device: Where the batch is needed.
            epoch: Number of the epoch, from 0; matters only to masks that change with it.
        """
        images = torch.from_numpy(self.pixels[rows]).to(device)[:, None].float() / 255
        if self.view == "image":
            return images
        keep_masks = self.make_regions(rows, device, epoch)
        if self.background == "black":
            return apply_view(images, keep_masks, self.view)
        behind = np.stack([make_background(image, self.background) for image in self.pixels[rows]])
        background = torch.from_numpy(behind).to(device)[:, None].float() / 255
        return apply_view(images, keep_masks, self.view, background)

    def make_regions(self, rows: np.ndarray, device: torch.device, epoch: int = 0) -> torch.Tensor:
        """Return the masks of some rows: bool, (len(rows), 1, height, width), True = kept.

        Args:
            rows: int, (k,).
            device: Where the masks are needed.
            epoch: Number of the epoch, from 0; matters only to masks that change with it.

        Raises:
            ValueError: The set has no masks.
        """
        if self.keep_masks is None:
            raise ValueError("Expected a set of images with masks, but it has none.")
        if isinstance(self.keep_masks, FreshMasks):
            shown = self.keep_masks.draw(rows, epoch)
        else:
            shown = self.keep_masks[rows]
        return torch.from_numpy(shown).to(device)[:, None]

    def select(self, rows: np.ndarray) -> "ImageSet":
        """Return the set of some rows."""
        masks = self.keep_masks
        if masks is not None:
            masks = masks.select(rows) if isinstance(masks, FreshMasks) else masks[rows]
        return replace(self, pixels=self.pixels[rows], labels=self.labels[rows], keep_masks=masks)
