"""Tell where the paths in the rows of a table lead: relative, absolute, or URIs."""

import functools
import os
import posixpath
import re
from collections.abc import Sequence
from urllib.parse import unquote

from osteo_ray.base.remote import is_local
from osteo_ray.data.sources.named_files import find_files

_DRIVE = re.compile(r"[A-Za-z]:/")


def locate_files(
    paths: Sequence[str], start: str, here: str, root: str, part: str = ""
) -> tuple[list[str], dict[int, str], list[str]]:
    """Find the files of this machine that paths mean; see `locate_path` and `find_files`.

    If no path leads into the root, absolute ones are those of another machine, and what lies below
    their first folders may lie in the root.

    Returns:
        Paths as they lie in the root, "" for those that do not; by row, why the name of a file does
        not tell which it is; and what to tell the user.
    """
    inside = [locate_path(path, start, here, root) for path in paths]
    if any(inside):
        return find_files(inside, root, part)
    foreign = [_tidy_absolute(path) for path in paths]
    found, doubtful, notes = find_files(foreign, root, part)
    moved = [new if new != old else "" for new, old in zip(found, foreign, strict=True)]
    return moved, doubtful, notes


def locate_path(path: str, start: str, here: str, root: str) -> str:
    """Return a path as it lies in the root; "" if there is none, or if it lies elsewhere.

    Args:
        path: As a row has it: relative, absolute, or a URI, with slashes of either kind.
        start: Folder that relative paths start from.
        here: Folder that they start from if they lead out of that.
        root: Folder that all images lie in.
    """
    plain = _straighten(path)
    if not plain or _DRIVE.match(plain):
        return ""
    top = _without_scheme(root)
    if not is_local(plain) or plain.startswith("/"):
        same = is_local(plain) == is_local(root) or plain.startswith("/")
        whole = [_without_scheme(plain)] if same else []
        if whole and is_local(root):
            folder, _, name = whole[0].rpartition("/")
            whole.append(f"{_resolve(folder or '/')}/{name}")
    else:
        whole = [posixpath.join(_without_scheme(folder), plain) for folder in (start, here)]
    for one in whole:
        found = posixpath.normpath(one)
        within = top.rstrip("/") + "/"
        if found.startswith(within):
            return found.removeprefix(within)
    return ""


def _tidy_absolute(path: str) -> str:
    """Return an absolute path of any machine with plain slashes; "" for other paths."""
    plain = _straighten(path)
    if not plain.startswith("/") and not _DRIVE.match(plain):
        return ""
    return re.sub("^/+", "/", posixpath.normpath(plain))


def _straighten(path: str) -> str:
    """Return a path with slashes of one kind, and without the scheme of a file."""
    plain = path.replace("\\", "/")
    if not plain.startswith("file://"):
        return plain
    return unquote(plain.removeprefix("file://").removeprefix("localhost"))


def _without_scheme(place: str) -> str:
    return place if is_local(place) else "/" + place.partition("://")[2]


@functools.lru_cache(maxsize=1024)
def _resolve(folder: str) -> str:
    return os.path.realpath(folder)
