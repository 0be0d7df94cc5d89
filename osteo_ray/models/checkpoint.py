"""The description in the file of a trained classifier. Free of PyTorch, as drivers read it."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import safetensors

from osteo_ray.base.errors import InputError
from osteo_ray.base.storage import Place, local_copy
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.pixels import Bits

_KEY, _VERSION = "osteo_ray", 1


@dataclass(frozen=True)
class Checkpoint:
    """What is needed besides its tensors to load a trained classifier again.

    Attributes:
        model: Name of its network.
        classes: Names of its outputs, in order.
        image_size: Height and width of the images that it was trained on.
        code: The text of the Python file of its network, if a user wrote it; None otherwise.
        bits: Of the gray values of the images that it was trained on.
    """

    model: str
    classes: tuple[str, ...]
    image_size: ImageSize
    code: str | None = None
    bits: Bits = 8

    def describe(self) -> dict[str, Any]:
        """Return what it holds by name, as files hold it."""
        content = asdict(self) | {"image_size": self.image_size.written}
        if self.bits == 8:  # as it was before there was a choice
            del content["bits"]
        return {name: value for name, value in content.items() if value is not None}

    def write_metadata(self) -> dict[str, str]:
        """Return it as the metadata of a safetensors file.

        All is in one entry, because safetensors writes several in a different order each time.
        """
        return {_KEY: json.dumps({"version": _VERSION, **self.describe()}, ensure_ascii=False)}


def describe_checkpoint(path: Place) -> Checkpoint:
    """Read the description in a file that `classifier.save_classifier` wrote.

    Raises:
        InputError: The file does not exist, is not safetensors, was not written by this package,
            or its classifier has fewer than two classes.
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
            f"{len(checkpoint.classes)}, so its class cannot be explained against another."
        )
    return checkpoint


def _read_metadata(path: Place, text: str | None) -> Checkpoint:
    try:
        content = json.loads(text or "{}")
        if content["version"] != _VERSION:
            raise ValueError
        classes = tuple(str(name) for name in content["classes"])
        code = content.get("code")
        image_size = ImageSize.read(content["image_size"])
        if content.get("bits", 8) not in (8, 16):
            raise ValueError
        bits: Bits = 16 if content.get("bits") == 16 else 8
        return Checkpoint(str(content["model"]), classes, image_size, code and str(code), bits)
    except (KeyError, TypeError, ValueError):
        found = "says nothing of the kind" if text is None else f"says `{text[:200]}`"
        raise InputError(
            "Expected a checkpoint that osteo_ray wrote, which names its model, classes and image "
            f"size, but {path} {found}. `osteo-ray compare` writes one per training, "
            "RUN/trials/MODEL/seed-N/ARM-KEY/model.safetensors (early versions without the names: "
            "train again)."
        ) from None
