"""Many small files of a table become few, and no row is lost or doubled on the way."""

from pathlib import Path
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from osteo_ray.base import joined_tables
from osteo_ray.base.digests import read_digests, write_sealed
from osteo_ray.base.joined_tables import join_parts, needs_joining
from osteo_ray.base.tables import MASKS, list_parts, read_parts, write_table
from osteo_ray.explain.jobs import Explainable, read_done
from osteo_ray.pipeline.explain.joining import join_masks

N_FILES, N_ROWS = 40, 3


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of masks in many small files."""
    write(tmp_path, range(N_FILES))
    return tmp_path


def write(folder: Path, numbers: range) -> None:
    for number in numbers:
        rows = [
            dict.fromkeys(MASKS.names)
            | {"kind": "lime", "image_id": f"{number}-{row}", "keep_mask": b"x"}
            for row in range(N_ROWS)
        ]
        write_table(folder / f"part-{number:03}.parquet", pa.Table.from_pylist(rows, MASKS))


def list_ids(folder: Path) -> list[str]:
    return sorted(read_parts(folder, MASKS)["image_id"].to_pylist())


def test_all_rows_are_there_in_few_files(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_parts(table, MASKS)
    assert needs_joining(table)
    monkeypatch.setattr(joined_tables, "_ROWS", 50)
    join_parts(table)
    assert len(list_parts(table)) == 3  # of 51, 51 and 18 rows
    assert not needs_joining(table)
    assert read_parts(table, MASKS).sort_by("image_id").equals(before.sort_by("image_id"))
    files = {path: path.read_bytes() for path in table.iterdir()}
    join_parts(table)
    assert {path: path.read_bytes() for path in table.iterdir()} == files
    write(table, range(N_FILES, N_FILES + 20))  # a kind of mask that was added, for instance
    join_parts(table)
    assert len(list_parts(table)) == 5
    assert len(set(list_ids(table))) == len(list_ids(table)) == (N_FILES + 20) * N_ROWS


def test_files_that_are_links_are_joined_and_what_they_lead_to_stays(
    table: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store, before = tmp_path_factory.mktemp("store"), list_ids(table)
    for number, path in enumerate(sorted(table.iterdir())):
        path.symlink_to(path.rename(store / f"blob-{N_FILES - number}"))
    join_parts(table)
    assert [Path(part).name[:7] for part in list_parts(table)] == ["joined-"]
    assert list_ids(table) == before
    assert not needs_joining(table)
    assert len(list(store.iterdir())) == N_FILES


def test_few_files_stay_as_they_are(tmp_path: Path) -> None:
    write(tmp_path, range(16))
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert not needs_joining(tmp_path)
    join_parts(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_table_beside_is_divided_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    masks, beside = tmp_path / "masks", tmp_path / "faithfulness"
    write(masks, range(N_FILES))
    write(beside, range(3, N_FILES, 2))
    before = list_ids(beside)
    monkeypatch.setattr(joined_tables, "_ROWS", 50)
    join_parts(masks, beside)
    names = [[Path(part).name for part in list_parts(folder)] for folder in (masks, beside)]
    assert names[0] == names[1]
    assert list_ids(beside) == before
    for part in list_parts(beside):
        there = set(pq.read_table(masks / Path(part).name)["image_id"].to_pylist())
        assert set(pq.read_table(part)["image_id"].to_pylist()) < there


@pytest.mark.parametrize("n_done", [0, 1, 7, N_FILES - 1, N_FILES, N_FILES + 5])
def test_interrupted_joining_is_finished(table: Path, n_done: int) -> None:
    beside = table.with_name(f"{table.name}-beside")
    write(beside, range(10))
    both = [list_ids(table), list_ids(beside)]
    remove, calls = Path.unlink, []

    def die(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".parquet" and not path.name.startswith("."):
            if len(calls) == n_done:
                raise OSError("No space left on device")
            calls.append(path)
        remove(path, missing_ok)

    with mock.patch.object(Path, "unlink", die), pytest.raises(OSError, match="No space"):
        join_parts(table, beside)
    for folder, before in zip((table, beside), both, strict=True):
        assert set(list_ids(folder)) == set(before)
    assert len(list_ids(table)) + len(list_ids(beside)) > sum(map(len, both))
    assert needs_joining(table, beside)
    join_parts(table, beside)
    assert not needs_joining(table, beside)
    assert [list_ids(table), list_ids(beside)] == both
    assert [len(list_parts(folder)) for folder in (table, beside)] == [1, 1]


@pytest.mark.parametrize("n_files", [4, N_FILES])
def test_figures_that_were_written_without_their_masks_go(tmp_path: Path, n_files: int) -> None:
    masks, beside = tmp_path / "masks", tmp_path / "faithfulness"
    write(masks, range(n_files))
    write(beside, range(n_files))
    join_parts(masks, beside)
    expected = list_ids(beside)
    lone = beside / "part-lone.parquet"  # of slices that were cut otherwise before
    with write_sealed(lone) as unfinished:
        unfinished.write_bytes((beside / Path(list_parts(beside)[0]).name).read_bytes())
    assert len(list_ids(beside)) > len(expected)
    assert needs_joining(masks, beside)
    join_parts(masks, beside)
    assert list_ids(beside) == list_ids(masks) == expected
    assert not needs_joining(masks, beside)
    assert not read_digests(lone)  # it would count as lost


def test_parts_of_an_earlier_version_gain_columns(table: Path) -> None:
    earlier = pa.schema([one for one in MASKS if one.name != "peak"], MASKS.metadata)
    row = dict.fromkeys(earlier.names) | {"image_id": "old"}
    pq.write_table(pa.Table.from_pylist([row], earlier), table / "part-000.parquet")
    join_parts(table)
    found = read_parts(table, MASKS)
    assert found["peak"].null_count == len(found) == N_FILES * N_ROWS - N_ROWS + 1


@pytest.mark.ray
def test_masks_are_joined_on_the_cluster(table: Path, local_ray: None) -> None:
    before = list_ids(table)
    explainable = mock.create_autospec(
        Explainable, masks=table, faithfulness=table / "none", faithfulness_ids=frozenset("a")
    )
    join_masks([explainable])
    assert list_ids(table) == before
    assert read_done(table) == {"lime": frozenset(before)}
    assert len(list_parts(table)) == 1
