"""Deal groups of images into parts, in shares close to a ratio.

Groups (images that belong together) stay whole, so in general a ratio can only be approximated.
How to come close to it is a puzzle: groups of unequal size, some with images of several classes,
must be dealt into parts so that each part gets its share of every class. Groups with the same
number of images of each class are interchangeable, so the question is how many groups of each such
kind go into each part. If all answers can be tried, they are. Otherwise several random answers are
improved by moving and exchanging single groups until nothing helps. Chance then decides which
groups of a kind go where.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from osteo_ray.data.copies.groups import number_groups

_Counts = npt.NDArray[np.float64]  # all are whole numbers, so sums are exact up to 2**53

_WEIGHT_UNIT = 2**20
_TRIED = 300_000  # most numbers to compute in order to try all answers
_STARTS, _STARTS_OF_MANY, _MANY = 24, 2, 100  # random answers to improve; few for many kinds
_STEPS = 5_000  # most improvements of one answer
_SEEN = 128  # most kinds in a part that one step considers


def allocate(
    labels: np.ndarray,
    groups: np.ndarray,
    ratio: tuple[int, ...],
    rng: np.random.Generator,
    least: int = 1,
) -> npt.NDArray[np.int64]:
    """Deal groups of images into parts, in shares close to a ratio per class.

    First, each part gets `least` groups of each class, if there are enough. Then the image counts
    are brought as close to the ratio as the search finds possible, in squared deviations, with
    equal weight for each class however small.

    Args:
        labels: str (n,); the class of each image.
        groups: int (n,); images of one group stay together.
        ratio: Share of each part, whole numbers of at least 1.
        rng: Chooses between equally good answers, and decides which groups of a kind go where.
        least: Number of groups of each class that each part should have.

    Returns:
        int64 (n,); the part of each image, 0 to len(ratio) - 1.

    Raises:
        ValueError: There are no images, lengths differ, or a share of the ratio is below 1.
    """
    if len(labels) == 0 or np.shape(labels) != np.shape(groups):
        raise ValueError(
            "Expected labels and groups of one length, at least 1, "
            f"but got {np.shape(labels)} and {np.shape(groups)}."
        )
    if min(ratio) < 1:
        raise ValueError(f"Expected each share of the ratio to be at least 1, but got {ratio}.")
    names, label = np.unique(np.asarray(labels, dtype=np.str_), return_inverse=True)
    numbers = number_groups(groups)
    n_groups, n_classes = int(numbers.max()) + 1, len(names)
    cells = np.bincount(numbers * n_classes + label, minlength=n_groups * n_classes)
    images, kind = np.unique(cells.reshape(n_groups, n_classes), axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    sizes = np.bincount(label)
    # Whole weights make sums exact. Otherwise the result would depend on the order of additions,
    # which differs between machines. A class of average size weighs one unit.
    weights = np.rint(_WEIGHT_UNIT * (len(label) / (n_classes * sizes)) ** 2).clip(min=1)
    puzzle = _Puzzle(
        images=np.vstack([images, np.zeros(n_classes)]).astype(np.float64),
        stock=np.append(np.bincount(kind), 0),
        ratio=np.array(ratio, np.float64) // math.gcd(*ratio),
        weights=weights,
        least=least,
    )
    answer = _try_all(puzzle, rng) if _can_try_all(puzzle) else _search(puzzle, rng)
    part = np.empty(n_groups, np.int64)
    drawn = np.lexsort((rng.permutation(n_groups), kind))  # by kind, and at random within a kind
    part[drawn] = np.repeat(np.tile(np.arange(len(ratio)), len(answer)), answer.ravel())
    return part[numbers]


@dataclass(frozen=True)
class _Puzzle:
    """The question how many groups of each of k kinds go into each of p parts, with c classes.

    A last kind, without images, stands for "nothing": moving a group is exchanging it for nothing.

    Attributes:
        images: (k + 1, c); images of each class in a group of each kind.
        stock: int64 (k + 1,); number of groups of each kind.
        ratio: (p,); share of each part, whole numbers.
        weights: (c,); weight of a squared deviation: 1 / (size of the class)², scaled and rounded.
        least: Number of groups of each class that each part should have.
    """

    images: _Counts
    stock: npt.NDArray[np.int64]
    ratio: _Counts
    weights: _Counts
    least: int

    def measure_excess(self, answers: np.ndarray) -> _Counts:
        """Count the images beyond each part's share: (..., k + 1, p) -> (..., c, p).

        The counts are multiplied by sum(ratio), which keeps them whole.
        """
        wanted = np.outer(self.stock @ self.images, self.ratio)
        return np.asarray(self.images.T @ answers * self.ratio.sum() - wanted)

    def count_groups(self, answers: np.ndarray) -> _Counts:
        """Count the groups of each part that hold each class: (..., k + 1, p) -> (..., c, p)."""
        return np.asarray((self.images > 0).T.astype(np.float64) @ answers)

    def count_lacking(self, n_groups: _Counts) -> _Counts:
        """Count the groups of each class that each part lacks."""
        return np.maximum(self.least - n_groups, 0)

    def judge(self, answers: np.ndarray) -> tuple[_Counts, _Counts]:
        """Return the number of lacking groups and the deviation; compare answers in this order."""
        lacking = self.count_lacking(self.count_groups(answers)).sum(axis=(-1, -2))
        deviation = (self.weights[:, None] * self.measure_excess(answers) ** 2).sum(axis=(-1, -2))
        return lacking, deviation

    def bound_deviation(self) -> float:
        """Return the deviation if every group were a single image; no answer can be below it."""
        n_parts, total = len(self.ratio), self.ratio.sum()
        over = np.sort(np.outer(self.stock @ self.images, self.ratio) % total, axis=1)
        n_up = np.rint(over.sum(axis=1) / total)[:, None]
        # Shares with the largest remainders are rounded up.
        rounded = np.where(np.arange(n_parts) >= n_parts - n_up, total - over, over)
        return float((self.weights[:, None] * rounded**2).sum())


def _can_try_all(puzzle: _Puzzle) -> bool:
    n_parts, (n_kinds, n_classes) = len(puzzle.ratio), puzzle.images.shape
    if n_kinds > 20:  # then there are more than 2**19 answers
        return False
    ways = [math.comb(int(stock) + n_parts - 1, n_parts - 1) for stock in puzzle.stock]
    return bool(math.prod(ways) * n_parts * max(n_classes, n_kinds) <= _TRIED)


def _try_all(puzzle: _Puzzle, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return one of the best answers; int64 (k + 1, p)."""
    n_parts = len(puzzle.ratio)
    ways = [_list_ways(int(stock), n_parts) for stock in puzzle.stock]
    chosen = np.unravel_index(
        np.arange(math.prod(map(len, ways))), tuple(len(options) for options in ways)
    )
    answers = np.stack([options[rows] for options, rows in zip(ways, chosen, strict=True)], axis=1)
    lacking, deviation = puzzle.judge(answers)
    deviation[lacking > lacking.min()] = np.inf
    return np.asarray(answers[rng.choice(np.flatnonzero(deviation == deviation.min()))])


def _list_ways(stock: int, n_parts: int) -> npt.NDArray[np.int64]:
    """List the ways to deal identical things into parts: int64 (ways, n_parts)."""
    # Of stock + n_parts - 1 places, n_parts - 1 hold a bar between two parts.
    bars = np.array(list(itertools.combinations(range(stock + n_parts - 1), n_parts - 1)))
    edges = np.pad(bars, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, stock + n_parts - 1)))
    return np.asarray(np.diff(edges, axis=1) - 1, dtype=np.int64)


def _search(puzzle: _Puzzle, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Improve several random answers and return the best; int64 (k + 1, p)."""
    n_starts = _STARTS if len(puzzle.stock) <= _MANY else _STARTS_OF_MANY
    ideal = (0.0, puzzle.bound_deviation())
    best, reached = np.zeros((0, 0), np.int64), (math.inf, math.inf)
    for _ in range(n_starts):
        answer = _improve(puzzle, _round_at_random(puzzle, rng), rng)
        lacking, deviation = puzzle.judge(answer)
        if (float(lacking), float(deviation)) < reached:
            best, reached = answer, (float(lacking), float(deviation))
        if reached <= ideal:
            break
    return best


def _round_at_random(puzzle: _Puzzle, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Give each part its share of each kind, rounded up or down at random; int64 (k + 1, p)."""
    shares = np.outer(puzzle.stock, puzzle.ratio) / puzzle.ratio.sum()
    answer = np.floor(shares + 1e-9).astype(np.int64)
    left = puzzle.stock - answer.sum(axis=1)
    # The larger a part's fraction, the more likely it gets one of the remaining groups.
    chance = rng.random(answer.shape) ** (1 / np.maximum(shares - answer, 1e-9))
    rank = np.argsort(np.argsort(-chance, axis=1), axis=1)
    return np.asarray(answer + (rank < left[:, None]))


def _improve(
    puzzle: _Puzzle, answer: npt.NDArray[np.int64], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Move and exchange single groups, the best exchange first, for as long as it helps."""
    answer = answer.copy()
    answer[-1] = 1  # there is always one "nothing" to exchange
    pairs = list(itertools.combinations(range(answer.shape[1]), 2))
    excess, n_groups = puzzle.measure_excess(answer), puzzle.count_groups(answer)
    steps, settled, at = 0, 0, 0
    while settled < len(pairs) and steps < _STEPS:
        one, other = pairs[at]
        exchange = _find_exchange(puzzle, answer, excess, n_groups, one, other, rng)
        if exchange is None:
            at, settled = (at + 1) % len(pairs), settled + 1
            continue
        steps, settled = steps + 1, 0
        out, back = exchange
        for part, leaves, comes in ((one, out, back), (other, back, out)):
            answer[leaves, part] -= 1
            answer[comes, part] += 1
        answer[-1] = 1
        change = puzzle.images[back] - puzzle.images[out]
        kinds = (puzzle.images[back] > 0) * 1.0 - (puzzle.images[out] > 0)
        excess[:, one] += change * puzzle.ratio.sum()
        excess[:, other] -= change * puzzle.ratio.sum()
        n_groups[:, one] += kinds
        n_groups[:, other] -= kinds
    answer[-1] = 0
    return answer


def _find_exchange(
    puzzle: _Puzzle,
    answer: npt.NDArray[np.int64],
    excess: _Counts,
    n_groups: _Counts,
    one: int,
    other: int,
    rng: np.random.Generator,
) -> tuple[int, int] | None:
    """Find the best exchange between two parts.

    With excess d, weights w and u images leaving `one` on balance, the weighted sum of squares
    changes by 2 Σ w u (d_other - d_one + u). As d is scaled by r = sum(ratio), that is proportional
    to Σ w u (d_other - d_one + r u).

    Returns:
        The kind that leaves `one` and the kind that comes back, or None if no exchange helps.
    """
    pull = puzzle.weights * (excess[:, other] - excess[:, one])
    scaled = puzzle.weights * puzzle.ratio.sum()
    before = puzzle.count_lacking(n_groups)
    urgent = puzzle.images @ (before[:, one] + before[:, other]) > 0
    squares = puzzle.images**2 @ scaled
    # The change if one group moves to the other part, from `one` and from `other`.
    alone = (squares + puzzle.images @ pull, squares - puzzle.images @ pull)
    out = _choose_kinds(answer[:, one], alone[0], urgent, rng)
    back = _choose_kinds(answer[:, other], alone[1], urgent, rng)
    leaving, coming = puzzle.images[out], puzzle.images[back]
    gain = np.asarray(alone[0][out][:, None] + alone[1][back] - 2 * (leaving * scaled) @ coming.T)
    risky = np.flatnonzero((n_groups[:, [one, other]] <= puzzle.least).any(axis=1))
    if len(risky):
        # Only these classes may end up below `least`, or reach it; that takes precedence.
        lacking = np.zeros_like(gain)
        for label in risky:
            left = (leaving[:, label] > 0)[:, None] * 1.0 - (coming[:, label] > 0)
            lacking += puzzle.count_lacking(n_groups[label, one] - left) - before[label, one]
            lacking += puzzle.count_lacking(n_groups[label, other] + left) - before[label, other]
        gain[lacking > lacking.min()] = np.inf
        if lacking.min() < 0:
            gain -= np.abs(gain[np.isfinite(gain)]).max() + 1  # every exchange that is left helps
    row, column = np.unravel_index(np.argmin(gain), gain.shape)
    return (int(out[row]), int(back[column])) if gain[row, column] < 0 else None


def _choose_kinds(
    stock: npt.NDArray[np.int64], change: _Counts, urgent: np.ndarray, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return the kinds that a part has, "nothing" included, or a selection if there are very many.

    Half of the selection are the kinds that can end a lack or improve most; the others are random.
    """
    present = np.flatnonzero(stock)
    if len(present) <= _SEEN:
        return present
    kinds, nothing = present[:-1], present[-1]
    ordered = kinds[np.lexsort((change[kinds], ~urgent[kinds]))]
    drawn = rng.choice(ordered[_SEEN // 2 :], _SEEN // 2, replace=False)
    return np.concatenate([ordered[: _SEEN // 2], drawn, [nothing]])
