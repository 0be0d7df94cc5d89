"""Looking at a comparison before all seeds have run, at the error rate that was declared.

**Information.** Differences of J seeds with variance σ² and correlation ρ, the same between any
two seeds as their splits overlap alike, have a mean with variance σ²(1 + (J - 1)ρ)/J =
σ²(1 - ρ)(1/J + r) with r = ρ/(1 - ρ), which Nadeau and Bengio take to be n_test/n_train. So
information grows as 1/(1/J + r), towards an end: 1/r. And for J₁ < J₂ seeds

    cov(mean of J₁, mean of J₂) = (1/J₁J₂) Σ_{i≤J₁} Σ_{j≤J₂} cov(dᵢ, dⱼ)
                                = (1/J₁J₂) J₁σ²(1 + (J₂ - 1)ρ) = var(mean of J₂):

estimates at successive looks have the joint distribution of group sequential theory, that of a
Brownian motion observed at the information fractions (Jennison and Turnbull, "Group Sequential
Methods", 2000, chapter 11). `spending` defines how much of the error rate a look may use.

**Boundaries of t.** With few seeds the standard error is a rough estimate, and it changes at each
look. The published boundaries are for z. Boundaries of t with the same tail probabilities have an
error rate of 5 to 6 % instead of 5 (measured: .057 for 10 seeds with looks at 4 and 7; .064 for 5
with looks at 2, 3 and 4), because t statistics at successive looks are less correlated than z. So
boundaries of t are chosen by simulation: of quasi-random paths of the model above, the share that
first crosses at a look is the error rate spent there; the boundary of the first look is exact.
Where seeds do not overlap as assumed, these boundaries are off, as the corrected t-test is.

**Futility** is non-binding: to continue in spite of it costs no error rate. It asks whether the run
will show a difference, not whether it will show equivalence; a level of 0 switches it off for that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy import special, stats

from osteo_ray.statistics.settings import Spending
from osteo_ray.statistics.significance import corrected_t_test
from osteo_ray.statistics.sizes import Sizes
from osteo_ray.statistics.spending import spend

FUTILE = 0.1
"""Predictive power below which it is futile to continue, by default."""

_LOG2_PATHS = 18
_FEWEST_PATHS = 200  # to find a boundary by counting; below, the union bound is as good


@dataclass(frozen=True)
class Look:
    """A planned look at the primary contrast; the last one is the final analysis.

    Attributes:
        n_seeds: Seeds that have run.
        fraction: Of the information at the final analysis.
        spent: Two-sided error rate used up so far, this look included.
        t: Boundary of the corrected t.
        nominal_p: Two-sided p of the corrected t-test below which this look rejects.
    """

    n_seeds: int
    fraction: float
    spent: float
    t: float
    nominal_p: float


@dataclass(frozen=True)
class LookPlan:
    """The looks of a comparison, declared before it runs.

    Attributes:
        looks: In order; the last is the final analysis.
        sizes: Images per seed.
        alpha: Two-sided error rate of all looks together.
        spending: How it is spent.
        futile: Predictive power below which it is futile to continue; 0 for never.
    """

    looks: tuple[Look, ...]
    sizes: Sizes
    alpha: float
    spending: Spending
    futile: float

    @property
    def fractions(self) -> tuple[float, ...]:
        """Information fractions of the looks."""
        return tuple(look.fraction for look in self.looks)


@dataclass(frozen=True)
class Decision:
    """What a look decides.

    Attributes:
        stop: No further seeds are needed, or, at the final analysis, planned.
        kind: efficacy (the boundary is crossed, whatever the sign), futility, continue, final (not
            crossed at the last look) or untestable (no spread between seeds).
        reason: In words.
        low: Lower end of the repeated confidence interval. With probability 1 - alpha of the plan,
            the intervals of all looks together cover the true difference, so each is valid whatever
            the reason to stop (Jennison and Turnbull, chapter 9). None where there is no spread.
        high: Upper end.
        predictive_power: Probability that the final analysis rejects, given the differences so
            far and nothing known before; None at the final analysis and where there is no spread.
    """

    stop: bool
    kind: Literal["efficacy", "futility", "continue", "final", "untestable"]
    reason: str
    low: float | None
    high: float | None
    predictive_power: float | None


def information_fraction(n_seeds: int, planned: int, sizes: Sizes) -> float:
    """Return the share of the information of all planned seeds that some of them give.

    Example:
        >>> round(information_fraction(5, 10, Sizes(n_test=74, n_train=520)), 3)
        0.708
        >>> information_fraction(5, 10, Sizes(n_test=0, n_train=520))
        0.5
    """
    return (1 / planned + sizes.ratio) / (1 / n_seeds + sizes.ratio)


def plan_looks(
    looks: Sequence[int],
    n_seeds: int,
    sizes: Sizes,
    *,
    alpha: float,
    spending: Spending,
    futile: float = FUTILE,
) -> LookPlan:
    """Lay out looks and the final analysis after `n_seeds`.

    Where trainings are missing, call it again with the numbers of seeds that finished: a boundary
    depends only on the looks up to it and the final number of seeds.

    Args:
        looks: Numbers of seeds, increasing, at least 2 and below `n_seeds`; empty for none.
        n_seeds: Seeds of the final analysis.
        sizes: Images per seed.
        alpha: Two-sided error rate of all looks; that of Holm's strictest step, if there are
            several contrasts.
        spending: How it is spent.
        futile: See `LookPlan`.

    Raises:
        ValueError: A number is out of its range.
    """
    counts = [*looks, n_seeds]
    if counts[0] < 2 or any(sooner >= later for sooner, later in pairwise(counts)):
        raise ValueError(f"Expected looks increasing from 2 to below {n_seeds}, but got {looks}.")
    if not (0 < alpha < 1 and 0 <= futile < 1):
        raise ValueError(
            f"Expected alpha in (0, 1) and futile in [0, 1), but got {alpha} and {futile}."
        )
    fractions = [information_fraction(count, n_seeds, sizes) for count in counts]
    spent = [spend(fraction, alpha, spending) for fraction in fractions]
    t = _find_t_bounds(tuple(counts), tuple(spent), sizes.ratio)
    nominal = [2 * float(stats.t.sf(bound, n - 1)) for bound, n in zip(t, counts, strict=True)]
    planned = map(Look, counts, fractions, spent, t, nominal)
    return LookPlan(tuple(planned), sizes, alpha, spending, futile)


def crossing_probabilities(plan: LookPlan, effect: float) -> np.ndarray:
    """Return the probability that the boundary is first crossed at each look, ignoring futility.

    Args:
        plan: Of the looks.
        effect: True difference, in standard deviations of the differences over seeds.

    Returns:
        float64, (n_looks, 2): above, and below. Without an effect all sum to alpha, up to 0.0005.
    """
    counts = [look.n_seeds for look in plan.looks]
    paths = _draw_statistics(counts, plan.sizes.ratio, effect)
    inside = np.ones(len(paths[0]), bool)
    found = np.empty((len(counts), 2))
    for number, (look, statistic) in enumerate(zip(plan.looks, paths, strict=True)):
        above, below = statistic >= look.t, statistic <= -look.t
        found[number] = (inside & above).mean(), (inside & below).mean()
        inside &= ~(above | below)
    return found


def decide(differences: np.ndarray, look: int, plan: LookPlan) -> Decision:
    """Say whether to stop at a look. Pure: the same differences give the same decision.

    Args:
        differences: float, (n_seeds of that look,): the primary contrast, one value per seed.
        look: Number of the look, from 1; that of the last is the final analysis.
        plan: Made before the run.

    Raises:
        ValueError: There is no such look, there are not as many differences as it has seeds, or one
            is not finite.
    """
    if not 1 <= look <= len(plan.looks):
        raise ValueError(f"Expected a look from 1 to {len(plan.looks)}, but got {look}.")
    here, is_final = plan.looks[look - 1], look == len(plan.looks)
    if len(differences) != here.n_seeds:
        raise ValueError(
            f"Expected {here.n_seeds} differences at look {look}, but got {len(differences)}. Plan "
            "the looks again with the numbers of seeds that finished."
        )
    test = corrected_t_test(differences, plan.sizes)
    if test.sd == 0:
        reason = "All differences are the same. Without a spread, nothing can be tested."
        return Decision(is_final, "untestable", reason, None, None, None)
    half = here.t * test.standard_error
    low, high = test.mean - half, test.mean + half
    statistic = test.mean / test.standard_error
    said = (
        f"{here.n_seeds} seeds: mean difference {test.mean:+.3f}, corrected t {statistic:.2f}, "
        f"boundary ± {here.t:.2f}"
    )
    power = None if is_final else predictive_power(statistic, look, plan)
    if abs(statistic) >= here.t:
        return Decision(True, "efficacy", f"{said}: crossed.", low, high, power)
    if power is None:
        return Decision(True, "final", f"{said}: not crossed at the last look.", low, high, None)
    said += f": not crossed. The final analysis would reject with probability {power:.3f}"
    if power < plan.futile:
        reason = f"{said}, below {plan.futile:g}: it is futile to continue."
        return Decision(True, "futility", reason, low, high, power)
    return Decision(False, "continue", f"{said}.", low, high, power)


def predictive_power(statistic: float, look: int, plan: LookPlan) -> float:
    """Return the probability that the final analysis rejects, given a look, of either sign.

    The prior is flat, and the looks in between are ignored: given z at information fraction t, the
    final z is normal with mean z/√t and variance (1 - t)/t.

    Args:
        statistic: Corrected t at the look.
        look: Its number, from 1; not the final analysis.
        plan: Of the looks.
    """
    here, last = plan.looks[look - 1], float(stats.norm.isf(plan.looks[-1].nominal_p / 2))
    z, fraction = _to_z(statistic, here), here.fraction
    mean, spread = z / math.sqrt(fraction), math.sqrt((1 - fraction) / fraction)
    return float(stats.norm.sf((last - mean) / spread) + stats.norm.cdf((-last - mean) / spread))


def _to_z(statistic: float, look: Look) -> float:
    """Turn a t into the z of equal tail probability."""
    z = float(stats.norm.isf(stats.t.sf(abs(statistic), look.n_seeds - 1)))
    return math.copysign(z, statistic)


@lru_cache(maxsize=64)  # simulations ask for the same plan many times, and it takes half a second
def _find_t_bounds(
    counts: tuple[int, ...], spent: tuple[float, ...], ratio: float
) -> tuple[float, ...]:
    """Return the boundary of the corrected t at each look, so that errors are as spent."""
    bounds: list[float] = []
    inside = np.ones(2**_LOG2_PATHS, bool)
    due = np.diff([0.0, *spent]).tolist()
    if len(counts) == 1:
        return (float(stats.t.isf(due[0] / 2, counts[0] - 1)),)
    paths = _draw_statistics(counts, ratio, 0.0)
    for count, share, statistic in zip(counts, due, paths, strict=True):
        wanted = round(share * len(inside))
        if not bounds or wanted < _FEWEST_PATHS:
            bound = float(stats.t.isf(share / 2, count - 1))
        else:
            bound = float(np.sort(np.abs(statistic[inside]))[-wanted])
        bounds.append(bound)
        inside &= np.abs(statistic) < bound
    return tuple(bounds)


def _draw_statistics(counts: Sequence[int], ratio: float, effect: float) -> list[np.ndarray]:
    """Draw corrected t statistics at several numbers of seeds: float64, (2**_LOG2_PATHS,) each.

    The standard deviation of a seed is 1, and all seeds share an error of variance n_test/n_train,
    so that means have the corrected variance. Sums of squares of new seeds join those before
    (Chan, Golub and LeVeque 1983).
    """
    added = np.diff([0, *counts]).tolist()
    sobol = stats.qmc.Sobol(1 + 2 * len(counts), rng=np.random.default_rng(0))
    uniform = np.clip(sobol.random_base2(_LOG2_PATHS), 1e-12, 1 - 1e-12).T
    shared = effect + math.sqrt(ratio) * special.ndtri(uniform[0])
    mean, squares, n_before = np.zeros_like(shared), np.zeros_like(shared), 0
    found = []
    for number, (count, n_new) in enumerate(zip(counts, added, strict=True)):
        new = special.ndtri(uniform[1 + 2 * number]) / math.sqrt(n_new) - mean
        within = special.chdtri(n_new - 1, 1 - uniform[2 + 2 * number]) if n_new > 1 else 0.0
        squares = squares + within + new**2 * n_before * n_new / count
        mean = mean + new * n_new / count
        n_before = count
        error = np.sqrt(squares / (count - 1) * (1 / count + ratio))
        found.append((shared + mean) / error)
    return found
