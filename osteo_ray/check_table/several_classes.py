"""Can printed figures belong to a confusion matrix of three or more classes? Pure.

Of each class only two numbers matter: how many of its images are found (t), and how many of other
classes are taken for it (s). All metrics but kappa and MCC are sums over classes of functions of
these two. A confusion matrix with given t and s exists exactly if the images missed and the images
taken are equally many, and no class takes more images than the others miss. So the question is
whether a sum of one result per class lies in a box, which `hull` answers: "no" is proven.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from osteo_ray.check_table.cells import Cell
from osteo_ray.check_table.hull import Block, can_meet
from osteo_ray.check_table.matrices import PrintedRow
from osteo_ray.check_table.means import split_range
from osteo_ray.check_table.scores import Scoring, read_figure, weigh_class, write_as_sum
from osteo_ray.check_table.three_classes import search_three

_MOST_RESULTS = 150_000  # per class; more are joined into ranges
_SPREAD_SD = 5.5


def fit_classes(row: PrintedRow, scoring: Scoring, position: int = 0) -> bool | None:
    """Say whether one confusion matrix gives a row's figures.

    Args:
        row: Whose `class_counts` are given.
        scoring: Of figures whose headings name no average: averages, or the scores of one class.
        position: Of that class among the counts.

    Returns:
        True if a matrix was found, False if it is proven that there is none, None if neither.
    """
    possible = _can_fit(row, scoring, position, 1, is_mean=False)
    if not possible and (harmonic := _list_harmonic(row, scoring)):
        possible = _can_fit(row, scoring, position, 1, is_mean=False, left_out=harmonic)
    if not possible:
        return False
    return search_three(row, scoring, position) if len(row.class_counts) == 3 else None


def can_be_mean_of_classes(
    row: PrintedRow, scoring: Scoring, n_folds: int, position: int = 0
) -> bool:
    """Say whether a row can be a mean over runs (`n_folds` = 1), or over folds of the test set.

    Kappa and MCC are left aside: their means are not bounded here.
    """
    return n_folds <= row.n_test and _can_fit(row, scoring, position, n_folds, is_mean=True)


def _can_fit(
    row: PrintedRow,
    scoring: Scoring,
    position: int,
    n_folds: int,
    *,
    is_mean: bool,
    left_out: Sequence[str] = (),
) -> bool:
    """Say whether one result per class, or a mean of such results, lies in the box of the row."""
    counts, kappa = row.class_counts, row.cells.get("kappa")
    names = [name for name in row.cells if name not in ("kappa", "mcc", *left_out)]
    sums = [write_as_sum(name, scoring) for name in names]
    box = [row.cells[name].bounds for name in names]
    chances = () if kappa is None or is_mean else kappa.bounds
    if chances:
        box += [(chances[0], np.inf), (-np.inf, chances[1])]
    box += [(0.0, 0.0)] + [(-np.inf, 0.0)] * len(counts)  # see `_Range.link`
    box += [(count / n_folds, count / n_folds) for count in counts]
    blocks = []
    for number, count in enumerate(counts):
        lows, highs = [], []
        sizes = _list_sizes(count, sum(counts), n_folds)
        totals = _bound_total(counts, n_folds)
        for size in sizes:
            joined = _Range.list_all(size, totals, math.isqrt(_MOST_RESULTS // len(sizes)))
            ends = [
                joined.score(metric, weighting, len(counts), is_scored=number == position)
                for metric, weighting in sums
            ]
            ends += [joined.bound_kappa(bound) for bound in chances]
            ends += joined.link(number, len(counts))
            lows.append(np.column_stack([low for low, _ in ends]))
            highs.append(np.column_stack([high for _, high in ends]))
        blocks.append(Block(np.concatenate(lows), np.concatenate(highs)))
    low_side, high_side = np.array(box).T
    return can_meet(blocks, low_side, high_side)


def _list_harmonic(row: PrintedRow, scoring: Scoring) -> list[str]:
    """List the F1s that may be harmonic means of the row's average precision and recall."""
    found = []
    for name in row.cells:
        metric, average = read_figure(name, scoring)
        if metric == "f1" and average in (Scoring.MACRO, Scoring.WEIGHTED):
            parts = [row.cells.get(name.removesuffix("f1") + of) for of in ("precision", "recall")]
            if _can_be_harmonic(row.cells[name], *parts):
                found.append(name)
    return found


def _can_be_harmonic(f1: Cell, precision: Cell | None, recall: Cell | None) -> bool:
    if precision is None or recall is None:
        return True
    low, high = f1.bounds
    ends = [
        2 * one * other / max(1e-12, one + other)
        for one, other in zip(precision.bounds, recall.bounds, strict=True)
    ]
    return max(0.0, ends[0]) <= high + 1e-12 and ends[1] >= low - 1e-12


def _bound_total(counts: Sequence[int], n_folds: int) -> tuple[int, int]:
    """Return the smallest and the largest number of images of a fold."""
    smallest = sum(count // n_folds for count in counts)
    return max(1, smallest), sum(math.ceil(count / n_folds) for count in counts)


def _list_sizes(count: int, total: int, n_folds: int) -> list[int]:
    """List how many images of a class a fold may have, as in `means.can_be_mean_over_folds`."""
    if n_folds == 1:
        return [count]
    share = count / total
    spread = _SPREAD_SD * math.sqrt(total / n_folds * share * (1 - share)) + 2
    least, most = count / n_folds - spread, count / n_folds + spread
    return list(range(max(0, math.floor(least)), min(count, math.ceil(most)) + 1))


_Ends = tuple[np.ndarray, np.ndarray]  # the smallest and the largest value, per range


@dataclass(frozen=True)
class _Range:
    """Ranges of results of a class of n images: found images t, images of others taken s.

    `totals` are the smallest and the largest number of all images.
    """

    n: int
    totals: tuple[int, int]
    t: _Ends
    s: _Ends

    @classmethod
    def list_all(cls, n: int, totals: tuple[int, int], per_side: int) -> "_Range":
        t_low, t_high = split_range(n, max(2, per_side))
        s_low, s_high = split_range(max(0, totals[1] - n), max(2, per_side))
        left, right = (grid.ravel() for grid in np.indices((len(t_low), len(s_low))))
        totals = (max(n, totals[0]), max(n, totals[1]))
        return cls(n, totals, (t_low[left], t_high[left]), (s_low[right], s_high[right]))

    def score(self, metric: str, weighting: Scoring, n_classes: int, *, is_scored: bool) -> _Ends:
        """Bound a class's share of a figure."""
        weights = [
            weigh_class(weighting, self.n, total, n_classes, is_scored=is_scored)
            for total in self.totals
        ]
        return (
            min(weights) * self._score(metric, self.t[0], self.s[1], self.totals[0]),
            max(weights) * self._score(metric, self.t[1], self.s[0], self.totals[1]),
        )

    def bound_kappa(self, bound: float) -> _Ends:
        """Bound a class's share of accuracy - (1 - bound) * chance.

        Kappa is at least (at most) `bound` exactly if the sum is at least (at most) `bound`.
        """
        total = self.totals[0]
        of_taken = -(1 - bound) * self.n / total**2
        return self._add(1 / total + of_taken, of_taken, 0.0)

    def link(self, number: int, n_classes: int) -> list[_Ends]:
        """Bound what links the classes.

        The sum of t + s - n is 0. For each class, s less what the other classes miss is at most 0.
        And the mean number of images of each class is known.
        """
        own, other = self._add(0.0, 1.0, 0.0), self._add(1.0, 0.0, -self.n)
        taken = [own if number == of else other for of in range(n_classes)]
        sizes = [self._add(0.0, 0.0, self.n if number == of else 0.0) for of in range(n_classes)]
        return [self._add(1.0, 1.0, -self.n), *taken, *sizes]

    def _add(self, of_t: float, of_s: float, constant: float) -> _Ends:
        t, s = ([of * end for end in ends] for of, ends in ((of_t, self.t), (of_s, self.s)))
        return (
            constant + np.minimum(*t) + np.minimum(*s),
            constant + np.maximum(*t) + np.maximum(*s),
        )

    def _score(self, name: str, t: np.ndarray, s: np.ndarray, total: int) -> np.ndarray:
        """Return a metric of the class, which rises with t and the total, and falls with s."""
        tn, missed = np.maximum(0, total - self.n - s), self.n - t
        if name == "precision":
            return np.asarray(t / np.maximum(1, t + s))
        if name == "specificity":
            return np.asarray(tn / max(1, total - self.n))
        if name == "npv":
            return np.asarray(tn / np.maximum(1, tn + missed))
        if name == "f1":
            return np.asarray(2 * t / np.maximum(1, self.n + t + s))
        return t / max(1, self.n)
