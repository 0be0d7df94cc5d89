"""Can printed figures be means over runs on one test set, or over the folds of one? Pure.

A proven relaxation: whatever is refused here cannot be such a mean, and what is not refused is
*possible*. The reasons are in `hull`. Weights of the possible results are free, although a mean
over k folds has weights of 1/k only.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from osteo_ray.check_table.hull import Block, can_meet
from osteo_ray.check_table.matrices import PrintedRow
from osteo_ray.check_table.scores import Ratio, Scoring, list_values

USUAL_FOLDS = range(2, 11)
"""Numbers of folds that are tried where a table does not say its own."""
_MOST_RESULTS = 300_000  # more are joined into ranges
_SPREADS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
_SPREAD_SD = 5.5  # classes per fold of random folds, in standard deviations; missed by 1 in 10^7
_RAREST = 1e-12


def can_be_mean_over_runs(row: PrintedRow, scoring: Scoring, most_spread: float = math.inf) -> bool:
    """Say whether a row can be the mean over any number of runs (seeds) on the same test images.

    Args:
        row: Of the table.
        scoring: The convention by which each run is scored.
        most_spread: The largest standard deviation that any figure may have between runs.
    """
    block = _join(row, scoring, row.divisions)
    return can_meet([block], *_bound(row, (-np.inf, np.inf), most_spread))


def can_be_mean_over_folds(
    row: PrintedRow, scoring: Scoring, n_folds: int, most_spread: float = math.inf
) -> bool:
    """Say whether a row can be the mean over folds, each image being tested in one of them.

    Folds are of equal size, or as equal as they can be, and either stratified or drawn at random:
    the numbers of each class are within 5.5 standard deviations of what chance gives, and their
    chi-squared statistic over all folds is one that chance exceeds once in 10^12.
    """
    if n_folds > row.n_test:
        return False
    tests = _list_folds(row, n_folds)
    if len(row.divisions) > 1:
        return can_meet([_join(row, scoring, tests)], *_bound(row, (-np.inf, np.inf), most_spread))
    positive, negative = (n / n_folds for n in row.divisions[0])
    expected = positive * negative / (positive + negative)  # variance of the images of a class
    distance = math.sqrt(expected * stats.chi2.isf(_RAREST, n_folds - 1) / n_folds) + 1
    sizes = np.array([[positive, negative, 0], [positive, negative, distance**2]])
    return can_meet([_join(row, scoring, tests, positive)], *_bound(row, sizes, most_spread))


def find_least_spread(can_be: Callable[[float], bool]) -> float:
    """Return a standard deviation that some figure must exceed between runs; 0 if none is proven.

    Args:
        can_be: Says whether a row can be a mean with at most such a spread.
    """
    refused = 0.0
    for spread in _SPREADS:
        if can_be(spread):
            break
        refused = spread
    return refused


def _list_folds(row: PrintedRow, n_folds: int) -> list[tuple[int, int]]:
    """List the numbers of positives and negatives that a fold may have."""
    found: set[tuple[int, int]] = set()
    known = len(row.divisions) == 1
    for positive, negative in row.divisions:
        shares = (positive / n_folds, negative / n_folds)
        total = positive + negative
        smallest, largest = (sum(map(cut, shares)) for cut in (math.floor, math.ceil))
        share = positive / total
        for size in range(max(1, smallest), min(total, largest) + 1):
            spread = _SPREAD_SD * math.sqrt(size * share * (1 - share) * (1 - 1 / n_folds)) + 1
            least, most = (size * share - spread, size * share + spread) if known else (0, size)
            for n in range(max(0, math.floor(least)), min(size, positive, math.ceil(most)) + 1):
                if size - n <= negative:
                    found.add((n, size - n))
    return sorted(found)


def _join(
    row: PrintedRow, scoring: Scoring, tests: Sequence[tuple[int, int]], usual: float = 0.0
) -> Block:
    """List the possible results of test sets with these numbers of positives and negatives.

    Values rise with tp and fall with fp, so that two corners bound a range of matrices. After the
    figures come, for folds, the numbers of images per class and the squared distance of the
    positive ones from their usual number; then the squared distance of each figure from the
    printed one.
    """
    per_side = max(2, math.isqrt(_MOST_RESULTS // len(tests)))
    lows: list[np.ndarray] = []
    highs: list[np.ndarray] = []
    for positive, negative in tests:
        tp_low, tp_high = split_range(positive, per_side)
        fp_low, fp_high = split_range(negative, per_side)
        few_tp, many_fp = (grid.ravel() for grid in np.meshgrid(tp_low, fp_high))
        many_tp, few_fp = (grid.ravel() for grid in np.meshgrid(tp_high, fp_low))
        for ends, choose, tp, fp in (
            (lows, np.minimum, few_tp, many_fp),
            (highs, np.maximum, many_tp, few_fp),
        ):
            values = [
                choose.reduce(
                    [
                        value.value if isinstance(value, Ratio) else value
                        for value in list_values(
                            name, scoring, tp, fp, positive - tp, negative - fp
                        )
                    ]
                )
                for name in row.cells
            ]
            of_test = (positive, negative, (positive - usual) ** 2)
            sizes = [np.full(len(tp), float(size)) for size in of_test]
            ends.append(np.column_stack(values + sizes))
    low, high = np.concatenate(lows), np.concatenate(highs)
    printed = np.array([sum(cell.bounds) / 2 for cell in row.cells.values()])
    away = np.stack([ends[:, : len(printed)] - printed for ends in (low, high)])
    nearest = np.where(np.prod(away, axis=0) <= 0, 0.0, np.abs(away).min(axis=0))
    return Block(
        np.column_stack([low, nearest**2]), np.column_stack([high, np.abs(away).max(axis=0) ** 2])
    )


def split_range(most: int, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """Split 0 … most into ranges of whole numbers; return their first and last numbers.

    Ranges are shorter near both ends, where precision changes fastest.
    """
    starts = np.arange(most + 1)
    if most + 1 > parts:
        angles = np.linspace(0, math.pi, parts + 1)[:-1]
        starts = np.unique(np.floor((1 - np.cos(angles)) / 2 * (most + 1)).astype(int))
    return starts, np.append(starts[1:] - 1, most)


def _bound(
    row: PrintedRow,
    sizes: tuple[float, float] | np.ndarray,
    most_spread: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the box of a row: its figures, the numbers of images of a mean test, the spread."""
    figures = np.array([cell.bounds for cell in row.cells.values()]).T
    low, high = (np.append(ends, np.ones(3) * n) for ends, n in zip(figures, sizes, strict=True))
    # The mean of a figure is not exactly the middle of what is printed.
    squares = most_spread**2 + (figures[1] - figures[0]) ** 2
    return np.append(low, np.full(len(squares), -np.inf)), np.append(high, squares)
