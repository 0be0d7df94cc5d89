"""The images, labels and masks of one set, and the batches that are made from them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from osteo_ray.data.fresh_masks import FreshMasks
from osteo_ray.data.masks import apply_view, make_background
from osteo_ray.data.packed_masks import PackedMasks
from osteo_ray.data.pixels import Pixels, scale_pixels, select_images
from osteo_ray.data.settings import Background, View


@dataclass(frozen=True)
class ImageSet:
    """The images of one split as one arm sees them.

    Attributes:
        pixels: uint8 or uint16, (n, height, width); in memory, or read when they are needed.
        labels: int64, (n,); class numbers.
        keep_masks: Those of the images, packed; or masks that are drawn anew for each epoch; None
            if the view needs no masks.
        view: What a batch shows.
        background: What replaces the pixels that a mask does not keep.
    """

    pixels: Pixels
    labels: np.ndarray
    keep_masks: PackedMasks | FreshMasks | None = None
    view: View = "image"
    background: Background = "black"

    def __len__(self) -> int:
        return len(self.labels)

    def make_batch(
        self,
        rows: np.ndarray,
        device: torch.device,
        epoch: int = 0,
        pixels: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the images of some rows: float32, (len(rows), 1, height, width), in [0, 1].

        Args:
            rows: int, (k,).
            device: Where the batch is needed.
            epoch: Number of the epoch, from 0; matters only to masks that change with it.
            pixels: uint8 or uint16, (k, height, width), those of the rows, on the device; by
                default they are taken from the set.
        """
        if pixels is None:
            pixels = send(self.pixels[rows], device)
        images = scale_pixels(pixels[:, None])
        if self.view == "image":
            return images
        keep_masks = self.make_regions(rows, device, epoch)
        if self.background == "black" or self.view == "silhouette":
            return apply_view(images, keep_masks, self.view)
        if self._is_behind_fixed:
            behind = self._behind[rows]
        else:
            behind = self._make_behind(pixels.cpu().numpy(), keep_masks[:, 0].cpu().numpy())
        background = scale_pixels(send(behind, device)[:, None])
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
        return send(shown, device)[:, None]

    @property
    def _is_behind_fixed(self) -> bool:
        """Whether what shows where a mask keeps nothing is made once, and kept in memory."""
        varies = self.background == "imputed" and isinstance(self.keep_masks, FreshMasks)
        return isinstance(self.pixels, np.ndarray) and not varies

    @cached_property
    def _behind(self) -> np.ndarray:
        """What shows where a mask keeps nothing: the type and shape of `pixels`; made once."""
        pixels, masks = np.asarray(self.pixels), self.keep_masks
        if isinstance(masks, PackedMasks):
            return self._make_behind(pixels, masks)
        whole = np.ones(pixels.shape[1:], bool)
        return self._make_behind(pixels, (whole for _ in pixels))

    def _make_behind(self, pixels: np.ndarray, keep_masks: Iterable[np.ndarray]) -> np.ndarray:
        return np.stack(
            [
                make_background(image, self.background, keep_mask)
                for image, keep_mask in zip(pixels, keep_masks, strict=True)
            ]
        )

    def select(self, rows: np.ndarray) -> "ImageSet":
        """Return the set of some rows."""
        masks = self.keep_masks
        if masks is not None:
            masks = masks.select(rows)
        pixels = select_images(self.pixels, rows)
        return replace(self, pixels=pixels, labels=self.labels[rows], keep_masks=masks)


class Feed:
    """Brings a training the pixels of its steps. This one takes them from the set itself.

    Args:
        pixels: Those of the training images.
        device: Where the training computes.
    """

    def __init__(self, pixels: Pixels, device: torch.device) -> None:
        self.pixels, self.device = pixels, device

    def read_epoch(self, number: int, steps: Sequence[np.ndarray]) -> Iterator[torch.Tensor]:
        """Bring the pixels of each step of an epoch, on the device.

        Args:
            number: Number of the epoch, from 0.
            steps: int, (k,), for each step; the rows of its images.

        Yields:
            uint8 or uint16, (k, height, width).
        """
        for rows in steps:
            yield send(self.pixels[rows], self.device)


def send(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """Copy an array to a device; to a GPU, from pinned memory and without waiting for it."""
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
