"""Networks of timm."""

import inspect
import sys
from collections.abc import Iterable
from typing import Any, cast

import timm
import torch
from torch import nn

from osteo_ray.base.errors import InputError
from osteo_ray.data.image_size import ImageSize
from osteo_ray.models.architecture import Architecture
from osteo_ray.models.feature_maps import run_in_evaluation
from osteo_ray.models.hub import advise_weights, refuse_hub
from osteo_ray.models.offered import refuse_timm
from osteo_ray.models.weights_fit import Fit, find_stem


def create_timm(name: str, image_size: ImageSize, *, from_hub: bool) -> Architecture:
    """Create a network of timm, without its head.

    Args:
        name: A timm name.
        image_size: Height and width of the images.
        from_hub: Whether its weights come from the hub; otherwise they are drawn.

    Raises:
        InputError: The name is unknown, or the hub gives no weights.
    """
    if not timm.is_model(name):
        raise refuse_timm(name, timm.list_models())
    network = _create_from_hub(name, image_size) if from_hub else _create(name, image_size)
    config = cast(dict[str, Any], network.pretrained_cfg)
    module = timm.models.model_entrypoint(name).__module__
    adjust = getattr(sys.modules[module], "checkpoint_filter_fn", None)
    fit = Fit(
        heads=_list_names(config.get("classifier")),
        stems=_list_names(config.get("first_conv")) or find_stem(network),
        **({"adjust": adjust} if adjust else {}),
    )
    width = _measure_width(network, image_size)
    return Architecture(network, config["mean"], config["std"], fit, width)


def pool_features(network: Any, features: torch.Tensor) -> torch.Tensor:
    """Pool the last features of a network of timm: float32, (batch, width).

    Args:
        network: The network, without its head.
        features: What its `forward_features` returns.
    """
    if features.ndim == 4 and features.shape[1] == network.num_features:
        return features.mean((2, 3))
    # Tokens, or channels last: the family's own pooling, and what else stands before its last layer
    pooled: torch.Tensor = network.forward_head(features, pre_logits=True)
    return pooled


def _measure_width(network: Any, image_size: ImageSize) -> int:
    """Return the width of the pooled features, which may be that of a hidden layer in the head."""
    width: int = network.num_features
    if getattr(network, "head_hidden_size", width) != width:
        with torch.no_grad():
            features = network.eval().forward_features(torch.zeros(1, 3, *image_size.shape))
            width = pool_features(network, features).shape[1]
        network.train()
    return width


def _create_from_hub(name: str, image_size: ImageSize) -> nn.Module:
    if not timm.is_model_pretrained(name):
        raise InputError(
            f"Expected pretrained weights for `{name}`, but timm has none. {advise_weights(name)}"
        )
    try:
        return _create(name, image_size, pretrained=True)
    except Exception as error:  # the hub client raises many kinds, none of them documented
        raise refuse_hub(name, error) from None


def check_network_size(name: str, image_size: ImageSize) -> None:
    """Refuse a network of timm that does not take images of a size, as transformers may not.

    Args:
        name: A timm name.
        image_size: Height and width of the images.

    Raises:
        InputError: It does not, or the name is unknown.
    """
    if not timm.is_model(name):
        raise refuse_timm(name, timm.list_models())
    trained_px = None
    try:
        network = _create(name, image_size)
        trained = cast(dict[str, Any], network.pretrained_cfg).get("input_size")
        trained_px = trained and trained[-1]
        run_in_evaluation(network, torch.zeros(1, 3, *image_size.shape))
    except Exception as error:  # each family complains in its own way, some without a word
        said = str(error).splitlines() or [f"{type(error).__name__}."]
        advice = f"; timm trained it with {trained_px} px" if trained_px else ""
        raise InputError(
            f"Expected `{name}` to take images of {image_size} px, but it says: {said[0]} Choose "
            f"another --image-size{advice}."
        ) from None


def _create(name: str, image_size: ImageSize, *, pretrained: bool = False) -> nn.Module:
    """Create a network without its head, for images of a size if it is built for one."""
    parameters = inspect.signature(timm.models.model_entrypoint(name)).parameters
    named = any(part in name for part in ("vit", "swin", "deit", "beit", "mixer"))
    if "img_size" in parameters or named:
        try:
            return timm.create_model(
                name, pretrained=pretrained, num_classes=0, img_size=image_size.plain
            )
        except TypeError as error:  # some are called so, and take any size: `efficientvit_b0`
            if "img_size" not in str(error):
                raise
    return timm.create_model(name, pretrained=pretrained, num_classes=0)


def _list_names(names: str | Iterable[str] | None) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names or ())
