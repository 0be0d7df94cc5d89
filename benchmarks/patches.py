"""A network so small that what surrounds it is what a benchmark of many images measures."""

import torch
from torch import nn

_PATCH, _WIDTH = 16, 8  # side of a patch in pixels, and channels


class Patches(nn.Module):
    """Channels of patches that do not overlap, their means, and a linear layer.

    Args:
        n_classes: Number of logits.
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, _WIDTH, _PATCH, stride=_PATCH), nn.ReLU())
        self.head = nn.Linear(_WIDTH, n_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits, (batch, n_classes), of images of one channel."""
        logits: torch.Tensor = self.head(self.features(images).mean((2, 3)))
        return logits


def make(n_classes: int) -> nn.Module:
    """Return the network untrained, for `--models benchmarks/patches.py:make`."""
    return Patches(n_classes)
