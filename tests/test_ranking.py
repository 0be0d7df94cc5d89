"""Areas and DeLong's components from one sort, against scikit-learn and SciPy, ties and all."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from osteo_ray.statistics.metrics.auc import measure_area
from osteo_ray.statistics.metrics.pr_auc import measure_average_precision
from osteo_ray.statistics.paired import place_scores
from osteo_ray.statistics.ranking import Ranking


def _draw(n_values: int, n_images: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n_values)
    return rng.integers(0, n_values, n_images) / n_values, rng.uniform(size=n_images) < 0.3


TIES = pytest.mark.parametrize("n_values", [1, 2, 7, 100, 10**9])


@TIES
def test_areas_are_those_of_scikit_learn(n_values: int) -> None:
    scores, is_class = _draw(n_values)
    ranking = Ranking.of(scores, is_class)
    assert measure_area(ranking) == pytest.approx(roc_auc_score(is_class, scores), abs=1e-13)
    expected = average_precision_score(is_class, scores)
    assert measure_average_precision(ranking) == pytest.approx(expected, abs=1e-13)


@TIES
def test_counts_are_those_of_the_roc_curve(n_values: int) -> None:
    scores, is_class = _draw(n_values)
    ranking = Ranking.of(scores, is_class)
    false_positive, true_positive, cuts = roc_curve(is_class, scores, drop_intermediate=False)
    np.testing.assert_array_equal(ranking.cuts, cuts[1:])
    np.testing.assert_array_equal(ranking.found / ranking.n_class, true_positive[1:])
    np.testing.assert_array_equal(ranking.rest / ranking.n_rest, false_positive[1:])
    np.testing.assert_array_equal(ranking.cuts[ranking.place()], scores)


@TIES
def test_components_are_differences_of_midranks(n_values: int) -> None:
    """As Sun and Xu (2014) have them."""
    scores, positive = _draw(n_values)
    ranks = stats.rankdata(scores)
    below = ranks[positive] - stats.rankdata(scores[positive])
    above = positive.sum() - (ranks[~positive] - stats.rankdata(scores[~positive]))
    found = place_scores(scores, positive)
    np.testing.assert_array_equal(found.of_positive, below / (~positive).sum())
    np.testing.assert_array_equal(found.of_negative, above / positive.sum())


@pytest.mark.parametrize("kind", [True, False])
def test_areas_of_one_class_are_undefined(kind: bool) -> None:
    ranking = Ranking.of(np.array([0.2, 0.7]), np.array([kind, kind]))
    assert math.isnan(measure_area(ranking))
    assert math.isnan(measure_average_precision(ranking))
