"""The engine of LIME for images: which superpixels speak for the predicted class.

The mathematics is that of `lime` 0.2.0.1 (Ribeiro et al. 2016), without its loops: perturbed images
are assembled on the device of the classifier, and the local model is solved in closed form. Tests
compare it with the package: the same superpixels and rows give the same weights and masks.

In adaptive mode, an image is sampled until explaining it again would hardly change its mask (in
the spirit of S-LIME, Zhou et al. 2021). The weights are estimates with a covariance; redrawing them
from it shows how much the mask may still change (`measure_stability`).
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from osteo_ray.explain.perturbation import Perturbable, fill_superpixels, predict_rows
from osteo_ray.explain.sampling import draw_adaptive_rows, draw_rows
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.models.forward import Predict

_FIRST_PER_SUPERPIXEL = 2  # rows to draw before the stability is first measured
_STEP = 32  # rows to draw between measurements; even, as each row comes with its complement
_REDRAWS = 200  # times that the weights are redrawn to measure the stability


@dataclass(frozen=True)
class LimeExplanation:
    """What LIME found about one image.

    Attributes:
        keep_mask: bool, (height, width); True on the `top_k` superpixels that speak most for the
            explained class. All False where none speaks for it.
        weights: float64, (n_superpixels,); the weight of each superpixel in the local linear model.
        explained_class: The number of the class that was explained.
        local_fit: R² of the local linear model on its weighted samples.
        n_samples: How many perturbed images were classified.
        stability: In [0, 1]; the expected overlap (intersection over union, by area) of the mask
            with the mask that all possible samples would give.
    """

    keep_mask: np.ndarray
    weights: np.ndarray
    explained_class: int
    local_fit: float
    n_samples: int
    stability: float


@dataclass(frozen=True)
class LocalModel:
    """A ridge regression around one image.

    Attributes:
        weights: float64, (n_superpixels,).
        local_fit: Weighted R².
        covariance: float64, (n_superpixels, n_superpixels); how the weights vary over draws of
            rows.
    """

    weights: np.ndarray
    local_fit: float
    covariance: np.ndarray


def fit_local_model(
    rows: np.ndarray, targets: np.ndarray, *, kernel_width: float, alpha: float, paired: bool
) -> LocalModel:
    """Fit the local linear model: ridge regression weighted by closeness to the whole image.

    Args:
        rows: uint8, (n_samples, n_superpixels); the first is the whole image.
        targets: float64, (n_samples,); the probability of the explained class.
        kernel_width: Width of the exponential kernel on the cosine distance to the first row.
        alpha: Ridge penalty; it does not apply to the intercept.
        paired: Whether rows 1 and 2, rows 3 and 4, and so on were drawn together, so that only the
            pairs are independent.

    Returns:
        The model. Its covariance is the sandwich estimate (White 1980; for pairs, Liang & Zeger
        1986), scaled up for the degrees of freedom that the weights use.
    """
    x = rows.astype(np.float64)
    norms = np.sqrt(x.sum(1) * x.shape[1])
    cosine = np.divide(x.sum(1), norms, out=np.zeros(len(x)), where=norms > 0)
    closeness = np.sqrt(np.exp(-((1 - cosine) ** 2) / kernel_width**2))
    share = closeness / closeness.sum()
    x = x - share @ x
    y = targets - targets[0]  # so that equal targets leave exactly zero to explain
    y = y - share @ y
    weighted = x * closeness[:, None]
    gram = weighted.T @ x + alpha * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, weighted.T @ y)
    residuals = y - x @ weights
    unexplained, total = closeness @ residuals**2, closeness @ y**2
    scores = weighted * residuals[:, None]
    if paired:
        scores = np.add.reduceat(scores, np.append(0, np.arange(1, len(scores), 2)), axis=0)
    spread = np.linalg.solve(gram, scores.T)
    free = len(scores) / max(len(scores) - x.shape[1], 1)
    fit = float(1 - unexplained / total) if total > 0 else 1.0
    return LocalModel(weights, fit, free * spread @ spread.T)


def choose_superpixels(weights: np.ndarray, top_k: int) -> np.ndarray:
    """Return the numbers of the `top_k` superpixels of largest positive weight, largest first."""
    order = np.argsort(-weights, kind="stable")[:top_k]
    return order[weights[order] > 0]


def measure_stability(
    model: LocalModel, areas: np.ndarray, top_k: int, rng: np.random.Generator
) -> float:
    """Estimate how much the mask of a local model overlaps with a mask from other samples.

    The weights are redrawn from the normal distribution of their estimate.

    Args:
        model: The weights and their covariance.
        areas: (n_superpixels,); the number of pixels in each superpixel.
        top_k: How many superpixels a mask keeps.
        rng: The source of randomness for the redraws.

    Returns:
        Mean intersection over union by area, in [0, 1]; two empty masks count as equal.
    """
    values, axes = np.linalg.eigh(model.covariance)
    noise = rng.standard_normal((_REDRAWS, len(values))) * np.sqrt(np.maximum(values, 0))
    redrawn = model.weights + noise @ axes.T
    order = np.argsort(-redrawn, axis=1, kind="stable")[:, :top_k]
    kept = np.zeros(redrawn.shape, bool)
    np.put_along_axis(kept, order, np.take_along_axis(redrawn, order, axis=1) > 0, axis=1)
    own = np.zeros(len(areas), bool)
    own[choose_superpixels(model.weights, top_k)] = True
    common, either = (kept & own) @ areas, (kept | own) @ areas
    return float(np.mean(np.divide(common, either, out=np.ones(_REDRAWS), where=either > 0)))


def explain_by_lime(
    predict: Predict,
    images: Sequence[np.ndarray],
    segments: Sequence[np.ndarray],
    settings: LimeSettings,
    *,
    rngs: Sequence[np.random.Generator],
    device: torch.device,
    targets: Sequence[int] | None = None,
) -> list[LimeExplanation | ValueError]:
    """Explain, for each of some images, the class that a classifier predicts, or a given class.

    The result for an image does not depend on the other images.

    Args:
        predict: The classifier.
        images: uint8, (height, width) each.
        segments: int, (height, width) each, numbered from 0 without gaps.
        settings: The number of samples, the kernel, the penalty, and how many superpixels to keep.
        rngs: Per image, the source of randomness for its rows.
        device: The device on which `predict` computes.
        targets: Per image, the number of the class to explain; by default the predicted class.

    Returns:
        Per image, what was found, or why it cannot be explained: the image is a single superpixel,
        or the classifier gave NaN.
    """
    found: dict[int, LimeExplanation | ValueError] = {}
    running: dict[int, tuple[_Sampling, Perturbable, np.ndarray]] = {}
    for number, (image, pieces, rng) in enumerate(zip(images, segments, rngs, strict=True)):
        sampling = _sample(pieces, settings, rng, None if targets is None else targets[number])
        fill = fill_superpixels(image, pieces, settings.fill)
        perturbable = Perturbable(image, fill, pieces, device)
        try:
            running[number] = (sampling, perturbable, next(sampling))
        except ValueError as error:
            found[number] = error
    while running:
        requests = [(perturbable, rows) for _, perturbable, rows in running.values()]
        probabilities = predict_rows(predict, requests, settings.batch_size)
        for number, answer in zip(list(running), probabilities, strict=True):
            sampling, perturbable, _ = running.pop(number)
            try:
                running[number] = (sampling, perturbable, sampling.send(answer))
            except StopIteration as stop:
                found[number] = stop.value
            except ValueError as error:
                found[number] = error
    return [found[number] for number in range(len(images))]


_Sampling = Generator[np.ndarray, np.ndarray, LimeExplanation]


def _sample(
    segments: np.ndarray, settings: LimeSettings, rng: np.random.Generator, target: int | None
) -> _Sampling:
    """Explain one image: yield rows, and receive the probabilities of the images they stand for.

    Raises:
        ValueError: The image cannot be explained; see `explain_by_lime`.
    """
    areas = np.bincount(segments.ravel())
    if len(areas) < 2:
        raise ValueError("Expected at least 2 superpixels, but the image is a single one.")
    adaptive = settings.mode == "adaptive"
    if adaptive:
        draws = draw_adaptive_rows(
            len(areas), _FIRST_PER_SUPERPIXEL * len(areas), _STEP, settings.samples, rng
        )
    else:
        draws = iter([draw_rows(settings.samples, len(areas), rng)])
    redraws = rng.spawn(1)[0]
    rows = np.zeros((0, len(areas)), np.uint8)
    probabilities = np.zeros((0, 0))
    for drawn in draws:
        answer = yield drawn
        if not np.isfinite(answer).all():
            raise ValueError("Expected finite probabilities, but the classifier gave NaN.")
        rows = np.concatenate([rows, drawn])
        probabilities = np.concatenate([probabilities.reshape(-1, answer.shape[1]), answer])
        explained_class = int(probabilities[0].argmax()) if target is None else target
        model = fit_local_model(
            rows,
            probabilities[:, explained_class],
            kernel_width=settings.kernel_width,
            # `lime` draws all samples; its penalty is scaled to the number drawn here.
            alpha=settings.alpha * len(rows) / settings.samples,
            paired=adaptive,
        )
        stability = measure_stability(model, areas, settings.top_k, redraws)
        if len(rows) == 2 ** len(areas) and adaptive:
            stability = 1.0  # all possible samples were drawn
        if stability >= settings.stability:
            break
    keep_mask = np.isin(segments, choose_superpixels(model.weights, settings.top_k))
    return LimeExplanation(
        keep_mask, model.weights, explained_class, model.local_fit, len(rows), stability
    )
