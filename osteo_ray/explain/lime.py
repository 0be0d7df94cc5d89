"""LIME for images: which superpixels speak for the predicted class.

The mathematics of `lime` 0.2.0.1 (Ribeiro et al. 2016), without its loops: perturbed images are
assembled on the device of the classifier, and the local model is solved in closed form. Held to the
package in tests: same superpixels and rows in, same weights and masks out.

In the adaptive mode an image is sampled until its mask would hardly change if it were explained
anew (in the spirit of S-LIME, Zhou et al. 2021): the weights are estimates with a covariance, and
redrawing them from it tells how much the mask may still move (`measure_stability`).
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from osteo_ray.data.masks import blur_image
from osteo_ray.explain.sampling import draw_adaptive_rows, draw_rows
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.models.forward import Predict

_FIRST_PER_SUPERPIXEL = 2  # rows before the first look at the stability
_STEP = 32  # rows between looks; even, as rows come with their complements
_REDRAWS = 200  # of the weights, to measure the stability


@dataclass(frozen=True)
class Explanation:
    """What LIME found about one image.

    Attributes:
        keep_mask: bool, (height, width); True on the `top_k` superpixels that speak most for the
            explained class. All False where none speaks for it.
        weights: float64, (n_superpixels,); of each superpixel in the local linear model.
        explained_class: Number of the class.
        local_fit: R² of the local linear model on its weighted samples.
        n_samples: Perturbed images that were classified.
        stability: In [0, 1]; the expected overlap (intersection over union, by area) of the mask
            with that of the local model of all possible samples.
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
        covariance: float64, (n_superpixels, n_superpixels); of the weights, over draws of rows.
    """

    weights: np.ndarray
    local_fit: float
    covariance: np.ndarray


class Perturbable:
    """An image whose superpixels can be switched off, on the device of the classifier.

    Args:
        image: uint8, (height, width).
        fill: uint8, (height, width); what stands where a superpixel is off.
        segments: int, (height, width), numbered from 0.
        device: Where to assemble.
    """

    def __init__(
        self, image: np.ndarray, fill: np.ndarray, segments: np.ndarray, device: torch.device
    ) -> None:
        self._shape = image.shape
        self._on = torch.from_numpy(image).to(device).float() / 255
        self._off = torch.from_numpy(fill).to(device).float() / 255
        self._index = torch.from_numpy(segments.ravel()).to(device)

    def render(self, rows: np.ndarray) -> torch.Tensor:
        """Assemble perturbed images.

        Args:
            rows: uint8, (n, n_superpixels); 1 = kept.

        Returns:
            float32, (n, 1, height, width), in [0, 1].
        """
        keep = torch.from_numpy(rows).to(self._index.device).bool()[:, self._index]
        return torch.where(keep.view(-1, 1, *self._shape), self._on, self._off)


def fill_superpixels(image: np.ndarray, segments: np.ndarray, fill: str) -> np.ndarray:
    """Return what stands where a superpixel is switched off.

    Args:
        image: uint8, (height, width).
        segments: int, (height, width), numbered from 0.
        fill: `mean`, each superpixel's mean (what `lime` does unless told otherwise), `blur`, the
            image without its structure, or `black`.

    Returns:
        uint8, (height, width).
    """
    if fill == "black":
        return np.zeros_like(image)
    if fill == "blur":
        return blur_image(image)
    labels = segments.ravel()
    sums = np.bincount(labels, weights=image.ravel())
    means = sums / np.maximum(np.bincount(labels), 1)
    filled: np.ndarray = means.astype(np.uint8)[segments]
    return filled  # truncated, as assignment to a uint8 image does


def predict_rows(
    predict: Predict, requests: Sequence[tuple[Perturbable, np.ndarray]], batch_size: int
) -> list[np.ndarray]:
    """Classify perturbed images of several explanations.

    A batch holds rows of one explanation only: what a network computes for a row differs, in the
    last digits, with the number of rows beside it, and an explanation must not depend on which
    images happened to be explained with it.

    Args:
        predict: The classifier.
        requests: Images, and the rows wanted of each: uint8 (n_rows, n_superpixels), 1 = kept.
        batch_size: Images per call.

    Returns:
        Per request, float64 (n_rows, n_classes).
    """
    found = []
    for perturbable, rows in requests:
        batches = [
            predict(perturbable.render(rows[start : start + batch_size]))
            for start in range(0, len(rows), batch_size)
        ]
        found.append(torch.cat(batches).double().cpu().numpy())
    return found


def fit_local_model(
    rows: np.ndarray, targets: np.ndarray, *, kernel_width: float, alpha: float, paired: bool
) -> LocalModel:
    """Fit the local linear model: ridge regression weighted by closeness to the whole image.

    Args:
        rows: uint8, (n_samples, n_superpixels); the first is the whole image.
        targets: float64, (n_samples,); probability of the explained class.
        kernel_width: Of the exponential kernel on the cosine distance to the first row.
        alpha: Ridge penalty; the intercept is free of it.
        paired: Whether rows 1 and 2, 3 and 4 and so on were drawn together, so that only the pairs
            are independent.

    Returns:
        The model; its covariance is the sandwich estimate (White 1980; by pairs, Liang & Zeger
        1986), scaled up for the degrees of freedom that the weights take.
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
    """Return the numbers of the `top_k` superpixels of largest positive weight, best first."""
    order = np.argsort(-weights, kind="stable")[:top_k]
    return order[weights[order] > 0]


def measure_stability(
    model: LocalModel, areas: np.ndarray, top_k: int, rng: np.random.Generator
) -> float:
    """Tell how much the mask of a local model would overlap with one from other samples.

    The weights are redrawn from the normal distribution that the samples leave them.

    Args:
        model: Weights and their covariance.
        areas: (n_superpixels,), pixels of each.
        top_k: Superpixels that a mask keeps.
        rng: Where the redraws come from.

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


def explain_images(
    predict: Predict,
    images: Sequence[np.ndarray],
    segments: Sequence[np.ndarray],
    settings: LimeSettings,
    *,
    rngs: Sequence[np.random.Generator],
    device: torch.device,
    targets: Sequence[int] | None = None,
) -> list[Explanation | ValueError]:
    """Explain the class that a classifier predicts for each of some images, or another.

    What is found of an image depends on nothing that is explained with it.

    Args:
        predict: The classifier.
        images: uint8, (height, width) each.
        segments: int, (height, width) each, numbered from 0 without gaps.
        settings: Samples, kernel, penalty, superpixels kept.
        rngs: Where the rows of each image come from.
        device: Where `predict` computes.
        targets: Number of the class to explain, per image; by default the predicted one.

    Returns:
        Per image, what was found, or why nothing could be: the image is one superpixel only, or
        the classifier gave NaN.
    """
    found: dict[int, Explanation | ValueError] = {}
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


_Sampling = Generator[np.ndarray, np.ndarray, Explanation]


def _sample(
    segments: np.ndarray, settings: LimeSettings, rng: np.random.Generator, target: int | None
) -> _Sampling:
    """Explain one image: hand out rows, take the probabilities of what they show, till it is done.

    Raises:
        ValueError: See `explain_images`.
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
            # The penalty of so many samples as `lime` would draw, scaled to those drawn.
            alpha=settings.alpha * len(rows) / settings.samples,
            paired=adaptive,
        )
        stability = measure_stability(model, areas, settings.top_k, redraws)
        if len(rows) == 2 ** len(areas) and adaptive:
            stability = 1.0  # there are no other samples
        if stability >= settings.stability:
            break
    keep_mask = np.isin(segments, choose_superpixels(model.weights, settings.top_k))
    return Explanation(
        keep_mask, model.weights, explained_class, model.local_fit, len(rows), stability
    )
