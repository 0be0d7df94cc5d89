"""The pixels of a run, read from its files."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import PIXELS, write_pixels
from osteo_ray.experiment import dataset
from osteo_ray.experiment.dataset import read_pixels

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


@pytest.mark.parametrize("at_a_time", [1, 2, 16])
def test_pixels_come_in_the_order_of_the_ids(
    run: Run, at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "_FILES", at_a_time)
    found = read_pixels(run, ["id-2", "id-5", "id-6", "id-0"], SIDE)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.broadcast_to([[[2]], [[5]], [[6]], [[0]]], found.shape))


def test_no_more_than_a_few_files_are_in_memory(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "_FILES", 1)
    sizes = []
    iterate = dataset.iterate_parts

    def watch(*arguments: object) -> object:
        for table in iterate(*arguments):  # type: ignore[arg-type]
            sizes.append(len(table))
            yield table

    monkeypatch.setattr(dataset, "iterate_parts", watch)
    read_pixels(run, [f"id-{number}" for number in range(7)], SIDE)
    assert sizes == [3, 1, 3]


def test_missing_pixels_are_told(run: Run) -> None:
    with pytest.raises(InputError, match=r"pixels of 3 images in .*those of 2 are missing, .*id-8"):
        read_pixels(run, ["id-8", "id-1", "id-9"], SIDE)
