"""Paths in object storage that offer the `pathlib` operations that runs need, through PyArrow."""

import errno
import functools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pyarrow as pa
import pyarrow.fs
from pyarrow.fs import FileSelector, FileType

from osteo_ray.base.errors import InputError, StorageError
from osteo_ray.base.trust import AddressError, refuse_secrets

_ATTEMPTS = 6  # to send a request to S3, with growing pauses: about 15 s in all
_FIRST_PAUSE_S = 0.2
_NO_ROOM = "Failed to flush response stream"
_OBJECT_STORES = ("s3", "gcs", "abfs")  # they show an upload only once it is complete
_NO_OTHER = ("s3://", "gs://", "gcs://")  # what PyArrow always knows, so the URI is at fault
_SAFE = "/!$&'()*+,;=:@~"  # characters that stay as they are in a URI
_STORES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")
"""Schemes whose options say how to reach the storage; elsewhere, they help to name a file."""


@functools.lru_cache(maxsize=32)
def open_filesystem(uri: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """Return the file system of a URI or local path, and the path within it.

    PyArrow opens what it knows itself (local, S3, GCS, HDFS); fsspec opens the rest.

    Raises:
        ValueError, OSError, ImportError: The scheme is unknown, or its package is not installed.
    """
    if is_local(uri):
        return pyarrow.fs.LocalFileSystem(), uri
    try:
        filesystem, path = pyarrow.fs.FileSystem.from_uri(uri)
    except pa.ArrowInvalid:
        if uri.startswith(_NO_OTHER):
            raise
        import fsspec

        other, path = fsspec.core.url_to_fs(uri)
        filesystem = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(other))
    if isinstance(filesystem, pyarrow.fs.S3FileSystem):
        filesystem = _be_patient(filesystem)
    return filesystem, path


def _be_patient(filesystem: Any) -> Any:
    """Return an S3 file system that retries for longer, and uploads a small file in one request.

    A URI has no options for this; those that it does have are kept.
    """
    rebuild, (settings,) = filesystem.__reduce__()
    retries = pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS)
    patient = {**settings, "allow_delayed_open": True, "retry_strategy": retries}
    return rebuild(patient)


def _read_patiently(file: Any) -> bytes:
    """Read a file from its start to its end, even if the store is too busy at first.

    The client of S3 tries again by itself, unless the refusal is longer than the file: it has room
    for the file alone, and takes the rest for a broken connection.
    """
    attempt = 0
    while True:
        attempt += 1
        try:
            return bytes(file.read())
        except OSError as error:
            if attempt == _ATTEMPTS or _NO_ROOM not in str(error):
                raise
        time.sleep(_FIRST_PAUSE_S * 2**attempt)
        file.seek(0)


def is_local(uri: str) -> bool:
    """Return whether a URI is a local path; local files have links and permissions."""
    return "://" not in uri


def tell_version(file: str) -> tuple[int, ...]:
    """Return what tells a file of this machine from the one that was there before.

    What is kept of open files is kept by this, too: in a notebook, a set may be packed again, or a
    run made anew, at the same place. In object storage, nothing tells without asking.

    Returns:
        Its number, size and date; nothing if it is elsewhere, or cannot be looked at.
    """
    try:
        found = os.stat(file) if is_local(file) else None
    except (OSError, ValueError):  # opening it says what is wrong
        return ()
    return () if found is None else (found.st_ino, found.st_size, found.st_mtime_ns)


def split_uri(uri: str) -> tuple[str, str]:
    """Split a URI at the question mark, into the place and its options.

    In a local path, a question mark is part of the name.

    Example:
        >>> split_uri("s3://bucket/knees.csv?scheme=http"), split_uri("/knees?.csv")
        (('s3://bucket/knees.csv', '?scheme=http'), ('/knees?.csv', ''))
    """
    if is_local(uri):
        return uri, ""
    place, mark, options = uri.partition("?")
    return place, mark + options


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message without a final period; else the error's name."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, str) and isinstance(error, InputError):
        return reason
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


@dataclass(frozen=True)
class RemotePath:
    """A path in object storage. It is small, can be pickled, and means the same in every process.

    Attributes:
        base: Scheme and bucket, such as `s3://bucket`.
        key: Path within the bucket, without a slash at either end.
        options: Rest of the URI from the question mark on, or an empty string.
    """

    base: str
    key: str = ""
    options: str = ""

    @classmethod
    def parse(cls, uri: str) -> "RemotePath":
        """Parse a URI, without contacting the storage.

        Raises:
            AddressError: The URI names no bucket, has an empty part, or contains a secret, which
                would end up in the files of the run. Keys come from the environment.

        Example:
            >>> RemotePath.parse("s3://bucket/runs/my%20knees/?region=eu-west-1")
            RemotePath(base='s3://bucket', key='runs/my knees', options='?region=eu-west-1')
        """
        place, mark, options = refuse_secrets(uri).partition("?")
        try:
            parts = urlsplit(place, allow_fragments=False)  # a key may contain a #
        except ValueError:  # it has one of two brackets
            parts = None
        if parts is None or not parts.netloc:
            raise AddressError(
                f"Expected a URI with a bucket, such as s3://bucket/runs/knees, but got {uri}."
            )
        base = f"{parts.scheme}://{parts.netloc}"
        found = cls(base, unquote(parts.path).strip("/"), mark + options)
        if found.is_in_store and "//" in found.key:  # PyArrow cannot name it
            raise AddressError(f"Expected a URI with one slash between two names, but got {uri}.")
        return found

    def __str__(self) -> str:
        """Return the URI that `parse` turns into this path."""
        return f"{self.base}/{quote(self.key, safe=_SAFE)}".rstrip("/") + self.options

    def __truediv__(self, name: str) -> "RemotePath":
        return self.join(PurePosixPath(name))

    def join(self, path: Any) -> "RemotePath":
        """Append a relative `pathlib` path."""
        return RemotePath(self.base, f"{self.key}/{path.as_posix()}".lstrip("/"), self.options)

    @property
    def root(self) -> "RemotePath":
        """The bucket."""
        return RemotePath(self.base, "", self.options)

    @property
    def name(self) -> str:
        """The last part."""
        return self.key.rpartition("/")[2]

    @property
    def parent(self) -> "RemotePath":
        """The directory that contains it."""
        return RemotePath(self.base, self.key.rpartition("/")[0], self.options)

    @property
    def parents(self) -> "tuple[RemotePath, ...]":
        """All directories that contain it, the nearest first."""
        return (self.parent, *self.parent.parents) if self.key else ()

    def with_name(self, name: str) -> "RemotePath":
        """Return the path with another last part."""
        return self.parent / name

    @property
    def is_in_store(self) -> bool:
        """Whether its storage has buckets, and takes options, rather than addresses of files."""
        return self.base.partition("://")[0] in _STORES

    @property
    def filesystem(self) -> pyarrow.fs.FileSystem:
        """The PyArrow file system in which `path` names this place."""
        return self._open()[0]

    @property
    def path(self) -> str:
        """Its name in `filesystem`."""
        return self._open()[1]

    def _open(self) -> tuple[pyarrow.fs.FileSystem, str]:
        is_whole = bool(self.options) and not self.is_in_store
        try:
            filesystem, start = open_filesystem(str(self if is_whole else self.root))
        except (ValueError, ImportError) as error:
            raise AddressError(
                f"Expected a URI of storage that can be opened, but got {self}: "
                f"{first_line(error)}. Correct its scheme or its options."
            ) from None
        return filesystem, start if is_whole else f"{start.rstrip('/')}/{self.key}".rstrip("/")

    def exists(self) -> bool:
        """Return whether it is a file, or there are files below it."""
        return bool(self._type != FileType.NotFound)

    def is_file(self) -> bool:
        """Return whether it is a file."""
        return bool(self._type == FileType.File)

    def is_dir(self) -> bool:
        """Return whether there are files below it."""
        return bool(self._type == FileType.Directory)

    @property
    def _type(self) -> FileType:
        with self._saying():
            return self.filesystem.get_file_info(self.path).type

    def iterdir(self) -> "list[RemotePath]":
        """List its direct children; none if it does not exist."""
        with self._saying():
            selector = FileSelector(self.path, allow_not_found=True)
            found = self.filesystem.get_file_info(selector)
        return [self / info.base_name for info in found]

    def list_files(self) -> "list[tuple[RemotePath, int]]":
        """List the files below it at any depth, with their sizes in bytes, sorted by name.

        This takes one request per thousand files.
        """
        with self._saying():
            selector = FileSelector(self.path, allow_not_found=True, recursive=True)
            found = self.filesystem.get_file_info(selector)
        start = len(self.path) + 1
        files = [info for info in found if info.type == FileType.File]
        return [
            (self / info.path[start:], info.size)
            for info in sorted(files, key=lambda info: info.path)
        ]

    def read_bytes(self) -> bytes:
        """Read the file."""
        with self._saying(), self.filesystem.open_input_file(self.path) as file:
            return _read_patiently(file)

    def read_text(self, encoding: str = "utf-8") -> str:
        """Read the file as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: "bytes | pa.Buffer") -> None:
        """Write the file atomically: readers see all of it or nothing."""
        with self._saying():
            filesystem, path = self.filesystem, self.path
            is_store = filesystem.type_name in _OBJECT_STORES
            target = path if is_store else f"{path.rpartition('/')[0]}/.{self.name}.tmp"
            if not is_store:
                filesystem.create_dir(self.parent.path, recursive=True)
            # No `with`: it would close the stream after an error, and commit a part of the file.
            file = filesystem.open_output_stream(target)
            file.write(content)
            file.close()
            if not is_store:
                filesystem.move(target, path)

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Write the file atomically, as text."""
        self.write_bytes(text.encode(encoding))

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""
        try:
            with self._saying():
                self.filesystem.delete_file(self.path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def remove(self) -> None:
        """Remove the file, or all files below it, if there are any."""
        if self.is_dir():
            with self._saying():
                self.filesystem.delete_dir(self.path)
        else:
            self.unlink(missing_ok=True)

    def move(self, target: "RemotePath") -> None:
        """Move the file, or all files below it; object storage copies each and deletes it."""
        files = [path for path, _ in self.list_files()] if self.is_dir() else [self]
        for file in files:
            there = RemotePath(target.base, target.key + file.key[len(self.key) :], target.options)
            with self._saying():
                if self.filesystem.type_name not in _OBJECT_STORES:
                    self.filesystem.create_dir(there.parent.path, recursive=True)
                self.filesystem.move(file.path, there.path)

    @contextmanager
    def _saying(self) -> Iterator[None]:
        """Turn errors of the storage into one kind, which names the place."""
        try:
            yield
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, "does not exist", str(self)) from None
        except AddressError:  # it will not pass
            raise
        except (OSError, ValueError, ImportError, pa.ArrowException) as error:
            raise StorageError(errno.EIO, first_line(error), str(self)) from None
