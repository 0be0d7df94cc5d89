"""Networks of timm."""

import inspect
import sys
from collections.abc import Iterable
from typing import Any, cast

import timm
from torch import nn

from osteo_ray.base.errors import InputError
from osteo_ray.models.architecture import Architecture
from osteo_ray.models.hub import advise_weights, refuse_hub
from osteo_ray.models.offered import refuse_timm
from osteo_ray.models.weights_fit import Fit, find_stem


def create_timm(name: str, image_size: int, *, from_hub: bool) -> Architecture:
    """Create a network of timm, without its head.

    Args:
        name: A timm name.
        image_size: Side of the images, in pixels.
        from_hub: Whether its weights come from the hub; otherwise they are drawn.

    Raises:
        InputError: The name is unknown, or the hub gives no weights.
    """
    if not timm.is_model(name):
        raise refuse_timm(name, timm.list_models())
    options: dict[str, Any] = {"num_classes": 0}
    entry = timm.models.model_entrypoint(name)
    if "img_size" in inspect.signature(entry).parameters or any(
        part in name for part in ("vit", "swin", "deit", "beit", "mixer")
    ):
        options["img_size"] = image_size
    if from_hub:
        network = _create_from_hub(name, options)
    else:
        network = timm.create_model(name, pretrained=False, **options)
    config = cast(dict[str, Any], network.pretrained_cfg)
    adjust = getattr(sys.modules[entry.__module__], "checkpoint_filter_fn", None)
    fit = Fit(
        heads=_list_names(config.get("classifier")),
        stems=_list_names(config.get("first_conv")) or find_stem(network),
        **({"adjust": adjust} if adjust else {}),
    )
    width = cast(int, network.num_features)
    return Architecture(network, config["mean"], config["std"], fit, width)


def _create_from_hub(name: str, options: dict[str, Any]) -> nn.Module:
    if not timm.is_model_pretrained(name):
        raise InputError(
            f"Expected pretrained weights for `{name}`, but timm has none. {advise_weights(name)}"
        )
    try:
        return timm.create_model(name, pretrained=True, **options)
    except Exception as error:  # the hub client raises many kinds, none of them documented
        raise refuse_hub(name, error) from None


def _list_names(names: str | Iterable[str] | None) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names or ())
