"""Where results lie: a folder of this machine, or a prefix in object storage.

`Place` is either. Both have the same few operations under the names of `pathlib`, so that a run is
read and written by the same code wherever it lies, by every worker itself. Object storage is opened
through PyArrow, as sources are: one client, one set of rules for keys, retries and endpoints.

What is there is whole. A file takes its place by a rename, or by one upload that storage shows at
its end; a directory by a rename, or by uploading last the file by which it counts as there; and one
that many processes fill (`fill_directory`) counts as there by its last file, too.
"""

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs

from osteo_ray.base.errors import InputError
from osteo_ray.base.remote import RemotePath, is_local

Place = Path | RemotePath

LOCK = "lock.json"
"""In a directory that is worked on: who does (`osteo_ray.base.lock`)."""
UNFINISHED = ".unfinished"
"""In a directory that is being filled."""
_UPLOADS = 8  # at a time


def locate(text: str) -> Place:
    """Return the place that a user names, absolute.

    Raises:
        InputError: A URI that holds a secret, or names no bucket.
    """
    if text.startswith("file://"):
        text = unquote(text.removeprefix("file://").removeprefix("localhost"))
    if is_local(text):
        return Path(text).expanduser().resolve()
    return RemotePath.parse(text)


def reach(text: str, what: str = "--out") -> Place:
    """Return the place that a user names, after a look at whether its storage can be reached.

    Args:
        text: Path or URI.
        what: What it is to be, for messages.

    Raises:
        InputError: As `locate`; or storage does not answer, or the bucket is not there.
    """
    place = locate(text)
    if isinstance(place, RemotePath):
        try:
            is_there = place.root.exists()
        except OSError as error:
            raise InputError(
                f"Expected {what} on storage that can be reached, but {place}: {error.strerror}. "
                "Check the URI, the keys in the environment, and that this machine may reach it."
            ) from None
        if not is_there:
            raise InputError(
                f"Expected {what} in a bucket that is there, but {place.root} does not exist. Make "
                "it first, or check its spelling."
            )
    return place


def open_place(place: Place) -> tuple[pyarrow.fs.FileSystem, str]:
    """Return what PyArrow reads a place by: a file system, and the path within it."""
    if isinstance(place, RemotePath):
        return place.filesystem, place.path
    return pyarrow.fs.LocalFileSystem(), str(place)


def lies_in(place: Place, around: Place) -> bool:
    """Tell whether a place is another one, or lies in it."""
    if isinstance(place, Path):
        return isinstance(around, Path) and place.is_relative_to(around)
    return place == around or around in place.parents


@contextmanager
def local_copy(place: Place) -> Iterator[Path]:
    """Give a file of this machine that holds what `place` holds, for what can read no other.

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


def digest_file(place: Place) -> str:
    """Return the SHA-256 of a file, as 64 hexadecimal digits."""
    if isinstance(place, RemotePath):
        return hashlib.sha256(place.read_bytes()).hexdigest()
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_tree(place: Place) -> None:
    """Remove a file or directory with all that is in it, if it is there."""
    if isinstance(place, RemotePath):
        place.remove()
    elif place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


@contextmanager
def write_whole(place: Place, *, last: str | None = None) -> Iterator[Path]:
    """Give a path of this machine to write a file or directory to; `place` holds it at the end.

    If the block raises, or the process dies in it, `place` stays as it was. A directory that
    another process finished first is kept and this one dropped: both hold the same content.

    Args:
        place: Where.
        last: Of a directory: the file in it that readers look for. On object storage, which has no
            renames, it is uploaded after all others, so where it is, they are.
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
        # Through a list, as it is its being read that raises.
        list(pool.map(lambda file: _upload_file(file, place.join(file.relative_to(source))), files))
    _upload_file(source / last, place / last)


def _upload_file(file: Path, place: RemotePath) -> None:
    if file.stat().st_size == 0:  # cannot be mapped
        place.write_bytes(b"")
        return
    with pa.memory_map(str(file)) as mapped:
        place.write_bytes(mapped.read_buffer())


def is_free(root: Place, last: str) -> bool:
    """Tell whether a directory may be filled: it is new, empty, or left unfinished.

    Args:
        root: The directory.
        last: The file by which it counts as there.
    """
    if not root.exists():
        return True
    if not root.is_dir() or (root / last).exists():
        return False
    names = {path.name for path in root.iterdir()} - {LOCK}
    return not names or UNFINISHED in names


@contextmanager
def fill_directory(root: Place) -> Iterator[None]:
    """Have a directory filled in its place, by as many processes as take part.

    The block writes last the file by which the directory counts as there. If it raises, nothing
    stays; if the process dies in it, what it left is marked, and removed by the next one.

    Args:
        root: New, empty, or left unfinished by an earlier try; its lock stays.
    """
    if isinstance(root, Path):
        root.mkdir(parents=True, exist_ok=True)
    mark = root / UNFINISHED
    _clear(root)
    mark.write_text("The directory is being filled, or filling it was cut off.\n")
    try:
        yield
    except BaseException:
        with suppress(OSError):  # what stays is marked
            _clear(root)
        raise
    mark.unlink(missing_ok=True)


def _clear(root: Place) -> None:
    """Empty a directory, except for its lock; the mark goes last."""
    children = [path for path in root.iterdir() if path.name != LOCK]
    for path in sorted(children, key=lambda path: path.name == UNFINISHED):
        remove_tree(path)
