"""Interpret the paths that settings contain."""

import os
from pathlib import Path
from urllib.parse import unquote

from osteo_ray.base.trust import refuse_secrets

PHANTOM = "phantom"
"""Stands for a source of synthetic knees instead of the path of a set of images."""


def locate_data(data: str) -> str:
    """Make the path of a source absolute; leave URIs and `phantom` as they are."""
    if data.startswith("file://"):
        return unquote(data.removeprefix("file://").removeprefix("localhost"))
    return data if data == PHANTOM or "://" in data else _make_absolute(data)


def name_source(data: str) -> str:
    """Return a short name of a source that can name a folder."""
    return Path(data.partition("?")[0]).stem or "data"


def locate_file(file: str) -> str:
    """Make the path of a file absolute; leave URIs as they are.

    Raises:
        ValueError: The URI contains a secret.
    """
    return refuse_secrets(file) if "://" in file else _make_absolute(file)


def _make_absolute(path: str) -> str:
    """Make a path absolute, because each worker has a working directory of its own."""
    return os.path.realpath(os.path.expanduser(path))  # unlike pathlib, it tolerates link loops
