"""Penalties that keep a classifier to a region without hiding anything from it.

Images are shown whole, in training and in tests; the region appears in the loss alone. Each penalty
is measured as the classifier behaves in tests: batch normalization with its running statistics, no
dropout. So it leaves those statistics as they are.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from osteo_ray.base.errors import InputError
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.settings import Guidance
from osteo_ray.models.classifier import Classifier


@dataclass(frozen=True)
class Penalty:
    """A penalty in the loss.

    Attributes:
        guidance: `gradients` or `activations`.
        weight: Its weight beside the cross-entropy, per image.
    """

    guidance: Guidance
    weight: float

    def measure(
        self,
        classifier: Classifier,
        images: torch.Tensor,
        regions: torch.Tensor,
        rngs: list[np.random.Generator],
    ) -> torch.Tensor:
        """Return the weighted penalty, summed over images, with a graph for its derivatives.

        Args:
            classifier: It and its parts are left in the modes that they are in.
            images: float32, (batch, 1, height, width), in [0, 1].
            regions: bool, the shape of `images`; True inside the region.
            rngs: Per image, the source of randomness for what is shuffled.
        """
        modes = {module: module.training for module in classifier.modules()}
        classifier.eval()
        try:
            if self.guidance == "gradients":
                found = penalize_gradients(classifier, images, regions)
            else:
                shuffled = shuffle_outside(images, regions, rngs)
                found = penalize_activations(classifier, images, shuffled)
        finally:
            for module, was_training in modes.items():
                module.training = was_training
        return self.weight * found


def penalize_gradients(
    classifier: Classifier, images: torch.Tensor, regions: torch.Tensor
) -> torch.Tensor:
    """Right for the right reasons (Ross et al. 2017): what lies outside must not matter.

    Returns:
        Sum over images and pixels outside the region of the squared derivative of the sum of the
        log-probabilities of all classes.
    """
    seen = images.detach().requires_grad_()
    with _TwiceDifferentiable():
        log_probabilities = functional.log_softmax(classifier(seen), 1).sum()
    (gradients,) = torch.autograd.grad(log_probabilities, seen, create_graph=True)
    return ((gradients * ~regions) ** 2).sum()


class _TwiceDifferentiable(TorchFunctionMode):
    """Computes by other operations what PyTorch cannot differentiate twice, to the same values.

    MobileNetV3 has hard sigmoids in its gates.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__name__", "") in ("hardsigmoid", "hardsigmoid_"):
            return functional.relu6(args[0] + 3) / 6
        return func(*args, **(kwargs or {}))


def check_guidance(
    classifier: Classifier, name: str, guidance: Guidance, image_size: ImageSize
) -> None:
    """Refuse a classifier that a penalty cannot guide, before anything is trained.

    Args:
        classifier: On the CPU; its weights stay as they are.
        name: Of the model, for the message.
        guidance: The penalty.
        image_size: Height and width of the images.

    Raises:
        InputError: PyTorch cannot differentiate the penalty, or it reaches no weight.
    """
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.random((2, 1, *image_size.shape), np.float32))
    regions = torch.zeros(images.shape, dtype=torch.bool)
    regions[..., : image_size.width // 2] = True
    reason = "it depends on none of its weights"
    try:
        found = Penalty(guidance, 1.0).measure(classifier, images, regions, [rng, rng])
        weights = [weight for weight in classifier.parameters() if weight.requires_grad]
        if any(g is not None for g in torch.autograd.grad(found, weights, allow_unused=True)):
            return
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
    raise InputError(
        f"Expected a network whose {guidance} can be penalised, as the arms guided_{guidance} and "
        f"guided_{guidance}_random ask, but for {name} PyTorch cannot: {reason}. Leave these arms "
        "out, or choose another network."
    )


def penalize_activations(
    classifier: Classifier, images: torch.Tensor, shuffled: torch.Tensor
) -> torch.Tensor:
    """ActDiff (Viviano et al. 2021): features must not change if what lies outside is shuffled.

    Returns:
        Sum over images of the mean squared difference of their pooled features.
    """
    difference = classifier.embed(images) - classifier.embed(shuffled)
    return (difference**2).mean(1).sum()


def shuffle_outside(
    images: torch.Tensor, regions: torch.Tensor, rngs: list[np.random.Generator]
) -> torch.Tensor:
    """Shuffle the pixels outside the region of each image; those inside stay.

    Args:
        images: float32, (batch, 1, height, width).
        regions: bool, the shape of `images`; True inside the region.
        rngs: Per image.

    Returns:
        float32, the shape of `images`.
    """
    shuffled = images.clone()
    for image, region, rng in zip(shuffled, regions, rngs, strict=True):
        outside = torch.nonzero(~region.flatten())[:, 0]
        order = torch.from_numpy(rng.permutation(len(outside))).to(outside.device)
        pixels = image.flatten()
        pixels[outside] = pixels[outside[order]]
        image.copy_(pixels.view_as(image))
    return shuffled
