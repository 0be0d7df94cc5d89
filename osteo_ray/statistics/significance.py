"""Is the difference between two arms more than chance? Tests over seeds.

Everywhere `differences` is float, (n_seeds,): one arm's metric minus the other's, a value per
seed, both arms on the same split. Splits of different seeds share images, so the differences are
not independent; `Sizes` explains the correction for that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from osteo_ray.statistics.sizes import Sizes

NEGLIGIBLE = 1e-12
"""Differences of metrics closer than this are the same; the rest is floating-point noise."""
MOST_ENUMERATED = 16
"""Seeds up to which all sign patterns are counted, 65,536 at most."""


@dataclass(frozen=True)
class CorrectedT:
    """A mean difference and what the corrected resampled t-test says about it.

    Attributes:
        mean: Of the differences.
        sd: Standard deviation of the differences over seeds.
        standard_error: Of the mean, corrected.
        low: Lower end of the confidence interval of the mean.
        high: Upper end.
        p: Two-sided.
    """

    mean: float
    sd: float
    standard_error: float
    low: float
    high: float
    p: float


def corrected_t_test(
    differences: np.ndarray, sizes: Sizes, *, confidence: float = 0.95
) -> CorrectedT:
    """Test a mean difference by the corrected resampled t-test of Nadeau and Bengio (2003).

    The variance of the mean is var(d) · (1/J + n_test/n_train), with J - 1 degrees of freedom.

    Where all differences are the same, a t-test lacks the spread that it needs. If they are all 0,
    p is 1 and the interval is the point 0; otherwise p and both ends are NaN.

    Args:
        differences: float, (n_seeds,).
        sizes: `n_test` of 0 gives the plain paired t-test.
        confidence: Level of the interval.

    Raises:
        ValueError: There are fewer than two differences, or one is not finite.

    Example:
        >>> sizes = Sizes(n_test=20, n_train=60)
        >>> test = corrected_t_test(np.array([0.02, 0.04, 0.06]), sizes)
        >>> round(test.mean, 3), round(test.standard_error, 5), round(test.p, 4)
        (0.04, 0.01633, 0.134)
    """
    differences = _check_differences(differences, least=2)
    factor = inflate_error(len(differences), sizes)
    mean = float(differences.mean())
    if _is_constant(differences):
        same = abs(mean) <= NEGLIGIBLE
        bound = 0.0 if same else math.nan
        return CorrectedT(0.0 if same else mean, 0.0, 0.0, bound, bound, 1.0 if same else math.nan)
    sd = float(differences.std(ddof=1))
    error = sd * factor
    freedom = len(differences) - 1
    half = -error * float(special.stdtrit(freedom, (1 - confidence) / 2))
    p = 2 * _exceed(abs(mean) / error, freedom)
    return CorrectedT(mean, sd, error, mean - half, mean + half, p)


def wilcoxon_p(differences: np.ndarray) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test, exact for ties and zeros too.

    Zeros are ranked and then left out (Pratt 1959). All sign patterns of the other ranks are
    counted, whatever the ties: scipy's `wilcoxon` turns to the normal approximation there, and few
    seeds with a share of few test images tie often. Without ties and zeros it is scipy's exact p.

    Args:
        differences: float, (n_seeds,). Equal to 12 decimals is a tie.

    Returns:
        In (0, 1]; 1 where all differences are 0.

    Example:
        >>> wilcoxon_p(np.array([0.01, 0.02, 0.03, 0.04, 0.05]))
        0.0625
    """
    differences = np.round(_check_differences(differences, least=1), 12)
    ranks = stats.rankdata(np.abs(differences))[differences != 0]
    doubled = np.rint(2 * ranks).astype(int)  # whole numbers: ties have half ranks
    positive = doubled[differences[differences != 0] > 0].sum()
    total = doubled.sum()
    share = np.zeros(total + 1)  # share[s]: of the sign patterns with a positive doubled sum of s
    share[0] = 1
    for rank in doubled:
        moved = share.copy()
        moved[rank:] += share[:-rank]
        share = moved / 2
    return min(1.0, 2 * float(share[: min(positive, total - positive) + 1].sum()))


def equivalence_p(differences: np.ndarray, margin: float, sizes: Sizes) -> float:
    """Return the p of two one-sided corrected t-tests that the difference lies inside ± margin.

    Args:
        differences: float, (n_seeds,).
        margin: Largest difference that does not matter, positive.

    Returns:
        The larger of both p; NaN where all differences are the same.
    """
    not_worse = non_inferiority_p(differences, margin, sizes)
    not_better = non_inferiority_p(-np.asarray(differences), margin, sizes)
    return max(not_worse, not_better)


def non_inferiority_p(differences: np.ndarray, margin: float, sizes: Sizes) -> float:
    """Return the p of a one-sided corrected t-test that the true difference exceeds -margin.

    Args:
        differences: float, (n_seeds,).
        margin: Largest loss that does not matter, positive.

    Returns:
        NaN where all differences are the same.

    Example:
        >>> sizes = Sizes(n_test=74, n_train=520)
        >>> round(non_inferiority_p(np.array([0.02, 0.0, 0.01]), 0.03, sizes), 3)
        0.014
    """
    if not margin > 0:
        raise ValueError(f"Expected a positive `margin`, but got {margin}.")
    test = corrected_t_test(differences, sizes)
    if test.standard_error == 0:
        return math.nan
    return _exceed((test.mean + margin) / test.standard_error, len(differences) - 1)


def sign_flip_p(differences: np.ndarray) -> float:
    """Return the two-sided p of the sign-flip permutation test of the mean.

    With up to 16 seeds all sign patterns are counted; with more, 9999 are drawn, always the same.
    The test takes differences of seeds as independent, which they are not where splits overlap.
    Like Wilcoxon's, it is reported beside the corrected t-test and decides nothing.

    Args:
        differences: float, (n_seeds,). Sums equal to 12 decimals are ties.

    Returns:
        In (0, 1]; 1 where all differences are 0.

    Example:
        >>> sign_flip_p(np.array([0.01, 0.02, 0.03, 0.04, 0.05]))
        0.0625
    """
    differences = _check_differences(differences, least=1)
    if len(differences) > MOST_ENUMERATED:
        return _draw_sign_flips(differences)
    sums = np.zeros(1)
    for difference in np.abs(differences):
        sums = np.concatenate([sums + difference, sums - difference])
    return float(np.mean(np.abs(sums) >= abs(differences.sum()) - NEGLIGIBLE))


def _draw_sign_flips(differences: np.ndarray) -> float:
    def distance(values: np.ndarray, axis: int) -> np.ndarray:
        # Rounded, so that sums which differ by floating-point noise tie.
        return np.asarray(np.round(np.abs(values.sum(axis=axis)), 12))

    test = stats.permutation_test(
        (differences,),
        distance,
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=9999,
        rng=np.random.default_rng(0),
    )
    return float(test.pvalue)


def adjust_holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p values for their number, by Holm's method; None stays None and does not count.

    Example:
        >>> adjust_holm([0.01, None, 0.04])
        [0.02, None, 0.04]
    """
    # By hand: statsmodels' `multipletests` gives the same (tested), but collects garbage at every
    # call, which takes 0.1 s beside Ray and pandas.
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        adjusted[index] = largest
    return adjusted


def inflate_error(n_seeds: int, sizes: Sizes) -> float:
    """Return the corrected standard error of a mean for a standard deviation of 1.

    Raises:
        ValueError: There are fewer than two seeds.
    """
    if n_seeds < 2:
        raise ValueError(f"Expected at least 2 seeds, but got {n_seeds}.")
    return math.sqrt(1 / n_seeds + sizes.ratio)


def _exceed(t: float, freedom: int) -> float:
    """Return the probability of a larger t, as `stats.t.sf` does, in a twentieth of its time."""
    return float(special.stdtr(freedom, -t))


def _is_constant(differences: np.ndarray) -> bool:
    return float(np.ptp(differences)) <= NEGLIGIBLE


def _check_differences(differences: np.ndarray, *, least: int) -> np.ndarray:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or len(values) < least:
        raise ValueError(
            f"Expected at least {least} differences in one dimension, but got "
            f"{len(values) if values.ndim == 1 else values.shape}."
        )
    if not np.isfinite(values).all():
        raise ValueError(f"Expected finite differences, but got {values.tolist()}.")
    return values
