"""The last dense layer of a network that is called as a whole."""

import torch
from torch import nn

from osteo_ray.models.feature_maps import run_in_evaluation


def find_last_dense(network: nn.Module) -> str | None:
    """Return the name of the last dense layer of a network."""
    dense = [name for name, one in network.named_modules() if isinstance(one, nn.Linear)]
    return dense[-1] if dense else None


def remove_layer(network: nn.Module, name: str) -> nn.Linear:
    """Put nothing in the place of a dense layer, and return it."""
    layer = network.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    network.set_submodule(name, nn.Identity())
    return layer


def split_head(network: nn.Module, images: torch.Tensor) -> nn.Module:
    """Take the last dense layer off a network if all that it computes ends in that layer.

    Args:
        network: Changed if the layer is taken off.
        images: float32, (batch, channels, height, width); a batch on which this is tried.

    Returns:
        The layer, as `nn.Sequential`; `nn.Identity` if the network goes on after it, or has none.
    """
    name = find_last_dense(network)
    if name is None:
        return nn.Identity()
    logits = run_in_evaluation(network, images)
    layer = remove_layer(network, name)
    try:
        features = run_in_evaluation(network, images)
        with torch.no_grad():
            is_last = features.ndim == 2 and torch.equal(layer(features), logits)
        if is_last:
            return nn.Sequential(layer)
    except Exception:  # the network does something with the layer that cannot be done without
        pass
    network.set_submodule(name, layer)
    return nn.Identity()
