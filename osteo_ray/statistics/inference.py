"""What seeds and test images say about the mean of a combination of arms: one place for all tests.

A combination is a weighted sum of a metric of several arms, such as the judged arm minus
`original`; its mean over seeds is what a verdict is about. Two standard errors can be given for it:

- the *corrected* one of Nadeau and Bengio (2003), sd · √(1/J + n_test/n_train), which allows for
  training sets that overlap, but takes on trust how much seeds have in common;
- the *two-way* one, by seed and by group of test images (`statistics.bootstrap`), which measures
  what seeds have in common through the images they share, but knows nothing of overlapping
  training sets.

Where every seed tests the same images, n_test/n_train says nothing about the luck of those images,
so the two-way error decides alone. Where splits overlap, both are computed and the more cautious
one decides: the larger p, the wider interval.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from osteo_ray.statistics.bootstrap import estimate_spread
from osteo_ray.statistics.significance import NEGLIGIBLE, inflate_error
from osteo_ray.statistics.sizes import Sizes

Values = npt.NDArray[np.float64]
Method = Literal["corrected t", "two-way"]


@dataclass(frozen=True)
class TestDesign:
    """How the seeds of a comparison relate to one another.

    Attributes:
        n_test: Test images per seed.
        n_train: Training images per seed; None where it is unknown.
        fixed: All seeds test the same images: a given split, or an external cohort.
    """

    __test__ = False  # no tests, whatever pytest makes of the name

    n_test: float
    n_train: float | None
    fixed: bool

    @property
    def methods(self) -> tuple[Method, ...]:
        """The standard errors that decide."""
        if self.fixed or self.n_train is None:
            return ("two-way",)
        return ("corrected t", "two-way")

    @property
    def sizes(self) -> Sizes | None:
        """Images per seed, for the corrected t; None where that does not count."""
        if self.n_train is None or "corrected t" not in self.methods:
            return None
        return Sizes(n_test=self.n_test, n_train=self.n_train)


@dataclass(frozen=True)
class StandardError:
    """A standard error of a mean with its degrees of freedom, and where it comes from."""

    method: Method
    value: float
    freedom: float


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with all standard errors that count; the most cautious one decides.

    Attributes:
        mean: Over the seeds.
        n_seeds: How many.
        errors: At least one.
        possible: The lowest and the highest value that the true mean can have; intervals end there.
        resolution: The standard error below which nothing is shown to be equivalent.
    """

    mean: float
    n_seeds: int
    errors: tuple[StandardError, ...]
    possible: tuple[float, float] = (-math.inf, math.inf)
    resolution: float = 0.0

    def p_above(self, bound: float = 0.0) -> float:
        """Return the one-sided p of the hypothesis that the true mean is at most `bound`."""
        return max(_exceed((self.mean - bound) / one.value, one.freedom) for one in self.errors)

    def p_below(self, bound: float = 0.0) -> float:
        """Return the one-sided p of the hypothesis that the true mean is at least `bound`."""
        return max(_exceed((bound - self.mean) / one.value, one.freedom) for one in self.errors)

    def p_other_than(self, bound: float = 0.0) -> float:
        """Return the two-sided p of the hypothesis that the true mean equals `bound`."""
        return min(1.0, 2 * min(self.p_above(bound), self.p_below(bound)))

    def p_within(self, margin: float) -> float:
        """Return the p of two one-sided tests that the true mean lies inside ± `margin`.

        Where arms differ on hardly any image, hardly any image tells how much they differ, and all
        errors are too small. So no error counts as smaller than `resolution` here.
        """
        p = max(self.p_above(-margin), self.p_below(margin))
        if self.resolution == 0:
            return p
        return max(p, _exceed((margin - abs(self.mean)) / self.resolution, math.inf))

    def find_resolution(self, margin: float, alpha: float) -> float:
        """Return the `resolution` below which `p_within` is below `alpha`, by it alone."""
        return (margin - abs(self.mean)) / _quantile(alpha, math.inf)

    def interval(self, alpha: float) -> tuple[float, float]:
        """Return the widest of the intervals of level 1 - alpha, cut off at what is possible."""
        half = max(one.value * _quantile(alpha / 2, one.freedom) for one in self.errors)
        return max(self.mean - half, self.possible[0]), min(self.mean + half, self.possible[1])

    @property
    def decisive(self) -> StandardError:
        """The standard error that gives the wider 95 % interval."""
        return max(self.errors, key=lambda one: one.value * _quantile(0.025, one.freedom))


def estimate_mean(
    values: Values,
    draws: Values | None,
    n_shared: int,
    design: TestDesign,
    *,
    possible: tuple[float, float] = (-math.inf, math.inf),
    resolution: float = 0.0,
) -> Estimate | None:
    """Estimate the mean over seeds of a combination of arms.

    Where all seeds give the same value there is no spread to go by. Then the standard errors are
    those of values of which one differs by one test image, so that a difference of .5 on each of
    ten seeds is not called uncertain for being constant. Where seeds share images, that image
    differs on all of them: more seeds tell no more of it.

    Args:
        values: float, (n_seeds,); the combination on each seed's test images.
        draws: float, (n_draws, n_seeds); the same on resampled test images, NaN where a draw
            leaves the metric undefined. None where there are no predictions to resample.
        n_shared: Groups of test images that two or more seeds share.
        design: How the seeds relate.
        possible: The lowest and the highest value that the true mean can have.
        resolution: The standard error below which nothing is to be shown equivalent.

    Returns:
        None with fewer than two seeds, or where an error that counts cannot be had: the two-way one
        needs draws, at least half of which define the metric, on every seed.
    """
    n_seeds = len(values)
    if n_seeds < 2:
        return None
    least = _least_sd(n_seeds, design.n_test)
    errors = []
    if design.sizes is not None:
        sd = float(values.std(ddof=1)) if np.ptp(values) > NEGLIGIBLE else least
        inflated = sd * inflate_error(n_seeds, design.sizes)
        errors.append(StandardError("corrected t", inflated, n_seeds - 1))
    two_way = _estimate_two_way(values, draws, n_shared, least)
    if two_way is not None:
        errors.append(two_way)
    elif draws is not None or not errors:  # the more cautious one may be the one that is lacking
        return None
    return Estimate(float(values.mean()), n_seeds, tuple(errors), possible, resolution)


def subtract_estimates(one: Estimate, other: Estimate) -> Estimate:
    """Estimate the difference of two means that are taken as independent.

    The variances of their decisive errors add up; degrees of freedom after Welch and
    Satterthwaite. Two runs on the same images share some of their luck, which the difference of
    both then lacks: the error is too large rather than too small.
    """
    errors = (one.decisive, other.decisive)
    variance = sum(error.value**2 for error in errors)
    spread = sum(error.value**4 / error.freedom for error in errors)
    error = StandardError(errors[0].method, math.sqrt(variance), variance**2 / spread)
    possible = (one.possible[0] - other.possible[1], one.possible[1] - other.possible[0])
    return Estimate(one.mean - other.mean, min(one.n_seeds, other.n_seeds), (error,), possible)


def _estimate_two_way(
    values: Values, draws: Values | None, n_shared: int, least: float
) -> StandardError | None:
    if draws is None:
        return None
    known = ~np.isnan(draws)
    if known.mean(axis=0).min() < 0.5 or known.sum(axis=0).min() < 2:
        return None
    spread = estimate_spread(values[None], draws[:, None], n_shared)
    error = math.sqrt(float(spread.total[0, 0]))
    if error <= NEGLIGIBLE:
        root = math.sqrt(len(values))
        return StandardError("two-way", least * root if n_shared else least / root, len(values) - 1)
    return StandardError("two-way", error, spread.count_freedom(np.ones(1)))


def _least_sd(n_seeds: int, n_test: float) -> float:
    """Return the standard deviation of values of which one differs by one test image."""
    return 1 / max(n_test, 1.0) / math.sqrt(n_seeds)


def _exceed(t: float, freedom: float) -> float:
    return float(special.stdtr(freedom, -t)) if math.isfinite(freedom) else float(special.ndtr(-t))


def _quantile(tail: float, freedom: float) -> float:
    if not math.isfinite(freedom):
        return -float(special.ndtri(tail))
    return -float(special.stdtrit(freedom, tail))
