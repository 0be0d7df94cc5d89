"""Which confusion matrices of two classes can stand behind printed figures.

Pure, and exact: every matrix that the test set allows is tried. A figure *agrees* with a matrix if
it is the metric of that matrix, either rounded (halves up or down) or cut off. Arrays of matrices
are int64, (n, 4), in the order of `Confusion`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from osteo_ray.check_table.cells import Cell
from osteo_ray.check_table.scores import Ratio, Scoring, list_values, match

MOST_MATRICES = 100_000_000
"""Rows with more possible matrices are refused; trying this many takes half a minute or more."""

_PLAIN = ("accuracy", "precision", "recall", "specificity", "f1")
_BLOCK = 2_000_000  # matrices tried at once


class Confusion(NamedTuple):
    """Numbers of test images."""

    tp: int
    fp: int
    fn: int
    tn: int


@dataclass(frozen=True)
class PrintedRow:
    """A row of a printed table.

    Attributes:
        model: Its name in the table.
        data_set: What it was trained and tested on, in the words of the table; may be empty.
        cells: The printed figures, at least one, each under one of `scores.FIGURES`.
        divisions: Test images of the positive and of the other class: every pair that is possible.
            Empty if there are more classes than two.
        confusion: The matrix given beside the figures, if any.
        source: Where that matrix stands.
        n_averaged: Over how many runs or folds the figures are means; 1 for one test, None if the
            table does not say.
        class_counts: Test images per class, if there are more classes than two.
    """

    model: str
    data_set: str
    cells: Mapping[str, Cell]
    divisions: tuple[tuple[int, int], ...]
    confusion: Confusion | None = None
    source: str = "the matrix given"
    n_averaged: int | None = None
    class_counts: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """How messages call the row."""
        return f"{self.data_set} {self.model}".strip()

    @property
    def n_test(self) -> int:
        """Test images."""
        return sum(self.class_counts or self.divisions[0])


@dataclass(frozen=True)
class Fits:
    """The confusion matrices that agree with some cells of a row.

    Attributes:
        cells: Names of these cells.
        matrices: int64, (n, 4).
        rounded: bool, (n,); the matrix gives all of these cells by rounding.
        cut: bool, (n,); by cutting off.
    """

    cells: tuple[str, ...]
    matrices: np.ndarray
    rounded: np.ndarray
    cut: np.ndarray

    def list_first(self, most: int) -> list[Confusion]:
        """Return the first matrices, by number of true positives."""
        return [Confusion(*row) for row in self.matrices[:most].tolist()]


def recompute(confusion: Confusion, names: Iterable[str] = _PLAIN) -> dict[str, float]:
    """Return metrics of a confusion matrix, for its positive class; 0 for 0/0.

    Example:
        >>> recompute(Confusion(tp=3, fp=1, fn=1, tn=4))["specificity"]
        0.8
    """
    values = {name: list_values(name, Scoring.POSITIVE, *confusion)[0] for name in names}
    return {
        name: float(value.value if isinstance(value, Ratio) else value)
        for name, value in values.items()
    }


def agrees(
    cell: Cell, metric: str, confusion: Confusion, scoring: Scoring = Scoring.POSITIVE
) -> bool:
    """Say whether a metric of a matrix gives the printed figure, rounded or cut off.

    Example:
        >>> from osteo_ray.check_table.cells import read_cell
        >>> matrix = Confusion(tp=29, fp=2, fn=8, tn=35)  # recall is .78378…
        >>> [agrees(read_cell(text), "recall", matrix) for text in ("0.7837", "0.7838", "0.7836")]
        [True, True, False]
    """
    rounded, cut = _match_any(cell, metric, scoring, np.array([confusion]))
    return bool((rounded | cut)[0])


def find_matrices(
    row: PrintedRow, names: Iterable[str] | None = None, scoring: Scoring = Scoring.POSITIVE
) -> Fits:
    """Find every confusion matrix that agrees with some cells of a row.

    Args:
        row: Of the table.
        names: Of the cells; by default all.
        scoring: The convention by which figures are reported whose names have no average.

    Raises:
        ValueError: There are more than `MOST_MATRICES` to try.
    """
    wanted = tuple(row.cells if names is None else names)
    found = [(np.empty((0, 4), np.int64), np.empty(0, bool), np.empty(0, bool))]
    for counts in _enumerate(row):
        rounded, cut = (np.ones(len(counts), bool) for _ in range(2))
        for name in wanted:
            by_rounding, by_cutting = _match_any(row.cells[name], name, scoring, counts)
            kept = by_rounding | by_cutting
            counts = counts[kept]
            rounded = rounded[kept] & by_rounding[kept]
            cut = cut[kept] & by_cutting[kept]
        found.append((counts, rounded, cut))
    matrices, rounded, cut = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort(matrices.T[::-1])
    return Fits(wanted, matrices[order], rounded[order], cut[order])


def find_possible_sets(row: PrintedRow) -> set[tuple[str, ...]]:
    """Find every set of cells, except the empty one, that some matrix agrees with."""
    names = tuple(row.cells)
    patterns: set[int] = set()  # bit k: cell k agrees
    for counts in _enumerate(row):
        pattern = np.zeros(len(counts), np.int64)
        for bit, name in enumerate(names):
            rounded, cut = _match_any(row.cells[name], name, Scoring.POSITIVE, counts)
            pattern |= (rounded | cut).astype(np.int64) << bit
        patterns.update(np.unique(pattern).tolist())
    return {
        subset
        for pattern in patterns
        for agreeing in [[name for bit, name in enumerate(names) if pattern >> bit & 1]]
        for size in range(1, len(agreeing) + 1)
        for subset in combinations(agreeing, size)
    }


def count_possible(row: PrintedRow) -> int:
    """Return how many confusion matrices a row's test set allows, whatever its figures."""
    return sum((positive + 1) * (negative + 1) for positive, negative in row.divisions)


def _match_any(
    cell: Cell, metric: str, scoring: Scoring, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Say which matrices give a figure by rounding, and which by cutting off."""
    rounded, cut = (np.zeros(len(counts), bool) for _ in range(2))
    for value in list_values(metric, scoring, *counts.T):
        by_rounding, by_cutting = match(cell, value)
        rounded |= by_rounding
        cut |= by_cutting
    return rounded, cut


def _enumerate(row: PrintedRow) -> Iterator[np.ndarray]:
    """Yield all matrices that a row's test set allows, in blocks."""
    total = count_possible(row)
    if total > MOST_MATRICES:
        raise ValueError(
            f"Expected at most {MOST_MATRICES} confusion matrices to try, but {row.n_test} test "
            f"images allow {total}."
        )
    for positive, negative in row.divisions:
        step = max(1, _BLOCK // (negative + 1))
        for first in range(0, positive + 1, step):
            some = np.arange(first, min(first + step, positive + 1))
            tp = np.repeat(some, negative + 1)
            fp = np.tile(np.arange(negative + 1), len(some))
            yield np.stack([tp, fp, positive - tp, negative - fp], axis=1)
