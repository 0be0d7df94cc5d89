import numpy as np
import pytest
from sklearn import metrics

from osteo_ray.models.validation import measure_auc


@pytest.mark.parametrize("seed", range(6))
def test_auc_of_classes_with_ties_agrees_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_classes, n_images = 2 + seed % 3, 12 + 30 * seed
    labels = np.resize(np.arange(n_classes), n_images)
    scores = np.round(rng.normal(size=(n_images, n_classes)), 1)  # every value several times
    expected = np.mean([metrics.roc_auc_score(labels == k, scores[:, k]) for k in range(n_classes)])
    assert measure_auc(scores, labels) == pytest.approx(expected, abs=1e-12)


def test_auc_by_hand_and_where_there_is_none() -> None:
    # Class 1 (0.5, 0.7) against the rest (0.5, 0.1): of four pairs, three won and one drawn.
    scores = np.array([[0.5, 0.5], [0.9, 0.1], [0.5, 0.5], [0.3, 0.7]])
    assert measure_auc(scores, np.array([0, 0, 1, 1])) == 3.5 / 4
    assert measure_auc(scores, np.array([1, 1, 1, 1])) is None
    assert measure_auc(np.where(scores == 0.7, np.nan, scores), np.array([0, 0, 1, 1])) is None
