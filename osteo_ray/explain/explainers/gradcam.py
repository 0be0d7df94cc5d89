"""Grad-CAM (Selvaraju et al. 2017), by our own fast implementation in `explain.gradcam`."""

from typing import TYPE_CHECKING

import numpy as np

from osteo_ray.data.image_size import ImageSize
from osteo_ray.explain.explainer import LoadedClassifier
from osteo_ray.explain.heatmap_explainer import HeatmapExplainer

if TYPE_CHECKING:
    from osteo_ray.models.classifier import Classifier


class CamExplainer(HeatmapExplainer):
    """An explainer that needs the last feature map of a CNN."""

    depends_on = frozenset({"area"})

    def check_classifier(self, module: "Classifier", image_size: ImageSize) -> None:
        """Refuse a classifier whose backbone does not end in a feature map of several places.

        Raises:
            ValueError: The backbone ends in tokens, in a feature map with channels last, or in one
                of a single place.
        """
        from osteo_ray.explain.gradcam import check_places

        check_places(module, image_size)


class GradCam(CamExplainer):
    """Feature maps, weighed by their mean gradients. Uses no random numbers."""

    name = "gradcam"
    summary = "keeps the hottest pixels of a Grad-CAM heat map"

    def _draw_heatmap(
        self,
        classifier: LoadedClassifier,
        image: np.ndarray,
        explained_class: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        return _compute_heatmap(classifier, image, explained_class, rectified=True)

    def _draw_unrectified(
        self,
        classifier: LoadedClassifier,
        image: np.ndarray,
        explained_class: int,
        heatmap: np.ndarray,
    ) -> np.ndarray:
        return _compute_heatmap(classifier, image, explained_class, rectified=False)


def _compute_heatmap(
    classifier: LoadedClassifier, image: np.ndarray, explained_class: int, *, rectified: bool
) -> np.ndarray:
    from osteo_ray.explain.gradcam import compute_heatmaps

    batch, classes = classifier.to_batch(image), np.array([explained_class])
    found: np.ndarray = compute_heatmaps(classifier.module, batch, classes, rectified=rectified)[0]
    return found
