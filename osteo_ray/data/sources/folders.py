"""Folders of images, on this machine or at a URI."""

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow.fs

from osteo_ray.base.paths import write_path
from osteo_ray.base.remote import is_local, open_filesystem
from osteo_ray.data.sources.file_sets import list_files, list_unlabelled
from osteo_ray.data.sources.listing import NO_UTF8, Source
from osteo_ray.data.sources.options import SourceOptions
from osteo_ray.data.sources.readers import FileReader
from osteo_ray.data.sources.shards import find_shards, open_shards
from osteo_ray.data.sources.unreadable import expecting


def open_folder(
    uri: str,
    options: SourceOptions | None = None,
    *,
    labels_needed: bool = True,
    flag: str = "--data",
) -> Source:
    """List a folder that has a subfolder for each class, tables beside its images, or shards.

    Hidden files are skipped, and folders within a class folder belong to its class. Image files
    beside the class folders and links to folders are refused, so that none is lost unnoticed.

    Args:
        uri: The folder.
        options: What the user says.
        labels_needed: If False, image files beside the class folders are listed, without a label.
        flag: The flag that named the folder, for messages.

    Raises:
        InputError: The folder cannot be listed, or the classes of its images are not known.
    """
    options = options or SourceOptions()
    filesystem, root = open_filesystem(uri)
    refused: list[tuple[str, str]] = []
    walk = _walk_local(root, refused) if is_local(uri) else _walk_remote(filesystem, root)
    with expecting(f"{flag} to be a folder that can be listed", uri, "Check that you may read it."):
        files = list(walk)
    reader = FileReader(uri)
    if not labels_needed:
        return list_unlabelled(uri, files, refused, reader)
    shards = find_shards(files)
    if shards:
        return open_shards(uri, shards, options)
    return list_files(uri, "folders", files, refused, reader, options)


def _walk_local(root: str, refused: list[tuple[str, str]]) -> Iterator[tuple[str, int]]:
    """List path and size of all files below a folder, pipes included, which readers refuse."""

    def note(error: OSError) -> None:
        path = Path(str(error.filename)).relative_to(root).as_posix()
        if path == ".":
            raise error
        refused.append((write_path(path), f"a folder that cannot be listed: {error.strerror}"))

    for folder, subfolders, names in os.walk(root, onerror=note):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in subfolders:
            if (Path(folder) / name).is_symlink():
                path = (Path(folder) / name).relative_to(root).as_posix()
                refused.append(
                    (write_path(path), "a link to a folder; such links are not followed")
                )
        within = Path(folder).relative_to(root).as_posix()
        prefix = "" if within == "." else f"{within}/"
        for name in names:
            if name.startswith("."):
                continue
            path = prefix + name
            if path != write_path(path):
                refused.append((write_path(path), NO_UTF8))
                continue
            try:
                size = os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                size = 0  # reading the file will show the error
            yield path, size


def _walk_remote(filesystem: pyarrow.fs.FileSystem, root: str) -> Iterator[tuple[str, int]]:
    for info in filesystem.get_file_info(pyarrow.fs.FileSelector(root, recursive=True)):
        path = info.path.removeprefix(root).lstrip("/")
        hidden = any(part.startswith(".") for part in path.split("/"))
        if info.type == pyarrow.fs.FileType.File and not hidden:
            yield path, info.size or 0  # some servers do not give it
