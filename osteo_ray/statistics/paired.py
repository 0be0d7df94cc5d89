"""Two classifiers on the same images: McNemar's test and DeLong's. Pure.

Both are about one pair of trained models: they ask what other test images would change, and take
images as independent. They say nothing about training again, on which the verdict rests.
"""

import math
import sys
from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from osteo_ray.statistics.ranking import Ranking
from osteo_ray.statistics.significance import NEGLIGIBLE

_LEAST_P = sys.float_info.min  # a p value is never 0, whatever a tail is rounded to


@dataclass(frozen=True)
class Discordance:
    """Images on which only one of two classifiers is right, and McNemar's exact p.

    Attributes:
        n01: Images that the first gets wrong and the second right (Dietterich 1998).
        n10: Images that the first gets right and the second wrong.
        p: Two-sided; 1 where they never differ.
    """

    n01: int
    n10: int
    p: float


@dataclass(frozen=True)
class Placements:
    """DeLong's structural components of one classifier, whose mean is its AUC either way.

    Attributes:
        of_positive: float64, (n_positive,); share of the negative images that score lower than
            each positive one, ties counting half.
        of_negative: float64, (n_negative,); share of the positive images that score higher than
            each negative one.
    """

    of_positive: np.ndarray
    of_negative: np.ndarray

    @property
    def auc(self) -> float:
        return float(self.of_positive.mean())


@dataclass(frozen=True)
class AucDifference:
    """The first AUC minus the second, on the same images.

    Attributes:
        difference: In [-1, 1].
        variance: Of the difference; NaN with fewer than two images of a class.
        low: Lower end of the interval; NaN without a positive variance, as `high` and `p`.
        high: Upper end.
        p: Two-sided.
    """

    difference: float
    variance: float
    low: float
    high: float
    p: float


def count_discordant(first: np.ndarray, second: np.ndarray) -> Discordance:
    """Count where only one of two classifiers is right, and test the counts exactly.

    Args:
        first: bool, (n_images,); whether the first classifier is right.
        second: bool, (n_images,); the second, on the same images.

    Raises:
        ValueError: The lengths differ.

    Example:
        >>> first, second = np.array([True] * 6 + [False]), np.array([False] * 6 + [True])
        >>> count_discordant(first, second)
        Discordance(n01=1, n10=6, p=0.125)
    """
    if first.shape != second.shape:
        raise ValueError(f"Expected the same images, but got {len(first)} and {len(second)}.")
    n01, n10 = int((~first & second).sum()), int((first & ~second).sum())
    p = float(mcnemar([[0, n10], [n01, 0]], exact=True).pvalue)
    return Discordance(n01, n10, max(p, _LEAST_P))


def place_scores(scores: np.ndarray, positive: np.ndarray) -> Placements:
    """Return DeLong's structural components in O(n log n), by one sort.

    That sorting is enough is from Sun and Xu, "Fast implementation of DeLong's algorithm", IEEE
    Signal Processing Letters 21 (2014).

    Args:
        scores: float, (n_images,); the higher, the more it speaks for the positive class.
        positive: bool, (n_images,).

    Raises:
        ValueError: A class has no images, or a score is not finite.
    """
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not (n_positive and n_negative):
        raise ValueError(
            f"Expected images of both classes, but got {n_positive} positive and "
            f"{n_negative} negative."
        )
    if not np.isfinite(scores).all():
        raise ValueError("Expected finite scores, but got NaN or infinity.")
    ranking = Ranking.of(scores, positive)
    places = ranking.place()
    # of the images with at least a score, those that have it count half
    above = ranking.found - np.diff(ranking.found, prepend=0) / 2
    below = n_negative - (ranking.rest - np.diff(ranking.rest, prepend=0) / 2)
    return Placements(
        (below / n_negative)[places[positive]], (above / n_positive)[places[~positive]]
    )


def compare_aucs(first: Placements, second: Placements, *, confidence: float) -> AucDifference:
    """Compare two AUCs on the same images: DeLong, DeLong and Clarke-Pearson.

    From "Comparing the areas under two or more correlated receiver operating characteristic
    curves", Biometrics 44 (1988). The variance of the difference of two AUCs is that of the
    differences of their components, which needs no covariance matrix.

    Args:
        first: Of one classifier.
        second: Of the other, on the same images in the same order.
        confidence: Level of the interval.
    """
    changes = (
        first.of_positive - second.of_positive,
        first.of_negative - second.of_negative,
    )
    difference = float(changes[0].mean())
    if min(len(change) for change in changes) < 2:
        return AucDifference(difference, *[math.nan] * 4)
    if all(np.ptp(change) <= NEGLIGIBLE for change in changes):
        return AucDifference(difference, 0.0, *[math.nan] * 3)
    variance = sum(float(change.var(ddof=1)) / len(change) for change in changes)
    error = math.sqrt(variance)
    half = error * float(stats.norm.isf((1 - confidence) / 2))
    p = 2 * float(stats.norm.sf(abs(difference) / error))
    return AucDifference(
        difference, variance, difference - half, difference + half, max(p, _LEAST_P)
    )
