"""Faithfulness: does the classifier follow what an explanation says it follows?

Insertion and deletion are those of RISE (Petsiuk et al. 2018). Any explanation that orders pixels
can be measured: only the order of its importances counts, not their size.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from osteo_ray.data.masks import order_pixels
from osteo_ray.explain.explainer import NOT_FINITE, Explanation, LoadedClassifier
from osteo_ray.explain.perturbation import Perturbable, predict_rows

UNMEASURED = "its faithfulness could not be measured"
"""The `note` of a mask for which `measure_faithfulness` refuses."""


@dataclass(frozen=True)
class Faithfulness:
    """How the probability of the explained class changes as pixels are added and removed.

    Attributes:
        insertion_auc: In [0, 1]; the mean probability while the pixels of the image replace the
            fill, most important pixels first. Larger = more faithful.
        deletion_auc: In [0, 1]; the mean probability while the fill replaces the pixels of the
            image, most important pixels first. Smaller = more faithful.
        drop: In [-1, 1]; how much probability is lost when the fill replaces the kept region.
            Larger = the classifier relies more on the region.
    """

    insertion_auc: float
    deletion_auc: float
    drop: float


def measure_faithfulness(
    classifier: LoadedClassifier,
    image: np.ndarray,
    fill: np.ndarray,
    explanation: Explanation,
    *,
    n_steps: int,
    batch_size: int,
) -> Faithfulness:
    """Measure how faithful an explanation of one image is to the classifier.

    Args:
        classifier: The classifier that was explained.
        image: uint8 or uint16, (height, width).
        fill: The type and shape of the image; what replaces removed pixels, as `Explainer.fill`
            makes it.
        explanation: The explanation of this image. Its importances order the pixels (ties are
            broken by row-major order); its keep-mask is the region whose loss is the `drop`.
        n_steps: In how many steps, of equal area up to a pixel, pixels are added and removed;
            `2 * n_steps + 1` images are classified.
        batch_size: Images per forward pass.

    Raises:
        ValueError: Shapes differ, there is no step, an importance is NaN, or the classifier gave
            NaN.
    """
    importance, keep_mask = explanation.importance, explanation.keep_mask
    for name, array in (("fill", fill), ("importance", importance), ("keep-mask", keep_mask)):
        if array.shape != image.shape:
            raise ValueError(f"Expected a {name} of shape {image.shape}, but got {array.shape}.")
    if n_steps < 1:
        raise ValueError(f"Expected at least 1 step, but got {n_steps}.")
    counts = np.arange(n_steps + 1) * image.size // n_steps
    pieces = _divide_image(importance, keep_mask, counts)
    perturbable = Perturbable(image, fill, pieces, classifier.device)
    requests = [(perturbable, _list_rows(n_steps))]
    (logits,) = predict_rows(classifier.compute_logits, requests, batch_size)
    if not np.isfinite(logits).all():
        raise ValueError(NOT_FINITE)
    explained = softmax(logits, axis=1)[:, explanation.explained_class]
    insertion = explained[: n_steps + 1]
    # Both curves run between the whole image and the bare fill.
    deletion = np.concatenate([insertion[-1:], explained[n_steps + 1 : -1], insertion[:1]])
    shares = counts / image.size
    return Faithfulness(
        insertion_auc=float(np.trapezoid(insertion, shares)),
        deletion_auc=float(np.trapezoid(deletion, shares)),
        drop=float(insertion[-1] - explained[-1]),
    )


def _divide_image(importance: np.ndarray, keep_mask: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Divide an image into pieces of pixels that are added and removed together.

    Returns:
        int64, (height, width); twice the number of the pixel's step, plus 1 where it is kept.
    """
    steps = np.empty(importance.size, np.int64)
    steps[order_pixels(importance)] = np.repeat(np.arange(len(counts) - 1), np.diff(counts))
    pieces: np.ndarray = 2 * steps.reshape(importance.shape) + keep_mask.astype(bool)
    return pieces


def _list_rows(n_steps: int) -> np.ndarray:
    """List which pieces each perturbed image shows.

    Returns:
        uint8, (2 * n_steps + 1, 2 * n_steps); 1 = shown. First the insertion from fill to image,
        then the steps of the deletion between its two ends, then the image without the kept region.
    """
    steps, kept = np.divmod(np.arange(2 * n_steps), 2)
    turns = np.arange(n_steps + 1)[:, None]
    return np.concatenate([steps < turns, steps >= turns[1:-1], kept[None] == 0]).astype(np.uint8)
