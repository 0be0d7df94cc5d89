"""How much the mask of an image would change if it were explained again.

*Overlap with a redraw* is the expected intersection over union, by area, of a mask with the mask
that as many other samples of the same image would give. docs/stability.md shows how well it is
estimated, and what else was tried.
"""

import math
from dataclasses import dataclass

import numpy as np

from osteo_ray.explain.local_model import LocalModel, choose_masks
from osteo_ray.explain.settings import Selection

_REDRAWS = 200
_POOR = 0.7  # an overlap below is poor
_MOST_POOR = 0.05  # share of poor redraws that a stable mask may have
_SPREADS = 24  # how many standard deviations of true weights are considered, beside 0
_ROUNDS = 40  # of fitting how frequent each of them is


@dataclass(frozen=True)
class Stability:
    """How much a mask overlaps with its redraws.

    Attributes:
        overlap: In [0, 1]; the expected overlap with a redraw. Two empty masks overlap by 1.
        poor: In [0, 1]; the share of redraws whose overlap is below 0.7.
    """

    overlap: float
    poor: float

    def reaches(self, wanted: float) -> bool:
        """Return whether a mask is stable that is to overlap with its redraws by so much."""
        return self.overlap >= wanted and self.poor <= _MOST_POOR


def measure_stability(
    model: LocalModel,
    areas: np.ndarray,
    top_k: int,
    rng: np.random.Generator,
    selection: Selection = "weights",
) -> Stability:
    """Estimate how much the mask of a local model overlaps with masks from other samples.

    The weights that all possible samples would give are not known. They are drawn from their
    distribution given the weights that were found (`draw_true_weights`), and to each draw is added
    what chance does to the weights of a redraw. Both steps are needed: around the weights that were
    found, redraws would be too much alike, because the largest of them owe their place to chance.

    Args:
        model: The weights and their covariance.
        areas: (n_superpixels,); the number of pixels in each superpixel.
        top_k: How many superpixels a mask keeps.
        rng: The source of randomness for the redraws.
        selection: How they are chosen.
    """
    variances, axes = np.linalg.eigh(model.covariance)
    chance = rng.standard_normal((_REDRAWS, len(areas))) * np.sqrt(np.maximum(variances, 0.0))
    errors = np.sqrt(np.maximum(np.diag(model.covariance), 0.0))
    redrawn = draw_true_weights(model.weights, errors, _REDRAWS, rng) + chance @ axes.T
    own = choose_masks(model, model.weights[None], top_k, selection)
    kept = choose_masks(model, redrawn, top_k, selection)
    common, either = (kept & own) @ areas, (kept | own) @ areas
    overlaps = np.divide(common, either, out=np.ones(_REDRAWS), where=either > 0)
    return Stability(float(overlaps.mean()), float((overlaps < _POOR).mean()))


def draw_true_weights(
    weights: np.ndarray, errors: np.ndarray, n_draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw what the true weights may be, given estimates of them (empirical Bayes).

    The true weights of an image are taken to come from a mixture of normal distributions around 0,
    narrow and wide ones, whose shares are those that make the estimates most likely (adaptive
    shrinkage, Stephens 2017). So weights that chance alone can explain are drawn near 0, and a few
    that stand out stay where they are.

    Args:
        weights: float64, (n,); the estimates.
        errors: float64, (n,); their standard errors.
        n_draws: How often to draw.
        rng: The source of randomness.

    Returns:
        float64, (n_draws, n).
    """
    largest = 2 * float(np.abs(weights).max())
    if largest == 0:
        return np.zeros((n_draws, len(weights)))
    variances = np.maximum(errors, 1e-6 * largest) ** 2
    narrowest = min(math.sqrt(variances.min()) / 10, largest / 100)
    spreads = np.append(0.0, np.geomspace(narrowest, largest, _SPREADS)) ** 2
    total = variances[:, None] + spreads
    fit = -(np.log(total) + weights[:, None] ** 2 / total) / 2
    likelihood = np.exp(fit - fit.max(1, keepdims=True))
    shares = np.full(len(spreads), 1 / len(spreads))
    for _ in range(_ROUNDS):
        belongs = likelihood * shares
        belongs /= belongs.sum(1, keepdims=True)
        shares = belongs.mean(0)
    reached = rng.random((n_draws, len(weights), 1)) > belongs.cumsum(1)
    spread = spreads[np.minimum(reached.sum(2), len(spreads) - 1)]
    share = spread / (spread + variances)
    noise = rng.standard_normal(spread.shape) * np.sqrt(share * variances)
    return np.asarray(share * weights + noise)
