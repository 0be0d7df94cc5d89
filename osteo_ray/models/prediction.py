"""Class probabilities for a set of images."""

import numpy as np
import torch

from osteo_ray.models.batches import ImageSet
from osteo_ray.models.classifier import Classifier


def predict_logits(
    classifier: Classifier, images: ImageSet, *, batch_size: int, device: torch.device
) -> torch.Tensor:
    """Return the logits of every image in order, float32, (n, n_classes), on the device.

    The classifier is left in evaluation mode.
    """
    classifier.eval()
    with torch.inference_mode():
        rows = np.array_split(np.arange(len(images)), max(1, -(-len(images) // batch_size)))
        return torch.cat([classifier(images.make_batch(part, device)) for part in rows])


def predict_probabilities(
    classifier: Classifier, images: ImageSet, *, batch_size: int, device: torch.device
) -> np.ndarray:
    """Return the class probabilities of every image in order, float64, (n, n_classes)."""
    logits = predict_logits(classifier, images, batch_size=batch_size, device=device)
    return torch.softmax(logits.double(), 1).cpu().numpy()
