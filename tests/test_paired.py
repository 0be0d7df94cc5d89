"""McNemar's and DeLong's tests against binomials, all pairs of images, and a bootstrap."""

import math

import numpy as np
import pytest
from scipy import stats

from osteo_ray.statistics.paired import compare_aucs, count_discordant, place_scores


def _kernel(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Compare each positive image with each negative one: 1, 0.5 or 0."""
    above, below = scores[positive][:, None], scores[~positive][None]
    return (above > below) + 0.5 * (above == below)


def _draw(seed: int, n: int = 60, levels: int = 15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = rng.permutation(np.arange(n) < n * 2 // 5)
    shared = rng.normal(0, 1, n) + positive
    first, second = (
        np.round(levels * (shared + rng.normal(0.4 * k * positive, 1, n)) / 6) / levels
        for k in range(2)
    )
    return first, second, positive


@pytest.mark.parametrize("seed", range(5))
def test_covariance_is_that_of_all_pairs(seed: int) -> None:
    # DeLong et al. 1988, equations 4 to 6, by the full matrix of pairs and its covariances.
    first, second, positive = _draw(seed)
    kernels = [_kernel(scores, positive) for scores in (first, second)]
    m, n = kernels[0].shape
    s10 = np.cov([kernel.mean(1) for kernel in kernels])
    s01 = np.cov([kernel.mean(0) for kernel in kernels])
    contrast = np.array([1, -1])
    variance = contrast @ (s10 / m + s01 / n) @ contrast
    placed = [place_scores(scores, positive) for scores in (first, second)]
    found = compare_aucs(*placed, confidence=0.95)
    difference = kernels[0].mean() - kernels[1].mean()
    assert [p.auc for p in placed] == pytest.approx([kernel.mean() for kernel in kernels])
    assert found.difference == pytest.approx(difference, abs=1e-12)
    assert found.variance == pytest.approx(variance, rel=1e-10)
    z = difference / math.sqrt(variance)
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(z)))
    half = 1.959963984540054 * math.sqrt(variance)
    assert (found.low, found.high) == pytest.approx((difference - half, difference + half))


def test_variance_is_that_of_a_bootstrap() -> None:
    first, second, positive = _draw(0, n=300, levels=1000)
    placed = [place_scores(scores, positive) for scores in (first, second)]
    found = compare_aucs(*placed, confidence=0.95)
    change = _kernel(first, positive) - _kernel(second, positive)
    rng = np.random.default_rng(1)
    m, n = change.shape
    rows, columns = (rng.multinomial(k, np.full(k, 1 / k), 4000) / k for k in (m, n))
    drawn = np.einsum("bi,ij,bj->b", rows, change, columns, optimize=True)
    assert math.sqrt(found.variance) == pytest.approx(drawn.std(ddof=1), rel=0.05)


def test_p_is_uniform_where_nothing_differs() -> None:
    found = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        positive = np.arange(80) < 40
        shared = rng.normal(0, 1, 80) + positive
        placed = [place_scores(shared + rng.normal(0, 1, 80), positive) for _ in range(2)]
        found.append(compare_aucs(*placed, confidence=0.95).p)
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_equal_and_constant_differences_have_no_spread() -> None:
    first, _, positive = _draw(0)
    placed = place_scores(first, positive)
    found = compare_aucs(placed, placed, confidence=0.95)
    assert (found.difference, found.variance) == (0, 0)
    assert math.isnan(found.p)
    right = place_scores(positive.astype(float), positive)
    wrong = place_scores(1 - positive.astype(float), positive)
    found = compare_aucs(right, wrong, confidence=0.95)
    assert (found.difference, found.variance) == (1, 0)
    assert math.isnan(found.p)


def test_one_image_of_a_class_has_no_variance() -> None:
    positive = np.array([True, False, False])
    placed = [place_scores(np.array(s), positive) for s in ([0.9, 0.1, 0.2], [0.1, 0.9, 0.05])]
    found = compare_aucs(*placed, confidence=0.95)
    assert found.difference == 0.5
    assert math.isnan(found.variance)
    assert math.isnan(found.p)


def test_placements_refuse_one_class_and_nan() -> None:
    with pytest.raises(ValueError, match="3 positive and 0 negative"):
        place_scores(np.ones(3), np.ones(3, bool))
    with pytest.raises(ValueError, match="finite scores"):
        place_scores(np.array([0.1, np.nan]), np.array([True, False]))


@pytest.mark.parametrize(("n01", "n10"), [(3, 11), (0, 6), (8, 8), (1, 0)])
def test_mcnemar_is_a_binomial(n01: int, n10: int) -> None:
    first = np.repeat([False, True, True, False], [n01, n10, 9, 4])
    second = np.repeat([True, False, True, False], [n01, n10, 9, 4])
    found = count_discordant(first, second)
    assert (found.n01, found.n10) == (n01, n10)
    assert found.p == pytest.approx(stats.binomtest(n01, n01 + n10).pvalue)


def test_mcnemar_edges() -> None:
    same = np.array([True, False])
    assert count_discordant(same, same).p == 1
    # a tail that is rounded to 0 is still no proof
    assert 0 < count_discordant(np.ones(5000, bool), np.zeros(5000, bool)).p < 1e-300
    with pytest.raises(ValueError, match="same images, but got 2 and 3"):
        count_discordant(same, np.ones(3, bool))
