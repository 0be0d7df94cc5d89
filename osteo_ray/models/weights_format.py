"""The format of a weights file, told by its first bytes; nothing here imports PyTorch."""

import zipfile
from pathlib import Path
from typing import Literal

import safetensors

from osteo_ray.base.errors import InputError

CONVERT = "safetensors.torch.save_file(network.state_dict(), FILE)"
"""How weights that are at hand in Python become a file that fits."""


def tell_format(file: Path, place: object) -> Literal["torch", "safetensors"]:
    """Tell the format of a weights file by its content, not by its name.

    Args:
        file: A local file.
        place: Where the user knows it to be, for messages.

    Raises:
        InputError: The file is missing, or in another format, or holds no tensors.
        OSError: It cannot be read.
    """
    if not file.is_file():
        found = "is a folder" if file.is_dir() else "does not exist"
        raise InputError(f"Expected a weights file, but {place} {found}. Check its spelling.")
    with file.open("rb") as stream:
        start = stream.read(1)
    try:  # first, as a safetensors file may begin with any byte
        with safetensors.safe_open(file, framework="numpy") as opened:
            names = list(opened.keys())
    except (safetensors.SafetensorError, OSError):
        if start == b"\x80" or zipfile.is_zipfile(file):
            return "torch"
        raise InputError(
            f"Expected weights in safetensors format, or a file of torch.save, but {place} is "
            f"something else, or not whole. Fetch it again, or convert it by {CONVERT}."
        ) from None
    if not names:
        raise refuse_empty(place)
    return "safetensors"


def find_damage(file: Path) -> str | None:
    """Return what is damaged in a zip file of `torch.save`, or None; PyTorch compares no checksums.

    Args:
        file: A local file. One that is no zip file counts as damaged.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError):  # a flipped bit may name a method
        return "its list of parts"


def refuse_empty(place: object) -> InputError:
    """Return an error about a weights file without tensors."""
    return InputError(
        f"Expected tensors in {place}, but it holds none. Save the weights themselves: {CONVERT}."
    )
