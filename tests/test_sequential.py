"""Looks: boundaries against published tables, error rates against simulation, decisions by hand."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import optimize, stats

from osteo_ray.statistics.power import smallest_detectable
from osteo_ray.statistics.sequential import (
    LookPlan,
    crossing_probabilities,
    decide,
    information_fraction,
    plan_looks,
    predictive_power,
)
from osteo_ray.statistics.settings import Spending
from osteo_ray.statistics.sizes import Sizes
from osteo_ray.statistics.spending import spend

FIFTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
SIZES = Sizes(n_test=74, n_train=520)


@cache
def make_plan(
    looks=(4, 7), n_seeds=10, *, alpha=0.05, spending="obrien_fleming", **other
) -> LookPlan:
    return plan_looks(
        looks, n_seeds, **{"sizes": SIZES, "alpha": alpha, "spending": spending, **other}
    )


def simulate(plan: LookPlan, effect: float, n_paths: int = 100_000) -> tuple[list[float], float]:
    """Draw seeds one by one, correlated as assumed; apply the boundaries as a user would.

    Returns how often each look is the first to cross, and how often all intervals cover.
    """
    rng = np.random.default_rng(11)
    ratio = plan.sizes.ratio
    rho = ratio / (1 + ratio)
    shared = rng.standard_normal((n_paths, 1))
    own = rng.standard_normal((n_paths, plan.looks[-1].n_seeds))
    # The spread over seeds is the part that they do not share, and is 1.
    seeds = effect + (math.sqrt(rho) * shared + math.sqrt(1 - rho) * own) / math.sqrt(1 - rho)
    going, covered, crossed = np.ones(n_paths, bool), np.ones(n_paths, bool), []
    for look in plan.looks:
        part = seeds[:, : look.n_seeds]
        error = part.std(axis=1, ddof=1) * math.sqrt(1 / look.n_seeds + ratio)
        beyond = np.abs(part.mean(axis=1)) >= look.t * error
        crossed.append(float((going & beyond).mean()))
        going &= ~beyond
        covered &= np.abs(part.mean(axis=1) - effect) <= look.t * error
    return crossed, float(covered.mean())


# Spending, and boundaries without end of seeds, where t is z


def find_z(fractions: Sequence[float], alpha: float, spending: Spending) -> list[float]:
    """Return the boundaries of z, from integrals of the normal distribution by SciPy."""
    sooner, later = np.minimum.outer(fractions, fractions), np.maximum.outer(fractions, fractions)
    correlation = np.sqrt(sooner / later)
    bounds: list[float] = []
    for number, fraction in enumerate(fractions, start=1):
        normal = stats.multivariate_normal(cov=correlation[:number, :number], seed=0)
        inside = 1 - spend(fraction, alpha, spending)

        def excess(bound: float, normal=normal, inside=inside) -> float:
            upper = np.array([*bounds, bound])
            return float(normal.cdf(upper, lower_limit=-upper)) - inside

        bounds.append(optimize.brentq(excess, 0.5, 9, xtol=1e-6))
    return bounds


@pytest.mark.parametrize(
    ("spending", "published"),
    [
        ("obrien_fleming", [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]),
        ("pocock", [2.4380, 2.4268, 2.4101, 2.3966, 2.3859]),
    ],
)
def test_boundaries_of_lan_and_demets(spending: Spending, published: list[float]) -> None:
    """Two-sided .05, five equal looks; Reboussin et al. (2000), and R's ldbounds."""
    looks = (20_000, 40_000, 60_000, 80_000)
    plan = make_plan(looks, 100_000, sizes=Sizes(n_test=0, n_train=1), spending=spending)
    assert plan.fractions == pytest.approx(FIFTHS)
    assert [look.t for look in plan.looks] == pytest.approx(published, abs=0.01)


@pytest.mark.parametrize("spending", ["obrien_fleming", "pocock"])
def test_boundaries_at_odd_fractions(spending: Spending) -> None:
    plan = make_plan((50_000, 70_000), 100_000, sizes=Sizes(n_test=0, n_train=1), spending=spending)
    found = find_z(plan.fractions, 0.05, spending)
    assert [look.t for look in plan.looks] == pytest.approx(found, abs=0.01)


def test_boundaries_are_too_wide_rather_than_too_narrow_where_paths_are_few() -> None:
    """At the second look .0003 may be spent: 80 of the simulated paths."""
    plan = make_plan((35_000, 40_000), 100_000, sizes=Sizes(n_test=0, n_train=1))
    first, second, last = find_z(plan.fractions, 0.05, "obrien_fleming")
    assert [plan.looks[0].t, plan.looks[2].t] == pytest.approx([first, last], abs=0.01)
    assert second < plan.looks[1].t < second + 0.15


def test_spending_by_hand() -> None:
    assert spend(0.5, 0.05, "pocock") == pytest.approx(0.05 * math.log(1 + (math.e - 1) / 2))
    half = 2 * stats.norm.sf(stats.norm.isf(0.0125) / math.sqrt(0.5))
    assert spend(0.5, 0.05, "obrien_fleming") == pytest.approx(2 * half)
    assert spend(1.0, 0.05, "pocock") == spend(1.0, 0.05, "obrien_fleming") == 0.05


def test_bad_fraction() -> None:
    with pytest.raises(ValueError, match="information fraction"):
        spend(0.0, 0.05, "pocock")


# The plan of looks


def test_information_is_that_of_correlated_means() -> None:
    """From the covariance matrix of all seeds, not from a formula for their mean."""
    ratio = 74 / 520
    rho = ratio / (1 + ratio)
    covariance = np.full((10, 10), rho) + (1 - rho) * np.eye(10)
    weights = np.array([np.r_[np.full(k, 1 / k), np.zeros(10 - k)] for k in (4, 10)])
    means = weights @ covariance @ weights.T
    assert means[0, 1] == pytest.approx(means[1, 1])  # so increments are independent
    fraction = information_fraction(4, 10, SIZES)
    assert fraction == pytest.approx(means[1, 1] / means[0, 0])


def test_without_looks_it_is_the_corrected_t_test() -> None:
    (only,) = make_plan((), 10).looks
    assert only.t == pytest.approx(stats.t.isf(0.025, 9))
    assert (only.fraction, only.spent) == (1.0, 0.05)
    assert only.nominal_p == pytest.approx(0.05)


def test_first_look_is_exact_and_looks_spend_alpha() -> None:
    plan = make_plan()
    first = plan.looks[0]
    assert first.t == pytest.approx(stats.t.isf(first.spent / 2, 3))
    assert first.nominal_p == pytest.approx(first.spent)
    assert plan.looks[-1].spent == 0.05
    assert [look.n_seeds for look in plan.looks] == [4, 7, 10]
    assert list(plan.fractions) == sorted(plan.fractions)


def test_a_look_depends_on_no_later_look() -> None:
    assert make_plan((4,)).looks[0] == make_plan((4, 7)).looks[0]
    assert make_plan((4, 7)).looks[1].t == pytest.approx(make_plan((4, 7, 9)).looks[1].t, rel=0.01)


@pytest.mark.parametrize(
    ("looks", "n_seeds", "n_test", "spending"),
    [
        ((4, 7), 10, 74, "obrien_fleming"),
        ((2, 3, 4), 5, 74, "pocock"),
        ((5, 10, 15), 20, 0, "obrien_fleming"),
        ((3,), 6, 200, "pocock"),
    ],
)
def test_error_rate_and_coverage_are_as_declared(looks, n_seeds, n_test, spending) -> None:
    plan = make_plan(looks, n_seeds, sizes=replace(SIZES, n_test=n_test), spending=spending)
    crossed, covered = simulate(plan, effect=0.0)
    spent = np.diff([0.0, *(look.spent for look in plan.looks)])
    # Three standard errors of 100,000 paths are .002.
    assert crossed == pytest.approx(spent.tolist(), abs=0.002)
    assert sum(crossed) == pytest.approx(0.05, abs=0.0025)
    assert covered == pytest.approx(0.95, abs=0.0025)


def test_intervals_cover_a_true_difference_too() -> None:
    _, covered = simulate(make_plan(), effect=1.3)
    assert covered == pytest.approx(0.95, abs=0.0025)


@pytest.mark.parametrize(
    ("looks", "n_seeds", "spending", "rate"),
    [((4, 7), 10, "obrien_fleming", 0.057), ((2, 3, 4), 5, "pocock", 0.064)],
)
def test_same_tail_probabilities_let_more_through(looks, n_seeds, spending, rate) -> None:
    """Why boundaries of t are not those of z by tail probability alone."""
    plan = make_plan(looks, n_seeds, spending=spending)
    mapped = [
        replace(look, t=float(stats.t.isf(stats.norm.sf(z), look.n_seeds - 1)))
        for look, z in zip(plan.looks, find_z(plan.fractions, 0.05, spending), strict=True)
    ]
    crossed, _ = simulate(replace(plan, looks=tuple(mapped)), effect=0.0)
    assert sum(crossed) == pytest.approx(rate, abs=0.002)


def test_power_is_that_of_the_test_without_looks() -> None:
    effect = smallest_detectable(1.0, 10, SIZES, 0.05, 0.8)
    found = crossing_probabilities(make_plan((), 10), effect)
    assert found.shape == (1, 2)
    assert found[0, 0] == pytest.approx(0.8, abs=0.001)


def test_crossings_are_those_of_simulated_seeds() -> None:
    plan = make_plan()
    crossed, _ = simulate(plan, effect=1.3)
    found = crossing_probabilities(plan, 1.3)
    assert found.sum(axis=1) == pytest.approx(crossed, abs=0.005)
    assert found[:, 0].sum() > 0.5 > 0.01 > found[:, 1].sum()
    nothing = crossing_probabilities(plan, 0.0)
    assert nothing.sum() == pytest.approx(0.05, abs=5e-4)
    assert nothing[:, 0] == pytest.approx(nothing[:, 1], abs=0.001)


def test_hardly_anything_to_spend_gives_a_finite_boundary() -> None:
    plan = make_plan((2, 3), 100, sizes=replace(SIZES, n_test=0), alpha=0.001)
    assert all(0 < look.nominal_p < 1e-6 for look in plan.looks[:2])
    assert all(math.isfinite(look.t) for look in plan.looks)


@pytest.mark.parametrize(
    ("looks", "n_seeds"), [((1,), 5), ((4, 4), 5), ((4, 3), 5), ((5,), 5), ((), 1)]
)
def test_bad_looks(looks: tuple[int, ...], n_seeds: int) -> None:
    with pytest.raises(ValueError, match="Expected looks increasing from 2 to below"):
        make_plan(looks, n_seeds)


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"alpha": 1.0}, {"futile": 1.0}])
def test_numbers_out_of_range(wrong: dict) -> None:
    with pytest.raises(ValueError, match="Expected alpha in"):
        make_plan(**wrong)


# Decisions


def draw(t: float, n_seeds: int) -> np.ndarray:
    """Make differences whose corrected t has a given value, and whose spread is 0.05."""
    values = np.random.default_rng(n_seeds).standard_normal(n_seeds)
    values = 0.05 * (values - values.mean()) / values.std(ddof=1)
    return values + t * 0.05 * math.sqrt(1 / n_seeds + 74 / 520)


def test_crossing_stops_with_an_interval_off_zero() -> None:
    plan = make_plan()
    decision = decide(draw(3.2, 7), 2, plan)
    assert (decision.stop, decision.kind) == (True, "efficacy")
    error = 0.05 * math.sqrt(1 / 7 + 74 / 520)
    ends = [(3.2 - plan.looks[1].t) * error, (3.2 + plan.looks[1].t) * error]
    assert [decision.low, decision.high] == pytest.approx(ends)
    assert decision.low is not None
    assert decision.low > 0
    assert "7 seeds: mean difference +0.085, corrected t 3.20, boundary ± 3.00: crossed" in (
        decision.reason
    )
    assert decide(draw(-3.2, 7), 2, plan).kind == "efficacy"


def test_not_crossed_goes_on_and_ends() -> None:
    plan = make_plan()
    decision = decide(draw(2.2, 7), 2, plan)
    assert (decision.stop, decision.kind) == (False, "continue")
    last = decide(draw(1.0, 10), 3, plan)
    assert (last.stop, last.kind, last.predictive_power) == (True, "final", None)
    assert decide(draw(2.6, 10), 3, plan).kind == "efficacy"


def test_futility_stops_only_below_its_level() -> None:
    differences = draw(0.2, 7)
    decision = decide(differences, 2, make_plan())
    assert (decision.stop, decision.kind) == (True, "futility")
    assert decision.predictive_power is not None
    assert 0 < decision.predictive_power < 0.1
    assert decide(differences, 2, make_plan(futile=0)).kind == "continue"


def test_predictive_power_is_that_of_simulated_ends() -> None:
    """Draw the true difference from what a look tells, then the rest of the path."""
    plan = make_plan(sizes=Sizes(n_test=0, n_train=1), looks=(200,), n_seeds=400)  # t is next to z
    rng, statistic, fraction = np.random.default_rng(0), 1.5, 0.5
    drift = rng.normal(statistic / math.sqrt(fraction), 1 / math.sqrt(fraction), 400_000)
    end = statistic * math.sqrt(fraction) + drift * 0.5 + rng.normal(0, math.sqrt(0.5), len(drift))
    last = find_z(plan.fractions, 0.05, plan.spending)[-1]
    rejects = (np.abs(end) >= last).mean()
    assert predictive_power(statistic, 1, plan) == pytest.approx(rejects, abs=0.01)


@pytest.mark.parametrize(("look", "stop"), [(1, False), (3, True)])
def test_no_spread_cannot_be_tested(look: int, stop: bool) -> None:
    plan = make_plan()
    decision = decide(np.full(plan.looks[look - 1].n_seeds, 0.02), look, plan)
    assert (decision.stop, decision.kind) == (stop, "untestable")
    assert decision.low is decision.high is decision.predictive_power is None
    assert "Without a spread" in decision.reason


def test_bad_calls_of_decide() -> None:
    plan = make_plan()
    with pytest.raises(ValueError, match="Expected a look from 1 to 3, but got 4"):
        decide(np.zeros(10), 4, plan)
    with pytest.raises(ValueError, match="Expected 4 differences at look 1, but got 3"):
        decide(np.zeros(3), 1, plan)
    with pytest.raises(ValueError, match="finite"):
        decide(np.array([0.1, 0.2, np.nan, 0.3]), 1, plan)
