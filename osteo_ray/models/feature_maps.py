"""Try a network that is called as a whole, and find its last feature map."""

from typing import Any

import torch
from torch import nn

from osteo_ray.data.image_size import ImageSize

_POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.AvgPool2d, nn.Dropout, nn.Dropout2d)
"""What follows the last feature map and leaves it as it is, or makes it coarser."""


def find_feature_layer(network: nn.Module, images: torch.Tensor) -> str | None:
    """Find the layer whose output is the last feature map.

    It is the last output that still has several places, poolings apart, if that is a map with
    channels first. A network that ends in tokens, or in a map with channels last, has none.

    Args:
        network: Left in the mode that it is in.
        images: float32, (batch, channels, height, width); a batch that it is run on.

    Raises:
        Exception: Whatever the network raises.
    """
    seen: list[tuple[str, torch.Size]] = []
    names = {module: name for name, module in network.named_modules() if name}

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        is_found = isinstance(output, torch.Tensor) and not isinstance(module, _POOLS)
        if is_found and _count_places(output.shape) > 1:
            seen.append((names[module], output.shape))

    hooks = [module.register_forward_hook(note) for module in names]
    try:
        run_in_evaluation(network, images)
    finally:
        for hook in hooks:
            hook.remove()
    if not seen:
        return None
    name, shape = seen[-1]
    return name if _is_map(shape, images.shape) else None


def find_map_call(network: nn.Module, layer: str, images: torch.Tensor) -> int:
    """Find which call of a layer gives the last feature map, where a pass calls it several times.

    One ReLU may stand behind every convolution, and behind dense layers as well.

    Args:
        network: Left in the mode that it is in.
        layer: The name of the submodule, as `find_feature_layer` returns it.
        images: float32, (batch, channels, height, width); a batch that it is run on.

    Returns:
        The number of the last call whose output has several places, from 1; 1 if none has.

    Raises:
        Exception: Whatever the network raises.
    """
    shapes = list_outputs(network, layer, images)
    calls = [call for call, shape in enumerate(shapes, 1) if _count_places(shape) > 1]
    return calls[-1] if calls else 1


def list_outputs(network: nn.Module, layer: str, images: torch.Tensor) -> list[torch.Size]:
    """Return the shape of what each call of a layer gives in one pass; empty if it is no tensor.

    Args:
        network: Left in the mode that it is in.
        layer: The name of the submodule.
        images: float32, (batch, channels, height, width); a batch that it is run on.

    Raises:
        Exception: Whatever the network raises.
    """
    shapes: list[torch.Size] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        shapes.append(output.shape if isinstance(output, torch.Tensor) else torch.Size())

    with network.get_submodule(layer).register_forward_hook(note):
        run_in_evaluation(network, images)
    return shapes


def _is_map(shape: torch.Size, of_images: torch.Size) -> bool:
    """Tell whether an output has channels first, and places in the proportions of the images.

    Where a height and a width are divided by the same stride, and both rounded up or both rounded
    down, the products below differ by less than the longer of the two; in squares, not at all.
    """
    height, width = of_images[2:]
    if len(shape) != 4 or shape[2] > height or shape[3] > width:
        return False
    return abs(shape[2] * width - shape[3] * height) < max(height, width)


def _count_places(shape: torch.Size) -> int:
    """Count the places of a map (batch, channels, …) or of tokens (batch, tokens, channels)."""
    return shape[1] if len(shape) == 3 else shape[2:].numel()


def run_in_evaluation(network: nn.Module, images: torch.Tensor) -> Any:
    """Run a network without gradients, dropout, or a change of its statistics."""
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            return network(images)
    finally:
        network.train(was_training)


def draw_probe(n_channels: int, image_size: ImageSize) -> torch.Tensor:
    """Draw a batch of two images to try a network on, always the same.

    Returns:
        float32, (2, n_channels, height, width), in [0, 1].
    """
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, n_channels, *image_size.shape, generator=generator)
