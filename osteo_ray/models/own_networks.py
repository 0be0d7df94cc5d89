"""Networks that a user wrote: a function in a Python file, whose text reaches the workers.

docs/networks.md states the contract. Nothing but the text of the file travels, so it cannot import
modules that lie beside it.
"""

import math
import textwrap
from typing import Any

import torch
from torch import nn

from osteo_ray.base.errors import InputError, suggest
from osteo_ray.base.networks import FileReference, read_reference
from osteo_ray.data.image_size import ImageSize
from osteo_ray.models.architecture import Architecture
from osteo_ray.models.dense_layers import split_head
from osteo_ray.models.feature_maps import (
    draw_probe,
    find_feature_layer,
    list_outputs,
    run_in_evaluation,
)
from osteo_ray.models.own_code import (
    CONTRACT,
    choose_options,
    find_function,
    guard,
    import_text,
    show_call,
)
from osteo_ray.models.weights_fit import Fit, find_stem, put_tensors

_SHOWN = 60  # characters of a value that a message shows
_TOLERANCE = 1e-3  # largest difference of a logit by rounding, as a share of the largest logit


def create_own(
    name: str, code: str, *, n_classes: int, image_size: ImageSize, pretrained: bool
) -> Architecture:
    """Call the user's function, and check that what it returns keeps to the contract.

    Args:
        name: `FILE.py:FUNCTION`.
        code: The text of the file.
        n_classes: Number of logits.
        image_size: Height and width of the images.
        pretrained: Whether the network should come with weights of its own, if it has any.

    Returns:
        The network and, taken off it where that can be done, its head, which no weights file fills.

    Raises:
        InputError: The file or the function raises, needs a package that is missing, or does not
            keep to the contract.
    """
    reference = read_reference(name)
    assert reference is not None
    with torch.random.fork_rng(devices=[]):  # imports happen once per process, calls often
        torch.manual_seed(0)  # so that what an import draws is the same in all processes
        module = guard(reference, "be imported", lambda: import_text(reference.file, code))
    function = find_function(module, reference)
    options = choose_options(function, reference, n_classes, image_size, pretrained)
    call = show_call(reference, options)
    network = guard(reference, f"build a network by {call}", function, options)
    if not isinstance(network, nn.Module):
        raise InputError(
            f"Expected {call} in {reference.file} to return a torch.nn.Module, but it returns "
            f"{type(network).__name__}. {CONTRACT}"
        )
    mean, std = _read_normalisation(network, reference)
    images = draw_probe(len(mean), image_size)
    what = f"classify a batch of shape {tuple(images.shape)}"
    logits = guard(reference, what, lambda: run_in_evaluation(network, images))
    _check_logits(logits, (len(images), n_classes), reference)
    what = "classify an image alone, a batch of one"
    alone = guard(reference, what, lambda: run_in_evaluation(network, images[:1]))
    _check_alone(alone, logits, reference)
    what = "tell what its layers return"
    layer = guard(reference, what, lambda: _find_layer(network, images, reference))
    stem = find_stem(network)
    head, names = split_head(network, images)
    return Architecture(network, mean, std, Fit(names, stem), 0, layer, head)


def _read_normalisation(
    network: nn.Module, reference: FileReference
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel; 0 and 1 if the network names none."""
    given = [getattr(network, name, None) for name in ("input_mean", "input_std")]
    if all(one is None for one in given):
        stem = find_stem(network)
        first: Any = network.get_submodule(stem[0]) if stem else None
        # A lazy convolution has 0 channels until it sees the first image.
        n_channels = (0 if first is None else int(first.in_channels)) or 1
        return (0.0,) * n_channels, (1.0,) * n_channels
    try:
        mean, std = (_list_numbers(one) for one in given)
    except (TypeError, ValueError, RuntimeError):
        mean, std = (), ()
    is_finite = all(math.isfinite(number) for number in (*mean, *std))
    if not mean or len(mean) != len(std) or not is_finite or min(std) <= 0:
        found = [textwrap.shorten(str(one), _SHOWN, placeholder="…") for one in given]
        raise InputError(
            f"Expected input_mean and input_std of the network of {reference.file} to be equally "
            f"many finite numbers, one per channel, input_std above 0, but got {found[0]} and "
            f"{found[1]}. Correct the file."
        )
    return mean, std


def _list_numbers(values: Any) -> tuple[float, ...]:
    return tuple(torch.as_tensor(values, dtype=torch.float64).flatten().tolist())


def _check_logits(found: Any, wanted: tuple[int, int], reference: FileReference) -> None:
    expected = f"Expected the network of {reference.file} to return logits, float32 {wanted}"
    if not isinstance(found, torch.Tensor):
        raise InputError(f"{expected}, but it returns {type(found).__name__}. {CONTRACT}")
    if tuple(found.shape) != wanted or found.dtype != torch.float32:
        raise InputError(
            f"{expected}: a row per image and a column per class; but it returns "
            f"{str(found.dtype).removeprefix('torch.')} {tuple(found.shape)}. {CONTRACT}"
        )
    if (found >= 0).all() and torch.allclose(found.sum(1), torch.ones(len(found))):
        raise InputError(
            f"{expected}, but its rows are probabilities, which add up to 1. Leave the softmax out."
        )


def _check_alone(alone: Any, logits: torch.Tensor, reference: FileReference) -> None:
    """Check that an image gets the logits that it had in a batch: in evaluation, nothing may vary.

    A `squeeze` drops the batch of one; dropout and batch statistics may go on in evaluation.
    """
    _check_logits(alone, (1, logits.shape[1]), reference)
    largest = float(logits.abs().max())
    difference = float((alone - logits[:1]).abs().max())
    if difference > _TOLERANCE * largest:
        raise InputError(
            f"Expected the network of {reference.file} to give an image the same logits in every "
            f"batch once it is in evaluation mode, but alone they differ by {difference:.1e}, "
            f"where the largest is {largest:.1e}. Draw and normalize over a batch in training "
            "only, as nn.Dropout and nn.BatchNorm2d do by themselves, and functional.dropout if "
            "it is given training=self.training."
        )


def check_rebuilt(
    classifier: nn.Module, again: nn.Module, name: str, image_size: ImageSize
) -> None:
    """Check that a file of a classifier's weights can make it again.

    What is drawn or learned must be among its parameters and buffers, for a file holds nothing
    else; and none of them may be shared by networks of several calls, or a training would go on
    from another one.

    Args:
        classifier: As its network was trained, with any seed.
        again: Built anew by the same function with another seed, as for a file; it is filled.
        name: `FILE.py:FUNCTION`.
        image_size: Height and width of the images.

    Raises:
        InputError: It cannot.
    """
    reference = read_reference(name)
    assert reference is not None
    if not set(classifier.parameters()).isdisjoint(again.parameters()):
        raise InputError(
            f"Expected `{reference.function}` in {reference.file} to build a new network at each "
            "call, but what two calls return shares weights, so that one training would go on from "
            f"another. Make all layers within the function. {CONTRACT}"
        )
    images = draw_probe(1, image_size)
    expected = run_in_evaluation(classifier, images)
    guard(reference, "be filled from a file", lambda: put_tensors(again, classifier.state_dict()))
    largest = float(expected.abs().max())
    difference = float((run_in_evaluation(again, images) - expected).abs().max())
    if difference > _TOLERANCE * largest:
        raise InputError(
            f"Expected the network of {reference.file} to give the same logits once it is read "
            f"from a file, but they differ by {difference:.1e}, where the largest is "
            f"{largest:.1e}. Keep whatever it computes with that is drawn or learned as "
            "nn.Parameter or by register_buffer, as files hold nothing else."
        )


def _find_layer(network: nn.Module, images: torch.Tensor, reference: FileReference) -> str | None:
    """Return the layer of the last feature map: the one that the network names, or is found."""
    named = getattr(network, "feature_layer", None)
    if named is None:
        return find_feature_layer(network, images)
    known = [name for name, _ in network.named_modules() if name]
    if named not in known:
        raise InputError(
            f"Expected feature_layer of the network of {reference.file} to be the name of one of "
            f"its submodules, but got `{named}`.{suggest(str(named), known)}"
        )
    shapes = list_outputs(network, named, images)
    if [len(shape) for shape in shapes] != [4]:
        found = f"{tuple(shapes[0])}" if len(shapes) == 1 else f"{len(shapes)} outputs"
        raise InputError(
            f"Expected feature_layer `{named}` of the network of {reference.file} to give one map "
            f"(batch, channels, height, width) per batch, but it gives {found}."
        )
    return str(named)
