"""The engine of LIME for images: which superpixels speak for the predicted class.

What it computes is what `lime` 0.2.0.1 (Ribeiro et al. 2016) computes, without its loops: perturbed
images are assembled on the device of the classifier, and the local model is solved in closed form.
Tests compare it with the package: the same superpixels and rows give the same weights and masks.

In adaptive mode, an image is sampled until explaining it again would hardly change its mask (in
the spirit of S-LIME, Zhou et al. 2021); `explain.stability` estimates by how much it would.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import expit, logsumexp

from osteo_ray.explain.explainer import NOT_FINITE
from osteo_ray.explain.local_model import (
    choose_masks,
    fit_local_model,
    measure_fit,
    select_forward,
)
from osteo_ray.explain.perturbation import Perturbable, fill_superpixels, predict_rows
from osteo_ray.explain.sampling import draw_adaptive_rows, draw_rows
from osteo_ray.explain.settings import LimeSettings, Target
from osteo_ray.explain.stability import Stability, measure_stability
from osteo_ray.models.forward import Predict

_FIRST_PER_SUPERPIXEL = 4  # rows to draw before the stability is first measured; even
_LEAST_PER_SUPERPIXEL = 2  # rows; with as many or fewer, errors of the weights cannot be estimated
_STEP = 32  # rows to draw between measurements; even, as each row comes with its complement
_ROUNDING = 1e-6  # of log-odds, relative to the largest (if that is above 1), in 32-bit networks


@dataclass(frozen=True)
class LimeExplanation:
    """What LIME found about one image.

    Attributes:
        keep_mask: bool, (height, width); True on the `top_k` superpixels that speak most for the
            explained class. All False if none speaks for it.
        weights: float64, (n_superpixels,); the weight of each superpixel in the local linear model,
            0 for those that are not in it.
        explained_class: The number of the class that was explained.
        local_fit: R² of the local linear model on its weighted samples.
        n_samples: How many perturbed images were classified.
        stability: In [0, 1]; the expected overlap with a redraw, the mask that as many other
            samples would give (intersection over union, by area). None if the samples are too few
            to say.
        unstable: Whether the mask might well differ with other samples; see `Stability.reaches`.
    """

    keep_mask: np.ndarray
    weights: np.ndarray
    explained_class: int
    local_fit: float
    n_samples: int
    stability: float | None
    unstable: bool


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
        images: uint8 or uint16, (height, width) each.
        segments: int, (height, width) each, numbered from 0 without gaps.
        settings: The number of samples, the kernel, the penalty, and how many superpixels to keep.
        rngs: Per image, the source of randomness for its rows.
        device: The device on which `predict` computes.
        targets: Per image, the number of the class to explain; by default the predicted class.

    Returns:
        Per image, what was found, or why it cannot be explained: the image is a single superpixel
        or has more superpixels than there are samples, the classifier gave NaN, what it gave did
        not vary, the kernel is so narrow that no perturbed image counts, or there is no penalty and
        the samples do not tell all superpixels apart.
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
        logits = predict_rows(predict, requests, settings.choose_batch_size(device.type))
        for number, answer in zip(list(running), logits, strict=True):
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
    """Explain one image: yield rows, and receive the logits of the images that they stand for.

    Raises:
        ValueError: The image cannot be explained; see `explain_by_lime`.
    """
    areas = np.bincount(segments.ravel())
    adaptive = settings.mode == "adaptive"
    enumerated = adaptive and 2 ** len(areas) <= settings.samples
    _check_areas(areas, settings.samples, enumerated=enumerated)
    if adaptive:
        draws = draw_adaptive_rows(
            len(areas), _FIRST_PER_SUPERPIXEL * len(areas), _STEP, settings.samples, rng
        )
    else:
        draws = iter([draw_rows(settings.samples, len(areas), rng)])
    # NumPy's stubs know of no seed sequence here.
    (redraws,) = rng.bit_generator.seed_seq.spawn(1)  # type: ignore[attr-defined]
    rows = np.zeros((0, len(areas)), np.uint8)
    logits = np.zeros((0, 0))
    stability: Stability | None = None
    for drawn in draws:
        answer = yield drawn
        if not np.isfinite(answer).all():
            raise ValueError(NOT_FINITE)
        rows = np.concatenate([rows, drawn])
        logits = np.concatenate([logits.reshape(-1, answer.shape[1]), answer])
        explained_class = int(logits[0].argmax()) if target is None else target
        explained = measure_targets(logits, explained_class, settings.target)
        if explained is None:  # nothing has varied yet, which is no sign of stability
            continue
        scale = float(np.ptp(explained))  # in other units, squares of 1e-200 would be 0
        model = fit_local_model(
            rows,
            explained / scale,
            kernel_width=settings.kernel_width,
            # `lime` draws all samples; its penalty is scaled to the number drawn here.
            alpha=settings.alpha * len(rows) / settings.samples,
            paired=adaptive and not enumerated,
        )
        if model.total == 0:  # the kernel leaves nothing beside the whole image
            explained = None
            continue
        if enumerated:
            stability = Stability(1.0, 0.0)
        elif len(rows) > _LEAST_PER_SUPERPIXEL * len(areas):
            # The same random numbers each time, so that chance does not decide when to stop.
            stability = measure_stability(
                model, areas, settings.top_k, np.random.default_rng(redraws), settings.selection
            )
        if stability and stability.reaches(settings.stability):
            break
    if explained is None:
        raise ValueError(_describe_constant(logits, explained_class, settings))
    (kept,) = choose_masks(model, model.weights[None], settings.top_k, settings.selection)
    weights, local_fit = model.weights, model.local_fit
    if settings.selection == "forward":
        (weights,) = select_forward(model, weights[None], settings.top_k)
        local_fit = measure_fit(model, weights)
    return LimeExplanation(
        kept[segments],
        weights * scale,
        explained_class,
        local_fit,
        len(rows),
        None if stability is None else stability.overlap,
        unstable=stability is None or not stability.reaches(settings.stability),
    )


def _check_areas(areas: np.ndarray, n_samples: int, *, enumerated: bool) -> None:
    if len(areas) < 2:
        raise ValueError("Expected at least 2 superpixels, but the image is a single one.")
    if len(areas) >= n_samples and not enumerated:
        raise ValueError(
            f"Expected more samples than superpixels, but the image has {len(areas)} superpixels, "
            f"and the samples are {n_samples}. Raise --lime-samples."
        )


def measure_targets(logits: np.ndarray, explained_class: int, target: Target) -> np.ndarray | None:
    """Return what the local model explains, or None if it has not varied, except by rounding.

    Args:
        logits: float64, (n_samples, n_classes).
        explained_class: The number of the class.
        target: Its `probability`, or its `log-odds` against all other classes.

    Returns:
        float64, (n_samples,). Probabilities lack the 1 if that of the first sample is above one
        half: the weights are the same, and probabilities near 1 do not round to it.
    """
    odds = logits[:, explained_class] - logsumexp(np.delete(logits, explained_class, 1), axis=1)
    if np.ptp(odds) <= _ROUNDING * max(1.0, float(np.abs(odds).max())):
        return None
    if target == "log-odds":
        return np.asarray(odds)
    found = -expit(-odds) if odds[0] > 0 else expit(odds)
    return None if np.ptp(found) < np.finfo(float).tiny else np.asarray(found)


def _describe_constant(logits: np.ndarray, explained_class: int, settings: LimeSettings) -> str:
    if measure_targets(logits, explained_class, settings.target) is not None:
        return (
            "Expected perturbed images that are close enough to the image to count, but a kernel "
            f"of width {settings.kernel_width:g} leaves none. Raise --lime.kernel-width."
        )
    text = (
        "Expected the output for the explained class to vary, but it is the same for all "
        f"{len(logits)} perturbed images"
    )
    varied = measure_targets(logits, explained_class, "log-odds") is not None
    if settings.target == "probability" and varied:
        return f"{text}. Only its log-odds vary, which --lime.target log-odds explains."
    return f"{text}."
