"""The last dense layer of a network that is called as a whole."""

from typing import Any

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


def split_head(network: nn.Module, images: torch.Tensor) -> tuple[nn.Module, tuple[str, ...]]:
    """Take the last dense layer off a network if all that it computes ends in that layer.

    The last layer is the one that is called last, wherever the network registers it. It counts as
    the head only if it has an output per class: others, such as those of a gate, lie within.

    Args:
        network: Changed if the layer is taken off; returns logits.
        images: float32, (batch, channels, height, width); a batch on which this is tried.

    Returns:
        The layer, as `nn.Sequential`; `nn.Identity` if the network goes on after it, or has none.
        And the names that the head has in the network, whether it is taken off or not.
    """
    logits, head = _find_last_called(network, images)
    if head is None or head.out_features != logits.shape[1]:
        return nn.Identity(), ()
    named = network.named_modules(remove_duplicate=False)
    names = tuple(name for name, layer in named if layer is head)
    for name in names:
        remove_layer(network, name)
    try:
        features = run_in_evaluation(network, images)
        with torch.no_grad():
            is_last = features.ndim == 2 and torch.equal(head(features), logits)
        if is_last:
            return nn.Sequential(head), names
    except Exception:  # the network does something with the layer that cannot be done without
        pass
    for name in names:
        network.set_submodule(name, head)
    return nn.Identity(), names


def _find_last_called(
    network: nn.Module, images: torch.Tensor
) -> tuple[torch.Tensor, nn.Linear | None]:
    """Return what a network returns, and the dense layer that it calls last."""
    called: list[nn.Linear] = []

    def note(layer: nn.Linear, inputs: Any, output: Any) -> None:
        called.append(layer)

    dense = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    hooks = [layer.register_forward_hook(note) for layer in dense]
    try:
        logits: torch.Tensor = run_in_evaluation(network, images)
    finally:
        for hook in hooks:
            hook.remove()
    return logits, called[-1] if called else None
