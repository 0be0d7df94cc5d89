"""The predictions of one trained model, counted, summed and ranked for the formulas of metrics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from osteo_ray.statistics.arrays import Values
from osteo_ray.statistics.ranking import Ranking

if TYPE_CHECKING:
    from osteo_ray.statistics.predictions import Group
    from osteo_ray.statistics.resampled_ranking import ResampledRanking


@dataclass(frozen=True)
class Sample:
    """The predictions of one trained model on a set of images.

    Metrics are formulas over what a sample counts, sums and ranks. A `ResampledSample` does the
    same for many bootstrap samples of the images at once. Then its arrays have an axis of draws,
    written `...` here, that the arrays of a plain sample lack; formulas work for both.

    With two classes a metric is that of the positive class; with more it is the macro average,
    each class against the rest.

    Attributes:
        labels: int64, (n,); indices of the true classes.
        predicted: int64, (n,); indices of the most probable classes.
        probabilities: float64, (n, n_classes), in [0, 1].
        positive: Index of the positive class.
        ranks: The place of each class in their order from 0 on, if they have one.
    """

    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    positive: int
    ranks: Sequence[int] | None

    @classmethod
    def of(cls, group: "Group", positive: int, ranks: Sequence[int] | None = None) -> "Sample":
        return cls(group.labels, group.predicted, group.probabilities, positive, ranks)

    @property
    def n_classes(self) -> int:
        return int(self.probabilities.shape[1])

    @cached_property
    def confusion(self) -> np.ndarray:
        """Whole numbers, (..., n_classes, n_classes): a row per true, a column per called class."""
        return count_confusion(self.labels, self.predicted, self.n_classes)

    @cached_property
    def hits(self) -> np.ndarray:
        """Images of each class that are called so, (..., n_classes)."""
        return self.confusion.diagonal(axis1=-2, axis2=-1)

    @cached_property
    def given(self) -> np.ndarray:
        """Images of each class, (..., n_classes)."""
        return np.bincount(self.labels, minlength=self.n_classes)

    @cached_property
    def called(self) -> np.ndarray:
        """Images that are called each class, (..., n_classes)."""
        return np.asarray(self.confusion.sum(-2))

    @cached_property
    def n_images(self) -> np.ndarray:
        """How many images there are, (...)."""
        return np.asarray(self.given.sum(-1))

    def add_up(self, values: np.ndarray) -> Values:
        """Sum values of images, float, (n,), to (...)."""
        return np.asarray(values.sum())

    def add_up_bins(self, values: np.ndarray, bins: np.ndarray, n_bins: int) -> Values:
        """Sum values of images, float or bool, (n,), bin by bin, to (..., n_bins).

        Args:
            values: What is summed.
            bins: int, (n,), below `n_bins`.
            n_bins: How many bins there are.
        """
        return np.bincount(bins, weights=values, minlength=n_bins).astype(np.float64)

    def rank(self, index: int) -> "Ranking | ResampledRanking":
        """Return the images in the order of a class's probability."""
        if index not in self._rankings:
            scores = self.probabilities[:, index]
            self._rankings[index] = Ranking.of(scores, self.labels == index)
        return self._rankings[index]

    @cached_property
    def _rankings(self) -> dict[int, Ranking]:
        """Those asked for so far: several metrics rank the images of the same class."""
        return {}

    @property
    def averaged(self) -> slice:
        """The classes over which a metric is averaged."""
        return slice(self.positive, self.positive + 1) if self.n_classes == 2 else slice(None)

    def average(self, values: Values) -> Values:
        """Average values of classes, (..., n_classes), to (...)."""
        return np.asarray(values[..., self.averaged].mean(-1))

    def average_classes(self, measure: Callable[[int], Values]) -> Values:
        """Average what is measured of each class, (...)."""
        parts = [measure(index) for index in range(self.n_classes)[self.averaged]]
        return np.asarray(sum(parts) / len(parts))

    def average_rankings(self, measure: "Callable[[Ranking | ResampledRanking], Values]") -> Values:
        """Average what is measured of the ranking of each class, (...)."""
        return self.average_classes(lambda index: measure(self.rank(index)))


def count_confusion(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Count the images of each true and predicted class.

    Args:
        labels: int, (n_images,); indices of the true classes.
        predicted: int, (n_images,).
        n_classes: How many classes there are.

    Returns:
        int64, (n_classes, n_classes); a row per true class, a column per predicted class.

    Example:
        >>> count_confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    counts = np.bincount(labels * n_classes + predicted, minlength=n_classes**2)
    matrix: np.ndarray = counts.reshape(n_classes, n_classes)
    return matrix


def divide(counts: Any, totals: Any, otherwise: float = np.nan) -> Values:
    """Divide, with a value of its own where a total is 0.

    Example:
        >>> divide(np.array([1, 2]), np.array([4, 0]), 0.0).tolist()
        [0.25, 0.0]
    """
    totals = np.asarray(totals)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(totals > 0, np.divide(counts, totals), otherwise)
