"""What the claim "this model is better" is worth, given two accuracies on the same test images.

Pure. After Christodoulou et al. 2025, "False promises in medical imaging AI? Assessing validity of
outperformance claims" (arXiv:2505.04720).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betainc

USUAL_AGREEMENT = (0.8, 0.95)
"""The share of images on which two models are usually both right or both wrong."""
_MOST_PAIRS = 10_000


@dataclass(frozen=True)
class FalseClaim:
    """The probability that the better model of a table is not the better one.

    Attributes:
        mean: Over every agreement in the range, each number of images being equally probable.
        low: The smallest probability within the range of agreement.
        high: The largest.
        agreement: The range that was used. It is not the one asked for if the two accuracies do not
            allow that.
    """

    mean: float
    low: float
    high: float
    agreement: tuple[float, float]


def find_false_claim(
    n_right: Sequence[int],
    n_right_other: Sequence[int],
    n_images: int,
    agreement: tuple[float, float] = USUAL_AGREEMENT,
    differing: tuple[int, int] | None = None,
) -> FalseClaim:
    """Return the probability that the model with more right answers is not the better one.

    Each image falls into one of four cells: both models right, only the first, only the second,
    both wrong. Before the results are seen, all probabilities of the four are equally credible (a
    uniform Dirichlet prior), so that afterwards they follow a Dirichlet distribution with the
    counts plus 1. Of images on which only one model is right, the share that the better model gets
    right then follows Beta(b + 1, c + 1), with b and c the counts. A claim is false if that share
    is at most 1/2.

    A table does not print b and c, only b - c. Under the same prior every table of the four counts
    is equally probable beforehand, so that given both accuracies every possible b + c is; those
    outside the range of agreement are left out.

    This assumes that both models were tested on the same images, that these are a random sample of
    independent images, and that each model was trained once: the luck of its training is left out.

    Args:
        n_right: Numbers of images that the first model may have got right; each equally probable.
        n_right_other: The same of the second model.
        n_images: Test images.
        agreement: The smallest and the largest share of images on which both models are right or
            both are wrong. If the accuracies allow nothing in this range, the nearest that they
            allow is used.
        differing: The smallest and the largest number of images that only one model can get right,
            if more is known than the accuracies.

    Example:
        >>> claim = find_false_claim([90], [80], 100, agreement=(0.9, 0.9))
        >>> round(claim.mean, 6) == round(0.5**11, 6)  # b = 10, c = 0
        True
    """
    found: list[float] = []
    used: list[float] = []
    pairs = [(one, other) for one in n_right for other in n_right_other]
    for one, other in pairs[:: -(-len(pairs) // _MOST_PAIRS)]:
        only_one, only_other = _list_tables(one, other, n_images, agreement, differing)
        found += betainc(
            np.maximum(only_one, only_other) + 1.0, np.minimum(only_one, only_other) + 1.0, 0.5
        ).tolist()
        used += (1 - (only_one + only_other) / n_images).tolist()
    return FalseClaim(float(np.mean(found)), min(found), max(found), (min(used), max(used)))


def _list_tables(
    one: int,
    other: int,
    n_images: int,
    agreement: tuple[float, float],
    limits: tuple[int, int] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """List how many images only one model gets right, for each possible number in the range."""
    least, most = abs(one - other), min(one + other, 2 * n_images - one - other)
    differing = np.arange(least, most + 1, 2)  # b + c has the parity of b - c
    if limits is not None:
        within = differing[(differing >= limits[0]) & (differing <= limits[1])]
        differing = within if len(within) else differing
    low, high = ((1 - share) * n_images for share in reversed(agreement))
    inside = differing[(differing >= low - 1e-9) & (differing <= high + 1e-9)]
    if not len(inside):  # the nearest that the accuracies allow
        inside = differing[[np.argmin(np.maximum(low - differing, differing - high))]]
    return (inside + one - other) // 2, (inside - one + other) // 2
