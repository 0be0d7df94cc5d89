"""Class folders, on this machine or at a URI; perhaps below train/, val/ and test/."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import pyarrow.fs

from osteo_ray.data.listing import SPLIT_SYNONYMS, Source, list_refused, tabulate_items
from osteo_ray.data.readers import FileReader, is_local, open_filesystem

_IMAGE_SUFFIXES = (
    *(".bmp", ".dcm", ".dicom", ".gif", ".jp2", ".jpeg", ".jpg"),
    *(".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
)


def open_folder(uri: str) -> Source:
    """List a folder that has a subfolder per class.

    Hidden files are passed over; sub-subfolders belong to their class. Image files beside the class
    folders are refused, so that none gets lost unseen.
    """
    filesystem, root = open_filesystem(uri)
    refused: list[tuple[str, str]] = []
    walk = _walk_local(root, refused) if is_local(uri) else _walk_remote(filesystem, root)
    files = list(walk)
    split_below = _find_split_folders(path for path, _ in files)
    rows = []
    for path, size in files:
        parts = path.split("/")
        if len(parts) < 2 + split_below:
            if PurePosixPath(path).suffix.lower() in _IMAGE_SUFFIXES:
                refused.append((path, "not in a class folder"))
            continue
        split = SPLIT_SYNONYMS[parts[0].lower()] if split_below else ""
        rows.append({"path": path, "label": parts[split_below], "size": size, "split": split})
    return Source(uri, "folders", tabulate_items(rows), list_refused(refused), FileReader(uri))


def _find_split_folders(paths: Iterable[str]) -> bool:
    """Tell whether the classes lie below folders named train, test and the like."""
    tops: dict[str, set[str]] = {}
    for path in paths:
        top, _, rest = path.partition("/")
        if rest:
            tops.setdefault(top.lower(), set()).add(rest.partition("/")[1])
    return len(tops) >= 2 and all(
        top in SPLIT_SYNONYMS and "/" in below for top, below in tops.items()
    )


def _walk_local(root: str, refused: list[tuple[str, str]]) -> Iterator[tuple[str, int]]:
    """List path and size of everything below a folder; links and pipes too, to be refused later."""

    def note(error: OSError) -> None:
        path = Path(str(error.filename)).relative_to(root).as_posix()
        refused.append((_escape(path), f"a folder that cannot be listed: {error.strerror}"))

    for folder, subfolders, names in os.walk(root, onerror=note):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        links = [name for name in subfolders if (Path(folder) / name).is_symlink()]
        for name in [*names, *links]:
            if name.startswith("."):
                continue
            path = (Path(folder) / name).relative_to(root).as_posix()
            if path != _escape(path):
                refused.append((_escape(path), "a file name that is not valid UTF-8"))
                continue
            try:
                size = (Path(folder) / name).lstat().st_size
            except OSError:
                size = 0  # reading it will tell
            yield path, size


def _escape(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _walk_remote(filesystem: pyarrow.fs.FileSystem, root: str) -> Iterator[tuple[str, int]]:
    for info in filesystem.get_file_info(pyarrow.fs.FileSelector(root, recursive=True)):
        path = info.path.removeprefix(root).lstrip("/")
        hidden = any(part.startswith(".") for part in path.split("/"))
        if info.type == pyarrow.fs.FileType.File and not hidden:
            yield path, info.size
