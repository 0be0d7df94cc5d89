"""Variances, intervals and ratios of the bootstrap, against sums written out and special cases."""

import math
from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from osteo_ray.statistics.bootstrap import (
    draw_weights,
    estimate_interval,
    estimate_ratio,
    estimate_spread,
)
from osteo_ray.statistics.significance import corrected_t_test
from osteo_ray.statistics.sizes import Sizes


def _draws(n_draws: int = 400, k: int = 2, n_seeds: int = 5, seed: int = 0) -> np.ndarray:
    """Draws whose seeds have a part in common."""
    rng = np.random.default_rng(seed)
    return 0.1 * rng.normal(size=(n_draws, k, 1)) + 0.2 * rng.normal(size=(n_draws, k, n_seeds))


def test_weights_are_a_bootstrap_sample() -> None:
    weights = draw_weights(50, 3000, seed=1)
    assert weights.shape == (3000, 50)
    assert (weights.sum(1) == 50).all()
    assert weights.mean(0) == pytest.approx(np.ones(50), abs=0.1)
    assert weights.var() == pytest.approx(1 - 1 / 50, abs=0.02)  # multinomial
    assert not np.array_equal(weights, draw_weights(50, 3000, seed=2))
    np.testing.assert_array_equal(weights, draw_weights(50, 3000, seed=1))


def test_spread_is_the_mean_covariance_of_two_seeds() -> None:
    values, draws = np.random.default_rng(0).normal(size=(2, 5)), _draws()
    spread = estimate_spread(values, draws, n_groups=30)
    assert spread.seeds == pytest.approx(np.cov(values) / 5)
    expected = np.zeros((2, 2))
    for k in range(2):
        for m in range(2):
            pairs = permutations(range(5), 2)
            expected[k, m] = np.mean(
                [np.cov(draws[:, k, i], draws[:, m, j])[0, 1] for i, j in pairs]
            )
    expected = (expected + expected.T) / 2
    assert np.linalg.eigvalsh(expected).min() > 0  # so nothing was dropped
    assert spread.images == pytest.approx(expected, abs=1e-12)
    assert spread.images[0, 0] == pytest.approx(0.01, rel=0.25)


def test_negative_covariance_is_noise() -> None:
    draws = np.random.default_rng(0).normal(size=(50, 3))
    draws[:, 2] = -draws[:, 0] - draws[:, 1]
    interval = estimate_interval(np.array([0.1, 0.2, 0.4]), draws, n_groups=9)
    assert interval is not None
    assert interval.from_images == 0.0
    plain = stats.ttest_1samp([0.1, 0.2, 0.4], 0).confidence_interval()
    assert (interval.low, interval.high) == pytest.approx(tuple(plain))


def test_one_split_for_all_seeds_adds_the_whole_image_variance() -> None:
    """Seeds that differ by constants have the same draws but for those: all is in common."""
    common = 0.05 * np.random.default_rng(0).normal(size=500)
    differences = np.array([0.1, 0.12, 0.17])
    interval = estimate_interval(differences, differences + common[:, None], n_groups=40)
    assert interval is not None
    assert interval.from_images == pytest.approx(common.var(ddof=1))
    assert interval.from_seeds == pytest.approx(differences.var(ddof=1) / 3)
    a, b = interval.from_seeds, interval.from_images
    freedom = (a + b) ** 2 / (a**2 / 2 + b**2 / 39)
    assert interval.freedom == pytest.approx(freedom)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(a + b)
    assert (interval.low, interval.high) == pytest.approx((0.13 - half, 0.13 + half))


def test_level() -> None:
    differences, draws = np.array([0.1, 0.3, 0.2]), _draws(k=1, n_seeds=3)[:, 0]
    wide = estimate_interval(differences, draws, 9, confidence=0.99)
    narrow = estimate_interval(differences, draws, 9, confidence=0.5)
    assert wide is not None
    assert narrow is not None
    assert wide.low < narrow.low < narrow.high < wide.high


def test_nothing_varies() -> None:
    same = estimate_interval(np.zeros(4), np.zeros((20, 4)), n_groups=5)
    assert same is not None
    assert (same.mean, same.low, same.high) == (0.0, 0.0, 0.0)
    assert estimate_interval(np.full(4, 0.1), np.full((20, 4), 0.1), n_groups=5) is None


def test_equal_differences_on_images_that_vary_have_an_interval() -> None:
    common = 0.05 * np.random.default_rng(0).normal(size=(500, 1))
    interval = estimate_interval(np.full(4, 0.1), 0.1 + common + np.zeros((1, 4)), n_groups=40)
    assert interval is not None
    half = stats.t.ppf(0.975, 39) * common.std(ddof=1)
    assert interval.high - interval.mean == pytest.approx(half)


def test_undefined_draws_are_left_out_of_the_covariances_with_their_seed() -> None:
    values, draws = np.random.default_rng(0).normal(size=(2, 5)), _draws(k=2)
    draws[:40, 0, 2] = draws[20:90, 1, 4] = draws[60:, 1, 0] = np.nan
    centred = draws - np.nanmean(draws, axis=0)
    expected = np.zeros((2, 2))
    for one, other in np.ndindex(2, 2):
        covariances = []
        for first, second in permutations(range(5), 2):
            products = centred[:, one, first] * centred[:, other, second]
            known = products[~np.isnan(products)]
            covariances.append(known.sum() / (len(known) - 1))
        expected[one, other] = np.mean(covariances)
    assert estimate_spread(values, draws, 9).images == pytest.approx(expected)


def test_seeds_whose_draws_are_never_known_together_tell_nothing_of_each_other() -> None:
    draws = _draws(k=1)
    draws[:200, 0, :2] = draws[200:, 0, 2:] = np.nan
    blocks = [np.cov(draws[200:, 0, :2].T), np.cov(draws[:200, 0, 2:].T)]
    covariances = [block[pair] for block in blocks for pair in permutations(range(len(block)), 2)]
    found = estimate_spread(np.ones((1, 5)), draws, 9)
    assert found.images[0, 0] == pytest.approx(np.mean(covariances))


@pytest.mark.parametrize("shape", [(20, 1, 4), (20, 2, 5), (1, 1, 5), (20, 5)])
def test_refuses_draws_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="two or more draws"):
        estimate_spread(np.zeros((1, 5)), np.zeros(shape), 9)


def test_ratio_inverts_a_test() -> None:
    """Fieller: ratio r is inside where parts - r · wholes is not significantly different from 0."""
    rng = np.random.default_rng(3)
    wholes = 0.3 + 0.05 * rng.normal(size=6)
    parts = 0.5 * wholes + 0.05 * rng.normal(size=6)
    draws = 0.05 * rng.normal(size=(300, 2, 1)) + np.stack([parts, wholes])
    found = estimate_ratio(parts, wholes, draws, n_groups=50)
    assert found is not None
    ratio, low, high = found
    assert ratio == pytest.approx(parts.mean() / wholes.mean())
    assert low < ratio < high
    spread = estimate_spread(np.stack([parts, wholes]), draws, 50)
    freedom = min(spread.count_freedom(np.array(d)) for d in ([0.0, 1.0], [1.0, -ratio]))
    for end in (low, high):
        direction = np.array([1.0, -end])
        error = math.sqrt(direction @ spread.total @ direction)
        t = abs((parts - end * wholes).mean()) / error
        assert t == pytest.approx(stats.t.ppf(0.975, freedom))


def test_ratio_is_as_uncertain_as_the_more_cautious_test_has_it() -> None:
    """By hand: where the corrected t counts and is wider, the ends of the ratio invert that."""
    rng = np.random.default_rng(3)
    wholes = 0.3 + 0.02 * rng.normal(size=6)
    parts = 0.5 * wholes + 0.02 * rng.normal(size=6)
    draws = np.tile(np.stack([parts, wholes]), (20, 1, 1))  # the images tell of no luck of theirs
    sizes = Sizes(n_test=30, n_train=70)
    alone = estimate_ratio(parts, wholes, draws, n_groups=50)
    found = estimate_ratio(parts, wholes, draws, n_groups=50, sizes=sizes)
    assert alone is not None
    assert found is not None
    for end in found[1:]:
        test = corrected_t_test(parts - end * wholes, sizes)
        assert abs(test.mean) / test.standard_error == pytest.approx(stats.t.ppf(0.975, 5))
    assert found[1] < alone[1] < alone[2] < found[2]
    # where the images tell of more, the two-way error is the wider one
    noisy = draws + 0.1 * rng.normal(size=(20, 2, 1))
    two_way = estimate_ratio(parts, wholes, noisy, n_groups=50)
    assert estimate_ratio(parts, wholes, noisy, n_groups=50, sizes=sizes) == two_way
    # and there is none where either test leaves the whole unsure
    few = Sizes(n_test=30, n_train=0.01)
    assert estimate_ratio(parts, wholes, draws, n_groups=50, sizes=few) is None


def test_ratio_of_an_unsure_whole_is_not_given() -> None:
    parts, wholes = np.array([0.1, 0.2, 0.1]), np.array([-0.3, 0.4, 0.1])
    draws = np.tile(np.stack([parts, wholes]), (20, 1, 1))
    assert estimate_ratio(parts, wholes, draws, n_groups=5) is None
    zeros = np.zeros(3)
    assert estimate_ratio(parts, zeros, draws * 0, n_groups=5) is None


def test_a_control_that_is_the_arm_explains_all() -> None:
    wholes = np.array([0.28, 0.3, 0.33, 0.31])
    draws = np.tile(np.stack([wholes, wholes]), (20, 1, 1))
    found = estimate_ratio(wholes, wholes, draws, n_groups=5)
    assert found == pytest.approx((1.0, 1.0, 1.0), abs=1e-6)
