"""Grad-CAM heat maps, by the `grad-cam` package."""

import numpy as np
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from osteo_ray.models.classifier import Classifier


def compute_heatmaps(
    classifier: Classifier, images: torch.Tensor, classes: np.ndarray
) -> np.ndarray:
    """Show where the last feature map speaks for a class (Selvaraju et al. 2017).

    Args:
        classifier: In evaluation mode; its backbone must end in a feature map, as CNNs do.
        images: float32, (batch, 1, height, width), in [0, 1], on the classifier's device.
        classes: int, (batch,); the class explained for each image.

    Returns:
        float32, (batch, height, width), in [0, 1]; larger = speaks more for the class.
    """
    targets = [ClassifierOutputTarget(int(number)) for number in classes]
    with GradCAM(model=classifier, target_layers=[classifier.feature_map]) as cam:
        heatmaps: np.ndarray = cam(input_tensor=images, targets=targets)
        return heatmaps
