"""The pixels of a run, read from its files at once or when they are needed."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import ray

from osteo_ray.base.errors import InputError, StorageError
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import PIXELS, write_pixels
from osteo_ray.data.image_size import ImageSize
from osteo_ray.experiment import stored_images
from osteo_ray.experiment.dataset import read_pixels
from osteo_ray.experiment.stored_images import StoredImages, locate_pixels
from osteo_ray.pipeline.compare.shared_pixels import share_pixels

SIDE = 4


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose seven images lie in three files, in an order of their own."""
    run = Run(tmp_path)
    for part, numbers in enumerate(((5, 0, 3), (6,), (1, 4, 2))):
        ids = [f"id-{number}" for number in numbers]
        content = [np.full((SIDE, SIDE), number, np.uint8).tobytes() for number in numbers]
        write_pixels(run.pixels / f"part-{part}.parquet", pa.table([ids, ids, content], PIXELS))
    return run


def test_pixels_come_in_the_order_of_the_ids(run: Run) -> None:
    found = read_pixels(run, ["id-2", "id-5", "id-6", "id-0"], ImageSize.square(SIDE))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.broadcast_to([[[2]], [[5]], [[6]], [[0]]], found.shape))


def test_pixels_of_a_run_that_is_made_anew_are_read_anew(run: Run) -> None:
    ids, size = ["id-1", "id-6"], ImageSize.square(SIDE)
    rows = np.arange(2)
    assert locate_pixels(run, ids, size)[rows][:, 0, 0].tolist() == [1, 6]
    for file in run.pixels.glob("*.parquet"):  # type: ignore[union-attr]
        file.unlink()
    content = [np.full((SIDE, SIDE), value, np.uint8).tobytes() for value in (60, 10)]
    write_pixels(run.pixels / "part-0.parquet", pa.table([ids[::-1], ids[::-1], content], PIXELS))
    assert locate_pixels(run, ids, size)[rows][:, 0, 0].tolist() == [10, 60]


@pytest.mark.parametrize("find", [read_pixels, locate_pixels])
def test_missing_pixels_are_told(run: Run, find: Callable[..., object]) -> None:
    with pytest.raises(InputError, match=r"pixels of 3 images in .*those of 2 are missing, .*id-8"):
        find(run, ["id-8", "id-1", "id-9"], ImageSize.square(SIDE))


@pytest.fixture
def drawn(tmp_path: Path) -> tuple[Run, np.ndarray]:
    """A run of 100 images in files of several row groups, and their pixels by number."""
    run, rng = Run(tmp_path / "drawn"), np.random.default_rng(0)
    pixels = rng.integers(0, 256, (100, SIDE, SIDE), np.uint8)
    for part, numbers in enumerate(np.array_split(rng.permutation(100), (40, 41, 90))):
        ids = [f"id-{number}" for number in numbers]
        content = [pixels[number].tobytes() for number in numbers]
        write_pixels(run.pixels / f"part-{part}.parquet", pa.table([ids, ids, content], PIXELS))
    return run, pixels


def test_pixels_on_disk_are_indexed_as_an_array(drawn: tuple[Run, np.ndarray]) -> None:
    run, pixels = drawn
    stored = locate_pixels(run, [f"id-{number}" for number in range(100)], ImageSize.square(SIDE))
    assert (len(stored), stored.shape, stored.nbytes) == (100, pixels.shape, pixels.nbytes)
    for rows in ([3], [], [99, 0, 0, 57], np.random.default_rng(1).permutation(100)):
        found = stored[np.array(rows, int)]
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, pixels[np.array(rows, int)])
    some = np.arange(90, 4, -7)
    np.testing.assert_array_equal(stored.select(some)[np.array([2, 0])], pixels[some[[2, 0]]])
    travelled = pickle.loads(pickle.dumps(stored))
    np.testing.assert_array_equal(travelled[some], pixels[some])


def test_storage_that_fails_under_way_is_told_with_the_file(
    drawn: tuple[Run, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    size, ids = ImageSize.square(SIDE), ["id-1", "id-2"]
    stored = locate_pixels(drawn[0], ids, size)
    there = replace(stored, files=tuple(f"s3://bucket/{number}" for number in range(4)))

    def hang_up(*_: object) -> None:
        raise OSError("AWS Error NETWORK_CONNECTION: Empty reply from server")

    monkeypatch.setattr(stored_images, "_open", hang_up)
    with pytest.raises(StorageError, match="Empty reply") as caught:
        there[np.arange(2)]
    assert str(caught.value.filename).startswith("s3://bucket/")
    with pytest.raises(OSError, match="Empty reply") as local:
        locate_pixels(drawn[0], ids, size)
    assert not isinstance(local.value, StorageError)


def test_pixels_of_another_size_on_disk_are_refused(drawn: tuple[Run, np.ndarray]) -> None:
    stored = locate_pixels(drawn[0], ["id-1", "id-2"], ImageSize.square(SIDE + 1))
    with pytest.raises(InputError, match=r"25 bytes for each image in .*part-\d.parquet"):
        stored[np.array([1])]


@pytest.mark.ray
def test_only_a_set_that_is_too_large_stays_on_disk(
    drawn: tuple[Run, np.ndarray], local_ray: None
) -> None:
    run, pixels = drawn
    ids = [f"id-{number}" for number in range(100)]
    shared = ray.get(share_pixels(run, ids, ImageSize.square(SIDE), pixels.nbytes))
    assert isinstance(shared, np.ndarray)
    np.testing.assert_array_equal(shared, pixels)
    assert isinstance(
        ray.get(share_pixels(run, ids, ImageSize.square(SIDE), pixels.nbytes - 1)), StoredImages
    )


@pytest.mark.ray
def test_what_cannot_be_read_is_told_by_the_driver(
    drawn: tuple[Run, np.ndarray], local_ray: None
) -> None:
    run, pixels = drawn
    with pytest.raises(InputError, match="pixels of 2 images"):
        share_pixels(run, ["id-8", "none"], ImageSize.square(SIDE), pixels.nbytes)
    with pytest.raises(InputError, match=r"^Expected 25 bytes for each image in .*part-\d.parquet"):
        share_pixels(run, ["id-1", "id-2"], ImageSize.square(SIDE + 1), pixels.nbytes)
