"""Images in the order of a score, sorted once for all that ranks them. Pure.

ROC and precision-recall areas, thresholds and DeLong's components all follow from how many images
of the class and of the rest have each distinct score. Tests hold both areas to scikit-learn's.
"""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ranking:
    """How many images of a class and of the rest reach each distinct score.

    Attributes:
        cuts: float, (n_cuts,); the distinct scores, descending.
        found: int64, (n_cuts,); images of the class with at least that score.
        called: int64, (n_cuts,); images of either kind with at least that score.
        order: int64, (n_images,); images by descending score, in no order where scores are equal.
    """

    cuts: np.ndarray
    found: np.ndarray
    called: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, is_class: np.ndarray) -> "Ranking":
        """Sort images.

        Args:
            scores: float, (n_images,), finite, at least one.
            is_class: bool, (n_images,).
        """
        order = np.argsort(scores)[::-1]
        ranked = scores[order]
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # of equal scores
        return cls(ranked[ends], np.cumsum(is_class[order])[ends], ends + 1, order)

    @property
    def n_class(self) -> int:
        """Images of the class."""
        return int(self.found[-1])

    @property
    def n_rest(self) -> int:
        """Images of the rest."""
        return int(self.called[-1]) - self.n_class

    @property
    def rest(self) -> np.ndarray:
        """Images of the rest with at least each distinct score, int64 (n_cuts,)."""
        return np.asarray(self.called - self.found)

    def measure_auc(self) -> float:
        """Return the area under the ROC curve, ties counting half; NaN where a kind is missing.

        Example:
            >>> scores, is_class = np.array([0.1, 0.4, 0.4, 0.8]), np.array([0, 0, 1, 1], bool)
            >>> Ranking.of(scores, is_class).measure_auc()
            0.875
        """
        n_pairs = self.n_class * self.n_rest
        if n_pairs == 0:
            return math.nan
        above = 2 * self.found - np.diff(self.found, prepend=0)  # twice, equal scores half
        return int(np.diff(self.rest, prepend=0) @ above) / (2 * n_pairs)

    def measure_average_precision(self) -> float:
        """Return precision at each distinct score, weighted by the recall that it adds.

        Returns:
            NaN where a kind is missing.
        """
        if self.n_class * self.n_rest == 0:
            return math.nan
        added = np.diff(self.found, prepend=0)
        return float(added @ (self.found / self.called)) / self.n_class

    def place(self) -> np.ndarray:
        """Return the place of each image's score in `cuts`, int64 (n_images,)."""
        places = np.empty(len(self.order), np.int64)
        places[self.order] = np.repeat(np.arange(len(self.cuts)), np.diff(self.called, prepend=0))
        return places
