"""Grad-CAM by the package against Grad-CAM by autograd."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from osteo_ray.explain.gradcam import compute_heatmaps
from osteo_ray.models.classifier import Classifier, build_classifier

SIZE_PX = 64


def _compute_by_hand(
    classifier: Classifier, images: torch.Tensor, classes: np.ndarray
) -> np.ndarray:
    """Follow Selvaraju et al. 2017: gradients averaged over places weigh the channels; ReLU."""
    maps = []
    for image, number in zip(images, classes, strict=True):
        features = classifier.backbone.forward_features((image - classifier.mean) / classifier.std)
        features = features.detach().requires_grad_()
        score = classifier.head(features.mean((2, 3)))[0, int(number)]
        (gradient,) = torch.autograd.grad(score, features)
        channel_weights = gradient.mean((2, 3), keepdim=True)
        cam = functional.relu((channel_weights * features).sum(1, keepdim=True)).detach()
        size = (SIZE_PX, SIZE_PX)
        cam = functional.interpolate(cam, size, mode="bilinear", align_corners=False)[0, 0]
        maps.append(((cam - cam.min()) / (cam.max() - cam.min())).numpy())
    return np.stack(maps)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    blobs = torch.from_numpy(np.random.default_rng(0).random((4, 1, 8, 8), np.float32))
    return functional.interpolate(blobs, (SIZE_PX, SIZE_PX), mode="bicubic").clamp(0, 1)


@pytest.fixture(scope="module", params=["test_byobnet", "test_efficientnet"])
def classifier(request: pytest.FixtureRequest, images: torch.Tensor) -> Classifier:
    classifier = build_classifier(
        request.param, n_classes=3, image_size=SIZE_PX, weights="none", seed=3
    )
    # Statistics of these images, as training would leave: without, features fade to nothing.
    for module in classifier.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.inference_mode():
        classifier.train()(images)
    return classifier.eval()


def test_equals_grad_cam_by_hand(classifier: Classifier, images: torch.Tensor) -> None:
    classes = np.array([0, 1, 2, 0])
    found = compute_heatmaps(classifier, images, classes)
    assert found.shape == (4, SIZE_PX, SIZE_PX)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1
    assert found.std() > 0.05
    np.testing.assert_allclose(found, _compute_by_hand(classifier, images, classes), atol=1e-4)


def test_class_decides(classifier: Classifier, images: torch.Tensor) -> None:
    one = compute_heatmaps(classifier, images, np.zeros(4, int))
    other = compute_heatmaps(classifier, images, np.full(4, 2))
    assert np.abs(one - other).max() > 0.1


def test_classifier_is_left_as_it_was(classifier: Classifier, images: torch.Tensor) -> None:
    with torch.inference_mode():
        before = classifier(images)
    compute_heatmaps(classifier, images, np.zeros(4, int))
    assert not classifier.training
    assert not classifier.feature_map._forward_hooks
    with torch.inference_mode():
        assert torch.equal(classifier(images), before)
