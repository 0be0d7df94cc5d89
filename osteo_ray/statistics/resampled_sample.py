"""The predictions of trained models on many bootstrap samples of the same images at once.

A sample is a set of weights: an image of weight 2 counts twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from osteo_ray.statistics.arrays import Values, Weights
from osteo_ray.statistics.predictions import Group
from osteo_ray.statistics.resampled_ranking import ResampledRanking
from osteo_ray.statistics.sample import Sample


@dataclass(frozen=True)
class _Draws:
    """What the trained models have in common: images, labels and weights.

    Attributes:
        labels: int64, (n_images,).
        predicted: int64, (n_models, n_images).
        n_classes: How many classes there are.
        weights: uint8, (n_images, n_draws).
    """

    labels: np.ndarray
    predicted: np.ndarray
    n_classes: int
    weights: Weights

    @cached_property
    def confusions(self) -> Values:
        """Weights per true and called class, (n_models, n_draws, n_classes, n_classes)."""
        cells = self.labels * self.n_classes + self.predicted
        n_models, n_cells = len(cells), self.n_classes**2
        counts = self._count(np.arange(n_models)[:, None] * n_cells + cells, n_models * n_cells)
        shape = (self.weights.shape[1], n_models, self.n_classes, self.n_classes)
        return np.asarray(counts.reshape(shape).swapaxes(0, 1))

    @cached_property
    def given(self) -> Values:
        """Weights of each true class, (n_draws, n_classes)."""
        return self._count(self.labels[None], self.n_classes)

    @cached_property
    def floats(self) -> Values:
        return self.weights.astype(np.float64)

    def _count(self, places: np.ndarray, n_places: int) -> Values:
        """Add up the weights of the images at each place, float64, (n_draws, n_places).

        Args:
            places: int, (n_rows, n_images); of each row an image counts at one place.
            n_places: How many places there are, of all rows.
        """
        ones = np.zeros((n_places, len(self.labels)), np.float32)
        ones[places, np.arange(len(self.labels))] = 1
        counts = ones @ self._singles  # whole numbers below 2^24: exact
        return np.asarray(counts.T.astype(np.float64))

    @cached_property
    def _singles(self) -> npt.NDArray[np.float32]:
        return self.weights.astype(np.float32)


@dataclass(frozen=True)
class ResampledSample(Sample):
    """A `Sample` on many bootstrap samples: its arrays have a first axis of draws.

    Attributes:
        draws: Shared by the trained models of one seed.
        number: Of this model among those.
    """

    draws: _Draws
    number: int

    @cached_property
    def confusion(self) -> np.ndarray:
        return np.asarray(self.draws.confusions[self.number])

    @cached_property
    def given(self) -> np.ndarray:
        return self.draws.given

    def add_up(self, values: np.ndarray) -> Values:
        return np.asarray(values @ self.draws.floats)

    def add_up_bins(self, values: np.ndarray, bins: np.ndarray, n_bins: int) -> Values:
        binned = np.zeros((n_bins, len(bins)))
        binned[bins, np.arange(len(bins))] = values
        return np.asarray((binned @ self.draws.floats).T)

    def rank(self, index: int) -> ResampledRanking:
        n_class = self.given[:, index]
        return ResampledRanking(
            scores=self.probabilities[:, index],
            is_class=self.labels == index,
            weights=self.draws.weights,
            n_class=n_class,
            n_rest=self.n_images - n_class,
        )


def resample_groups(
    groups: Sequence[Group], weights: Weights, positive: int, ranks: Sequence[int] | None = None
) -> list[ResampledSample]:
    """Resample the predictions of trained models on the same images.

    Args:
        groups: Of each trained model, at least one; all of the same images with the same labels.
        weights: uint8, (n_images, n_draws), C-contiguous: to put them in the order of a score is
            then to copy rows, where to pick from columns takes far longer.
        positive: Index of the positive class.
        ranks: The place of each class in their order, if they have one.
    """
    predicted = np.stack([group.predicted for group in groups])
    n_classes = groups[0].probabilities.shape[1]
    draws = _Draws(groups[0].labels, predicted, n_classes, weights)
    return [
        ResampledSample(
            group.labels, predicted[number], group.probabilities, positive, ranks, draws, number
        )
        for number, group in enumerate(groups)
    ]
