"""The uncertainty of a mean of paired differences, with both seeds and test images resampled.

Here `differences` is float, (n_seeds,), and `draws` float, (n_draws, n_seeds): the same differences
with the groups of test images resampled. Each draw uses one set of weights for all seeds, so that
it shows what seeds have in common through the test images they share.

The variance of a mean over J seeds is E[s²] / J + C, with s² the sample variance over seeds and C
the mean covariance of two seeds. Both terms are known: s² from the seeds (to resample them would
give (J - 1)/J of it), and C from the draws, as the mean covariance of two of its columns. It is the
two-way cluster-robust variance of Cameron, Gelbach and Miller (2011), by seed and by group, in the
form that is unbiased for few seeds. The corrected t-test of Nadeau and Bengio fills in C by an
assumption, s² · n_test/n_train; the bootstrap measures it.

What seeds have in common through overlapping training sets is in neither term: no estimate of it
from one data set can be unbiased (Bengio and Grandvalet 2004). docs/validation.md reports how often
the intervals cover, and which other forms were tried.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy import stats

from osteo_ray.statistics.arrays import Values, Weights
from osteo_ray.statistics.significance import NEGLIGIBLE, inflate_error
from osteo_ray.statistics.sizes import Sizes


@dataclass(frozen=True)
class Spread:
    """Covariances of means over seeds.

    Attributes:
        seeds: float64, (k, k); from the spread over seeds.
        images: float64, (k, k); from the test images that seeds share; no eigenvalue below 0.
        n_seeds: Behind the first.
        n_groups: Groups that two seeds or more share, behind the second.
    """

    seeds: Values
    images: Values
    n_seeds: int
    n_groups: int

    @property
    def total(self) -> Values:
        return self.seeds + self.images

    def count_freedom(self, direction: Values) -> float:
        """Return the degrees of freedom of the variance along a direction, (k,).

        By Satterthwaite's rule, from J - 1 for seeds and one less than groups for images.
        """
        seeds, images = (float(direction @ part @ direction) for part in (self.seeds, self.images))
        squares = seeds**2 / (self.n_seeds - 1) + images**2 / max(1, self.n_groups - 1)
        return (seeds + images) ** 2 / squares


@dataclass(frozen=True)
class Interval:
    """A mean difference with its confidence interval, and the two parts of its variance."""

    mean: float
    low: float
    high: float
    standard_error: float
    freedom: float
    from_seeds: float
    from_images: float


@lru_cache(maxsize=1)
def draw_weights(n_groups: int, n_draws: int, seed: int) -> Weights:
    """Draw how often each group occurs in bootstrap samples of as many groups.

    Returns:
        uint8, (n_draws, n_groups), read-only; each row sums to `n_groups`. The last answer is kept.

    Example:
        >>> draw_weights(6, 4, seed=0).sum(axis=1).tolist()
        [6, 6, 6, 6]
    """
    rng = np.random.default_rng(seed)
    weights = np.empty((n_draws, n_groups), np.uint8)  # more than 255 does not happen
    for row in weights:
        row[:] = np.bincount(rng.integers(n_groups, size=n_groups), minlength=n_groups)
    weights.flags.writeable = False
    return weights


def estimate_spread(values: Values, draws: Values, n_groups: int) -> Spread:
    """Estimate the covariances of means over seeds, of k quantities at once.

    Args:
        values: float, (k, n_seeds), at least two seeds.
        draws: float, (n_draws, k, n_seeds). NaN, where a resampled test set lacks a class, is left
            out of the covariances with that seed.
        n_groups: Groups that two seeds or more share.

    Raises:
        ValueError: Shapes do not fit, or there are fewer than two seeds or draws.
    """
    k, n_seeds = values.shape
    if draws.ndim != 3 or draws.shape[1:] != values.shape or n_seeds < 2 or len(draws) < 2:
        raise ValueError(
            "Expected two or more draws of as many values for two or more seeds, but got "
            f"{draws.shape} for {values.shape}."
        )
    seeds = np.cov(values).reshape(k, k) / n_seeds
    with np.errstate(invalid="ignore"):
        centred = draws - np.nanmean(draws, axis=0)
    known = (~np.isnan(centred)).reshape(len(draws), -1).astype(np.float64)
    centred = np.nan_to_num(centred).reshape(len(draws), -1)
    freedom = known.T @ known - 1
    # The mean covariance of two different seeds that have two draws or more in common.
    is_pair = np.tile(~np.eye(n_seeds, dtype=bool), (k, k)) & (freedom > 0)
    pairs = np.where(is_pair, centred.T @ centred / np.maximum(freedom, 1), 0.0)
    blocks = (k, n_seeds, k, n_seeds)
    n_pairs = is_pair.reshape(blocks).sum((1, 3))
    shared = pairs.reshape(blocks).sum((1, 3)) / np.maximum(n_pairs, 1)
    return Spread(seeds, _drop_negative(shared), n_seeds, n_groups)


def estimate_interval(
    differences: Values, draws: Values, n_groups: int, *, confidence: float = 0.95
) -> Interval | None:
    """Give the interval of a mean difference, from a two-way bootstrap over seeds and groups.

    The mean ± the t quantile × the standard error, both as in the module's text.

    Args:
        differences: float, (n_seeds,), at least two.
        draws: float, (n_draws, n_seeds).
        n_groups: Groups that two seeds or more share.
        confidence: Level.

    Returns:
        None where neither seeds nor images vary, unless all differences are 0: then the point 0,
        as in the corrected t-test.

    Example:
        >>> differences = np.array([0.02, 0.04, 0.06])
        >>> alone = estimate_interval(differences, np.tile(differences, (9, 1)), n_groups=5)
        >>> round(alone.low, 4), round(alone.high, 4)  # the plain t interval
        (-0.0097, 0.0897)
    """
    spread = estimate_spread(differences[None], draws[:, None], n_groups)
    mean = float(differences.mean())
    from_seeds, from_images = float(spread.seeds[0, 0]), float(spread.images[0, 0])
    error = math.sqrt(from_seeds + from_images)
    if error <= NEGLIGIBLE:
        same = abs(mean) <= NEGLIGIBLE
        return Interval(0.0, 0.0, 0.0, 0.0, math.inf, 0.0, 0.0) if same else None
    freedom = spread.count_freedom(np.ones(1))
    half = error * float(stats.t.isf((1 - confidence) / 2, freedom))
    return Interval(mean, mean - half, mean + half, error, freedom, from_seeds, from_images)


def estimate_ratio(
    parts: Values,
    wholes: Values,
    draws: Values,
    n_groups: int,
    *,
    confidence: float = 0.95,
    sizes: Sizes | None = None,
) -> tuple[float, float, float] | None:
    """Give the ratio of two means over seeds with Fieller's interval (1954).

    The interval holds every ratio r for which the mean of parts - r · wholes is not significantly
    different from 0. It has two ends only where the mean of `wholes` is itself significantly
    different from 0; elsewhere it is unbounded.

    Args:
        parts: float, (n_seeds,); the numerator.
        wholes: float, (n_seeds,); the denominator.
        draws: float, (n_draws, 2, n_seeds); both, resampled together.
        n_groups: Groups that two seeds or more share.
        confidence: Level.
        sizes: Images per seed, where the corrected t counts as well. Then its interval is found
            too, and the wider end of both counts, as in a difference (`statistics.inference`).

    Returns:
        Ratio, low, high; None where the interval is unbounded.
    """
    both = np.stack([parts, wholes])
    spread = estimate_spread(both, draws, n_groups)
    spreads = [spread]
    if sizes is not None:
        corrected = np.cov(both) * inflate_error(len(parts), sizes) ** 2
        spreads.append(replace(spread, seeds=corrected, images=np.zeros((2, 2))))
    means = float(parts.mean()), float(wholes.mean())
    found = [_find_ratio(*means, one, confidence) for one in spreads]
    known = [ends for ends in found if ends is not None]
    if len(known) < len(found):
        return None
    return means[0] / means[1], min(low for low, _ in known), max(high for _, high in known)


def _find_ratio(
    part: float, whole: float, spread: Spread, confidence: float
) -> tuple[float, float] | None:
    """Return the ends of Fieller's interval of part / whole; None where it is unbounded."""
    total = spread.total
    if whole == 0:
        return None
    ratio = part / whole
    # Exact only at one ratio, as freedom changes with it; the observed one is as good as any.
    directions = (np.array([0.0, 1.0]), np.array([1.0, -ratio]))
    moving = [d for d in directions if float(d @ total @ d) > NEGLIGIBLE**2]
    freedom = min((spread.count_freedom(d) for d in moving), default=math.inf)
    square = float(stats.t.isf((1 - confidence) / 2, freedom)) ** 2
    a = whole**2 - square * total[1, 1]
    b = part * whole - square * total[0, 1]
    c = part**2 - square * total[0, 0]
    if a <= 0:
        return None
    half = math.sqrt(max(0.0, b * b - a * c)) / a
    return b / a - half, b / a + half


def _drop_negative(matrix: Values) -> Values:
    """Return the nearest covariance matrix: noise may leave a small covariance below 0."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)
