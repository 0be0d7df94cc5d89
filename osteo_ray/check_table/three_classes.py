"""Every confusion matrix of three classes, as far as its figures can tell matrices apart. Pure.

As in `several_classes`, a matrix counts as the images found (t) and taken (s) of each class.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from osteo_ray.check_table.cells import Cell
from osteo_ray.check_table.matrices import PrintedRow
from osteo_ray.check_table.scores import Scoring, weigh_class, write_as_sum

_MOST_TRIED = 20_000_000
_MOST_TRIPLES = 20_000
_OF_FOUND = ("recall", "sensitivity")
"""Metrics that follow from t alone."""


@dataclass(frozen=True)
class _Figure:
    """A printed figure: a metric of one class, summed with weights, float, (3,); or kappa."""

    metric: str
    weights: np.ndarray
    is_average: bool
    cell: Cell

    def allows(self, value: np.ndarray) -> np.ndarray:
        low, high = self.cell.bounds
        inside: np.ndarray = (value >= low - 1e-9) & (value <= high + 1e-9)
        return inside


def search_three(row: PrintedRow, scoring: Scoring, position: int) -> bool | None:
    """Say whether a matrix of three classes gives a row's figures; None if too many are possible.

    MCC is left aside. The arguments are those of `several_classes.fit_classes`.
    """
    sizes = np.array(row.class_counts)
    figures = [_read(row, name, scoring, position) for name in row.cells if name != "mcc"]
    of_found = [figure for figure in figures if figure.metric in _OF_FOUND]
    others = [figure for figure in figures if figure.metric not in _OF_FOUND]
    triples = _list_found(of_found, sizes)
    if triples is None:
        return None
    errors = sizes.sum() - triples.sum(axis=1)
    if ((errors + 1) * (errors + 2) // 2).sum() > _MOST_TRIED:
        return None
    return any(
        _fits(others, sizes, found, int(wrong))
        for found, wrong in zip(triples, errors, strict=True)
    )


def _read(row: PrintedRow, name: str, scoring: Scoring, position: int) -> _Figure:
    metric, weighting = write_as_sum(name, scoring)
    weights = [
        weigh_class(weighting, count, row.n_test, 3, is_scored=number == position)
        for number, count in enumerate(row.class_counts)
    ]
    is_average = weighting is not Scoring.POSITIVE
    return _Figure(metric, np.array(weights), is_average, row.cells[name])


def _list_found(figures: Sequence[_Figure], sizes: np.ndarray) -> np.ndarray | None:
    """List every t of the three classes that gives these figures, which follow from t alone."""
    first, second = (grid.ravel() for grid in np.indices((sizes[0] + 1, sizes[1] + 1)))
    kept, total = [], 0
    for third in range(sizes[2] + 1):
        found = np.column_stack([first, second, np.full(len(first), third)])
        inside = np.ones(len(found), bool)
        for figure in figures:
            inside &= figure.allows(found / sizes @ figure.weights)
        kept.append(found[inside])
        total += len(kept[-1])
        if total > _MOST_TRIPLES:
            return None
    return np.concatenate(kept)


def _fits(figures: Sequence[_Figure], sizes: np.ndarray, found: np.ndarray, n_wrong: int) -> bool:
    """Say whether some s gives the figures, for one t of the three classes."""
    one, two = (grid.ravel() for grid in np.indices((n_wrong + 1, n_wrong + 1)))
    taken = np.column_stack([one, two, n_wrong - one - two])
    missed = sizes - found
    # No class takes more than the others miss.
    taken = taken[((taken >= 0) & (taken <= n_wrong - missed)).all(axis=1)]
    inside = np.ones(len(taken), bool)
    for figure in figures:
        values = _list_values(figure, sizes, found, taken)
        inside &= np.any([figure.allows(value) for value in values], axis=0)
    return bool(inside.any())


def _list_values(
    figure: _Figure, sizes: np.ndarray, found: np.ndarray, taken: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield the values that a table may mean by a figure, (n,) each, for n rows of `taken`."""
    total, weights = sizes.sum(), figure.weights
    others_right = total - sizes - taken
    precision = found / np.maximum(1, found + taken)
    if figure.metric == "precision":
        yield precision @ weights
    elif figure.metric == "specificity":
        yield others_right / (total - sizes) @ weights
    elif figure.metric == "npv":
        yield others_right / np.maximum(1, others_right + sizes - found) @ weights
    elif figure.metric == "f1":
        yield 2 * found / (sizes + found + taken) @ weights
        if figure.is_average:
            average, recall = precision @ weights, found / sizes @ weights
            yield 2 * average * recall / np.maximum(1e-300, average + recall)
    else:  # kappa
        chance = (found + taken) @ sizes / total**2
        yield (found.sum() / total - chance) / np.maximum(1e-300, 1 - chance)
