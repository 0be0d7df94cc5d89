"""Every confusion matrix of three classes, as far as its figures can tell matrices apart. Pure.

As in `several_classes`, a matrix counts as the images found (t) and taken (s) of each class.
"""

from collections.abc import Iterator

import numpy as np

from osteo_ray.check_table.matrices import PrintedRow
from osteo_ray.check_table.scores import Scoring

_MOST_TRIED = 20_000_000
_MOST_TRIPLES = 20_000
_OF_FOUND = ("accuracy", "recall", "sensitivity", "balanced_accuracy")
"""Figures that follow from t alone."""


def search_three(row: PrintedRow, scoring: Scoring, position: int) -> bool | None:
    """Say whether a matrix of three classes gives a row's figures; None if too many are possible.

    MCC is left aside. The arguments are those of `several_classes.fit_classes`.
    """
    sizes = np.array(row.class_counts)
    weights = np.eye(3)[position]
    if scoring in (Scoring.MACRO, Scoring.WEIGHTED):
        weights = np.ones(3) / 3 if scoring is Scoring.MACRO else sizes / sizes.sum()
    triples = _list_found(row, sizes, weights)
    if triples is None:
        return None
    errors = sizes.sum() - triples.sum(axis=1)
    if ((errors + 1) * (errors + 2) // 2).sum() > _MOST_TRIED:
        return None
    is_average = scoring in (Scoring.MACRO, Scoring.WEIGHTED)
    return any(
        _fits(row, sizes, weights, found, int(wrong), is_average)
        for found, wrong in zip(triples, errors, strict=True)
    )


def _list_found(row: PrintedRow, sizes: np.ndarray, weights: np.ndarray) -> np.ndarray | None:
    """List every t of the three classes that gives the figures of `_OF_FOUND`."""
    first, second = (grid.ravel() for grid in np.indices((sizes[0] + 1, sizes[1] + 1)))
    kept, total = [], 0
    for third in range(sizes[2] + 1):
        found = np.column_stack([first, second, np.full(len(first), third)])
        inside = np.ones(len(found), bool)
        for name in _OF_FOUND:
            if name in row.cells:
                shares = found / sizes
                value = shares @ (np.ones(3) / 3 if name == "balanced_accuracy" else weights)
                if name == "accuracy":
                    value = found.sum(axis=1) / sizes.sum()
                inside &= _is_inside(row, name, value)
        kept.append(found[inside])
        total += len(kept[-1])
        if total > _MOST_TRIPLES:
            return None
    return np.concatenate(kept)


def _fits(
    row: PrintedRow,
    sizes: np.ndarray,
    weights: np.ndarray,
    found: np.ndarray,
    n_wrong: int,
    is_average: bool,
) -> bool:
    """Say whether some s gives the figures, for one t of the three classes."""
    one, two = (grid.ravel() for grid in np.indices((n_wrong + 1, n_wrong + 1)))
    taken = np.column_stack([one, two, n_wrong - one - two])
    missed = sizes - found
    # No class takes more than the others miss.
    taken = taken[((taken >= 0) & (taken <= n_wrong - missed)).all(axis=1)]
    inside = np.ones(len(taken), bool)
    for name in row.cells:
        if name not in (*_OF_FOUND, "mcc"):
            values = _list_averages(name, sizes, weights, found, taken, is_average)
            inside &= np.any([_is_inside(row, name, value) for value in values], axis=0)
    return bool(inside.any())


def _list_averages(
    name: str,
    sizes: np.ndarray,
    weights: np.ndarray,
    found: np.ndarray,
    taken: np.ndarray,
    is_average: bool,
) -> Iterator[np.ndarray]:
    """Yield the values that a table may mean by a metric, (n,) each, for n rows of `taken`."""
    total = sizes.sum()
    others_right = total - sizes - taken
    precision = found / np.maximum(1, found + taken)
    if name == "precision":
        yield precision @ weights
    elif name == "specificity":
        yield others_right / (total - sizes) @ weights
    elif name == "npv":
        yield others_right / np.maximum(1, others_right + sizes - found) @ weights
    elif name == "f1":
        yield 2 * found / (sizes + found + taken) @ weights
        if is_average:
            average, recall = precision @ weights, found / sizes @ weights
            yield 2 * average * recall / np.maximum(1e-300, average + recall)
    else:  # kappa
        chance = (found + taken) @ sizes / total**2
        yield (found.sum() / total - chance) / np.maximum(1e-300, 1 - chance)


def _is_inside(row: PrintedRow, name: str, value: np.ndarray) -> np.ndarray:
    low, high = row.cells[name].bounds
    inside: np.ndarray = (value >= low - 1e-9) & (value <= high + 1e-9)
    return inside
