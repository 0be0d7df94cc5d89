"""Each class has its row, and the share of the largest stands beside accuracy."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from osteo_ray.report.per_class import describe_classes, state_majority

CLASSES = ["normal", "osteopenia", "osteoporosis"]


def tabulate(truth: np.ndarray, predicted: np.ndarray) -> list[list[tuple[int, float]]]:
    counts = np.zeros((3, 3), int)
    np.add.at(counts, (truth, predicted), 1)
    return [[(int(n), n / max(row.sum(), 1)) for n in row] for row in counts]


def test_classes_as_scikit_learn_has_them() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 3, 200), rng.integers(0, 3, 200)
    found = describe_classes(tabulate(truth, predicted), CLASSES)
    expected = precision_recall_fscore_support(truth, predicted)
    assert [row["name"] for row in found] == CLASSES
    for name, values in zip(("precision", "recall", "f1", "n"), expected, strict=True):
        assert [row[name] for row in found] == pytest.approx(values.tolist())


def test_what_cannot_be_divided_is_unknown() -> None:
    rows = describe_classes(tabulate(np.array([0, 0, 1]), np.array([0, 0, 0])), CLASSES)
    assert [row["precision"] for row in rows] == [pytest.approx(2 / 3), None, None]
    assert [row["recall"] for row in rows] == [1.0, 0.0, None]
    assert [row["f1"] for row in rows] == [pytest.approx(0.8), 0.0, None]


def test_the_largest_class() -> None:
    truth = np.repeat([0, 1, 2], [10, 2, 28])
    confusions = [{"rows": tabulate(truth, np.zeros_like(truth))}]
    assert state_majority(confusions, CLASSES) == (
        "Always saying osteoporosis would reach an accuracy of 0.700, its share of the test "
        "images, and a balanced accuracy of 0.333."
    )
    assert state_majority([], CLASSES) == ""
