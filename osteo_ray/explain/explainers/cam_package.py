"""Class activation maps of the `grad-cam` package (pytorch_grad_cam), on the last feature map.

Left out: the package's Grad-CAM, as ours is faster; RandomCAM, which draws from NumPy's global
random numbers; FullGrad, which ignores the layer that it is given; and ShapleyCAM, which keeps a
graph of the whole network.
"""

import contextlib
import io
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from osteo_ray.explain.explainer import LoadedClassifier
from osteo_ray.explain.explainers.gradcam import CamExplainer

_CHANNELS = 1000  # of the last feature map: 960 of MobileNetV3-large, 1280 of EfficientNet-B0


class PackageCam(CamExplainer):
    """A method of the package, applied to one image at a time. Uses no random numbers.

    Attributes:
        package_name: The name of the class in `pytorch_grad_cam`.
        title: The usual name of the method.
        literature: Where it comes from: authors and year.
        by_channel: It takes a forward pass per channel of the feature map.
    """

    package_name: ClassVar[str]
    title: ClassVar[str]
    literature: ClassVar[str | None] = None
    by_channel: ClassVar[bool] = False

    def count_passes(self, n_classes: int) -> int:
        """Return 1, or about the number of channels for methods that try each of them."""
        return _CHANNELS if self.by_channel else 1

    def _draw_heatmap(
        self,
        classifier: LoadedClassifier,
        image: np.ndarray,
        explained_class: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        return self._apply(classifier, image, explained_class)[0]

    def _draw_unrectified(
        self,
        classifier: LoadedClassifier,
        image: np.ndarray,
        explained_class: int,
        heatmap: np.ndarray,
    ) -> np.ndarray:
        from pytorch_grad_cam.utils.image import scale_cam_image

        rows, columns = image.shape
        _, unrectified = self._apply(classifier, image, explained_class)
        found: np.ndarray = scale_cam_image(unrectified, (columns, rows))[0]
        return found

    def _apply(
        self, classifier: LoadedClassifier, image: np.ndarray, explained_class: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a heat map of the size of the image, and the map before it is cut off at 0."""
        import pytorch_grad_cam
        import torch
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        method = getattr(pytorch_grad_cam, self.package_name)
        with _borrow(classifier.module) as module, torch.enable_grad(), np.errstate(all="ignore"):
            cam = method(model=module, target_layers=[module.feature_map])
            draw, drawn = cam.get_cam_image, []

            def keep(*inputs: Any) -> np.ndarray:
                drawn.append(draw(*inputs))
                return np.asarray(drawn[-1])

            cam.get_cam_image = keep
            try:
                batch = classifier.to_batch(image)
                (heatmap,) = cam(
                    input_tensor=batch, targets=[ClassifierOutputTarget(explained_class)]
                )
            finally:
                cam.activations_and_grads.release()
        return heatmap, np.asarray(drawn[0])


@contextlib.contextmanager
def _borrow(module: Any) -> Iterator[Any]:
    """Lend a classifier to the package, which prints, replaces layers and leaves gradients.

    Gradients end at the last feature map, so that none are computed in the backbone.

    Raises:
        ValueError: The backbone ends in tokens, or in a feature map with channels last.
    """
    from osteo_ray.explain.gradcam import check_feature_map, require_feature_map

    def begin_graph(_: Any, inputs: tuple[Any]) -> tuple[Any]:
        check_feature_map(module, inputs[0])
        return (inputs[0].detach().requires_grad_(),)

    require_feature_map(module)
    layer = module.feature_map
    hook = layer.register_forward_pre_hook(begin_graph)
    try:
        with hook, contextlib.redirect_stderr(io.StringIO()):  # from its progress bars
            yield module
    finally:
        module.feature_map = layer
        module.zero_grad(set_to_none=True)


class GradCamPlusPlus(PackageCam):
    """Grad-CAM++ (Chattopadhyay et al. 2018): higher-order gradients weigh the feature maps."""

    name = "gradcam_plus_plus"
    summary = "does so by Grad-CAM++"
    package_name = "GradCAMPlusPlus"
    title = "Grad-CAM++"
    literature = "Chattopadhyay et al. 2018"


class XGradCam(PackageCam):
    """XGrad-CAM (Fu et al. 2020): gradients weighed by normalised activations."""

    name = "xgradcam"
    summary = "by XGrad-CAM"
    package_name = "XGradCAM"
    title = "XGrad-CAM"
    literature = "Fu et al. 2020"


class LayerCam(PackageCam):
    """Layer-CAM (Jiang et al. 2021): positive gradients weigh each place by itself."""

    name = "layercam"
    summary = "by Layer-CAM"
    package_name = "LayerCAM"
    title = "Layer-CAM"
    literature = "Jiang et al. 2021"


class HiResCam(PackageCam):
    """HiRes-CAM (Draelos & Carin 2020): gradients times activations, place by place."""

    name = "hirescam"
    summary = "by HiRes-CAM"
    package_name = "HiResCAM"
    title = "HiRes-CAM"
    literature = "Draelos and Carin 2020"


class ElementwiseGradCam(PackageCam):
    """Grad-CAM with each product of gradient and activation cut off below 0."""

    name = "gradcam_elementwise"
    summary = "by element-wise Grad-CAM"
    package_name = "GradCAMElementWise"
    title = "Element-wise Grad-CAM"


class EigenCam(PackageCam):
    """Eigen-CAM (Muhammad & Yeasin 2020): first principal component, whatever the class."""

    name = "eigencam"
    summary = "by Eigen-CAM, which is the same for all classes"
    package_name = "EigenCAM"
    title = "Eigen-CAM"
    literature = "Muhammad and Yeasin 2020"


class EigenGradCam(PackageCam):
    """Eigen-CAM of gradients times activations."""

    name = "eigengradcam"
    summary = "by EigenGrad-CAM"
    package_name = "EigenGradCAM"
    title = "EigenGrad-CAM"


class ScoreCam(PackageCam):
    """Score-CAM (Wang et al. 2020): a forward pass per channel, masked by the channel's map."""

    name = "scorecam"
    summary = "by Score-CAM, a forward pass per channel"
    package_name = "ScoreCAM"
    title = "Score-CAM"
    literature = "Wang et al. 2020"
    by_channel = True


class AblationCam(PackageCam):
    """Ablation-CAM (Desai & Ramaswamy 2020): a forward pass per channel, without the channel."""

    name = "ablationcam"
    summary = "by Ablation-CAM, a forward pass per channel"
    package_name = "AblationCAM"
    title = "Ablation-CAM"
    literature = "Desai and Ramaswamy 2020"
    by_channel = True


PACKAGE_CAMS = (
    *(GradCamPlusPlus, XGradCam, LayerCam, HiResCam, ElementwiseGradCam),
    *(EigenCam, EigenGradCam, ScoreCam, AblationCam),
)
