"""What explainers that draw a heat map have in common."""

from abc import abstractmethod

import numpy as np

from osteo_ray.explain.explainer import Explainer, Explanation, LoadedClassifier, Request

UNRECTIFIED = "no place speaks for the class: ranked by the map before it is cut off at 0"
"""The `note` of a mask that was made from such a map."""
FEW_HOT = (
    "fewer pixels speak for the class than the mask keeps: the rest are ranked by the map before "
    "it is cut off at 0"
)
"""The `note` of a mask that keeps pixels at the minimum of its heat map, where many of them tie."""


class HeatmapExplainer(Explainer):
    """An explainer that draws a heat map; its mask keeps the hottest pixels."""

    def _explain_one(self, classifier: LoadedClassifier, request: Request) -> Explanation:
        from osteo_ray.data.masks import keep_most

        image, explained_class = request.picture.image, request.choose_class(classifier)
        heatmap = self._draw_heatmap(classifier, image, explained_class, request.rng)
        figures = {}
        if not _has_peak(heatmap):
            heatmap = self._draw_unrectified(classifier, image, explained_class, heatmap)
            figures["note"] = UNRECTIFIED
        elif np.sum(heatmap <= heatmap.min()) > heatmap.size - request.area_px:
            unrectified = self._draw_unrectified(classifier, image, explained_class, heatmap)
            heatmap = _rank_rest(heatmap, unrectified)
            figures["note"] = FEW_HOT
        if not _has_peak(heatmap):
            raise ValueError(
                "Expected a heat map with a peak, but no place speaks more than another for the "
                "explained class."
            )
        if figures:
            keep_mask = _keep_by_lot(heatmap, request.area_px, request.picture.digest)
        else:
            keep_mask = keep_most(heatmap, request.area_px)
        return Explanation(keep_mask, heatmap, explained_class, figures)

    def _draw_unrectified(
        self,
        classifier: LoadedClassifier,
        image: np.ndarray,
        explained_class: int,
        heatmap: np.ndarray,
    ) -> np.ndarray:
        """Draw a heat map that also ranks the places that the first one leaves at its minimum.

        A method that cuts its map off at 0 leaves nothing where no place speaks for the class. The
        map before that cut still ranks the places. Failing instead would fail more often for one
        class than for another, and so would keeping what comes first in the image.

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


def _rank_rest(heatmap: np.ndarray, unrectified: np.ndarray) -> np.ndarray:
    """Rank the pixels at the minimum of a heat map by another map, below all other pixels.

    Returns:
        float64, (height, width).
    """
    least, ranks = heatmap.min(), unrectified.astype(np.float64)
    is_rest = heatmap <= least
    return np.where(is_rest, least + ranks - ranks[is_rest].max(), heatmap)


def _keep_by_lot(importance: np.ndarray, area_px: int, digest: str) -> np.ndarray:
    """Keep the most important pixels as `keep_most` does, but break ties by lot.

    In the order of rows, ties would fill up masks from the top, and how far might tell the class.
    The lots depend on the image alone, as heat maps do.
    """
    from osteo_ray.data.masks import keep_most

    lots = np.random.default_rng(list(digest.encode())).permutation(importance.size)
    keep_mask = np.empty(importance.size, bool)
    keep_mask[lots] = keep_most(importance.ravel()[lots], area_px)
    return keep_mask.reshape(importance.shape)


def _has_peak(heatmap: np.ndarray) -> bool:
    return not heatmap.max() <= heatmap.min()  # NaN is left to `keep_most`, which refuses it
