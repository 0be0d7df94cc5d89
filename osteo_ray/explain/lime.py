"""LIME for images: which superpixels speak for the predicted class.

The mathematics of `lime` 0.2.0.1 (Ribeiro et al. 2016), without its loops: perturbed images are
assembled in whole batches on the device of the classifier, and the local model is solved in closed
form. Held to the package in tests: same superpixels and rows in, same weights and masks out.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from osteo_ray.config import LimeSettings


@dataclass(frozen=True)
class Explanation:
    """What LIME found about one image.

    Attributes:
        keep_mask: bool, (height, width); True on the `top_k` superpixels that speak most for the
            explained class. All False where none speaks for it.
        weights: float64, (n_superpixels,); of each superpixel in the local linear model.
        explained_class: Number of the class, the one the classifier predicts.
        local_fit: R² of the local linear model on its weighted samples.
        n_samples: Perturbed images that were classified.
    """

    keep_mask: np.ndarray
    weights: np.ndarray
    explained_class: int
    local_fit: float
    n_samples: int


def draw_rows(n_samples: int, n_superpixels: int, rng: np.random.Generator) -> np.ndarray:
    """Draw which superpixels each sample keeps; the first sample keeps all.

    Returns:
        uint8, (n_samples, n_superpixels); 1 = the superpixel is kept.
    """
    rows = rng.integers(0, 2, (n_samples, n_superpixels), dtype=np.uint8)
    rows[0] = 1
    return rows


def fill_superpixels(image: np.ndarray, segments: np.ndarray, fill: str) -> np.ndarray:
    """Return what stands where a superpixel is switched off.

    Args:
        image: uint8, (height, width).
        segments: int, (height, width), numbered from 0.
        fill: `mean`, each superpixel's mean (what `lime` does unless told otherwise), or `black`.

    Returns:
        uint8, (height, width).
    """
    if fill == "black":
        return np.zeros_like(image)
    labels = segments.ravel()
    sums = np.bincount(labels, weights=image.ravel())
    means = sums / np.maximum(np.bincount(labels), 1)
    filled: np.ndarray = means.astype(np.uint8)[segments]
    return filled  # truncated, as assignment to a uint8 image does


def predict_samples(
    predict: Callable[[torch.Tensor], torch.Tensor],
    image: np.ndarray,
    fill: np.ndarray,
    segments: np.ndarray,
    rows: np.ndarray,
    *,
    batch_size: int,
    device: torch.device,
) -> np.ndarray:
    """Classify the perturbed images of one explanation, made on the device.

    Args:
        predict: Images, float32 (batch, 1, height, width) in [0, 1] → probabilities (batch,
            n_classes).
        image: uint8, (height, width).
        fill: uint8, (height, width).
        segments: int, (height, width).
        rows: uint8, (n_samples, n_superpixels); 1 = kept.
        batch_size: Images per call.
        device: Where `predict` computes.

    Returns:
        float64, (n_samples, n_classes).
    """
    on = torch.from_numpy(image).to(device).float() / 255
    off = torch.from_numpy(fill).to(device).float() / 255
    index = torch.from_numpy(segments.ravel()).to(device)
    found = []
    for part in torch.from_numpy(rows).to(device).bool().split(batch_size):
        keep = part[:, index].view(-1, 1, *image.shape)
        found.append(predict(torch.where(keep, on, off)))
    return torch.cat(found).double().cpu().numpy()


def fit_weights(
    rows: np.ndarray, targets: np.ndarray, *, kernel_width: float, alpha: float
) -> tuple[np.ndarray, float]:
    """Fit the local linear model: ridge regression weighted by closeness to the whole image.

    Args:
        rows: uint8, (n_samples, n_superpixels); the first is the whole image.
        targets: float64, (n_samples,); probability of the explained class.
        kernel_width: Of the exponential kernel on the cosine distance to the first row.
        alpha: Ridge penalty; the intercept is free of it.

    Returns:
        The weight of each superpixel, float64, (n_superpixels,), and the weighted R².
    """
    x = rows.astype(np.float64)
    norms = np.sqrt(x.sum(1) * x.shape[1])
    cosine = np.divide(x.sum(1), norms, out=np.zeros(len(x)), where=norms > 0)
    closeness = np.sqrt(np.exp(-((1 - cosine) ** 2) / kernel_width**2))
    share = closeness / closeness.sum()
    x = x - share @ x
    y = targets - targets[0]  # so that equal targets leave exactly nothing to explain
    y = y - share @ y
    weighted = x * closeness[:, None]
    gram = weighted.T @ x + alpha * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, weighted.T @ y)
    residual, total = closeness @ (y - x @ weights) ** 2, closeness @ y**2
    return weights, float(1 - residual / total) if total > 0 else 1.0


def choose_superpixels(weights: np.ndarray, top_k: int) -> np.ndarray:
    """Return the numbers of the `top_k` superpixels of largest positive weight, best first."""
    order = np.argsort(-weights, kind="stable")[:top_k]
    return order[weights[order] > 0]


def explain_image(
    predict: Callable[[torch.Tensor], torch.Tensor],
    image: np.ndarray,
    segments: np.ndarray,
    settings: LimeSettings,
    *,
    rng: np.random.Generator,
    device: torch.device,
) -> Explanation:
    """Explain the class that a classifier predicts for one image.

    Args:
        predict: Images, float32 (batch, 1, height, width) in [0, 1] → probabilities.
        image: uint8, (height, width).
        segments: int, (height, width), numbered from 0 without gaps.
        settings: Samples, kernel, penalty, superpixels kept.
        rng: Where the rows come from.
        device: Where `predict` computes.

    Raises:
        ValueError: The image is one superpixel only, or the classifier gave NaN.
    """
    n_superpixels = int(segments.max()) + 1
    if n_superpixels < 2:
        raise ValueError("Expected at least 2 superpixels, but the image is a single one.")
    rows = draw_rows(settings.samples, n_superpixels, rng)
    fill = fill_superpixels(image, segments, settings.fill)
    probabilities = predict_samples(
        predict, image, fill, segments, rows, batch_size=settings.batch_size, device=device
    )
    if not np.isfinite(probabilities).all():
        raise ValueError("Expected finite probabilities, but the classifier gave NaN.")
    explained_class = int(probabilities[0].argmax())
    weights, local_fit = fit_weights(
        rows,
        probabilities[:, explained_class],
        kernel_width=settings.kernel_width,
        alpha=settings.alpha,
    )
    keep_mask = np.isin(segments, choose_superpixels(weights, settings.top_k))
    return Explanation(keep_mask, weights, explained_class, local_fit, len(rows))
