"""Deal groups of images into parts, in shares close to a ratio.

Groups (images that belong together) stay whole. So a wanted ratio can in general only be
approached, and coming close to it is a puzzle of its own: groups of unequal size, some with images
of several classes, are to be dealt into parts such that every class has its share in each. Groups
with the same number of images of each class are interchangeable, so the puzzle is how many groups
of each such kind go into each part. Where all answers can be tried, they are; otherwise several
random ones are improved by moving and exchanging single groups until nothing helps. Chance then
says which groups of a kind go where.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from osteo_ray.data.copies.groups import number_groups

_Counts = npt.NDArray[np.float64]  # whole numbers all: sums are exact up to 2**53

_WEIGHT_UNIT = 2**20
_TRIED = 300_000  # numbers that may be looked at to try all answers
_STARTS, _STARTS_OF_MANY, _MANY = 24, 2, 100  # random answers to improve; fewer for many kinds
_STEPS = 5_000  # improvements of one answer, at most
_SEEN = 128  # kinds in a part that are considered in one step, at most


def allocate(
    labels: np.ndarray,
    groups: np.ndarray,
    ratio: tuple[int, ...],
    rng: np.random.Generator,
    least: int = 1,
) -> npt.NDArray[np.int64]:
    """Deal groups of images into parts, in shares close to a ratio per class.

    First, each part gets enough groups of each class, if there are enough. Then the squared
    deviations of the image counts from the ratio are made as small as can be found, where each
    class counts alike, however small.

    Args:
        labels: str (n,); the class of each image.
        groups: int (n,); images of one group stay together.
        ratio: Of the parts.
        rng: Decides between equally good answers, and which groups of a kind go where.
        least: Groups of each class that each part should have.

    Returns:
        int64 (n,); the part of each image, 0 to len(ratio) - 1.

    Raises:
        ValueError: no images, lengths that do not fit, or a part of the ratio below 1.
    """
    if len(labels) == 0 or np.shape(labels) != np.shape(groups):
        raise ValueError(
            "Expected labels and groups of one length, at least 1, "
            f"but got {np.shape(labels)} and {np.shape(groups)}."
        )
    if min(ratio) < 1:
        raise ValueError(f"Expected each part of the ratio to be at least 1, but got {ratio}.")
    names, label = np.unique(np.asarray(labels, dtype=np.str_), return_inverse=True)
    numbers = number_groups(groups)
    n_groups, n_classes = int(numbers.max()) + 1, len(names)
    cells = np.bincount(numbers * n_classes + label, minlength=n_groups * n_classes)
    images, kind = np.unique(cells.reshape(n_groups, n_classes), axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    sizes = np.bincount(label)
    # Whole weights make sums exact, so that the result does not hang on the order of additions,
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
    drawn = np.lexsort((rng.permutation(n_groups), kind))  # by kind; within a kind by chance
    part[drawn] = np.repeat(np.tile(np.arange(len(ratio)), len(answer)), answer.ravel())
    return part[numbers]


@dataclass(frozen=True)
class _Puzzle:
    """How many groups of each of k kinds go into each of p parts; c classes.

    A last kind without images stands for "nothing": to move a group is to exchange it for nothing.

    Attributes:
        images: (k + 1, c); images of each class in a group of the kind.
        stock: int64 (k + 1,); groups of the kind.
        ratio: (p,); whole parts.
        weights: (c,); of a squared deviation: 1 / (size of the class)², made whole.
        least: Groups of each class that each part should have.
    """

    images: _Counts
    stock: npt.NDArray[np.int64]
    ratio: _Counts
    weights: _Counts
    least: int

    def measure_excess(self, answers: np.ndarray) -> _Counts:
        """Return images beyond the wanted share, times sum(ratio): (..., k + 1, p) -> (..., c, p).

        The factor keeps the numbers whole.
        """
        wanted = np.outer(self.stock @ self.images, self.ratio)
        return np.asarray(self.images.T @ answers * self.ratio.sum() - wanted)

    def count_groups(self, answers: np.ndarray) -> _Counts:
        """Return in how many groups each part has each class: (..., k + 1, p) -> (..., c, p)."""
        return np.asarray((self.images > 0).T.astype(np.float64) @ answers)

    def count_lacking(self, n_groups: _Counts) -> _Counts:
        """Return how many groups are missing for every part to have enough of each class."""
        return np.maximum(self.least - n_groups, 0)

    def judge(self, answers: np.ndarray) -> tuple[_Counts, _Counts]:
        """Return what is missing, and the deviation; the smaller the better, in this order."""
        lacking = self.count_lacking(self.count_groups(answers)).sum(axis=(-1, -2))
        deviation = (self.weights[:, None] * self.measure_excess(answers) ** 2).sum(axis=(-1, -2))
        return lacking, deviation

    def bound_deviation(self) -> float:
        """Return the deviation if all groups were single images: none can be smaller."""
        n_parts, total = len(self.ratio), self.ratio.sum()
        over = np.sort(np.outer(self.stock @ self.images, self.ratio) % total, axis=1)
        n_up = np.rint(over.sum(axis=1) / total)[:, None]
        # Where the remainder is largest the share is rounded up.
        rounded = np.where(np.arange(n_parts) >= n_parts - n_up, total - over, over)
        return float((self.weights[:, None] * rounded**2).sum())


def _can_try_all(puzzle: _Puzzle) -> bool:
    n_parts, (n_kinds, n_classes) = len(puzzle.ratio), puzzle.images.shape
    if n_kinds > 20:  # more than 2**19 answers, whatever the kinds
        return False
    ways = [math.comb(int(stock) + n_parts - 1, n_parts - 1) for stock in puzzle.stock]
    return bool(math.prod(ways) * n_parts * max(n_classes, n_kinds) <= _TRIED)


def _try_all(puzzle: _Puzzle, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return one of the best answers of all; int64 (k + 1, p)."""
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
    """List the ways to put equal things into parts: int64 (ways, n_parts), rows sum to `stock`."""
    # Of stock + n_parts - 1 places, n_parts - 1 hold the bars between the parts.
    bars = np.array(list(itertools.combinations(range(stock + n_parts - 1), n_parts - 1)))
    edges = np.pad(bars, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, stock + n_parts - 1)))
    return np.asarray(np.diff(edges, axis=1) - 1, dtype=np.int64)


def _search(puzzle: _Puzzle, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return the best of several random answers, each improved; int64 (k + 1, p)."""
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
    """Give each part its share of each kind, rounded up or down by chance; int64 (k + 1, p)."""
    shares = np.outer(puzzle.stock, puzzle.ratio) / puzzle.ratio.sum()
    answer = np.floor(shares + 1e-9).astype(np.int64)
    left = puzzle.stock - answer.sum(axis=1)
    # A part with a larger fraction is more likely to get one of what is left.
    chance = rng.random(answer.shape) ** (1 / np.maximum(shares - answer, 1e-9))
    rank = np.argsort(np.argsort(-chance, axis=1), axis=1)
    return np.asarray(answer + (rank < left[:, None]))


def _improve(
    puzzle: _Puzzle, answer: npt.NDArray[np.int64], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Move and exchange single groups, the best first, as long as that helps."""
    answer = answer.copy()
    answer[-1] = 1  # of "nothing" there is always one to exchange
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
    """Find the best exchange between two parts: which kind leaves `one`, which comes back.

    With excess d, weights w and u images leaving on balance, the weighted sum of squares changes
    by 2 Σ w u (d_other - d_one + u); in proportion, as d is scaled by r = sum(ratio), by
    Σ w u (d_other - d_one + r u).

    Returns:
        Two kinds, or None if no exchange helps.
    """
    pull = puzzle.weights * (excess[:, other] - excess[:, one])
    scaled = puzzle.weights * puzzle.ratio.sum()
    before = puzzle.count_lacking(n_groups)
    urgent = puzzle.images @ (before[:, one] + before[:, other]) > 0
    squares = puzzle.images**2 @ scaled
    alone = (squares + puzzle.images @ pull, squares - puzzle.images @ pull)  # to move one group
    out = _choose_kinds(answer[:, one], alone[0], urgent, rng)
    back = _choose_kinds(answer[:, other], alone[1], urgent, rng)
    leaving, coming = puzzle.images[out], puzzle.images[back]
    gain = np.asarray(alone[0][out][:, None] + alone[1][back] - 2 * (leaving * scaled) @ coming.T)
    risky = np.flatnonzero((n_groups[:, [one, other]] <= puzzle.least).any(axis=1))
    if len(risky):
        # Only here may a part lose what it must have, or get what it lacks; this goes first.
        lacking = np.zeros_like(gain)
        for label in risky:
            left = (leaving[:, label] > 0)[:, None] * 1.0 - (coming[:, label] > 0)
            lacking += puzzle.count_lacking(n_groups[label, one] - left) - before[label, one]
            lacking += puzzle.count_lacking(n_groups[label, other] + left) - before[label, other]
        gain[lacking > lacking.min()] = np.inf
        if lacking.min() < 0:
            gain -= np.abs(gain[np.isfinite(gain)]).max() + 1  # all that are left help
    row, column = np.unravel_index(np.argmin(gain), gain.shape)
    return (int(out[row]), int(back[column])) if gain[row, column] < 0 else None


def _choose_kinds(
    stock: npt.NDArray[np.int64], change: _Counts, urgent: np.ndarray, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return the kinds that a part has, "nothing" among them; if they are very many, some of them.

    Half of these are those that can end a lack or improve most, the others are drawn by chance.
    """
    present = np.flatnonzero(stock)
    if len(present) <= _SEEN:
        return present
    kinds, nothing = present[:-1], present[-1]
    ordered = kinds[np.lexsort((change[kinds], ~urgent[kinds]))]
    drawn = rng.choice(ordered[_SEEN // 2 :], _SEEN // 2, replace=False)
    return np.concatenate([ordered[: _SEEN // 2], drawn, [nothing]])
