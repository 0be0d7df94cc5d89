"""Faithfulness: does the classifier follow what an explanation says it follows?

Insertion and deletion are those of RISE (Petsiuk et al. 2018). Any explanation that orders pixels
can be measured: what counts is the order of its importances, not their size.
"""

from dataclasses import dataclass

import numpy as np
import torch

from osteo_ray.data.masks import order_pixels
from osteo_ray.explain.lime import Perturbable, predict_rows
from osteo_ray.models.forward import Predict


@dataclass(frozen=True)
class Faithfulness:
    """What becomes of the probability of the explained class as pixels come and go.

    Attributes:
        insertion_auc: In [0, 1]; mean probability over the share of area put back into the fill,
            most important pixels first. Larger = more faithful.
        deletion_auc: In [0, 1]; the same with pixels of the image replaced by the fill. Smaller =
            more faithful.
        drop: In [-1, 1]; probability lost when the kept region is replaced by the fill. Larger =
            the region is needed more.
    """

    insertion_auc: float
    deletion_auc: float
    drop: float


def measure_faithfulness(
    predict: Predict,
    image: np.ndarray,
    fill: np.ndarray,
    importance: np.ndarray,
    keep_mask: np.ndarray,
    explained_class: int,
    *,
    n_steps: int,
    batch_size: int,
    device: torch.device,
) -> Faithfulness:
    """Measure how faithful an explanation of one image is to the classifier.

    Args:
        predict: The classifier.
        image: uint8, (height, width).
        fill: uint8, (height, width); what stands where a pixel is removed, as `fill_superpixels`
            makes it.
        importance: (height, width); larger = more important: the weight of each pixel's superpixel,
            a heat map, or a mask. Ties are broken by row-major order.
        keep_mask: bool, (height, width); True on the region whose loss is the `drop`.
        explained_class: Number of the class.
        n_steps: Equal shares of the area in which pixels come and go (equal to the pixel where
            the area is no multiple), so `2 * n_steps + 1` images are classified.
        batch_size: Images per call.
        device: Where `predict` computes.

    Raises:
        ValueError: Shapes differ, there is no step, an importance is NaN, or the classifier gave
            NaN.
    """
    for name, array in (("fill", fill), ("importance", importance), ("keep-mask", keep_mask)):
        if array.shape != image.shape:
            raise ValueError(f"Expected a {name} of shape {image.shape}, but got {array.shape}.")
    if n_steps < 1:
        raise ValueError(f"Expected at least 1 step, but got {n_steps}.")
    counts = np.arange(n_steps + 1) * image.size // n_steps
    pieces = _divide_image(importance, keep_mask, counts)
    perturbable = Perturbable(image, fill, pieces, device)
    (probabilities,) = predict_rows(predict, [(perturbable, _list_rows(n_steps))], batch_size)
    if not np.isfinite(probabilities).all():
        raise ValueError("Expected finite probabilities, but the classifier gave NaN.")
    explained = probabilities[:, explained_class]
    insertion = explained[: n_steps + 1]
    # The whole image and the bare fill end both curves.
    deletion = np.concatenate([insertion[-1:], explained[n_steps + 1 : -1], insertion[:1]])
    shares = counts / image.size
    return Faithfulness(
        insertion_auc=float(np.trapezoid(insertion, shares)),
        deletion_auc=float(np.trapezoid(deletion, shares)),
        drop=float(insertion[-1] - explained[-1]),
    )


def _divide_image(importance: np.ndarray, keep_mask: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Divide an image into pieces that come and go as one.

    Returns:
        int64, (height, width); twice the step in which a pixel's turn comes, plus 1 where kept.
    """
    steps = np.empty(importance.size, np.int64)
    steps[order_pixels(importance)] = np.repeat(np.arange(len(counts) - 1), np.diff(counts))
    pieces: np.ndarray = 2 * steps.reshape(importance.shape) + keep_mask.astype(bool)
    return pieces


def _list_rows(n_steps: int) -> np.ndarray:
    """List which pieces each perturbed image shows.

    Returns:
        uint8, (2 * n_steps + 1, 2 * n_steps); 1 = shown. Insertion from fill to image, then what
        deletion has between its ends, then the image without the kept region.
    """
    steps, kept = np.divmod(np.arange(2 * n_steps), 2)
    turns = np.arange(n_steps + 1)[:, None]
    return np.concatenate([steps < turns, steps >= turns[1:-1], kept[None] == 0]).astype(np.uint8)
