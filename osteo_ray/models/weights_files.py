"""Read weights files of others: safetensors, or PyTorch's own format without running its code."""

import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from osteo_ray.base.errors import InputError
from osteo_ray.models.weights_format import CONVERT, find_damage, refuse_empty, tell_format


def read_weights(file: Path, place: object) -> dict[str, torch.Tensor]:
    """Read all tensors of a file; its content, not its name, tells the format.

    A file of PyTorch may hold them in dictionaries, as training scripts store them beside the state
    of an optimizer. The names are then joined: `state_dict.layer1.0.conv1.weight`.

    Args:
        file: A local file.
        place: Where the user knows it to be, for messages.

    Returns:
        By name, on the CPU; at least one.

    Raises:
        InputError: The file is missing, damaged, in another format, or holds no tensors; or loading
            it would run code.
    """
    if tell_format(file, place) == "safetensors":
        return safetensors.torch.load_file(file)
    tensors = _read_pickled(file, place)
    if not tensors:
        raise refuse_empty(place)
    return tensors


def _refuse_damage(file: Path, place: object) -> None:
    """Refuse a file of which a part has changed; PyTorch before 1.6 stored no checksums."""
    damaged = find_damage(file) if zipfile.is_zipfile(file) else None
    if damaged is not None:
        raise InputError(
            f"Expected a whole file of torch.save, but {place} is damaged: the checksum of "
            f"`{damaged}` is not that of its content. Fetch or store the file again."
        )


def _read_pickled(file: Path, place: object) -> dict[str, torch.Tensor]:
    _refuse_damage(file, place)
    try:
        with file.open("rb") as stream:  # of a path, PyTorch would read the suffix
            content = torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises many kinds, depending on what is damaged
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found is None:
            raise InputError(
                f"Expected a file of torch.save, but {place} cannot be read as one (TorchScript is "
                f"not). Convert it by {CONVERT}."
            ) from None
        raise InputError(
            f"Expected nothing but tensors in {place}, but it names `{found[1]}`, and loading that "
            "could run code. Where you trust its origin, load it yourself by torch.load(FILE, "
            f"weights_only=False), and store the tensors alone by {CONVERT}."
        ) from None
    return dict(_list_tensors(content, ""))


def _list_tensors(content: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(content, torch.Tensor):
        yield name, content
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from _list_tensors(value, f"{name}.{key}" if name else str(key))
