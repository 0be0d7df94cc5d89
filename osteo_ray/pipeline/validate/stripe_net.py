"""A network of 5,000 weights that tells stripes apart, for planted worlds.

To import this module is to register it with timm. It is as small as possible, so that a world can
be run some hundred times: an epoch of 160 images of 32 px takes 0.03 s on one CPU core, where
the smallest networks of timm take 0.1 to 0.8 s.
"""

from typing import Any

import torch
from timm.models import register_model
from torch import nn

_WIDTHS = (16, 32)


class StripeNet(nn.Module):
    """Two convolutions, whose features `Classifier` pools."""

    def __init__(self) -> None:
        super().__init__()
        self.num_features = _WIDTHS[-1]
        self.pretrained_cfg = {"mean": (0.25,), "std": (0.25,)}
        layers: list[nn.Module] = []
        for given, width, kernel in ((1, _WIDTHS[0], 5), (*_WIDTHS, 3)):
            layers.append(nn.Conv2d(given, width, kernel, 2, kernel // 2))
            layers.append(nn.ReLU(inplace=True))
        self.stages = nn.Sequential(*layers)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of images.

        Args:
            images: float32, (batch, 1, height, width), standardised.

        Returns:
            float32, (batch, num_features, ⌈height/4⌉, ⌈width/4⌉).
        """
        found: torch.Tensor = self.stages(images)
        return found


@register_model
def stripe_net(**options: Any) -> StripeNet:
    """Build the network; the options that timm passes have no effect."""
    return StripeNet()
