"""What a training changes in a network besides its weights. No key of its state changes."""

from collections.abc import Iterable

import torch
from timm.layers.drop import DropPath
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops import StochasticDepth

from osteo_ray.base.errors import InputError
from osteo_ray.models.settings import NetworkSettings


def adjust_network(network: nn.Module, settings: NetworkSettings) -> None:
    """Set the momentum of batch normalization and the chance of skipping blocks, in place.

    Raises:
        InputError: Blocks are to be skipped, but the network has none that could be.
    """
    if settings.batch_norm_momentum is not None:
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                module.momentum = settings.batch_norm_momentum
    if settings.drop_connect:
        connect_drops(network, settings.drop_connect)


def connect_drops(network: nn.Module, rate: float) -> None:
    """Let each residual block be skipped at random in training (Huang et al. 2016).

    As in timm and in EfficientNet's own code, the chance grows linearly from 0 at the first block
    to nearly `rate` at the last.

    Raises:
        InputError: The network has no such blocks.
    """
    found = [(module, _find_drops(module)) for module in network.modules()]
    blocks = [(block, drops) for block, drops in found if drops]
    if not any(_has_shortcut(block) for block, _ in blocks):
        raise InputError(
            "Expected a network whose residual blocks can be skipped, as "
            f"--training.network.drop-connect {rate:g} asks, but `{_name(network)}` has none. "
            "Leave the flag out."
        )
    for number, (block, drops) in enumerate(blocks):
        for drop in drops:
            setattr(block, drop, DropPath(rate * number / len(blocks)))


def _find_drops(module: nn.Module) -> list[str]:
    """Return the names of the parts by which a module may be skipped, in timm's or torchvision's.

    A transformer's block has one for its attention and one for its dense layers.
    """
    return [
        name
        for name, part in module.named_children()
        if name.startswith(("drop_path", "stochastic_d"))
        and isinstance(part, nn.Identity | DropPath | StochasticDepth)
    ]


def _has_shortcut(block: nn.Module) -> bool:
    return bool(getattr(block, "has_skip", getattr(block, "use_res_connect", True)))


def _name(network: nn.Module) -> str:
    return type(getattr(network, "backbone", network)).__name__


def freeze(parameters: Iterable[nn.Parameter], frozen: bool) -> None:
    """Let some parameters learn no longer, or again."""
    for parameter in parameters:
        parameter.requires_grad_(not frozen)


def find_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the type in which a forward pass computes on a device.

    Args:
        precision: `float32`, `bfloat16`, or `auto`: bfloat16 where the GPU has units for it.
        device: Where it computes.
    """
    if precision == "bfloat16":
        return torch.bfloat16
    has_units = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if precision == "auto" and has_units else torch.float32
