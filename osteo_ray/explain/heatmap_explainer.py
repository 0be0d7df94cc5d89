"""What explainers that draw a heat map have in common."""

from abc import abstractmethod

import numpy as np

from osteo_ray.explain.explainer import Explainer, Explanation, LoadedClassifier, Request

UNRECTIFIED = "no place speaks for the class: ranked by the map before it is cut off at 0"
"""The `note` of a mask that was made from such a map."""


class HeatmapExplainer(Explainer):
    """An explainer that draws a heat map; its mask keeps the hottest pixels."""

    def _explain_one(self, classifier: LoadedClassifier, request: Request) -> Explanation:
        from osteo_ray.data.masks import keep_most

        explained_class = request.choose_class(classifier)
        heatmap = self._draw_heatmap(
            classifier, request.picture.image, explained_class, request.rng
        )
        figures = {}
        if not _has_peak(heatmap):
            heatmap = self._draw_unrectified(
                classifier, request.picture.image, explained_class, heatmap
            )
            figures["note"] = UNRECTIFIED
        if not _has_peak(heatmap):
            raise ValueError(
                "Expected a heat map with a peak, but no place speaks more than another for the "
                "explained class."
            )
        keep_mask = keep_most(heatmap, request.area_px)
        return Explanation(keep_mask, heatmap, explained_class, figures)

    def _draw_unrectified(
        self,
        classifier: LoadedClassifier,
        image: np.ndarray,
        explained_class: int,
        heatmap: np.ndarray,
    ) -> np.ndarray:
        """Draw a heat map for an image whose first one has no peak; by default, give up.

        A method that cuts its map off at 0 leaves nothing where no place speaks for the class. The
        map before that cut still ranks the places. Failing instead would fail more often for one
        class than for another.

        Args:
            classifier: The classifier to explain.
            image: uint8 or uint16, (height, width).
            explained_class: The number of the class.
            heatmap: What `_draw_heatmap` returned.

        Returns:
            As `_draw_heatmap`; the given heat map if there is no other.
        """
        return heatmap

    @abstractmethod
    def _draw_heatmap(
        self,
        classifier: LoadedClassifier,
        image: np.ndarray,
        explained_class: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Show where an image speaks for a class.

        Args:
            classifier: The classifier to explain.
            image: uint8 or uint16, (height, width).
            explained_class: The number of the class.
            rng: The source of all randomness.

        Returns:
            float, (height, width); larger = speaks more for the class. Only the order counts.

        Raises:
            ValueError: There is no heat map of this image.
        """


def _has_peak(heatmap: np.ndarray) -> bool:
    return not heatmap.max() <= heatmap.min()  # NaN is left to `keep_most`, which refuses it
