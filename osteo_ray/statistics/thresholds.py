"""A threshold chosen on validation images, and how it classifies others. Pure; two classes.

Everywhere `scores` is float, (n_images,): the probability of the positive class; `positive` is
bool, (n_images,): whether an image is of that class. An image counts as positive where its score
is at least the threshold.
"""

import math
from typing import NamedTuple

import numpy as np

from osteo_ray.statistics.ranking import Ranking


class Operation(NamedTuple):
    """How a threshold classifies images. All are fractions; NaN where undefined.

    Attributes:
        threshold: Of the positive class's probability.
        sensitivity: Share of the positive images that reach it.
        specificity: Share of the negative images that do not reach it.
        ppv: Share of positive images among all that reach it, at a given prevalence.
        npv: Share of negative images among all that do not reach it, at that prevalence.
    """

    threshold: float
    sensitivity: float
    specificity: float
    ppv: float
    npv: float


OPERATING_NAMES = (
    "threshold",
    "sensitivity_at_threshold",
    "specificity_at_threshold",
    "ppv_at_threshold",
    "npv_at_threshold",
)
"""Columns of the table of results, in the order of `Operation`."""


def choose_threshold(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the threshold with the largest balanced accuracy (Youden's index, 1950).

    Candidates lie halfway between neighbouring distinct scores, and at 0. Of several that are
    equally good the one nearest to 0.5 is taken, then the lower.

    Returns:
        In [0, 1]; NaN where the images lack a class.

    Example:
        >>> choose_threshold(np.array([0.1, 0.3, 0.2, 0.7]), np.array([False, False, True, True]))
        0.5
    """
    if positive.all() or not positive.any():
        return math.nan
    ranking = Ranking.of(scores, positive)
    distinct = ranking.cuts
    halfway = (distinct[:-1] + distinct[1:]) / 2
    halfway = np.where(halfway > distinct[1:], halfway, distinct[:-1])  # neighbouring floats
    candidates = np.append(halfway, 0.0)
    gain = ranking.found / ranking.n_class - ranking.rest / ranking.n_rest
    best = candidates[gain >= gain.max() - 1e-12][::-1]
    return float(best[np.argmin(np.abs(best - 0.5))])


def measure_operation(
    scores: np.ndarray,
    positive: np.ndarray,
    *,
    threshold: float,
    prevalence: float | None = None,
) -> Operation:
    """Measure how a threshold classifies images other than those it was chosen on.

    Args:
        threshold: NaN makes everything NaN.
        prevalence: Share of the positive class for which predictive values are given, in (0, 1);
            by default that of these images.

    Example:
        >>> scores, positive = np.array([0.2, 0.6, 0.4, 0.9]), np.array([False, False, True, True])
        >>> measure_operation(scores, positive, threshold=0.5, prevalence=0.25).ppv
        0.25
    """
    if math.isnan(threshold):
        return Operation(*[math.nan] * len(Operation._fields))
    reached = scores >= threshold
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    sensitivity = int((reached & positive).sum()) / n_positive if n_positive else math.nan
    specificity = int((~reached & ~positive).sum()) / n_negative if n_negative else math.nan
    share = n_positive / len(positive) if prevalence is None else prevalence
    return Operation(
        threshold, sensitivity, specificity, *predict_values(sensitivity, specificity, share)
    )


def predict_values(
    sensitivity: float, specificity: float, prevalence: float
) -> tuple[float, float]:
    """Return PPV and NPV at a prevalence by Bayes' rule; NaN where no image would be called so.

    Example:
        >>> ppv, npv = predict_values(0.9, 0.8, 0.1)
        >>> round(ppv, 4), round(npv, 4)
        (0.3333, 0.9863)
    """
    true_positive, false_negative = sensitivity * prevalence, (1 - sensitivity) * prevalence
    true_negative = specificity * (1 - prevalence)
    false_positive = (1 - specificity) * (1 - prevalence)
    called_positive = true_positive + false_positive
    called_negative = true_negative + false_negative
    return (
        true_positive / called_positive if called_positive > 0 else math.nan,
        true_negative / called_negative if called_negative > 0 else math.nan,
    )
