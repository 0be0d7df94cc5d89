"""Can a mean of possible results give printed figures? A linear relaxation with a proof. Pure.

A mean of results lies in the convex hull of all possible results. Whether that hull meets the box
of the values that the printed figures stand for is a linear program. It is solved by column
generation, so that hundreds of thousands of possible results cost little. "No" is said only on a
certificate that is recomputed here from all results, and does not rest on the solver: weights under
which every mean of results lies on one side, and the whole box on the other.

If there are several blocks, a sum is asked for: of one mean per block.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

_TOLERANCE = 1e-6  # in units of a row: for a figure, of half its last decimal
_MOST_ROUNDS = 300


@dataclass(frozen=True)
class Block:
    """Possible results.

    Attributes:
        low: float, (n, m); the smallest value of each of m quantities.
        high: float, (n, m); the largest. Equal to `low` where a result is known exactly.
    """

    low: np.ndarray
    high: np.ndarray


def can_meet(blocks: Sequence[Block], low: np.ndarray, high: np.ndarray) -> bool:
    """Say whether a sum of means, one per block, can lie in a box.

    Args:
        blocks: At least one, each with at least one result.
        low: float, (m,); the lower sides of the box; may be -inf.
        high: float, (m,); the upper sides; may be inf.

    Returns:
        False only if it is proven that no weights of the results give such a sum. True if weights
        are found, or if the search ends without a proof.

    Example:
        >>> corners = Block(np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 0.0], [1.0, 1.0]]))
        >>> can_meet([corners], np.array([0.4, 0.4]), np.array([0.6, 0.6]))
        True
        >>> can_meet([corners], np.array([0.2, 0.6]), np.array([0.4, 0.9]))
        False
    """
    parts, limits = _write_rows(blocks, low, high)
    chosen = [{int(np.argmin(part.sum(axis=1)))} for part in parts]
    for _ in range(_MOST_ROUNDS):
        excess, weights = _solve(parts, chosen, limits)
        if excess <= _TOLERANCE:
            return True
        costs = [part @ weights for part in parts]
        if sum(cost.min() for cost in costs) - weights @ limits > _TOLERANCE:
            return False  # the certificate
        before = sum(map(len, chosen))
        for cost, some in zip(costs, chosen, strict=True):
            some.update(np.argpartition(cost, min(3, len(cost) - 1))[:4].tolist())
        if sum(map(len, chosen)) == before:
            return True
    return True


def _write_rows(
    blocks: Sequence[Block], low: np.ndarray, high: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """Write the box as rows `sum of lows <= high` and `-sum of highs <= -low`, in units."""
    width = np.where(np.isfinite(high - low), (high - low) / 2, 1.0)
    unit = np.where(width > 0, width, 1.0)
    has_low, has_high = np.isfinite(low), np.isfinite(high)
    parts = [
        np.concatenate([(block.low / unit)[:, has_high], -(block.high / unit)[:, has_low]], axis=1)
        for block in blocks
    ]
    return parts, np.concatenate([(high / unit)[has_high], -(low / unit)[has_low]])


def _solve(
    parts: Sequence[np.ndarray], chosen: Sequence[set[int]], limits: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return the smallest excess over the limits that the chosen results allow, and its weights."""
    picked = [part[sorted(some)] for part, some in zip(parts, chosen, strict=True)]
    columns = np.concatenate(picked).T
    of_block = np.repeat(np.arange(len(picked)), [len(some) for some in picked])
    sums = (np.arange(len(picked))[:, None] == of_block).astype(float)
    found = linprog(
        np.append(np.zeros(columns.shape[1]), 1.0),
        A_ub=np.column_stack([columns, -np.ones(len(limits))]),
        b_ub=limits,
        A_eq=np.column_stack([sums, np.zeros(len(picked))]),
        b_eq=np.ones(len(picked)),
        method="highs",
    )
    if found.status != 0:
        return 0.0, np.zeros(len(limits))  # no answer is no proof
    weights = np.maximum(0.0, -found.ineqlin.marginals)
    return float(found.fun), weights / max(weights.sum(), 1e-300)
