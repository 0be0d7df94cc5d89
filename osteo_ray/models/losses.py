"""What a training makes small."""

import numpy as np
import torch
from torch.nn import functional

from osteo_ray.models.class_weights import balance_classes
from osteo_ray.models.settings import LossSettings


class TrainingLoss:
    """Cross-entropy, with smoothed labels and images weighted by class if the settings say so.

    Args:
        settings: Smoothing and weights.
        labels: int, (n,); class numbers of the training images.
        n_classes: Number of classes.
        device: Where losses are computed.

    Raises:
        InputError: Classes are to be balanced, but one has no image.
    """

    def __init__(
        self, settings: LossSettings, labels: np.ndarray, n_classes: int, device: torch.device
    ) -> None:
        self.smoothing = settings.label_smoothing
        self.weights: torch.Tensor | None = None
        if settings.class_weights == "balanced":
            weights = balance_classes(labels, [str(number) for number in range(n_classes)])
            self.weights = torch.from_numpy(weights).float().to(device)

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss, summed over images.

        Args:
            logits: float, (batch, n_classes).
            labels: int64, (batch,).
        """
        losses = functional.cross_entropy(
            logits.float(),
            labels,
            label_smoothing=self.smoothing,
            reduction="sum" if self.weights is None else "none",
        )
        # PyTorch's own `weight` would weight each class of a smoothed label by itself, so that
        # images of a frequent class would be drawn to the rare ones.
        return losses if self.weights is None else (losses * self.weights[labels]).sum()
