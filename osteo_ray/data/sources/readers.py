"""Fetch one image at a time from wherever a source keeps its images: files, an archive, a table.

A reader is small and travels to the workers. What it opens stays open in the worker's process, so
that images stored side by side cost one look at the file.
"""

import functools
import math
import os
import stat
import zipfile
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from osteo_ray.base.remote import first_line, is_local, open_filesystem, tell_version
from osteo_ray.base.trust import refuse_objects
from osteo_ray.data.decoding.result import UnreadableImageError

LARGEST_FILE = 512 * 2**20
"""Bytes above which a file is not read: no radiograph is that large, and workers share memory."""


def open_input(uri: str) -> pa.NativeFile:
    """Open a file of this machine or at a URI for reading, from any position.

    Raises:
        OSError, ValueError, ImportError: It cannot be opened.
    """
    filesystem, path = open_filesystem(uri)
    return filesystem.open_input_file(path)


class Reader(Protocol):
    """Fetches the images of a source."""

    def read(self, path: str, position: int) -> bytes | np.ndarray:
        """Fetch one image: the bytes of a file, or its pixels.

        Args:
            path: Name of the image within the source.
            position: Number of the image within an archive or a table; -1 for a file of its own.

        Raises:
            UnreadableImageError: The image cannot be fetched; the message says why.
        """


@dataclass(frozen=True)
class FileReader:
    """Fetches images from files of their own.

    Attributes:
        root: URI or absolute path of the folder that all files must lie in.
    """

    root: str

    def read(self, path: str, position: int) -> bytes:
        """Fetch the bytes of a file; see `Reader.read`."""
        if is_local(self.root):
            return _read_local(self.root, path)
        try:
            filesystem, root = open_filesystem(self.root)
            with filesystem.open_input_file(f"{root}/{path}") as file:
                if file.size() > LARGEST_FILE:
                    raise UnreadableImageError(say_too_large(file.size()))
                return bytes(file.read())
        except (OSError, ValueError) as error:  # the latter for impossible names
            raise UnreadableImageError(f"cannot be fetched: {first_line(error)}") from None


@functools.lru_cache(maxsize=1024)
def _find_real(folder: str) -> str:
    return os.path.realpath(folder, strict=True)


def _read_local(root: str, path: str) -> bytes:
    try:
        folder, _, name = f"{root}/{path}".rpartition("/")
        # A link, or `..`, may lead anywhere; of other files, only the folder need be followed.
        real = os.path.join(_find_real(folder), name)
        found = os.lstat(real)
        if not stat.S_ISREG(found.st_mode):
            real = os.path.realpath(real, strict=True)
            found = os.stat(real)
        if not real.startswith(os.path.join(_find_real(root), "")):
            raise UnreadableImageError("lies outside the source, or is a link that leads there")
        if stat.S_ISDIR(found.st_mode):
            raise UnreadableImageError("a folder, not a file")
        if not stat.S_ISREG(found.st_mode):  # reading a pipe would wait forever
            raise UnreadableImageError("not a regular file")
        if found.st_size > LARGEST_FILE:
            raise UnreadableImageError(say_too_large(found.st_size))
        with open(real, "rb") as file:
            return file.read()
    except OSError as error:
        raise UnreadableImageError(error.strerror or first_line(error)) from None
    except ValueError as error:  # a null byte in the name
        raise UnreadableImageError(f"a file name that cannot be opened: {error}") from None


def say_too_large(size: int) -> str:
    """Say that a file of some bytes is too large."""
    return f"too large: {size / 2**20:.0f} MiB; expected {LARGEST_FILE / 2**20:.0f} MiB at most"


@dataclass(frozen=True)
class ArchiveReader:
    """Fetches images from the arrays of an NPZ archive, such as MedMNIST's.

    Attributes:
        uri: The archive.
    """

    uri: str

    def read(self, path: str, position: int) -> np.ndarray:
        """Fetch the pixels of an image, whose path is ARRAY/NUMBER; see `Reader.read`."""
        try:
            name, version = path.rpartition("/")[0], tell_version(self.uri)
            return open_array(self.uri, name, version).read(position)
        except Exception as error:  # errors of zipfile, zlib and lzma share no narrower base
            open_array.cache_clear()
            raise UnreadableImageError(f"cannot be read: {first_line(error)}") from None


class ArrayStream:
    """Reads an array of an NPZ archive row by row and holds no more than a row in memory.

    Attributes:
        shape: Shape of the whole array.
        dtype: Type of its values.
    """

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._file = archive.open(f"{name}.npy")
        version = np.lib.format.read_magic(self._file)
        header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        self.shape, fortran, self.dtype = header(self._file)
        if fortran or self.dtype.hasobject:
            raise ValueError("arrays of objects and arrays in Fortran order are not supported")
        self._start = self._file.tell()

    def read(self, row: int) -> np.ndarray:
        """Read one row of the array; fastest in ascending order.

        Raises:
            ValueError, EOFError: The row is too large, or the archive ends before it does.
        """
        shape = self.shape[1:]
        size = math.prod(shape) * self.dtype.itemsize
        if size > LARGEST_FILE:
            raise ValueError(say_too_large(size))
        self._file.seek(self._start + row * size)  # going back starts again at the beginning
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError("the archive ends early")
        return np.frombuffer(data, self.dtype).reshape(shape)


@functools.lru_cache(maxsize=4)
def open_array(uri: str, name: str, version: object) -> ArrayStream:
    """Open an array of an NPZ archive, and keep the last few open.

    Args:
        uri: The archive.
        name: The array.
        version: Of the archive, as `tell_version` returns it.

    Raises:
        OSError, ValueError, BadZipFile, KeyError: There is no such archive or array.
    """
    return ArrayStream(zipfile.ZipFile(open_input(uri)), name)


@dataclass(frozen=True)
class TableReader:
    """Fetches images from a column of a Parquet table, as Hugging Face's data sets keep them.

    Attributes:
        uri: The table.
        column: Name of the column, which holds bytes or structs with a field `bytes`.
        row_groups: Number of the first row of each row group.
    """

    uri: str
    column: str
    row_groups: tuple[int, ...]

    def read(self, path: str, position: int) -> bytes:
        """Fetch the bytes of an image; see `Reader.read`."""
        number = int(np.searchsorted(self.row_groups, position, side="right")) - 1
        try:
            cells = _load_cells(self.uri, self.column, number, tell_version(self.uri))
        except (OSError, pa.ArrowException) as error:
            raise UnreadableImageError(f"cannot be read: {first_line(error)}") from None
        cell = cells[position - self.row_groups[number]].as_py()
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        if content is None:
            raise UnreadableImageError("no image in this row")
        return bytes(content)


@functools.lru_cache(maxsize=2)
def _load_cells(uri: str, column: str, number: int, version: object) -> Any:
    with open_input(uri) as opened:
        table = pq.ParquetFile(opened).read_row_group(number, columns=[column])
    refuse_objects(table.schema, uri)
    return table[column]
