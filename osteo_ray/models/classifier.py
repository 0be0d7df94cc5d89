"""A timm backbone with the paper's head, fed with grayscale images."""

import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import timm
import torch
from torch import nn

from osteo_ray.base.errors import InputError, suggest
from osteo_ray.base.storage import Place, local_copy, locate
from osteo_ray.models.checkpoint import Checkpoint
from osteo_ray.models.weights_files import read_weights
from osteo_ray.models.weights_fit import Fit, MisfitError, find_stem, load_weights

HIDDEN_UNITS = {"efficientnet": 1024}
"""Units of the hidden layer by part of the timm name; in the paper, only this family has one."""


class Classifier(nn.Module):
    """Grayscale image → backbone → global average pooling → dense head → logits.

    `feature_map` passes the backbone's last feature map on unchanged; Grad-CAM hooks onto it.

    Args:
        backbone: A timm model.
        hidden_units: Units of a ReLU layer before the last, or 0 for none.
        n_classes: Outputs.
        mean: Mean of each channel, in [0, 1], of the images that the backbone was trained on.
        std: Standard deviation of each channel of these images.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        backbone: nn.Module,
        *,
        hidden_units: int,
        n_classes: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.backbone: Any = backbone  # timm models share methods, not a class
        self.feature_map = nn.Identity()
        width = cast(int, backbone.num_features)
        layers: list[nn.Module] = []
        if hidden_units:
            layers += [nn.Linear(width, hidden_units), nn.ReLU()]
        self.head = nn.Sequential(*layers, nn.Linear(hidden_units or width, n_classes))
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
        if features.ndim == 4 and features.shape[1] == self.backbone.num_features:
            pooled: torch.Tensor = features.mean((2, 3))
        else:  # tokens, or channels last: the family's own pooling
            pooled = self.backbone.forward_head(features, pre_logits=True)
        return pooled


def build_classifier(
    name: str, *, n_classes: int, image_size: int, weights: str | None, seed: int
) -> Classifier:
    """Build a classifier whose backbone is pretrained and whose head is drawn from the seed.

    Args:
        name: A timm model name.
        n_classes: Number of outputs.
        image_size: Side of the images, in pixels.
        weights: Path or URI of a safetensors file with timm's keys; `none` for a backbone that is
            drawn from the seed; None for ImageNet weights from the hub.
        seed: Determines everything that is drawn at random.

    Raises:
        InputError: The name is unknown, or the weights cannot be obtained or do not fit.
    """
    if not timm.is_model(name):
        raise InputError(
            f"Expected the name of a timm model, but got `{name}`."
            + suggest(name, timm.list_models())
        )
    torch.manual_seed(seed)
    backbone = _create_backbone(name, image_size, weights)
    config = cast(dict[str, Any], backbone.pretrained_cfg)
    hidden = next((units for part, units in HIDDEN_UNITS.items() if part in name), 0)
    classifier = Classifier(
        backbone,
        hidden_units=hidden,
        n_classes=n_classes,
        mean=config["mean"],
        std=config["std"],
    )
    # Forward passes are twice as fast on a CPU, and tensor cores prefer this layout.
    return classifier.to(memory_format=torch.channels_last)


def _create_backbone(name: str, image_size: int, weights: str | None) -> nn.Module:
    options: dict[str, Any] = {"num_classes": 0}
    if "img_size" in inspect.signature(timm.models.model_entrypoint(name)).parameters or any(
        part in name for part in ("vit", "swin", "deit", "beit", "mixer")
    ):
        options["img_size"] = image_size
    if weights == "none":
        return timm.create_model(name, pretrained=False, **options)
    if weights is None:
        return _create_from_hub(name, options)
    backbone = timm.create_model(name, pretrained=False, **options)
    config = cast(dict[str, Any], backbone.pretrained_cfg)
    module = sys.modules[timm.model_entrypoint(name).__module__]
    adjust = getattr(module, "checkpoint_filter_fn", None)
    fit = Fit(
        heads=_list_names(config.get("classifier")),
        stems=_list_names(config.get("first_conv")) or find_stem(backbone),
        **({"adjust": adjust} if adjust else {}),
    )
    load_file(backbone, name, weights, fit)
    return backbone


def _list_names(names: str | Iterable[str] | None) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names or ())


def load_file(module: nn.Module, name: str, weights: str, fit: Fit) -> None:
    """Load the weights file of a user into a network.

    Args:
        module: The network.
        name: Its name.
        weights: Path or URI of the file.
        fit: How files relate to the network.

    Raises:
        InputError: The file cannot be read, or is that of another network.
    """
    try:
        with local_copy(locate(weights)) as file:
            load_weights(module, read_weights(file, weights), fit)
    except OSError as error:
        raise InputError(
            f"Expected a weights file, but {weights}: {error.strerror}. Check its spelling."
        ) from None
    except MisfitError as error:
        raise InputError(
            f"Expected weights of `{name}` in {weights}, but they do not fit: {error} Give the "
            "file that belongs to this model."
        ) from None


def _create_from_hub(name: str, options: dict[str, Any]) -> nn.Module:
    how = (
        f"Give a file with --weights {name}=FILE, make the hub reachable, or train "
        "from scratch with --weights none."
    )
    if not timm.is_model_pretrained(name):
        raise InputError(f"Expected pretrained weights for `{name}`, but timm has none. {how}")
    try:
        return timm.create_model(name, pretrained=True, **options)
    except Exception as error:  # the hub client raises many kinds, none of them documented
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"Expected ImageNet weights for `{name}`, but the hub gave none ({reason}). {how}"
        ) from None


def save_classifier(classifier: Classifier, path: Path, checkpoint: Checkpoint) -> None:
    """Write the parameters and buffers of a classifier, and what it is, as safetensors."""
    safetensors.torch.save_file(
        {key: value.contiguous() for key, value in classifier.state_dict().items()},
        path,
        metadata=checkpoint.write_metadata(),
    )


def load_classifier(path: Place, name: str, *, n_classes: int, image_size: int) -> Classifier:
    """Read a classifier that `save_classifier` wrote, on the CPU and in evaluation mode.

    Raises:
        InputError: The model is unknown, or the tensors of the file do not fit it.
    """
    classifier = build_classifier(
        name, n_classes=n_classes, image_size=image_size, weights="none", seed=0
    )
    with local_copy(path) as file:
        tensors = safetensors.torch.load_file(file)
    problem = _find_misfit(classifier.state_dict(), tensors)
    if problem:
        raise InputError(
            f"Expected tensors of a `{name}` with {n_classes} classes in {path}, but {problem}. "
            "Give the checkpoint as osteo_ray wrote it."
        )
    classifier.load_state_dict(tensors)
    return classifier.eval()


def _find_misfit(wanted: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> str:
    """Describe the first tensor that does not fit; return an empty string if all do."""
    for name, tensor in wanted.items():
        if name not in found:
            return f"`{name}` is missing"
        if found[name].shape != tensor.shape:
            shapes = tuple(found[name].shape), tuple(tensor.shape)
            return f"`{name}` has the shape {shapes[0]} instead of {shapes[1]}"
    unknown = [name for name in found if name not in wanted]
    return f"`{unknown[0]}` has no place in it" if unknown else ""
