"""Hands a training the pixels that Ray Data streams to it. Imported by workers only."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from ray.data import DataIterator
from ray.data.collate_fn import NumpyBatchCollateFn

from osteo_ray.models.batches import Feed, send
from osteo_ray.pipeline.compare.pixel_stream import EPOCH, PIXELS, ROW

_AHEAD = 2  # blocks that are on the device before they are needed


class _Block(NamedTuple):
    """Images that were read by one task.

    Attributes:
        epochs: int64, (k,).
        rows: int64, (k,).
        pixels: uint8 or uint16, (k, height, width), on the device.
    """

    epochs: np.ndarray
    rows: np.ndarray
    pixels: torch.Tensor

    def cut(self, part: slice) -> "_Block":
        return _Block(self.epochs[part], self.rows[part], self.pixels[part])


class _Send(NumpyBatchCollateFn):
    """Copies the pixels of a block to a device."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device

    def __call__(self, batch: dict[str, np.ndarray]) -> Any:
        # PyTorch wants an array of its own: that of Ray is read-only.
        return _Block(batch[EPOCH], batch[ROW], send(batch[PIXELS].copy(), self.device))


def _join(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Join pixels. PyTorch has few operations on uint16, but all of them on int16."""
    if parts[0].dtype != torch.uint16:
        return torch.cat(list(parts))
    return torch.cat([part.view(torch.int16) for part in parts]).view(torch.uint16)


class StreamedFeed(Feed):
    """Cuts a stream of pixels into the steps of a training, and checks that it is the right one.

    Blocks are copied to the device in a thread of their own, ahead of the steps.

    Args:
        iterator: The stream that `stream_pixels` describes, from the epoch on with which the
            training goes on.
        device: Where the training computes.
    """

    def __init__(self, iterator: DataIterator, device: torch.device) -> None:
        self._blocks: Any = iter(
            iterator.iter_torch_batches(
                batch_size=None, prefetch_batches=_AHEAD, collate_fn=_Send(device)
            )
        )
        self._left: list[_Block] = []

    def close(self) -> None:
        """End the stream, which goes on if the training stops before the last epoch."""
        self._blocks.close()

    def read_epoch(self, number: int, steps: Sequence[np.ndarray]) -> Iterator[torch.Tensor]:
        """Bring the pixels of each step of an epoch; see `Feed`.

        Raises:
            RuntimeError: The stream brings other images, or has ended.
        """
        for rows in steps:
            taken = self._take(len(rows))
            found = np.concatenate([block.rows for block in taken])
            if not np.array_equal(found, rows) or any(
                (block.epochs != number).any() for block in taken
            ):
                raise RuntimeError(
                    f"Expected the images of a step of epoch {number + 1} from Ray Data, but it "
                    "brought others."
                )
            yield _join([block.pixels for block in taken])

    def _take(self, wanted: int) -> list[_Block]:
        taken: list[_Block] = []
        while wanted:
            block = self._left.pop() if self._left else next(self._blocks, None)
            if block is None:
                raise RuntimeError("Expected more images from Ray Data, but the stream has ended.")
            head = block.cut(slice(wanted))
            if len(block.rows) > wanted:
                self._left.append(block.cut(slice(wanted, None)))
            taken.append(head)
            wanted -= len(head.rows)
        return taken
