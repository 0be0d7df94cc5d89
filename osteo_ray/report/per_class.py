"""What accuracy hides: how each class does, and what always naming the largest would reach."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def describe_classes(
    matrix: Sequence[Sequence[Sequence[float]]], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Return precision, recall and F1 of each class from a confusion matrix.

    Args:
        matrix: A row per true class of (count, share of the row) per predicted class.
        classes: Their names.

    Returns:
        name, n (images of the class), precision, recall and f1 in [0, 1] per class; None where the
        denominator is 0.

    Example:
        >>> rows = [[(6, 0.75), (2, 0.25)], [(2, 1.0), (0, 0.0)]]
        >>> [row["recall"] for row in describe_classes(rows, ["a", "b"])]
        [0.75, 0.0]
    """
    counts = np.array([[count for count, _ in row] for row in matrix])
    described = []
    for k, name in enumerate(classes):
        hits, true, said = counts[k, k], counts[k].sum(), counts[:, k].sum()
        described.append(
            {
                "name": name,
                "n": int(true),
                "precision": _divide(hits, said),
                "recall": _divide(hits, true),
                "f1": _divide(2 * hits, true + said),
            }
        )
    return described


def state_majority(confusions: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> str:
    """Say what a classifier would reach that always names the largest class; "" if unknown.

    Args:
        confusions: Matrices in the form of `describe_classes`, each under `rows`, of which the
            first counts: the test images are the same for all.
        classes: The names of the classes.
    """
    if not confusions:
        return ""
    rows = confusions[0]["rows"]
    sizes = np.array([sum(count for count, _ in row) for row in rows])
    largest, total = int(sizes.argmax()), int(sizes.sum())
    return (
        f"Always saying {classes[largest]} would reach an accuracy of "
        f"{sizes[largest] / total:.3f}, its share of the test images, and a balanced accuracy of "
        f"{1 / np.count_nonzero(sizes):.3f}."
    )


def _divide(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
