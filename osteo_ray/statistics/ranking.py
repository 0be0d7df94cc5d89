"""Images in the order of a score, sorted once for all that ranks them. Pure.

ROC and precision-recall areas, thresholds and DeLong's components all follow from how many images
of the class and of the rest have each distinct score. Tests hold both areas to scikit-learn's.
"""

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

    def count_pairs(self) -> float:
        """Return how many pairs of the class and the rest are in order, equal scores counting half.

        Example:
            >>> scores, is_class = np.array([0.1, 0.4, 0.4, 0.8]), np.array([0, 0, 1, 1], bool)
            >>> Ranking.of(scores, is_class).count_pairs()
            3.5
        """
        above = 2 * self.found - np.diff(self.found, prepend=0)  # twice, equal scores half
        return int(np.diff(self.rest, prepend=0) @ above) / 2

    def sum_over_class(self, values: np.ndarray) -> float:
        """Sum a value of each distinct score over the images of the class that have it."""
        return float(np.diff(self.found, prepend=0) @ values)

    def place(self) -> np.ndarray:
        """Return the place of each image's score in `cuts`, int64 (n_images,)."""
        places = np.empty(len(self.order), np.int64)
        places[self.order] = np.repeat(np.arange(len(self.cuts)), np.diff(self.called, prepend=0))
        return places
