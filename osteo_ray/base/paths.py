"""Interpret the paths that settings contain."""

import os
import re
from pathlib import Path
from urllib.parse import unquote

from osteo_ray.base.trust import AddressError, refuse_secrets

PHANTOM = "phantom"
"""Stands for a source of synthetic knees instead of the path of a set of images."""

_FILE_URI = re.compile(r"file:(?:(?=/(?!/))|//([^/]*))(.*)", re.I | re.S)
_URI = re.compile(r"[a-z][a-z0-9+.-]*://", re.I)
_ONE_SLASH = re.compile(r"([a-z][a-z0-9+.-]+):/(.*)", re.I | re.S)  # C:/ is a drive


def locate_data(data: str) -> str:
    """Make the path of a source absolute, like `locate_file`; leave `phantom` as it is."""
    return data if data == PHANTOM else locate_file(data)


def name_source(data: str) -> str:
    """Return a short name of a source that can name a folder."""
    return Path(data.partition("?")[0]).stem or "data"


def locate_file(file: str) -> str:
    """Make a path absolute, also one that is written as a file URI; check other URIs.

    Raises:
        AddressError: The URI contains a secret, names a file of another machine, or lacks a slash;
            or no file can have such a path.

    Example:
        >>> locate_file("S3://bucket/net.py"), locate_file("file:///shared/my%20net.py")
        ('s3://bucket/net.py', '/shared/my net.py')
    """
    refuse_secrets(file)
    if found := _FILE_URI.fullmatch(file):
        if found[1] not in (None, "", "localhost"):
            raise AddressError(
                f"Expected a file of this machine, as in file:///shared/knees, but {file} names "
                f"the machine `{found[1]}`. Write three slashes before its path."
            )
        return _make_absolute(unquote(found[2]))
    if found := _URI.match(file):
        return found[0].lower() + file[found.end() :]
    if "://" in file:
        return file
    _refuse_one_slash(file)
    return _make_absolute(file)


def _refuse_one_slash(path: str) -> None:
    found = _ONE_SLASH.fullmatch(path)
    if found and not os.path.lexists(f"{found[1]}:"):
        refuse_secrets(f"{found[1]}://{found[2]}")
        raise AddressError(
            f"Expected a path, or a URI with two slashes, {found[1]}://{found[2]}, but got {path}. "
            f"For a folder of this name, write ./{path}."
        )


def _make_absolute(path: str) -> str:
    """Make a path absolute, because each worker has a working directory of its own."""
    if not path:
        raise AddressError("Expected a path or URI, but got an empty text.")
    try:
        can_exist = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        can_exist = False
    if not can_exist:
        raise AddressError(f"Expected a path or URI, but no file can be called {path!r}.")
    # Unlike pathlib, these tolerate links that lead in circles and users that do not exist.
    return os.path.realpath(os.path.expanduser(path))


def write_path(path: str) -> str:
    """Write a path as text, with escapes for bytes that are no UTF-8.

    Example:
        >>> write_path("kn\\udce9e.png")
        'kn\\\\xe9e.png'
    """
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
