"""Our Grad-CAM against the `grad-cam` package and against Grad-CAM by autograd, by hand."""

import copy

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch.nn import functional

from osteo_ray.data.image_size import ImageSize
from osteo_ray.explain.gradcam import compute_heatmaps
from osteo_ray.models.classifier import Classifier, build_classifier

SIZE_PX = 64
CLASSES = np.array([0, 1, 2, 0])


def _compute_with_package(
    classifier: Classifier, images: torch.Tensor, classes: np.ndarray
) -> np.ndarray:
    targets = [ClassifierOutputTarget(int(number)) for number in classes]
    with GradCAM(model=classifier, target_layers=[classifier.feature_map]) as cam:
        found: np.ndarray = cam(input_tensor=images, targets=targets)
    classifier.zero_grad(set_to_none=True)  # the package leaves gradients behind
    return found


def _compute_by_hand(
    classifier: Classifier, images: torch.Tensor, classes: np.ndarray, *, rectified: bool = True
) -> np.ndarray:
    """Follow Selvaraju et al. 2017: gradients averaged over places weigh the channels; ReLU."""
    maps = []
    for image, number in zip(images, classes, strict=True):
        features = classifier.backbone.forward_features((image - classifier.mean) / classifier.std)
        features = features.detach().requires_grad_()
        score = classifier.head(features.mean((2, 3)))[0, int(number)]
        (gradient,) = torch.autograd.grad(score, features)
        channel_weights = gradient.mean((2, 3), keepdim=True)
        cam = (channel_weights * features).sum(1, keepdim=True).detach()
        cam = functional.relu(cam) if rectified else cam
        size = (SIZE_PX, SIZE_PX)
        cam = functional.interpolate(cam, size, mode="bilinear", align_corners=False)[0, 0]
        maps.append(((cam - cam.min()) / (cam.max() - cam.min())).numpy())
    return np.stack(maps)


def _draw_images(height: int, width: int) -> torch.Tensor:
    blobs = torch.from_numpy(np.random.default_rng(0).random((4, 1, 8, 8), np.float32))
    return functional.interpolate(blobs, (height, width), mode="bicubic").clamp(0, 1)


def _build(name: str) -> Classifier:
    return build_classifier(
        name, n_classes=3, image_size=ImageSize.square(SIZE_PX), weights="none", seed=3
    ).eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return _draw_images(SIZE_PX, SIZE_PX)


@pytest.fixture(scope="module", params=["test_byobnet", "test_efficientnet"])
def classifier(request: pytest.FixtureRequest, images: torch.Tensor) -> Classifier:
    classifier = _build(request.param)
    # Statistics of these images, as training would leave: without, features fade to nothing.
    for module in classifier.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.inference_mode():
        classifier.train()(images)
    return classifier.eval()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 96), (64, 96)])
def test_equals_the_package(classifier: Classifier, height: int, width: int) -> None:
    images = _draw_images(height, width)
    found = compute_heatmaps(classifier, images, CLASSES)
    assert found.shape == (4, height, width)
    expected = _compute_with_package(classifier, images, CLASSES)
    assert expected.std() > 0.05
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_equals_the_package_where_next_to_nothing_speaks(
    classifier: Classifier, images: torch.Tensor
) -> None:
    # So little that the term which guards the division decides what is left of a map.
    classifier = copy.deepcopy(classifier)
    with torch.no_grad():
        classifier.head[-1].weight *= 1e-14
    found = compute_heatmaps(classifier, images, CLASSES)
    expected = _compute_with_package(classifier, images, CLASSES)
    assert 0.01 < expected.max() < 0.9
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_equals_grad_cam_by_hand(classifier: Classifier, images: torch.Tensor) -> None:
    found = compute_heatmaps(classifier, images, CLASSES)
    assert found.shape == (4, SIZE_PX, SIZE_PX)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1
    assert found.std() > 0.05
    np.testing.assert_allclose(found, _compute_by_hand(classifier, images, CLASSES), atol=1e-4)


def test_batch_equals_one_by_one(classifier: Classifier, images: torch.Tensor) -> None:
    singles = [
        compute_heatmaps(classifier, images[[number]], CLASSES[[number]])
        for number in range(len(images))
    ]
    found = compute_heatmaps(classifier, images, CLASSES)
    np.testing.assert_allclose(found, np.concatenate(singles), rtol=0, atol=1e-5)


def test_class_decides(classifier: Classifier, images: torch.Tensor) -> None:
    one = compute_heatmaps(classifier, images, np.zeros(4, int))
    other = compute_heatmaps(classifier, images, np.full(4, 2))
    assert np.abs(one - other).max() > 0.1


def test_nothing_in_favour_gives_zeros(classifier: Classifier, images: torch.Tensor) -> None:
    classifier = copy.deepcopy(classifier)
    with torch.no_grad():
        classifier.head[-1].weight[1] = 0
    found = compute_heatmaps(classifier, images, np.array([0, 1, 0, 1]))
    assert np.isfinite(found).all()
    assert not found[1::2].any()
    assert found[::2].any()


@pytest.mark.parametrize("name", ["test_vit", "test_mambaout"])  # tokens, channels last
def test_backbone_without_a_feature_map_is_refused(name: str, images: torch.Tensor) -> None:
    classifier = _build(name)
    with pytest.raises(ValueError, match=r"^Expected a feature map \(batch, .*needs a CNN\.$"):
        compute_heatmaps(classifier, images, CLASSES)
    assert not classifier.feature_map._forward_hooks
    assert all(parameter.requires_grad for parameter in classifier.parameters())


def test_classifier_is_left_as_it_was(classifier: Classifier, images: torch.Tensor) -> None:
    with torch.inference_mode():
        before = classifier(images)
    parameters = list(classifier.parameters())
    compute_heatmaps(classifier, images, np.zeros(4, int))
    assert not classifier.training
    assert not classifier.feature_map._forward_hooks
    for one, other in zip(parameters, classifier.parameters(), strict=True):
        assert one is other
        assert one.requires_grad
        assert one.grad is None
    with torch.inference_mode():
        assert torch.equal(classifier(images), before)


def test_no_graph_of_the_backbone_is_kept(classifier: Classifier, images: torch.Tensor) -> None:
    seen: list[bool] = []
    watch = classifier.feature_map.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].requires_grad)
    )
    with watch, torch.no_grad():  # where the caller computes no gradients, it still works
        compute_heatmaps(classifier, images, CLASSES)
    assert seen == [False]


def test_second_map_in_a_pass_is_refused(classifier: Classifier, images: torch.Tensor) -> None:
    classifier = copy.deepcopy(classifier)
    embed, shrink = classifier.embed, functional.avg_pool2d
    classifier.embed = lambda batch: embed(batch) + embed(shrink(batch, 2))  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="one last feature map per pass, but the network gave 2"):
        compute_heatmaps(classifier, images, CLASSES)


def test_map_that_is_not_rectified_ranks_what_speaks_against_the_class(
    classifier: Classifier, images: torch.Tensor
) -> None:
    classes = np.array([1, 1, 2, 0])
    found = compute_heatmaps(classifier, images, classes, rectified=False)
    expected = _compute_by_hand(classifier, images, classes, rectified=False)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    assert (found.reshape(4, -1).std(1) > 0.05).all()
    assert (found.reshape(4, -1).max(1) > 0.9).all()
    rectified = compute_heatmaps(classifier, images, classes)
    assert np.abs(found - rectified).max() > 0.05
