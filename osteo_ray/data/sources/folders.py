"""Class folders, on this machine or at a URI, possibly below train/, val/ and test/."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.fs

from osteo_ray.base.remote import is_local, open_filesystem
from osteo_ray.data.sources.listing import SPLIT_SYNONYMS, Source, list_refused, tabulate_items
from osteo_ray.data.sources.readers import FileReader
from osteo_ray.data.sources.unreadable import expecting

_IMAGE_SUFFIXES = (
    *(".avif", ".bmp", ".dcm", ".dicom", ".gif", ".j2k", ".jp2", ".jpeg", ".jpg"),
    *(".pgm", ".png", ".ppm", ".qoi", ".sgi", ".tif", ".tiff", ".webp"),
)
_DICOM_SUFFIXES = (".dcm", ".dicom", "")


def is_dicom_name(path: str) -> bool:
    """Tell whether the name of a file allows it to be DICOM, whose files often lack a suffix."""
    name = PurePosixPath(path)
    return name.suffix.lower() in _DICOM_SUFFIXES or name.suffix[1:].isdigit()


def open_folder(uri: str, *, labels_needed: bool = True, flag: str = "--data") -> Source:
    """List a folder that has a subfolder for each class.

    Hidden files are skipped, and folders within a class folder belong to its class. Image files
    beside the class folders and links to folders are refused, so that none is lost unnoticed.

    Args:
        uri: The folder.
        labels_needed: If False, image files beside the class folders are listed, without a label.
        flag: The flag that named the folder, for messages.

    Raises:
        InputError: The folder cannot be listed.
    """
    filesystem, root = open_filesystem(uri)
    refused: list[tuple[str, str]] = []
    walk = _walk_local(root, refused) if is_local(uri) else _walk_remote(filesystem, root)
    with expecting(f"{flag} to be a folder that can be listed", uri, "Check that you may read it."):
        files = list(walk)
    split_below = _find_split_folders(path for path, _ in files)
    rows: list[dict[str, Any]] = []
    for path, size in files:
        parts = path.split("/")
        if len(parts) < 2 + split_below:
            if PurePosixPath(path).suffix.lower() not in _IMAGE_SUFFIXES:
                continue
            if labels_needed:
                refused.append((path, "not in a class folder"))
            else:
                rows.append({"path": path, "size": size})
            continue
        split = SPLIT_SYNONYMS[parts[0].lower()] if split_below else ""
        rows.append({"path": path, "label": parts[split_below], "size": size, "split": split})
    return Source(uri, "folders", tabulate_items(rows), list_refused(refused), FileReader(uri))


def _find_split_folders(paths: Iterable[str]) -> bool:
    """Tell whether the class folders lie below folders named train, test and the like."""
    tops: dict[str, set[str]] = {}
    for path in paths:
        top, _, rest = path.partition("/")
        if rest:
            tops.setdefault(top.lower(), set()).add(rest.partition("/")[1])
    return len(tops) >= 2 and all(
        top in SPLIT_SYNONYMS and "/" in below for top, below in tops.items()
    )


def _walk_local(root: str, refused: list[tuple[str, str]]) -> Iterator[tuple[str, int]]:
    """List path and size of all files below a folder, pipes included, which readers refuse."""

    def note(error: OSError) -> None:
        path = Path(str(error.filename)).relative_to(root).as_posix()
        if path == ".":
            raise error
        refused.append((_escape(path), f"a folder that cannot be listed: {error.strerror}"))

    for folder, subfolders, names in os.walk(root, onerror=note):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in subfolders:
            if (Path(folder) / name).is_symlink():
                path = (Path(folder) / name).relative_to(root).as_posix()
                refused.append((_escape(path), "a link to a folder; such links are not followed"))
        for name in names:
            if name.startswith("."):
                continue
            path = (Path(folder) / name).relative_to(root).as_posix()
            if path != _escape(path):
                refused.append((_escape(path), "a file name that is not valid UTF-8"))
                continue
            try:
                size = (Path(folder) / name).lstat().st_size
            except OSError:
                size = 0  # reading the file will show the error
            yield path, size


def _escape(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _walk_remote(filesystem: pyarrow.fs.FileSystem, root: str) -> Iterator[tuple[str, int]]:
    for info in filesystem.get_file_info(pyarrow.fs.FileSelector(root, recursive=True)):
        path = info.path.removeprefix(root).lstrip("/")
        hidden = any(part.startswith(".") for part in path.split("/"))
        if info.type == pyarrow.fs.FileType.File and not hidden:
            yield path, info.size or 0  # some servers do not give it
