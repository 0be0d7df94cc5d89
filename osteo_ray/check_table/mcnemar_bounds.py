"""Bounds on the p of McNemar's exact test, from two confusion matrices of the same images.

The test needs the number of images that only one of the two classifiers gets wrong. Two matrices do
not determine it: their errors may fall on the same images or on different ones. So p has a range,
over every possible overlap of errors. Pure; matrices are int64, (n, 4): tp, fp, fn, tn.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

_MOST_PAIRS = 1_000_000


@dataclass(frozen=True)
class PRange:
    """The smallest and the largest possible two-sided p."""

    low: float
    high: float

    def name_overlaps(self, alpha: float) -> str:
        """Say for which overlaps of errors p is below alpha.

        Example:
            >>> PRange(0.01, 0.2).name_overlaps(0.05)
            'some overlaps'
        """
        if self.low >= alpha:
            return "no overlap"
        return "every overlap" if self.high < alpha else "some overlaps"


def mcnemar_p(only_first: np.ndarray, only_second: np.ndarray) -> np.ndarray:
    """Return the two-sided p of McNemar's exact test; 1 if no image is classified differently.

    Args:
        only_first: int, (n,); images that the first classifier alone gets wrong.
        only_second: int, (n,); images that the second classifier alone gets wrong.

    Example:
        >>> mcnemar_p(np.array([12]), np.array([0]))
        array([0.00048828])
    """
    fewer = np.minimum(only_first, only_second)
    p: np.ndarray = np.minimum(1.0, 2 * stats.binom.cdf(fewer, only_first + only_second, 0.5))
    return p


def bound_by_totals(first: np.ndarray, second: np.ndarray) -> PRange:
    """Bound p by the numbers of errors alone, as if an image might be in either class.

    Args:
        first: Possible matrices of the first row, at least one, all of the same number of images.
        second: Possible matrices of the second row, of the same number of images.

    Raises:
        ValueError: The numbers of images differ.
    """
    n_images = np.unique(np.concatenate([first.sum(1), second.sum(1)]))
    if len(n_images) != 1:
        raise ValueError(f"Expected the same test images, but got {n_images.tolist()} of them.")
    errors_first, errors_second = (np.unique(rows[:, 1] + rows[:, 2]) for rows in (first, second))
    one, other = (grid.ravel() for grid in np.meshgrid(errors_first, errors_second))
    least = np.maximum(0, one + other - n_images[0])
    return _bound(one, other, least, np.minimum(one, other))


def bound_by_class(first: np.ndarray, second: np.ndarray) -> PRange | None:
    """Bound p class by class: a missed positive cannot be the same image as a false alarm.

    Args:
        first: Possible matrices of the first row, at least one.
        second: Possible matrices of the second row, at least one.

    Returns:
        The bounds. None if no two of them have equal numbers of images per class, so that the test
        images cannot be the same, or if there are too many pairs to try.
    """
    overlaps = _pair_by_class(first, second)
    return None if overlaps is None else _bound(*overlaps)


def bound_differing(first: np.ndarray, second: np.ndarray) -> tuple[int, int] | None:
    """Bound the number of images that exactly one of two classifiers gets wrong, class by class.

    Args:
        first: Possible matrices of the first row, at least one.
        second: Possible matrices of the second row, at least one.

    Returns:
        The smallest and the largest number; None where `bound_by_class` is None.

    Example:
        >>> bound_differing(np.array([(34, 14, 3, 23)]), np.array([(29, 2, 8, 35)]))
        (17, 27)
    """
    overlaps = _pair_by_class(first, second)
    if overlaps is None:
        return None
    one, other, least, most = overlaps
    return int((one + other - 2 * most).min()), int((one + other - 2 * least).max())


def _pair_by_class(
    first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """Return, per pair of matrices, both numbers of errors, and the least and most in common."""
    if len(first) * len(second) > _MOST_PAIRS:
        return None
    left, right = (grid.ravel() for grid in np.indices((len(first), len(second))))
    _, fp, fn, _ = one = first[left].T
    _, other_fp, other_fn, _ = other = second[right].T
    positive, negative = one[0] + one[2], one[1] + one[3]
    least = np.maximum(0, fn + other_fn - positive) + np.maximum(0, fp + other_fp - negative)
    most = np.minimum(fn, other_fn) + np.minimum(fp, other_fp)
    alike = (positive == other[0] + other[2]) & (negative == other[1] + other[3])
    if not alike.any():
        return None
    return (fp + fn)[alike], (other_fp + other_fn)[alike], least[alike], most[alike]


def _bound(one: np.ndarray, other: np.ndarray, least: np.ndarray, most: np.ndarray) -> PRange:
    """Bound p over overlaps from `least` to `most` of two numbers of errors.

    The difference of the numbers that are wrong in one row alone is fixed. So p falls as errors
    overlap more, since fewer images then make the same difference: the ends suffice.
    """
    low = mcnemar_p(one - most, other - most)
    high = mcnemar_p(one - least, other - least)
    return PRange(float(low.min()), float(high.max()))
