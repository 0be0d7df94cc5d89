"""The layers of a network that does not name them itself, for learning rates that differ by layer.

Networks of timm name theirs by `group_matcher`; those of torchvision and of users do not.
"""

from collections.abc import Iterator

from torch import nn

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_LARGEST = 20
"""Parameters that a block has at most: a Bottleneck has up to 12, a block of SwinV2 17."""

_Parameters = dict[str, nn.Parameter]


def number_layers(network: nn.Module) -> dict[str, int]:
    """Number the layers of a network, from 0, in the order in which it registers its parts.

    A layer is a convolution, a dense layer or a block. Parts with more than 20 parameters, or more
    than half of all, are divided into their own parts, and so are mere sequences. What holds
    vectors alone, as normalization does, belongs to the layer before it.

    Returns:
        The number of its layer, by the name of each parameter.
    """
    largest = min(_LARGEST, len(list(network.parameters())) // 2)
    numbers: dict[str, int] = {}
    number = 0
    for parameters in _list_parts(network, "", largest):
        is_new = any(one.ndim > 1 for one in parameters.values())
        number += is_new and bool(numbers)
        numbers |= {name: number for name in parameters if name not in numbers}
    return numbers


def _list_parts(module: nn.Module, name: str, largest: int) -> Iterator[_Parameters]:
    """Yield the parameters of each part by their names: first the module's own, then its parts'."""
    yield dict(module.named_parameters(name, recurse=False))
    for part, child in module.named_children():
        full = f"{name}.{part}" if name else part
        whole = dict(child.named_parameters(full))
        if isinstance(child, _CONTAINERS) or len(whole) > largest:
            yield from _list_parts(child, full, largest)
        else:
            yield whole
