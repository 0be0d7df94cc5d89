"""Arrays of images, such as their pixels, left on disk and read when needed. Free of Ray."""

import errno
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from osteo_ray.base.errors import InputError, StorageError
from osteo_ray.base.remote import RemotePath, first_line, tell_version
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place, open_place, recall_place
from osteo_ray.base.tables import check_version, list_parts
from osteo_ray.base.trust import refuse_objects
from osteo_ray.data.image_size import ImageSize

_OPEN_FILES = 64


@dataclass(frozen=True)
class StoredImages:
    """An array for each of some images of a run, such as its pixels, in files.

    It is indexed as the array in memory would be, and holds nothing of what it has read: beside
    the place of each image, memory holds what was asked for, and one row group of one file.

    Attributes:
        files: The files of the table, as `list_parts` names them.
        file_of: int32, (n,); the file of each image.
        row_of: int32, (n,); its row in that file.
        image_size: Height and width of the images.
        column: The column of the table.
        dtype: Of the numbers in it, one per pixel.
    """

    files: tuple[str, ...]
    file_of: np.ndarray
    row_of: np.ndarray
    image_size: ImageSize
    column: str
    dtype: npt.DTypeLike

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of the array in memory: (n, height, width)."""
        return len(self.file_of), *self.image_size.shape

    @property
    def nbytes(self) -> int:
        """How many bytes the array in memory would take."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    def __len__(self) -> int:
        return len(self.file_of)

    def select(self, rows: np.ndarray) -> "StoredImages":
        """Return the images of some rows, which stay on disk."""
        return replace(self, file_of=self.file_of[rows], row_of=self.row_of[rows])

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Read the arrays of some rows: (k, height, width), in the order of the rows."""
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        places: dict[int, list[int]] = defaultdict(list)
        for place, row in enumerate(rows):
            places[int(self.file_of[row])].append(place)
        for number, wanted in places.items():
            of_file = np.asarray(wanted)
            part = self.files[number]
            _read_rows(part, self.column, self.row_of[rows[of_file]], found, of_file)
        return found


def _read_rows(
    part: str, column: str, rows: np.ndarray, found: np.ndarray, places: np.ndarray
) -> None:
    """Read some rows of a file into some places of an array, one row group at a time."""
    with _naming(recall_place(part)):
        file = _open(part, tell_version(part))
        ends = np.cumsum([file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)])
        group_of = np.searchsorted(ends, rows, side="right")
        for group in np.unique(group_of):
            here = group_of == group
            stored = file.read_row_group(int(group), columns=[column])[column].combine_chunks()
            first = ends[group] - len(stored)
            found[places[here]] = _as_array(stored, found, part)[rows[here] - first]


def _as_array(stored: pa.Array, like: np.ndarray, part: str) -> np.ndarray:
    """View a column of bytes as (n, height, width), of the type of another array, in place."""
    n_bytes = like[0].nbytes
    _, ends, data = stored.buffers()
    stops = np.frombuffer(ends, np.int32)[stored.offset : stored.offset + len(stored) + 1]
    if (np.diff(stops) != n_bytes).any():
        raise InputError(
            f"Expected {n_bytes} bytes for each image in {part}, but some have another number. "
            "Start again in another --out."
        )
    values = np.frombuffer(data, np.uint8)[stops[0] : stops[-1]]
    return values.view(like.dtype).reshape(len(stored), *like.shape[1:])


@lru_cache(_OPEN_FILES)
def _open(part: str, version: object) -> Any:
    filesystem, name = open_place(recall_place(part))
    return pq.ParquetFile(name, filesystem=filesystem)


def locate_images(
    directory: Place, image_ids: list[str], image_size: ImageSize, column: str, dtype: npt.DTypeLike
) -> tuple[StoredImages, list[str]]:
    """Find where the arrays of images lie, in the order of their ids, without reading them.

    Args:
        directory: The table, in files.
        image_ids: The images.
        image_size: Height and width of the images.
        column: The column of the table.
        dtype: Of the numbers in it.

    Returns:
        Where they lie; and the ids of the images that the table lacks, which must not be read.
    """
    files = tuple(list_parts(directory))
    place_of = {image_id: place for place, image_id in enumerate(image_ids)}
    file_of = np.full(len(image_ids), -1, np.int32)
    row_of = np.zeros(len(image_ids), np.int32)
    for number, part in enumerate(files):
        for row, image_id in enumerate(_list_ids(recall_place(part))):
            place = place_of.get(image_id)
            if place is not None:
                file_of[place], row_of[place] = number, row
    missing = [image_ids[place] for place in np.flatnonzero(file_of < 0)]
    return StoredImages(files, file_of, row_of, image_size, column, dtype), missing


def find_pixels(
    directory: Place, image_ids: list[str], image_size: ImageSize
) -> tuple[StoredImages, list[str]]:
    """Find where pixels lie, as `locate_images` does; how deep they are, the files say."""
    dtype: npt.DTypeLike = np.uint8
    for part in list_parts(directory):
        with _naming(recall_place(part)):
            file = _open(part, tell_version(part))
            refuse_objects(file.schema_arrow, part)
            first = next(file.iter_batches(1, columns=["pixels"]), None)
        if first is not None:
            deep = len(first["pixels"][0].as_py() or b"") == 2 * image_size.area_px
            dtype = np.uint16 if deep else np.uint8
            break
    return locate_images(directory, image_ids, image_size, "pixels", dtype)


def locate_pixels(run: Run, image_ids: list[str], image_size: ImageSize) -> StoredImages:
    """Find where the pixels of images lie, in the order of their ids, without reading them.

    Raises:
        InputError: The run lacks the pixels of an image.
    """
    found, missing = find_pixels(run.pixels, image_ids, image_size)
    if missing:
        raise InputError(
            f"Expected the pixels of {len(image_ids)} images in {run.pixels}, but those of "
            f"{len(missing)} are missing, such as {missing[0]}. Start again in another --out."
        )
    return found


def _list_ids(part: Place) -> list[str]:
    check_version(part)
    with _naming(part):
        filesystem, name = open_place(part)
        column = pq.read_table(name, columns=["image_id"], filesystem=filesystem).column(0)
    ids: list[str] = column.to_pylist()
    return ids


@contextmanager
def _naming(part: Place) -> Iterator[None]:
    """Tell which remote file it was that storage failed with, as PyArrow does not.

    Raises:
        StorageError: Storage failed.
    """
    try:
        yield
    except OSError as error:
        if isinstance(part, RemotePath) and not isinstance(error, StorageError):
            raise StorageError(errno.EIO, first_line(error), str(part)) from None
        raise
