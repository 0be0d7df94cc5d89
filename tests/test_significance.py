"""Tests, equivalence and power, each against a second implementation or brute force."""

import math
import statistics
from itertools import product

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from osteo_ray.statistics.power import detection_power, seeds_needed, smallest_detectable
from osteo_ray.statistics.significance import (
    MOST_ENUMERATED,
    adjust_holm,
    corrected_t_test,
    equivalence_p,
    non_inferiority_p,
    sign_flip_p,
    wilcoxon_p,
)
from osteo_ray.statistics.sizes import Sizes


def _draw(seed: int, n: int = 10) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.02, 0.04, n)


@pytest.mark.parametrize("seed", range(3))
def test_without_test_images_it_is_the_paired_t_test(seed: int) -> None:
    differences = _draw(seed)
    test = corrected_t_test(differences, sizes=Sizes(n_test=0, n_train=520), confidence=0.9)
    reference = stats.ttest_1samp(differences, 0)
    interval = reference.confidence_interval(0.9)
    assert test.p == pytest.approx(reference.pvalue, abs=1e-12)
    assert (test.low, test.high) == pytest.approx(tuple(interval), abs=1e-12)


@pytest.mark.parametrize("folds", [2, 5, 10])
def test_cross_validation_is_the_correlated_t_test(folds: int) -> None:
    """Of k folds, rho = 1/k are tested, and rho / (1 - rho) = 1/(k - 1) is the correction."""
    differences = _draw(folds, folds).tolist()
    rho = 1 / folds
    variance = statistics.variance(differences) * (1 / folds + rho / (1 - rho))
    reference = stats.t(folds - 1, statistics.mean(differences), math.sqrt(variance))
    test = corrected_t_test(np.array(differences), sizes=Sizes(n_test=1, n_train=folds - 1))
    assert (test.low, test.high) == pytest.approx(reference.interval(0.95), abs=1e-12)
    assert test.p == pytest.approx(2 * min(reference.cdf(0), reference.sf(0)), abs=1e-12)


def test_corrected_t_by_hand() -> None:
    test = corrected_t_test(np.array([0.0, 0.02, 0.04]), sizes=Sizes(n_test=74, n_train=520))
    error = 0.02 * math.sqrt(1 / 3 + 74 / 520)
    t = 0.02 / error
    assert (test.mean, test.sd) == pytest.approx((0.02, 0.02))
    assert test.standard_error == pytest.approx(error)
    # two degrees of freedom: the distribution function is 1/2 + t / (2 sqrt(2 + t^2))
    assert test.p == pytest.approx(1 - t / math.sqrt(2 + t * t))
    quantile = 0.95 * math.sqrt(2 / (1 - 0.95**2))
    assert test.high == pytest.approx(0.02 + quantile * error)
    assert test.low == pytest.approx(0.02 - quantile * error)


def test_two_seeds_and_signs() -> None:
    gain = corrected_t_test(np.array([0.01, 0.03]), sizes=Sizes(n_test=1, n_train=7))
    loss = corrected_t_test(np.array([-0.01, -0.03]), sizes=Sizes(n_test=1, n_train=7))
    assert (gain.p, gain.low) == pytest.approx((loss.p, -loss.high))


def test_no_spread_is_never_a_tiny_p() -> None:
    same = corrected_t_test(np.zeros(10), sizes=Sizes(n_test=74, n_train=520))
    assert (same.mean, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    noise = np.array([0.77 - 0.75, 0.32 - 0.30, 0.12 - 0.10])  # 0.02, but for the last bits
    assert np.ptp(noise) > 0
    constant = corrected_t_test(noise, sizes=Sizes(n_test=74, n_train=520))
    assert constant.mean == pytest.approx(0.02)
    assert constant.sd == constant.standard_error == 0.0
    assert all(math.isnan(value) for value in (constant.p, constant.low, constant.high))
    assert math.isnan(equivalence_p(noise, 0.03, sizes=Sizes(n_test=74, n_train=520)))
    assert math.isnan(equivalence_p(np.zeros(4), 0.03, sizes=Sizes(n_test=74, n_train=520)))


@pytest.mark.parametrize(
    ("differences", "sizes", "message"),
    [
        ([0.1], (1, 7), "at least 2 differences.*but got 1"),
        ([], (1, 7), "at least 2 differences.*but got 0"),
        ([[0.1, 0.2]], (1, 7), "one dimension"),
        ([0.1, math.nan], (1, 7), "finite"),
        ([0.1, math.inf], (1, 7), "finite"),
        ([0.1, 0.2], (1, 0), "above 0"),
        ([0.1, 0.2], (-1, 7), "at least 0"),
        ([0.1, 0.2], (math.nan, 7), "at least 0"),
    ],
)
def test_corrected_t_refuses(differences, sizes, message) -> None:
    with pytest.raises(ValueError, match=message):
        corrected_t_test(np.array(differences), Sizes(n_test=sizes[0], n_train=sizes[1]))


def _enumerate_signs(differences: np.ndarray) -> float:
    """Count the sign patterns whose rank sum is as far from its mean as the one found."""
    ranks = stats.rankdata(np.abs(differences))[differences != 0]
    signs = np.sign(differences[differences != 0])
    patterns = np.array(list(product([-1, 1], repeat=len(ranks))))
    return float(np.mean(np.abs(patterns @ ranks) >= abs(signs @ ranks) - 1e-9))


@pytest.mark.parametrize("n", [1, 2, 5, 6, 9, 12])
@pytest.mark.parametrize("seed", range(3))
def test_wilcoxon_counts_all_sign_patterns(n: int, seed: int) -> None:
    differences = _draw(seed, n)
    assert wilcoxon_p(differences) == pytest.approx(_enumerate_signs(differences), abs=1e-12)
    exact = stats.wilcoxon(differences, method="exact").pvalue
    assert wilcoxon_p(differences) == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_wilcoxon_with_ties_and_zeros(seed: int) -> None:
    differences = np.random.default_rng(seed).integers(-2, 4, 11) / 74
    assert wilcoxon_p(differences) == pytest.approx(_enumerate_signs(differences), abs=1e-12)


def test_wilcoxon_ignores_rounding_noise() -> None:
    counts = np.array([60, 61, 58, 62, 66, 59])
    noisy = counts / 74 - (counts - np.array([1, 1, 1, 2, -1, 1])) / 74
    assert wilcoxon_p(noisy) == wilcoxon_p(np.array([1, 1, 1, 2, -1, 1.0]))


@pytest.mark.parametrize(("n", "smallest"), [(5, 1 / 16), (6, 1 / 32), (10, 1 / 512)])
def test_wilcoxon_smallest_p(n: int, smallest: float) -> None:
    assert wilcoxon_p(np.arange(1, n + 1) / 100) == pytest.approx(smallest, abs=1e-15)
    assert wilcoxon_p(np.full(n, 0.02)) == pytest.approx(smallest, abs=1e-15)


def test_wilcoxon_of_zeros_is_one() -> None:
    assert wilcoxon_p(np.zeros(7)) == 1.0


def test_wilcoxon_of_many_seeds() -> None:
    differences = _draw(1, 200) - 0.015
    assert wilcoxon_p(differences) == pytest.approx(stats.wilcoxon(differences).pvalue, rel=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_equivalence_is_tost(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(0.80, 0.02, 10), rng.normal(0.79, 0.02, 10)
    reference = ttost_paired(first, second, -0.03, 0.03)[0]
    p = equivalence_p(first - second, 0.03, sizes=Sizes(n_test=0, n_train=520))
    assert p == pytest.approx(reference, abs=1e-12)
    assert equivalence_p(first - second, 0.03, sizes=Sizes(n_test=74, n_train=520)) > p


@pytest.mark.parametrize("margin", [0.0, -0.1, math.nan])
def test_equivalence_refuses_margin(margin: float) -> None:
    with pytest.raises(ValueError, match="positive `margin`"):
        equivalence_p(_draw(0), margin, sizes=Sizes(n_test=74, n_train=520))


@pytest.mark.parametrize("seed", range(4))
def test_non_inferiority_without_test_images_is_a_one_sided_t_test(seed: int) -> None:
    differences = _draw(seed) - 0.02
    reference = stats.ttest_1samp(differences, -0.03, alternative="greater").pvalue
    assert non_inferiority_p(differences, 0.03, Sizes(n_test=0, n_train=520)) == pytest.approx(
        reference, abs=1e-12
    )
    both = (
        non_inferiority_p(differences, 0.03, Sizes(n_test=74, n_train=520)),
        non_inferiority_p(-differences, 0.03, Sizes(n_test=74, n_train=520)),
    )
    assert equivalence_p(differences, 0.03, Sizes(n_test=74, n_train=520)) == max(both)


def test_non_inferiority_without_spread_and_margin() -> None:
    assert math.isnan(non_inferiority_p(np.full(5, 0.1), 0.03, Sizes(n_test=74, n_train=520)))
    with pytest.raises(ValueError, match="positive `margin`"):
        non_inferiority_p(_draw(0), 0.0, Sizes(n_test=74, n_train=520))


@pytest.mark.parametrize("n", [2, 5, 9, 12])
@pytest.mark.parametrize("seed", range(3))
def test_sign_flips_count_all_patterns(n: int, seed: int) -> None:
    differences = _draw(seed, n)
    patterns = np.array(list(product([-1, 1], repeat=n)))
    expected = np.mean(np.abs(patterns @ differences) >= abs(differences.sum()) - 1e-12)
    assert sign_flip_p(differences) == pytest.approx(expected, abs=1e-12)
    exact = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=10_000
    )
    assert sign_flip_p(differences) == pytest.approx(exact.pvalue, abs=1e-12)


def test_sign_flips_tie_but_for_rounding() -> None:
    noise = np.array([0.77 - 0.75, 0.32 - 0.30, 0.12 - 0.10, -0.02])
    assert sign_flip_p(noise) == sign_flip_p(np.array([2.0, 2.0, 2.0, -2.0])) == 0.625
    assert sign_flip_p(np.zeros(6)) == sign_flip_p(np.zeros(30)) == 1.0


def test_sign_flips_of_many_seeds_are_drawn_alike() -> None:
    differences = _draw(5, MOST_ENUMERATED + 4) - 0.005
    drawn = sign_flip_p(differences)
    assert drawn == sign_flip_p(differences)
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    assert drawn == pytest.approx(np.mean(np.abs(sums) >= abs(differences.sum())), abs=0.015)
    assert sign_flip_p(np.full(40, 0.02)) == pytest.approx(1 / 10_000)  # never 0


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_that_of_statsmodels(seed: int) -> None:
    values = np.round(np.random.default_rng(seed).beta(0.3, 1, 12), 2)  # with ties
    assert adjust_holm(values.tolist()) == pytest.approx(multipletests(values, method="holm")[1])


def test_holm_by_hand() -> None:
    adjusted = adjust_holm([0.04, None, 0.01, 0.03, 0.9])
    assert adjusted[1] is None
    # sorted .01·4, .03·3, .04·2 raised to the one before, .9
    assert [adjusted[i] for i in (2, 3, 0, 4)] == pytest.approx([0.04, 0.09, 0.09, 0.9])
    assert adjust_holm([]) == []
    assert adjust_holm([None, None]) == [None, None]
    assert adjust_holm([1.0, 0.7]) == [1.0, 1.0]


@pytest.mark.parametrize("n_seeds", [2, 3, 5, 10, 30])
@pytest.mark.parametrize("alpha", [0.05, 0.005])
def test_smallest_detectable_is_the_power_of_t(n_seeds: int, alpha: float) -> None:
    effect = smallest_detectable(2.0, n_seeds, sizes=Sizes(n_test=0, n_train=520), alpha=alpha)
    power = TTestPower().power(effect / 2.0, n_seeds, alpha / 2, alternative="larger")
    assert power == pytest.approx(0.8, abs=1e-5)


@pytest.mark.parametrize(("effect", "seeds"), [(0.3, 90), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_seeds_needed_is_the_power_of_t(effect: float, seeds: int) -> None:
    assert seeds_needed(effect, 1.0, sizes=Sizes(n_test=0, n_train=520), alpha=0.05) == seeds
    assert seeds_needed(-effect, 1.0, sizes=Sizes(n_test=0, n_train=520), alpha=0.05) == seeds
    solved = TTestPower().solve_power(effect, power=0.8, alpha=0.05)
    assert seeds == math.ceil(solved)


@pytest.mark.parametrize("n_seeds", [2, 5, 30])
def test_power_is_that_of_t(n_seeds: int) -> None:
    power = TTestPower().power(0.6, n_seeds, 0.025, alternative="larger")
    assert detection_power(-1.2, 2.0, n_seeds, Sizes(n_test=0, n_train=520), 0.05) == pytest.approx(
        power, abs=1e-6
    )
    sizes = Sizes(n_test=74, n_train=520)
    effect = smallest_detectable(2.0, n_seeds, sizes, 0.05)
    assert detection_power(effect, 2.0, n_seeds, sizes, 0.05) == pytest.approx(0.8)


@pytest.mark.parametrize(("n_seeds", "alpha"), [(2, 1e-8), (3, 1e-14), (5, 1e-24)])
def test_error_rates_so_small_that_nothing_can_be_found(n_seeds: int, alpha: float) -> None:
    sizes = Sizes(n_test=74, n_train=520)
    assert smallest_detectable(2.0, n_seeds, sizes, alpha) == math.inf
    assert detection_power(1e6, 2.0, n_seeds, sizes, alpha) == 0
    assert seeds_needed(2.0, 2.0, sizes, alpha=1e-8, most=n_seeds) is None


def test_detectable_and_needed_agree() -> None:
    sizes = Sizes(n_test=74, n_train=520)
    effect = smallest_detectable(0.04, 12, sizes, alpha=0.01)
    assert seeds_needed(effect * 1.0001, 0.04, sizes, alpha=0.01) == 12
    assert seeds_needed(effect * 0.9999, 0.04, sizes, alpha=0.01) == 13


def test_power_by_simulation() -> None:
    """Correlated splits, as the correction assumes: rho = n_test / (n_test + n_train)."""
    n_seeds, sizes = 10, Sizes(n_test=74, n_train=520)
    effect = smallest_detectable(1.0, n_seeds, sizes, alpha=0.05)
    rng = np.random.default_rng(0)
    shared = math.sqrt(74 / 520) * rng.normal(size=(2000, 1))
    differences = effect + shared + rng.normal(size=(2000, n_seeds))
    found = [corrected_t_test(row, sizes, confidence=0.95).p < 0.05 for row in differences]
    assert np.mean(found) == pytest.approx(0.8, abs=0.03)


def test_below_the_ceiling_no_number_of_seeds_is_enough() -> None:
    plan = {"sizes": Sizes(n_test=74, n_train=520), "alpha": 0.05}
    floor = (stats.norm.isf(0.025) + stats.norm.isf(0.2)) * math.sqrt(74 / 520)
    assert seeds_needed(floor * 0.99, 1.0, **plan, most=100_000) is None
    assert seeds_needed(floor * 1.05, 1.0, **plan) is not None
    assert seeds_needed(0.0, 1.0, **plan) is None
    assert seeds_needed(1e6, 1.0, **plan) == 2


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.001, 1e-4])
@pytest.mark.parametrize("n_seeds", [2, 3, 4, 6, 11, 51, 1000])
def test_smallest_detectable_is_always_found(alpha: float, n_seeds: int) -> None:
    effect = smallest_detectable(0.03, n_seeds, sizes=Sizes(n_test=16, n_train=112), alpha=alpha)
    assert math.isfinite(effect)
    assert effect > 0


def test_power_refuses() -> None:
    with pytest.raises(ValueError, match="positive `sd`"):
        smallest_detectable(0.0, 5, sizes=Sizes(n_test=1, n_train=7), alpha=0.05)
    with pytest.raises(ValueError, match="at least 2 seeds, but got 1"):
        smallest_detectable(1.0, 1, sizes=Sizes(n_test=1, n_train=7), alpha=0.05)
    with pytest.raises(ValueError, match="alpha < power"):
        seeds_needed(1.0, 1.0, sizes=Sizes(n_test=1, n_train=7), alpha=0.05, power=1.0)
