"""Which confusion matrices can stand behind printed figures, and which figures contradict.

Pure, and exact: a metric of a confusion matrix is a ratio of two whole numbers, a printed figure a
whole number of units of its last decimal, so the two are compared in whole numbers. A figure
*agrees* with a matrix if it is the metric of that matrix, either rounded (halves up or down) or cut
off. A metric of 0/0 counts as 0, as in scikit-learn. Arrays of matrices are int64, (n, 4), in the
order of `Confusion`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

METRICS = ("accuracy", "precision", "recall", "specificity", "f1")
MOST_MATRICES = 100_000_000
"""Rows with more possible matrices are refused; trying this many takes half a minute."""

_MOST_DECIMALS = 10  # distinguishes any two shares of 100,000 images, and fits into 64 bits
_BLOCK = 2_000_000  # matrices tried at once
_FIGURE = re.compile(r"(\d*)(?:[.,](\d*))?\s*(%?)")


class Confusion(NamedTuple):
    """Numbers of test images."""

    tp: int
    fp: int
    fn: int
    tn: int


@dataclass(frozen=True)
class Cell:
    """A printed figure.

    Attributes:
        text: As printed.
        units: Its value, in units of its last decimal.
        decimals: Number of decimals of the share; for a percentage, two more than printed.
    """

    text: str
    units: int
    decimals: int

    @property
    def scale(self) -> int:
        """The number of units in 1."""
        return int(10**self.decimals)


def read_cell(text: str) -> Cell:
    """Read a share between 0 and 1, or a percentage with its sign; decimals after point or comma.

    Decimals beyond the tenth are dropped, because they cannot distinguish matrices of a test set.

    Raises:
        ValueError: It is something else.

    Example:
        >>> read_cell("0.9324").units, read_cell("93,24 %").units, read_cell(".9").decimals
        (9324, 9324, 1)
    """
    found = _FIGURE.fullmatch(text.strip())
    whole, decimals, percent = found.groups(default="") if found else ("", "", "")
    if not whole + decimals:
        raise ValueError(
            f"Expected a share such as 0.93, or a percentage such as 93.2%, but got `{text}`."
        )
    if percent:
        whole = whole.rjust(3, "0")
        whole, decimals = whole[:-2], whole[-2:] + decimals
    decimals = decimals[:_MOST_DECIMALS]
    cell = Cell(text.strip(), int((whole or "0") + decimals), len(decimals))
    if cell.units > cell.scale:
        hint = "" if percent else " A percentage needs its sign: 93.2%."
        raise ValueError(f"Expected a share from 0 to 1, but got `{text}`.{hint}")
    return cell


@dataclass(frozen=True)
class PrintedRow:
    """A row of a printed table.

    Attributes:
        model: Its name in the table.
        data_set: What it was trained and tested on, in the words of the table.
        cells: The printed figures, by metric; at least one.
        divisions: Test images of the positive and of the other class: every pair that is possible.
        confusion: The matrix given beside the figures, if any.
        source: Where that matrix stands.
    """

    model: str
    data_set: str
    cells: Mapping[str, Cell]
    divisions: tuple[tuple[int, int], ...]
    confusion: Confusion | None = None
    source: str = "the matrix given"

    @property
    def name(self) -> str:
        """How messages call the row."""
        return f"{self.data_set} {self.model}"

    @property
    def n_test(self) -> int:
        """Test images."""
        return sum(self.divisions[0])


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


@dataclass(frozen=True)
class Contradiction:
    """A cell that a confusion matrix does not give: its name, as printed, and the right value."""

    cell: str
    printed: str
    value: float


@dataclass(frozen=True)
class RowCheck:
    """What there is to say about a row.

    Attributes:
        row: Which.
        fits: The matrices that agree with all its cells.
        conflicts: The smallest sets of cells that no matrix agrees with; empty if `fits` is not.
        agreeing: Where no matrix fits: the largest sets of cells that some matrix agrees with.
        contradictions: Cells that the matrix given beside them does not give.
    """

    row: PrintedRow
    fits: Fits
    conflicts: tuple[tuple[str, ...], ...]
    agreeing: tuple[Fits, ...]
    contradictions: tuple[Contradiction, ...]

    @property
    def is_consistent(self) -> bool:
        """Some matrix agrees with all cells, and the one given does, if any."""
        return len(self.fits.matrices) > 0 and not self.contradictions


def recompute(confusion: Confusion) -> dict[str, float]:
    """Return the metrics of a confusion matrix; 0 for 0/0.

    Example:
        >>> recompute(Confusion(tp=3, fp=1, fn=1, tn=4))["specificity"]
        0.8
    """
    shares = _count_shares(*confusion)
    return {name: part / max(1, whole) for name, (part, whole) in shares.items()}


def agrees(cell: Cell, metric: str, confusion: Confusion) -> bool:
    """Say whether a metric of a matrix gives the printed figure, rounded or cut off.

    Example:
        >>> matrix = Confusion(tp=29, fp=2, fn=8, tn=35)  # recall is .78378…
        >>> [agrees(read_cell(text), "recall", matrix) for text in ("0.7837", "0.7838", "0.7836")]
        [True, True, False]
    """
    rounded, cut = _match(cell, *_count_shares(*confusion)[metric])
    return bool(rounded or cut)


def find_matrices(row: PrintedRow, names: Iterable[str] | None = None) -> Fits:
    """Find every confusion matrix that agrees with some cells of a row.

    Args:
        row: Of the table.
        names: Of the cells; by default all.

    Raises:
        ValueError: There are more than `MOST_MATRICES` to try.
    """
    wanted = tuple(row.cells if names is None else names)
    found = [(np.empty((0, 4), np.int64), np.empty(0, bool), np.empty(0, bool))]
    for counts in _enumerate(row):
        rounded, cut, either = (np.ones(len(counts), bool) for _ in range(3))
        shares = _count_shares(*counts.T)
        for name in wanted:
            by_rounding, by_cutting = _match(row.cells[name], *shares[name])
            rounded &= by_rounding
            cut &= by_cutting
            either &= by_rounding | by_cutting
        found.append((counts[either], rounded[either], cut[either]))
    matrices, rounded, cut = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort(matrices.T[::-1])
    return Fits(wanted, matrices[order], rounded[order], cut[order])


def count_possible(row: PrintedRow) -> int:
    """Return how many confusion matrices a row's test set allows, whatever its figures."""
    return sum((positive + 1) * (negative + 1) for positive, negative in row.divisions)


def check_row(row: PrintedRow) -> RowCheck:
    """Find the matrices behind a row, or what keeps its cells from having one.

    Raises:
        ValueError: There are more than `MOST_MATRICES` to try.
    """
    fits = find_matrices(row)
    conflicts: list[tuple[str, ...]] = []
    agreeing: tuple[Fits, ...] = ()
    if not len(fits.matrices):
        possible = _find_possible_sets(row)
        names = tuple(row.cells)
        subsets = [c for size in range(1, len(names) + 1) for c in combinations(names, size)]
        for subset in subsets:
            if subset not in possible and not any(set(c) <= set(subset) for c in conflicts):
                conflicts.append(subset)
        largest = max((len(subset) for subset in possible), default=0)
        best = [subset for subset in subsets if subset in possible and len(subset) == largest]
        agreeing = tuple(find_matrices(row, subset) for subset in best)
    return RowCheck(row, fits, tuple(conflicts), agreeing, _contradict(row))


def _contradict(row: PrintedRow) -> tuple[Contradiction, ...]:
    if row.confusion is None:
        return ()
    values = recompute(row.confusion)
    return tuple(
        Contradiction(name, cell.text, values[name])
        for name, cell in row.cells.items()
        if not agrees(cell, name, row.confusion)
    )


def _find_possible_sets(row: PrintedRow) -> set[tuple[str, ...]]:
    """Find every set of cells, except the empty one, that some matrix agrees with."""
    names = tuple(row.cells)
    patterns: set[int] = set()  # bit k: cell k agrees
    for counts in _enumerate(row):
        shares = _count_shares(*counts.T)
        pattern = np.zeros(len(counts), np.int64)
        for bit, name in enumerate(names):
            rounded, cut = _match(row.cells[name], *shares[name])
            pattern |= (rounded | cut).astype(np.int64) << bit
        patterns.update(np.unique(pattern).tolist())
    return {
        subset
        for pattern in patterns
        for agreeing in [[name for bit, name in enumerate(names) if pattern >> bit & 1]]
        for size in range(1, len(agreeing) + 1)
        for subset in combinations(agreeing, size)
    }


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


def _count_shares(tp: Any, fp: Any, fn: Any, tn: Any) -> dict[str, tuple[Any, Any]]:
    """Return part and whole of each metric; of numbers, or of arrays of equal length."""
    return {
        "accuracy": (tp + tn, tp + fp + fn + tn),
        "precision": (tp, tp + fp),
        "recall": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "f1": (2 * tp, 2 * tp + fp + fn),
    }


def _match(cell: Cell, part: Any, whole: Any) -> tuple[Any, Any]:
    """Say whether part/whole gives a figure by rounding, and whether by cutting off."""
    whole = whole + (whole == 0)  # 0/0 is 0/1
    excess = part * cell.scale - cell.units * whole  # in 1/whole of a unit
    return abs(2 * excess) <= whole, (excess >= 0) & (excess < whole)
