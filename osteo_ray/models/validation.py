"""How good a classifier is on validation images, computed by all workers together."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from osteo_ray.models.batches import ImageSet
from osteo_ray.models.classifier import Classifier
from osteo_ray.models.prediction import predict_logits
from osteo_ray.models.settings import TrainingSettings
from osteo_ray.models.synchronization import share_buffers, sum_over_workers

if TYPE_CHECKING:
    from osteo_ray.models.training import Worker


@dataclass(frozen=True)
class Validation:
    """What a classifier makes of validation images.

    Attributes:
        loss: Mean cross-entropy, nats per image.
        auc: As in `measure_auc`.
        predicted_classes: How many classes it predicts at all.
    """

    loss: float
    auc: float | None
    predicted_classes: int


def validate(
    classifier: Classifier, images: ImageSet, settings: TrainingSettings, worker: "Worker"
) -> Validation:
    """Predict validation images, each worker a share, and measure; all workers get the same.

    Before that, all workers take the buffers of rank 0, whose classifier will be stored. The
    classifier is left in evaluation mode.
    """
    if worker.n_workers > 1:
        share_buffers(classifier)
    rows = np.array_split(np.arange(len(images)), worker.n_workers)[worker.rank]
    logits = torch.zeros((len(images), classifier.n_classes), device=worker.device)
    if len(rows):
        logits[rows[0] : rows[-1] + 1] = predict_logits(
            classifier,
            images,
            batch_size=settings.per_worker_batch_size,
            device=worker.device,
            rows=rows,
        )
    logits = sum_over_workers(logits, worker.n_workers)
    labels = torch.from_numpy(images.labels).to(worker.device)
    total = functional.cross_entropy(logits, labels, reduction="sum")
    odds = logits.double().log_softmax(1).cpu().numpy()
    return Validation(
        float(total.double()) / len(images),
        measure_auc(odds, images.labels),
        len(np.unique(odds.argmax(1))),
    )


def measure_auc(scores: np.ndarray, labels: np.ndarray) -> float | None:
    """Return the area under the ROC curve, of each class against the rest, mean over classes.

    Args:
        scores: float, (n, n_classes); equal scores count half.
        labels: int, (n,); class numbers.

    Returns:
        None if a class or the rest has no image, or a score is no number.

    Example:
        >>> measure_auc(np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]]), np.array([0, 1, 1]))
        1.0
    """
    areas = []
    for number in range(scores.shape[1]):
        is_class = labels == number
        own, rest = scores[is_class, number], np.sort(scores[~is_class, number])
        if not len(own) or not len(rest) or np.isnan(scores).any():
            return None
        # Not by SciPy's ranks: all of `scipy.stats` takes each worker half a second to import.
        below, up_to = np.searchsorted(rest, own), np.searchsorted(rest, own, side="right")
        areas.append((below + up_to).sum() / (2 * len(own) * len(rest)))
    return float(np.mean(areas))
