"""Networks of torchvision, which are called as a whole."""

from typing import Any

import torch
from torch import nn
from torchvision import models
from torchvision.models.vision_transformer import interpolate_embeddings
from torchvision.ops import StochasticDepth

from osteo_ray.base.errors import InputError
from osteo_ray.base.networks import TORCHVISION
from osteo_ray.data.image_size import ImageSize
from osteo_ray.models.architecture import Architecture
from osteo_ray.models.dense_layers import find_last_dense, remove_layer
from osteo_ray.models.feature_maps import find_feature_layer, run_in_evaluation
from osteo_ray.models.hub import refuse_hub
from osteo_ray.models.offered import refuse_torchvision
from osteo_ray.models.weights_fit import Fit, Tensors, find_stem, load_weights

_POSITIONS = "encoder.pos_embedding"
_PROBE_PX = 128


def create_torchvision(name: str, image_size: ImageSize, *, from_hub: bool) -> Architecture:
    """Create a classification network of torchvision, without its last dense layer.

    Args:
        name: `torchvision:` and a name.
        image_size: Height and width of the images.
        from_hub: Whether its weights come from PyTorch's hub; otherwise they are drawn.

    Raises:
        InputError: The name is unknown, the network does not take images of this size, or the hub
            gives no weights.
    """
    short = name.removeprefix(TORCHVISION)
    known = models.list_models(module=models)  # those that classify images
    if short not in known:
        raise refuse_torchvision(name, known)
    weights = models.get_model_weights(short).DEFAULT
    preset = weights.transforms()
    try:
        network = models.get_model(short, weights=None, **_choose_options(short, image_size))
        _skip_nothing(network)
        width = _remove_last_layer(network)
        run_in_evaluation(network, torch.zeros(1, 3, *image_size.shape))
        layer = _find_layer(network, image_size)
    except Exception as error:  # each family complains in its own way, or not at all
        raise InputError(
            f"Expected `{name}` to take images of {image_size} px, but it says: "
            f"{str(error).splitlines()[0]} Choose another --image-size; torchvision trained it "
            f"with {preset.crop_size[0]} px."
        ) from None
    fit = Fit(stems=find_stem(network), adjust=_adjust_positions)
    if from_hub:
        try:
            load_weights(network, weights.get_state_dict(progress=False), fit)
        except Exception as error:  # of the network, of the file system, or of the file
            raise refuse_hub(name, error) from None
    return Architecture(network, tuple(preset.mean), tuple(preset.std), fit, width, layer)


def _find_layer(network: nn.Module, image_size: ImageSize) -> str | None:
    """Find the last feature map, on images so large that it has several places."""
    takes_any = not isinstance(network, models.VisionTransformer | models.MaxVit)
    least = _PROBE_PX if takes_any else 0
    height, width = (max(side, least) for side in image_size.shape)
    return find_feature_layer(network, torch.zeros(1, 3, height, width))


def _choose_options(short: str, image_size: ImageSize) -> dict[str, Any]:
    """Return the options with which a network is the one that torchvision trained."""
    if short in ("googlenet", "inception_v3"):
        return {"aux_logits": False, "transform_input": True, "init_weights": True}
    if short.startswith("vit_"):
        if not image_size.is_square:
            raise ValueError("Only squares can be divided into its patches.")
        return {"image_size": image_size.height}
    if short.startswith("maxvit"):
        return {"input_size": image_size.shape}
    return {}


def _skip_nothing(network: nn.Module) -> None:
    """Keep every block in training, as timm does, unless a training is to skip some.

    torchvision skips up to half of them at random from the start, each family as it was trained.
    """
    for module in network.modules():
        if isinstance(module, StochasticDepth):
            module.p = 0.0


def _remove_last_layer(network: nn.Module) -> int:
    """Have a network return what its last layer classifies; return the width of that."""
    if isinstance(network, models.SqueezeNet):  # its last layer is a convolution
        width: int = network.classifier[1].in_channels
        network.classifier = nn.AdaptiveAvgPool2d(1)
        return width
    return remove_layer(network, find_last_dense(network) or "").in_features


def _adjust_positions(tensors: Tensors, network: nn.Module) -> Tensors:
    """Resize the position embeddings of a transformer if they are for another image size."""
    if not isinstance(network, models.VisionTransformer) or _POSITIONS not in tensors:
        return tensors
    if tensors[_POSITIONS].shape == network.state_dict()[_POSITIONS].shape:
        return tensors
    return dict(interpolate_embeddings(network.image_size, network.patch_size, tensors))
