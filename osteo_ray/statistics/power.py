"""What the corrected t-test can detect: power, the smallest detectable difference, seeds needed.

The correction is that of `Sizes`.
"""

import math
from bisect import bisect_left
from functools import lru_cache

from scipy import optimize, stats

from osteo_ray.statistics.significance import inflate_error
from osteo_ray.statistics.sizes import Sizes

_TOO_LARGE = 1e5
"""Standard errors that no true difference has; the noncentral t distribution fails that far out."""


def detection_power(effect: float, sd: float, n_seeds: int, sizes: Sizes, alpha: float) -> float:
    """Return the probability that the corrected t-test finds a true difference, with its sign.

    It is exact where differences are as correlated over seeds as the test assumes; `osteo-ray
    validate tables` measures how close it is elsewhere.

    Args:
        effect: True difference, of either sign.
        sd: Standard deviation of the differences over seeds, positive.
        n_seeds: At least 2.
        alpha: Two-sided error rate of the test.
    """
    _check_plan(sd, alpha)
    return _power_at(abs(effect) / (sd * inflate_error(n_seeds, sizes)), n_seeds, alpha)


def smallest_detectable(
    sd: float, n_seeds: int, sizes: Sizes, alpha: float, power: float = 0.8
) -> float:
    """Return the smallest true difference that the corrected t-test finds with a given power.

    Args:
        sd: Standard deviation of the differences over seeds, positive.
        n_seeds: At least 2.
        alpha: Two-sided error rate of the test.
        power: Probability of p < alpha with the right sign.
    """
    _check_plan(sd, alpha, power)
    return sd * inflate_error(n_seeds, sizes) * _needed_shift(n_seeds, alpha, power)


def seeds_needed(
    effect: float,
    sd: float,
    sizes: Sizes,
    alpha: float,
    power: float = 0.8,
    most: int = 1000,
) -> int | None:
    """Return how many seeds find a true difference with a given power, or None if `most` do not.

    However many seeds run, the corrected standard error stays above sd · √(n_test/n_train): below
    some difference no number of seeds is enough.

    Args:
        effect: True difference, of either sign.
        sd: Standard deviation of the differences over seeds, positive.
        alpha: Two-sided error rate of the test.
        power: Probability of p < alpha with the right sign.
        most: Largest number considered.
    """
    _check_plan(sd, alpha, power)

    def excess(n_seeds: int) -> float:
        return abs(effect) - smallest_detectable(sd, n_seeds, sizes, alpha, power)

    counts = range(2, most + 1)
    place = bisect_left(counts, 0.0, key=excess)
    return counts[place] if place < len(counts) else None


@lru_cache(maxsize=4096)
def _needed_shift(n_seeds: int, alpha: float, power: float) -> float:
    """Return the true difference, in standard errors, that is found with a given power.

    It is cached: the noncentral t distribution takes milliseconds, and a run asks for the same
    values again.
    """
    most = _largest_shift(n_seeds, alpha)
    if most > _TOO_LARGE:
        return math.inf
    found = optimize.brentq(lambda shift: _power_at(shift, n_seeds, alpha) - power, 0.0, most)
    return float(found)


def _power_at(shift: float, n_seeds: int, alpha: float) -> float:
    """Return the power at a true difference of `shift` standard errors."""
    freedom, most = n_seeds - 1, _largest_shift(n_seeds, alpha)
    if most > _TOO_LARGE:
        return 0.0
    return float(stats.nct.sf(stats.t.isf(alpha / 2, freedom), freedom, min(shift, most)))


def _largest_shift(n_seeds: int, alpha: float) -> float:
    """Return a number of standard errors at which power is practically 1."""
    return 10 + 10 * float(stats.t.isf(alpha / 2, n_seeds - 1))


def _check_plan(sd: float, alpha: float, power: float | None = None) -> None:
    if not (math.isfinite(sd) and sd > 0):
        raise ValueError(f"Expected a positive `sd`, but got {sd}.")
    if not 0 < alpha < 1 or (power is not None and not alpha < power < 1):
        raise ValueError(f"Expected 0 < alpha < power < 1, but got {alpha} and {power}.")
