"""Where settings say that files are."""

import os
from pathlib import Path
from urllib.parse import unquote

from osteo_ray.base.trust import refuse_secrets

PHANTOM = "phantom"
"""Where settings name no source of images: synthetic knees."""


def locate_data(data: str) -> str:
    """Make the path of a source absolute; leave URIs and `phantom` as they are."""
    if data.startswith("file://"):
        return unquote(data.removeprefix("file://").removeprefix("localhost"))
    return data if data == PHANTOM or "://" in data else _make_absolute(data)


def name_source(data: str) -> str:
    """Return a short name of a source, fit for a folder."""
    return Path(data.partition("?")[0]).stem or "data"


def locate_file(file: str) -> str:
    """Make the path of a file absolute; leave URIs as they are.

    Raises:
        ValueError: A URI carries a secret.
    """
    return refuse_secrets(file) if "://" in file else _make_absolute(file)


def _make_absolute(path: str) -> str:
    """Workers have working directories of their own, so no relative path may reach them."""
    return os.path.realpath(os.path.expanduser(path))  # unlike pathlib's, it bears link loops
