"""Where results are stored: in a local folder, or below a prefix in object storage.

A `Place` is either of them. Both offer the same few operations under the names of `pathlib`, so the
same code reads and writes a run wherever it is, and every worker does so itself. Object storage is
opened through PyArrow, like sources: one client, one set of rules for keys, retries and endpoints.

Whatever exists is complete. A file appears by a rename, or by one upload, which storage shows only
when it has ended. A directory appears by a rename, or by a last file: it counts as existing as soon
as that file does. This also holds for a directory that many processes fill (`fill_directory`).
"""

import errno
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.fs

from osteo_ray.base.errors import InputError
from osteo_ray.base.paths import locate_file
from osteo_ray.base.remote import RemotePath, is_local

Place = Path | RemotePath

LOCK = "lock.json"
"""File that names the process working on its directory (see `osteo_ray.base.lock`)."""
UNFINISHED = ".unfinished"
"""File that marks a directory as being filled."""
_UPLOADS = 8  # at a time


def locate(text: str) -> Place:
    """Return the absolute place that a user names by a path or URI.

    Raises:
        InputError: The URI contains a secret or names no bucket, or no file can have such a path.
    """
    address = locate_file(text)
    return Path(address) if is_local(address) else RemotePath.parse(address)


def recall_place(text: str) -> Place:
    """Return the place that was written as a text; unlike `locate`, this leaves links as they are.

    Files of a run are told by their names, and what a link leads to may have any other name.
    """
    return Path(text) if is_local(text) else RemotePath.parse(text)


def locate_here(text: str, what: str = "--out") -> Path:
    """Return the absolute path that a user names, which must be one of this machine.

    Args:
        text: Path, or file URI.
        what: Its name in messages, such as the flag that it was given by.

    Raises:
        InputError: It is another URI, or no file can have such a path.
    """
    place = locate(text)
    if isinstance(place, RemotePath):
        raise InputError(f"Expected {what} to be a path of this machine, but got {place}.")
    return place


def reach(text: str, what: str = "--out") -> Place:
    """Return the place that a user names, after checking that its storage can be reached.

    Args:
        text: Path or URI.
        what: Its name in messages, such as the flag that it was given by.

    Raises:
        InputError: The URI contains a secret or names no bucket, nothing can open its storage, the
            storage does not answer, or the bucket does not exist.
    """
    place = locate(text)
    if isinstance(place, RemotePath):
        try:
            is_there = place.root.exists()
        except OSError as error:
            raise InputError(
                f"Expected {what} on storage that can be reached, but {place}: {error.strerror}. "
                "Check the URI, the keys in the environment, and the network of this machine."
            ) from None
        if not is_there and place.is_in_store:
            raise InputError(
                f"Expected {what} in an existing bucket, but {place.root} does not exist. Create "
                "it first, or check its spelling."
            )
    return place


def reach_folder(text: str, what: str = "--out") -> Place:
    """Return the folder that a user names to write to, after checking that this may succeed.

    Args:
        text: Path or URI.
        what: Its name in messages, such as the flag that it was given by.

    Raises:
        InputError: It is a file or lies in one, may not be written to, or its storage cannot be
            reached.
    """
    place = reach(text, what)
    refuse_obstacle(place, what)
    return place


def refuse_obstacle(folder: Place, what: str = "--out") -> None:
    """Refuse a folder of this machine that nothing can be written to.

    Raises:
        InputError: It is a file or lies in one, or may not be written to.
    """
    if isinstance(folder, Path) and (obstacle := find_obstacle(folder)):
        raise InputError(
            f"Expected {what} to be a folder that can be written to, but {obstacle}. Choose "
            f"another {what}."
        )


def find_obstacle(place: Path) -> str | None:
    """Say why no folder can be written at a place of this machine; None if nothing is known."""
    nearest = next(one for one in (place, *place.parents) if os.path.lexists(one))
    if not nearest.is_dir():
        return f"{nearest} is not a folder"
    return None if os.access(nearest, os.W_OK | os.X_OK) else f"{nearest} may not be written to"


def open_place(place: Place) -> tuple[pyarrow.fs.FileSystem, str]:
    """Return the PyArrow file system of a place, and its path within it."""
    if isinstance(place, RemotePath):
        return place.filesystem, place.path
    return pyarrow.fs.LocalFileSystem(), str(place)


def lies_in(place: Place, around: Place) -> bool:
    """Return whether a place is the same as another, or inside it."""
    if isinstance(place, Path):
        return isinstance(around, Path) and place.is_relative_to(around)
    return place == around or around in place.parents


@contextmanager
def local_copy(place: Place) -> Iterator[Path]:
    """Provide a local file with the content of `place`, for libraries that can only read those.

    Raises:
        OSError: It cannot be read.
    """
    if isinstance(place, Path):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="osteo-ray-") as folder:
        file = Path(folder) / place.name
        file.write_bytes(place.read_bytes())
        yield file


def walk_files(
    folder: Path,
    takes: Callable[[str], bool] = lambda name: True,
    above: frozenset[tuple[int, int]] = frozenset(),
) -> Iterator[str]:
    """List the files below a folder, also behind links, as readers of a run follow those.

    Whatever cannot be listed is an error, or its files would count as missing.

    Args:
        folder: The folder.
        takes: Tells of a name directly below it whether it is looked at.
        above: Device and number of each folder above it, to which no link may lead back.

    Yields:
        Names, relative to the folder. Nobody looks at what is hidden or not taken, whatever it is.

    Raises:
        InputError: A link leads nowhere, or there is what is neither a file nor a folder.
        OSError: A folder cannot be listed.
    """
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or not takes(entry.name):
                yield entry.name
            elif entry.is_symlink() and not os.path.exists(entry):
                raise InputError(
                    f"Expected the link {entry.path} to lead to a file or folder, but nothing is "
                    f"at {os.readlink(entry)}. Bring back what was there, for instance by mounting "
                    "the disk, or remove the link."
                )
            elif entry.is_dir():
                inner = walk_files(Path(entry.path), above=above | {here})
                yield from (f"{entry.name}/{name}" for name in inner)
            elif entry.is_file():
                yield entry.name
            else:
                text = f"Expected files and folders in {folder}, but {entry.name} is neither."
                raise InputError(f"{text} Move it elsewhere.")


def digest_file(place: Place) -> str:
    """Return the SHA-256 of a file, as 64 hexadecimal digits."""
    if isinstance(place, RemotePath):
        return hashlib.sha256(place.read_bytes()).hexdigest()
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def move_tree(place: Place, target: Place) -> None:
    """Move a file, or a directory with everything in it, within one storage.

    Raises:
        OSError: It cannot be moved.
    """
    if isinstance(place, RemotePath):
        assert isinstance(target, RemotePath)
        place.move(target)
        return
    assert isinstance(target, Path)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(place, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.move(place, target)  # a link leads to another disk


def remove_tree(place: Place) -> None:
    """Remove a file, or a directory with everything in it, if it exists."""
    if isinstance(place, RemotePath):
        place.remove()
    elif place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


@contextmanager
def write_whole(place: Place, *, last: str | None = None) -> Iterator[Path]:
    """Provide a local path to write a file or directory to, which becomes `place` at the end.

    If the block raises an error or the process dies in it, `place` stays as it was. If another
    process has finished the same directory first, that one is kept: both have the same content.

    Args:
        place: Where the file or directory is to appear.
        last: For a directory, the file in it by which readers know that it exists. Object storage
            has no renames; there, this file is uploaded after all others.
    """
    if isinstance(place, RemotePath):
        with tempfile.TemporaryDirectory(prefix="osteo-ray-") as folder:
            unfinished = Path(folder) / place.name
            yield unfinished
            _upload(unfinished, place, last)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield unfinished
        if unfinished.is_dir() and place.exists():
            return
        os.replace(unfinished, place)
    finally:
        if unfinished.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
        else:
            unfinished.unlink(missing_ok=True)


def _upload(source: Path, place: RemotePath, last: str | None) -> None:
    if source.is_file():
        _upload_file(source, place)
        return
    if last is None or not (source / last).is_file():
        raise ValueError(f"Expected the last file of the directory {place}, but got {last}.")
    if (place / last).exists():
        return
    files = [path for path in source.rglob("*") if path.is_file() and path != source / last]
    with ThreadPoolExecutor(_UPLOADS) as pool:
        # Through a list: errors are raised only when the results are read.
        list(pool.map(lambda file: _upload_file(file, place.join(file.relative_to(source))), files))
    _upload_file(source / last, place / last)


def _upload_file(file: Path, place: RemotePath) -> None:
    if file.stat().st_size == 0:  # an empty file cannot be mapped
        place.write_bytes(b"")
        return
    with pa.memory_map(str(file)) as mapped:
        place.write_bytes(mapped.read_buffer())


def is_free(root: Place, last: str) -> bool:
    """Return whether a directory may be filled: it is new, empty, or was left unfinished.

    Args:
        root: The directory.
        last: The file by which it counts as existing.
    """
    if not root.exists():
        return True
    if not root.is_dir() or (root / last).exists():
        return False
    names = {path.name for path in root.iterdir()} - {LOCK}
    return not names or UNFINISHED in names


@contextmanager
def fill_directory(root: Place) -> Iterator[None]:
    """Fill a directory in place, by any number of processes.

    The block must write the file by which the directory counts as existing after all others. If it
    raises an error, nothing stays. If the process dies in it, what it wrote stays marked as
    unfinished, and the next process removes it.

    Args:
        root: New, empty, or left unfinished by an earlier attempt; its lock stays.
    """
    if isinstance(root, Path):
        root.mkdir(parents=True, exist_ok=True)
    mark = root / UNFINISHED
    _clear(root)
    mark.write_text("The directory is being filled, or was left unfinished.\n")
    try:
        yield
    except BaseException:
        with suppress(OSError):  # what stays is marked as unfinished
            _clear(root)
        raise
    mark.unlink(missing_ok=True)


def _clear(root: Place) -> None:
    """Empty a directory except for its lock; remove the mark last."""
    children = [path for path in root.iterdir() if path.name != LOCK]
    for path in sorted(children, key=lambda path: path.name == UNFINISHED):
        remove_tree(path)
