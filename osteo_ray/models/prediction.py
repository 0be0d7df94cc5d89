"""Class probabilities for a set of images."""

import numpy as np
import torch

from osteo_ray.models.batches import ImageSet
from osteo_ray.models.classifier import Classifier


def predict_logits(
    classifier: Classifier,
    images: ImageSet,
    *,
    batch_size: int,
    device: torch.device,
    rows: np.ndarray | None = None,
) -> torch.Tensor:
    """Return the logits of images in order, float32, (n, n_classes), on the device.

    The classifier is left in evaluation mode.

    Args:
        classifier: On the device.
        images: What to predict.
        batch_size: Images per forward pass, at most.
        device: Where to compute.
        rows: int, (n,); the images to predict, by default all.
    """
    classifier.eval()
    rows = np.arange(len(images)) if rows is None else rows
    with torch.inference_mode():
        parts = np.array_split(rows, max(1, -(-len(rows) // batch_size)))
        return torch.cat([classifier(images.make_batch(part, device)) for part in parts])


def predict_probabilities(
    classifier: Classifier, images: ImageSet, *, batch_size: int, device: torch.device
) -> np.ndarray:
    """Return the class probabilities of every image in order, float64, (n, n_classes)."""
    logits = predict_logits(classifier, images, batch_size=batch_size, device=device)
    return torch.softmax(logits.double(), 1).cpu().numpy()
