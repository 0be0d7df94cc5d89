"""Standard errors of a mean over seeds, and which of them decides."""

import math

import numpy as np
import pytest
from scipy import stats

from osteo_ray.experiment.evidence import Measured
from osteo_ray.statistics.inference import (
    Estimate,
    StandardError,
    TestDesign,
    estimate_mean,
    subtract_estimates,
)

OVERLAPPING = TestDesign(n_test=20, n_train=60, fixed=False)
FIXED = TestDesign(n_test=20, n_train=60, fixed=True)
UNKNOWN = TestDesign(n_test=20, n_train=None, fixed=False)
VALUES = np.array([0.02, 0.04, 0.06, 0.03])


def draw(shared: float, n_draws: int = 4000) -> np.ndarray:
    """Draws in which all seeds move together by `shared`, and apart by nothing."""
    luck = np.random.default_rng(0).normal(size=(n_draws, 1))
    return VALUES + shared * luck / luck.std(ddof=1)


def test_corrected_t_by_hand() -> None:
    found = estimate_mean(VALUES, None, 0, OVERLAPPING)
    assert found is not None
    (error,) = found.errors
    assert error.method == "corrected t"
    assert error.value == pytest.approx(VALUES.std(ddof=1) * math.sqrt(1 / 4 + 1 / 3))
    t = VALUES.mean() / error.value
    assert found.p_above() == pytest.approx(stats.t.sf(t, 3))
    assert found.p_below() == pytest.approx(stats.t.cdf(t, 3))
    assert found.p_other_than() == pytest.approx(2 * stats.t.sf(t, 3))
    half = stats.t.ppf(0.975, 3) * error.value
    assert found.interval(0.05) == pytest.approx((VALUES.mean() - half, VALUES.mean() + half))


def test_two_way_by_hand() -> None:
    found = estimate_mean(VALUES, draw(0.05), 20, FIXED)
    assert found is not None
    (error,) = found.errors
    assert error.method == "two-way"
    # images move all seeds alike, so their variance does not shrink with seeds
    assert error.value**2 == pytest.approx(VALUES.var(ddof=1) / 4 + 0.05**2, rel=1e-3)
    assert found.decisive is error


def test_more_cautious_error_decides() -> None:
    for shared, method in ((0.001, "corrected t"), (0.2, "two-way")):
        found = estimate_mean(VALUES, draw(shared), 20, OVERLAPPING)
        assert found is not None
        assert {one.method for one in found.errors} == {"corrected t", "two-way"}
        assert found.decisive.method == method
        alone = [Estimate(found.mean, found.n_seeds, (one,)) for one in found.errors]
        assert found.p_other_than() == max(one.p_other_than() for one in alone)
        assert found.p_within(0.1) == max(one.p_within(0.1) for one in alone)
        assert found.interval(0.05)[0] == min(one.interval(0.05)[0] for one in alone)


@pytest.mark.parametrize("design", [FIXED, UNKNOWN])
def test_unknown_or_fixed_split_has_no_corrected_t(design: TestDesign) -> None:
    assert design.methods == ("two-way",)
    assert estimate_mean(VALUES, None, 0, design) is None
    found = estimate_mean(VALUES, draw(0.01), 20, design)
    assert found is not None
    assert [one.method for one in found.errors] == ["two-way"]


def test_constant_values_are_taken_to_differ_by_one_image() -> None:
    found = estimate_mean(np.full(4, 0.5), np.full((100, 4), 0.5), 20, OVERLAPPING)
    assert found is not None
    least = 1 / 20 / math.sqrt(4)
    values = {one.method: one.value for one in found.errors}
    assert values["corrected t"] == pytest.approx(least * math.sqrt(1 / 4 + 1 / 3))
    assert values["two-way"] == pytest.approx(1 / 20)  # seeds share images: four tell no more
    assert found.p_other_than() < 0.003
    apart = estimate_mean(np.full(4, 0.5), np.full((100, 4), 0.5), 0, OVERLAPPING)
    assert apart is not None
    assert apart.errors[1].value == pytest.approx(1 / 20 / 4)


def test_draws_without_a_class_are_left_out_not_filled_in() -> None:
    draws = draw(0.05)
    gaps = draws.copy()
    gaps[::3, 1] = np.nan
    found, whole = (estimate_mean(VALUES, one, 20, FIXED) for one in (gaps, draws))
    assert found is not None
    assert whole is not None
    assert found.decisive.value == pytest.approx(whole.decisive.value, rel=0.05)
    gaps[: 2 * len(gaps) // 3] = np.nan
    for design in (FIXED, OVERLAPPING):  # the corrected t alone may be the less cautious one
        assert estimate_mean(VALUES, gaps, 20, design) is None
    assert estimate_mean(VALUES, None, 20, OVERLAPPING) is not None


def test_one_seed_says_nothing() -> None:
    assert estimate_mean(VALUES[:1], None, 0, OVERLAPPING) is None


def test_infinite_freedom_is_the_normal_distribution() -> None:
    found = Estimate(1.96, 9, (StandardError("two-way", 1.0, math.inf),))
    assert found.p_other_than() == pytest.approx(0.05, abs=1e-4)
    assert found.interval(0.05)[0] == pytest.approx(0.0, abs=1e-4)


def test_interval_ends_where_values_end() -> None:
    wide = StandardError("corrected t", 0.3, 1)  # as with two seeds: ± 3.8
    auc = Estimate(0.1, 2, (wide,), (-1.0, 1.0))
    assert auc.interval(0.05) == (-1.0, 1.0)
    assert auc.interval(0.9) == Estimate(0.1, 2, (wide,)).interval(0.9)
    assert subtract_estimates(auc, auc).interval(0.01) == (-2.0, 2.0)
    assert subtract_estimates(auc, Estimate(0.1, 2, (wide,))).interval(0.01)[1] > 2


@pytest.mark.parametrize(
    ("weights", "bounds", "possible"),
    [
        ({"lime": 1.0}, (0.0, 1.0), (0.0, 1.0)),
        ({"lime": 1.0, "original": -1.0}, (0.0, 1.0), (-1.0, 1.0)),
        ({"mask": 1.0, "lime": -0.5, "original": -0.5}, (-1.0, 1.0), (-2.0, 2.0)),
        ({"mask": 1.0, "lime": -0.25, "original": -0.5}, (0.0, 1.0), (-0.75, 1.0)),
        ({"lime": 1.0, "original": -1.0}, (0.0, math.inf), (-math.inf, math.inf)),
    ],
)
def test_what_a_weighted_sum_can_be(
    weights: dict[str, float], bounds: tuple[float, float], possible: tuple[float, float]
) -> None:
    assert Measured({}, {}, bounds=bounds).bound(weights, 0.0) == possible
    low, high = Measured({}, {}, bounds=bounds).bound(weights, 0.5)
    assert (low, high) == (possible[0] - 0.5, possible[1] - 0.5)
    turned = Measured({}, {}, higher_is_better=False, bounds=bounds).bound(weights, 0.0)
    assert turned == (-possible[1], -possible[0])
