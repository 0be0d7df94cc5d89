"""Resampled metrics against plain ones on rows that are repeated, and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    matthews_corrcoef,
    roc_auc_score,
)

from osteo_ray.statistics.metrics.registry import METRICS
from osteo_ray.statistics.predictions import Group
from osteo_ray.statistics.resampling import measure_resampled
from osteo_ray.statistics.results_table import compute_metrics

CLASSES = {2: ["normal", "worn"], 3: ["a", "b", "c"]}


def _draw(n_classes: int, n_groups: int = 3, n_images: int = 90, n_draws: int = 7):
    rng = np.random.default_rng(n_classes)
    labels = rng.integers(n_classes, size=n_images)
    probabilities = rng.dirichlet(np.ones(n_classes), (n_groups, n_images))
    probabilities[0] = np.round(probabilities[0], 1)  # ties
    weights = rng.poisson(1, (n_images, n_draws)).astype(np.uint8)
    weights[:, 0] = 1
    return [Group(np.arange(n_images), labels, scores) for scores in probabilities], weights


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_weight_repeats_a_row(metric: str, n_classes: int) -> None:
    groups, weights = _draw(n_classes)
    classes = CLASSES[n_classes]
    ranks, order = range(n_classes), classes  # which only metrics of grades look at
    values = measure_resampled(metric, groups, weights, positive=1, ranks=ranks)
    assert values.shape == (7, 3)
    for draw, times in enumerate(weights.T):
        for run, group in enumerate(groups):
            labels, scores = np.array(classes)[group.labels], group.probabilities
            repeated = np.repeat(labels, times), np.repeat(scores, times, axis=0)
            plain = compute_metrics(*repeated, classes, classes[1], order)[metric]
            assert values[draw, run] == pytest.approx(plain, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_against_scikit_learn(n_classes: int) -> None:
    groups, weights = _draw(n_classes)
    labels = groups[0].labels
    for draw, row in enumerate(weights.T):
        for run, group in enumerate(groups):
            scores, predicted = group.probabilities, group.predicted
            expected = {
                "balanced_accuracy": balanced_accuracy_score(labels, predicted, sample_weight=row),
                "mcc": matthews_corrcoef(labels, predicted, sample_weight=row),
                "pr_auc": np.mean(
                    [
                        average_precision_score(labels == k, scores[:, k], sample_weight=row)
                        for k in ([1] if n_classes == 2 else range(3))
                    ]
                ),
            }
            for metric, value in expected.items():
                found = measure_resampled(metric, groups, weights, positive=1)
                assert found[draw, run] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("accuracy", 0.5), ("recall", np.nan), ("specificity", 0.5), ("precision", 0.0),
     ("f1", 0.0), ("auc", np.nan), ("pr_auc", np.nan), ("mcc", np.nan),
     ("balanced_accuracy", np.nan), ("brier", (0.2**2 + 0.9**2) / 2),
     ("calibration_error", (0.2 + 0.9) / 2)],
)  # fmt: skip
def test_a_draw_without_positives(metric: str, expected: float) -> None:
    labels = np.array([0, 0, 1])
    positive = np.array([0.2, 0.9, 0.8])
    group = Group(np.arange(3), labels, np.stack([1 - positive, positive], axis=1))
    weights = np.array([[1], [1], [0]], np.uint8)
    values = measure_resampled(metric, [group], weights, positive=1)
    assert values[0, 0] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("metric", ["accuracy", "auc", "pr_auc"])
def test_large_weights_do_not_overflow(metric: str) -> None:
    """Twice the weighted pairs are more than 2^32: what 32 bits hold is too little."""
    rng = np.random.default_rng(0)
    labels, positive = np.arange(1000) % 2, rng.uniform(size=1000)
    group = Group(np.arange(1000), labels, np.stack([1 - positive, positive], axis=1))
    weights = np.repeat(np.array([[1, 255]], np.uint8), 1000, axis=0)
    values = measure_resampled(metric, [group], weights, positive=1)
    assert values[1, 0] == pytest.approx(values[0, 0], abs=1e-12)


def test_areas_of_many_images_are_those_of_repeated_rows() -> None:
    """The images fill several of the bands in which pairs are counted."""
    rng = np.random.default_rng(2)
    labels = rng.integers(2, size=7000)
    positive = np.round(rng.beta(2 + labels, 3 - labels), 4)  # some ties
    group = Group(np.arange(7000), labels, np.stack([1 - positive, positive], axis=1))
    weights = rng.poisson(1, (7000, 2)).astype(np.uint8)
    for draw, times in enumerate(weights.T):
        repeated = np.repeat(labels, times), np.repeat(positive, times)
        expected = {"auc": roc_auc_score, "pr_auc": average_precision_score}
        for metric, measure in expected.items():
            found = measure_resampled(metric, [group], weights, positive=1)[draw, 0]
            assert found == pytest.approx(measure(*repeated), abs=1e-12)
