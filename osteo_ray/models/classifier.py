"""Any network with the paper's head, fed with grayscale images."""

from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
from torch import nn

from osteo_ray.base.errors import InputError
from osteo_ray.base.networks import TORCHVISION, read_reference
from osteo_ray.base.storage import Place, local_copy
from osteo_ray.data.image_size import ImageSize
from osteo_ray.models.architecture import load_file
from osteo_ray.models.checkpoint import Checkpoint
from osteo_ray.models.feature_maps import draw_probe, find_map_call
from osteo_ray.models.own_networks import create_own
from osteo_ray.models.timm_networks import create_timm, pool_features
from osteo_ray.models.torchvision_networks import create_torchvision
from osteo_ray.models.weights_fit import put_tensors

HIDDEN_UNITS = {"efficientnet": 1024}
"""Units of the hidden layer by part of the name; in the paper, only this family has one."""


class Classifier(nn.Module):
    """Grayscale image → backbone → global average pooling → dense head → logits.

    `feature_map` passes the backbone's last feature map on unchanged; Grad-CAM hooks onto it.

    Args:
        backbone: A timm model.
        hidden_units: Units of a ReLU layer before the last, or 0 for none.
        n_classes: Outputs.
        mean: Mean of each channel, in [0, 1], of the images that the backbone was trained on.
        std: Standard deviation of each channel of these images.
        width: Number of the features that the head classifies; by default that of the channels.
    """

    mean: torch.Tensor
    std: torch.Tensor
    has_feature_map = True

    def __init__(
        self,
        backbone: nn.Module,
        *,
        hidden_units: int,
        n_classes: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        width: int | None = None,
    ) -> None:
        super().__init__()
        self.backbone: Any = backbone  # timm models share methods, not a class
        self.feature_map = nn.Identity()
        n_channels = cast(int, backbone.num_features)
        self.map_channels: int | None = n_channels
        self.head: nn.Module = build_head(width or n_channels, hidden_units, n_classes)
        self.n_classes = n_classes
        self._keep_normalisation(mean, std)

    def _keep_normalisation(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify images.

        Args:
            images: float32, (batch, 1, height, width), in [0, 1].

        Returns:
            Logits, float32, (batch, n_classes).
        """
        logits: torch.Tensor = self.head(self.embed(images))
        return logits

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the head classifies: the pooled features, float32, (batch, width).

        Args:
            images: float32, (batch, 1, height, width), in [0, 1].
        """
        features = self.backbone.forward_features((images - self.mean) / self.std)
        features = self.feature_map(features)
        return pool_features(self.backbone, features)


class CalledClassifier(Classifier):
    """A classifier whose network is called as a whole, as those of torchvision and of users are.

    The last feature map passes through `feature_map`: the output of a layer, at one of its calls.

    Args:
        backbone: The network.
        head: Makes logits of what the network returns; `nn.Identity` if that is logits.
        n_classes: Outputs.
        mean: As for `Classifier`.
        std: As for `Classifier`.
        layer: Name of the submodule of the network that returns the last feature map; None if there
            is no such map.
        call: At which of its calls in a pass the layer returns that map, from 1.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        *,
        n_classes: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        layer: str | None,
        call: int = 1,
    ) -> None:
        nn.Module.__init__(self)
        self.backbone: Any = backbone
        self.feature_map = nn.Identity()
        self.head = head
        self.n_classes = n_classes
        self.map_channels = None  # as many as the map turns out to have
        self.has_feature_map = layer is not None
        self._keep_normalisation(mean, std)
        self._map_call, self._n_calls = call, 0
        if layer is not None:
            backbone.register_forward_pre_hook(self._begin_pass)
            backbone.get_submodule(layer).register_forward_hook(self._pass_on)

    def _begin_pass(self, network: nn.Module, inputs: Any) -> None:
        self._n_calls = 0

    def _pass_on(
        self, layer: nn.Module, inputs: Any, features: torch.Tensor
    ) -> torch.Tensor | None:
        self._n_calls += 1
        if self._n_calls != self._map_call:
            return None  # and so leave it as it is
        passed: torch.Tensor = self.feature_map(features)
        # What a hook has put there must stay as it is; some networks go on in place.
        return passed if passed is features else passed.clone()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify images; see `Classifier`."""
        logits: torch.Tensor = self.head(self.backbone((images - self.mean) / self.std))
        return logits

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the head classifies; without a head, the means of the last feature map."""
        if not isinstance(self.head, nn.Identity):
            features: torch.Tensor = self.backbone((images - self.mean) / self.std)
            return features
        kept: list[torch.Tensor] = []
        with self.feature_map.register_forward_hook(lambda _, __, output: kept.append(output)):
            self(images)
        if not kept:
            raise InputError(
                "Expected a network that ends in a dense layer or has a last feature map, since "
                "its features are compared, but it has neither. Leave out arms that compare "
                "features, or name the layer of the map by `feature_layer` (docs/networks.md)."
            )
        return kept[-1].mean((2, 3))


def build_head(width: int, hidden_units: int, n_classes: int) -> nn.Sequential:
    """Build dense layers from features (batch, width) to logits (batch, n_classes).

    Args:
        width: Number of features.
        hidden_units: Units of a ReLU layer before the last, or 0 for none.
        n_classes: Outputs.
    """
    layers: list[nn.Module] = []
    if hidden_units:
        layers += [nn.Linear(width, hidden_units), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden_units or width, n_classes))


def build_classifier(
    name: str,
    *,
    n_classes: int,
    image_size: ImageSize,
    weights: str | None,
    seed: int,
    code: str | None = None,
) -> Classifier:
    """Build a classifier whose backbone is pretrained and whose head is drawn from the seed.

    Args:
        name: A timm name, `torchvision:NAME`, or `FILE.py:FUNCTION`.
        n_classes: Number of outputs.
        image_size: Height and width of the images.
        weights: Path or URI of a weights file; `none` for a backbone that is drawn from the seed;
            None for ImageNet weights from the hub.
        seed: Determines everything that is drawn at random.
        code: The text of the file, if the name has the third form.

    Raises:
        InputError: The name is unknown, the network cannot be built or used, or the weights cannot
            be obtained or do not fit.
    """
    torch.manual_seed(seed)
    if name.startswith(TORCHVISION):
        classifier = _build_torchvision(name, n_classes, image_size, weights)
    elif read_reference(name):
        classifier = _build_own(name, code, n_classes, image_size, weights)
    else:
        classifier = _build_timm(name, n_classes, image_size, weights)
    _lay_out(classifier)
    return classifier


def _lay_out(classifier: Classifier) -> None:
    """Store weights with channels last, which makes forward passes on a CPU twice as fast.

    Tensor cores prefer it, too. `Module.to` would do so, but fails where one has five dimensions.
    """
    for tensor in (*classifier.parameters(), *classifier.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.to(memory_format=torch.channels_last)


def _build_timm(
    name: str, n_classes: int, image_size: ImageSize, weights: str | None
) -> Classifier:
    made = create_timm(name, image_size, from_hub=weights is None)
    if weights not in ("none", None):
        load_file(made, name, str(weights))
    return Classifier(
        made.network,
        hidden_units=_count_hidden(name),
        n_classes=n_classes,
        mean=made.mean,
        std=made.std,
        width=made.width,
    )


def _build_torchvision(
    name: str, n_classes: int, image_size: ImageSize, weights: str | None
) -> Classifier:
    made = create_torchvision(name, image_size, from_hub=weights is None)
    if weights not in ("none", None):
        load_file(made, name, str(weights))
    return CalledClassifier(
        made.network,
        build_head(made.width, _count_hidden(name), n_classes),
        n_classes=n_classes,
        mean=made.mean,
        std=made.std,
        layer=made.layer,
    )


def _build_own(
    name: str, code: str | None, n_classes: int, image_size: ImageSize, weights: str | None
) -> Classifier:
    if code is None:
        raise InputError(
            f"Expected the text of the Python file of `{name}`, but there is none at hand."
        )
    made = create_own(
        name, code, n_classes=n_classes, image_size=image_size, pretrained=weights is None
    )
    if weights not in ("none", None):
        load_file(made, name, str(weights))
    images = draw_probe(len(made.mean), image_size)
    return CalledClassifier(
        made.network,
        made.head,
        n_classes=n_classes,
        mean=made.mean,
        std=made.std,
        layer=made.layer,
        call=1 if made.layer is None else find_map_call(made.network, made.layer, images),
    )


def _count_hidden(name: str) -> int:
    return next((units for part, units in HIDDEN_UNITS.items() if part in name), 0)


def save_classifier(classifier: Classifier, path: Path, checkpoint: Checkpoint) -> None:
    """Write the parameters and buffers of a classifier, and what it is, as safetensors."""
    safetensors.torch.save_file(
        # Copies, since safetensors takes no tensor under two names, as layers may have that a
        # network uses twice.
        {
            key: value.detach().clone(memory_format=torch.contiguous_format)
            for key, value in classifier.state_dict().items()
        },
        path,
        metadata=checkpoint.write_metadata(),
    )


def load_classifier(
    path: Place, name: str, *, n_classes: int, image_size: ImageSize, code: str | None = None
) -> Classifier:
    """Read a classifier that `save_classifier` wrote, on the CPU and in evaluation mode.

    Args:
        path: Path of the file. Code that stands in it is not run.
        name: As for `build_classifier`, like the rest.
        n_classes: Number of outputs.
        image_size: Height and width of the images.
        code: The text of the Python file, if the network has one.

    Raises:
        InputError: The model is unknown, or the tensors of the file do not fit it.
    """
    classifier = build_classifier(
        name, n_classes=n_classes, image_size=image_size, weights="none", seed=0, code=code
    )
    with local_copy(path) as file:
        tensors = safetensors.torch.load_file(file)
    problem = _find_misfit(classifier.state_dict(), tensors)
    if problem:
        raise InputError(
            f"Expected tensors of a `{name}` with {n_classes} classes in {path}, but {problem}. "
            "Give the checkpoint as osteo_ray wrote it."
        )
    put_tensors(classifier, tensors)
    return classifier.eval()


def _find_misfit(wanted: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> str:
    """Describe the first tensor that does not fit; return an empty string if all do."""
    for name, tensor in wanted.items():
        if name not in found:
            what = ", a statistic of batch normalization," if "running_" in name else ""
            return f"`{name}`{what} is missing"
        if found[name].shape != tensor.shape:
            shapes = tuple(found[name].shape), tuple(tensor.shape)
            return f"`{name}` has the shape {shapes[0]} instead of {shapes[1]}"
    unknown = [name for name in found if name not in wanted]
    return f"`{unknown[0]}` has no place in it" if unknown else ""
