"""The engine of Grad-CAM (Selvaraju et al. 2017): a batch at a time, on the classifier's device.

The mathematics, scaling included, is that of `grad-cam` 1.5.7; tests compare the two.
"""

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from osteo_ray.data.image_size import ImageSize
from osteo_ray.models.classifier import Classifier


def compute_heatmaps(
    classifier: Classifier,
    images: torch.Tensor,
    classes: np.ndarray,
    *,
    rectified: bool = True,
) -> np.ndarray:
    """Show where the last feature map speaks for a class.

    Each channel of the feature map is weighed by the mean gradient of the class's logit; the sum
    is cut off at 0 and scaled so that it runs from 0 to 1 within its image.

    Args:
        classifier: In evaluation mode; its backbone must end in a feature map, as CNNs do.
        images: float32, (batch, 1, height, width), in [0, 1], on the classifier's device.
        classes: int, (batch,); the class explained for each image.
        rectified: Whether the sum is cut off at 0. If not, places that speak against the class are
            told apart by how little they do.

    Returns:
        float32, (batch, height, width), in [0, 1]; larger = speaks more for the class. All 0 if
        nothing speaks for the class (if not rectified: if no place speaks more than another).

    Raises:
        ValueError: The backbone ends in tokens, or in a feature map with channels last; or the
            network did not give its last feature map once.
    """
    require_feature_map(classifier)
    features, gradients = _differentiate_logits(classifier, images, classes)
    channel_weights = gradients.mean((2, 3), keepdim=True)
    maps = (channel_weights * features).sum(1, keepdim=True)
    if rectified:
        maps = functional.relu(maps)
    maps = functional.interpolate(
        _scale_range(maps), images.shape[2:], mode="bilinear", align_corners=False
    )
    heatmaps: np.ndarray = _scale_range(maps)[:, 0].cpu().numpy()
    return heatmaps


def check_feature_map(classifier: Classifier, features: torch.Tensor) -> None:
    """Refuse what a backbone ends in, unless it is a feature map with channels first.

    Raises:
        ValueError: The backbone ends in tokens, or in a feature map with channels last.
    """
    width = classifier.map_channels
    if features.ndim != 4 or (width is not None and features.shape[1] != width):
        with_width = f" with {width} channels" if width is not None else ""
        raise ValueError(
            f"Expected a feature map (batch, channels, height, width){with_width}, but the "
            f"backbone gave {tuple(features.shape)}. Grad-CAM needs a CNN."
        )


def check_places(classifier: Classifier, image_size: ImageSize) -> None:
    """Refuse a network whose heat maps cannot tell one place of any image from another.

    Args:
        classifier: On the CPU, in evaluation mode.
        image_size: Height and width of the images.

    Raises:
        ValueError: The last feature map has a single place, or is none.
    """
    require_feature_map(classifier)
    images = torch.zeros(1, 1, *image_size.shape)
    features, _ = _differentiate_logits(classifier, images, np.zeros(1, int))
    if features.shape[2:].numel() == 1:
        raise ValueError(
            "Expected a last feature map of several places, but for images of "
            f"{image_size} px it has one, so a heat map tells nothing. Larger images have more."
        )


def require_feature_map(classifier: Classifier) -> None:
    """Refuse a network that is known to have no last feature map.

    Raises:
        ValueError: It has none.
    """
    if not classifier.has_feature_map:
        raise ValueError(
            "Expected a network whose last layer with several places gives a feature map (batch, "
            "channels, height, width), but there is none. Grad-CAM needs a CNN; docs/networks.md "
            "says how a network of one's own names the layer."
        )


def _differentiate_logits(
    classifier: Classifier, images: torch.Tensor, classes: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the feature map and the gradient there of each image's explained logit.

    Returns:
        Both float32, (batch, channels, height, width).
    """
    kept: list[torch.Tensor] = []

    def begin_graph(
        module: nn.Module, inputs: tuple[torch.Tensor], features: torch.Tensor
    ) -> torch.Tensor:
        check_feature_map(classifier, features)
        kept.append(features.detach().requires_grad_())
        return kept[-1]

    # The parameters need no gradients, so the graph covers the head alone and stays small.
    parameters = {name: value.detach() for name, value in classifier.named_parameters()}
    with torch.enable_grad(), classifier.feature_map.register_forward_hook(begin_graph):
        logits = functional_call(classifier, parameters, (images,))
        if len(kept) != 1:
            raise ValueError(
                f"Expected one last feature map per pass, but the network gave {len(kept)}, as its "
                "course depends on what it is shown. Name a layer that is called once per pass by "
                "`feature_layer` (docs/networks.md)."
            )
        explained = torch.as_tensor(classes, dtype=torch.int64, device=images.device)
        # In evaluation mode the images of a batch do not affect each other, so one sum is enough.
        score = logits.gather(1, explained[:, None]).sum()
        (gradients,) = torch.autograd.grad(score, kept)
    return kept[0].detach(), gradients


def _scale_range(maps: torch.Tensor) -> torch.Tensor:
    maps = maps - maps.amin((2, 3), keepdim=True)
    return maps / (1e-7 + maps.amax((2, 3), keepdim=True))  # a map of zeros stays one
