"""Images in the order of a score, under many sets of weights at once."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from osteo_ray.statistics.arrays import Values, Weights

_BAND, _BLOCK = 2048, 32  # rows


@dataclass(frozen=True)
class ResampledRanking:
    """What a `Ranking` is for one set of images, for many bootstrap samples of them.

    Its cuts are the scores of the images of the class alone: at no other does a sample gain any.

    Attributes:
        scores: float, (n_images,).
        is_class: bool, (n_images,).
        weights: uint8, (n_images, n_draws), C-contiguous.
        n_class: float64, (n_draws,); weight of the images of the class.
        n_rest: float64, (n_draws,); weight of all others.
    """

    scores: np.ndarray
    is_class: np.ndarray
    weights: Weights
    n_class: Values
    n_rest: Values

    @property
    def found(self) -> Values:
        """Weight of the class with at least the score of each cut, (n_cuts, n_draws)."""
        return self._counts[0]

    @property
    def called(self) -> npt.NDArray[np.uint32]:
        """Weight of all images with at least the score of each cut, (n_cuts, n_draws)."""
        return self._counts[1]

    @cached_property
    def _counts(self) -> tuple[Values, npt.NDArray[np.uint32]]:
        order = np.argsort(-self.scores)
        ranked, hits = self.scores[order], self.is_class[order]
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) + 1  # of equal scores
        n_found = np.cumsum(hits)[ends - 1]
        adds = np.diff(n_found, prepend=0) > 0
        found = _accumulate(self.weights[order[hits]])[n_found[adds]].astype(np.float64)
        return found, _accumulate(self.weights[order])[ends[adds]]

    def count_pairs(self) -> Values:
        """Return the weight of the pairs in the right order, equal scores half; (n_draws,)."""
        won, negatives = np.zeros((2, self.weights.shape[1]))
        for band in _cut_bands(self.scores):
            hits = self.is_class[band]
            positive, negative = band[hits], band[~hits]
            of_positives, below = self.weights[positive], _accumulate(self.weights[negative])
            won += of_positives.sum(0, dtype=np.uint32) * negatives
            won += _win_pairs(self.scores[positive], self.scores[negative], of_positives, below)
            negatives += below[-1]
        return won

    def sum_over_class(self, values: Values) -> Values:
        """Sum a value of each cut over the images of the class that have its score; (n_draws,)."""
        return np.asarray(np.einsum("kd,kd->d", values, np.diff(self.found, axis=0, prepend=0.0)))


def _cut_bands(scores: np.ndarray) -> list[np.ndarray]:
    """Return the images by ascending score, in bands of about `_BAND`; equal scores are in one.

    What is made of a band stays in the processor's cache, whatever the number of images.
    """
    order = np.argsort(scores)
    ranked = scores[order]
    ends = np.flatnonzero(ranked[1:] != ranked[:-1]) + 1  # of equal scores, but the last
    wanted = np.searchsorted(ends, np.arange(_BAND, len(scores), _BAND))
    return np.split(order, np.unique(ends[wanted[wanted < len(ends)]]))


def _win_pairs(
    positives: np.ndarray, negatives: np.ndarray, weights: Weights, below: npt.NDArray[np.uint32]
) -> Values:
    """Return the weight of the pairs in the right order.

    Args:
        positives: Scores, (n_positives,), ascending.
        negatives: Scores, (n_negatives,), ascending.
        weights: uint8, (n_positives, n_draws).
        below: uint32, (n_negatives + 1, n_draws); weights of the negatives, accumulated.
    """
    first, last = (np.searchsorted(negatives, positives, side) for side in ("left", "right"))
    # Whole numbers: twice the pairs won, in as many bits as they may need.
    most = 2 * 255 * len(weights) * int(below[-1].max(initial=0))
    fitting = np.promote_types(np.min_scalar_type(most), np.uint32)
    won = 2 * _sum_products(below[first], weights, fitting)
    tied = last > first
    if tied.any():
        won += _sum_products(below[last[tied]] - below[first[tied]], weights[tied], fitting)
    return won / 2


def _sum_products(sums: np.ndarray, weights: Weights, fitting: np.dtype[Any]) -> Values:
    products = np.multiply(sums, weights, dtype=fitting)
    return np.asarray(products.sum(0, dtype=fitting), dtype=np.float64)


def _accumulate(weights: Weights) -> npt.NDArray[np.uint32]:
    """Sum rows from the first on.

    Args:
        weights: uint8, (n_rows, n_draws).

    Returns:
        uint32, (n_rows + 1, n_draws); row k is the sum of the k rows before it.
    """
    # In blocks, whose rows are added side by side: `np.cumsum` goes down one column after the
    # other, which takes three times as long.
    n_rows, n_draws = weights.shape
    n_blocks = -(-n_rows // _BLOCK)
    sums = np.zeros((n_blocks * _BLOCK + 1, n_draws), np.uint32)
    sums[1 : n_rows + 1] = weights
    blocks = sums[1:].reshape(n_blocks, _BLOCK, n_draws)
    for row in range(1, _BLOCK):
        blocks[:, row] += blocks[:, row - 1]
    blocks[1:] += np.cumsum(blocks[:-1, -1], axis=0, dtype=np.uint32)[:, None]
    return sums[: n_rows + 1]
