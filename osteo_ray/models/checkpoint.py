"""What a file of a trained classifier says about itself. Free of PyTorch, as drivers ask it."""

import json
from dataclasses import asdict, dataclass

import safetensors

from osteo_ray.base.errors import InputError
from osteo_ray.base.storage import Place, local_copy

_KEY, _VERSION = "osteo_ray", 1


@dataclass(frozen=True)
class Checkpoint:
    """What is needed to load a trained classifier again, beside its tensors.

    Attributes:
        model: timm name of its backbone.
        classes: Names of its outputs, in their order.
        image_size: Side of the images that it was trained on, pixels.
    """

    model: str
    classes: tuple[str, ...]
    image_size: int

    def write_metadata(self) -> dict[str, str]:
        """Return it as metadata of a safetensors file.

        One entry: safetensors writes several in an order that differs from process to process.
        """
        return {_KEY: json.dumps({"version": _VERSION, **asdict(self)}, ensure_ascii=False)}


def describe_checkpoint(path: Place) -> Checkpoint:
    """Read what a file that `classifier.save_classifier` wrote says about itself.

    Raises:
        InputError: There is no such file, it is not safetensors or not of this package, or its
            classifier has fewer than two classes.
    """
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"Expected a checkpoint file, but {path} {found}. Check its spelling.")
    try:
        with (
            local_copy(path) as file,
            safetensors.safe_open(file, framework="numpy") as tensors,
        ):
            metadata = tensors.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(
            f"Expected a checkpoint in safetensors format, but {path} cannot be read as such "
            f"({error}). Give a model.safetensors that osteo_ray wrote."
        ) from None
    checkpoint = _read_metadata(path, metadata.get(_KEY))
    if len(checkpoint.classes) < 2:
        raise InputError(
            f"Expected a classifier of at least two classes, but the one in {path} has "
            f"{len(checkpoint.classes)}: there is nothing to explain its class against."
        )
    return checkpoint


def _read_metadata(path: Place, text: str | None) -> Checkpoint:
    try:
        content = json.loads(text or "{}")
        if content["version"] != _VERSION:
            raise ValueError
        classes = tuple(str(name) for name in content["classes"])
        return Checkpoint(str(content["model"]), classes, int(content["image_size"]))
    except (KeyError, TypeError, ValueError):
        found = "says nothing of the kind" if text is None else f"says `{text[:200]}`"
        raise InputError(
            "Expected a checkpoint that osteo_ray wrote, which names its model, classes and image "
            f"size, but {path} {found}. `osteo-ray compare` writes one per training, "
            "RUN/trials/MODEL/seed-N/ARM-KEY/model.safetensors (early versions without the names: "
            "train again)."
        ) from None
