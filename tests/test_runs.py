"""Writes that are whole or do not happen, and tables in parts."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import (
    MASKS,
    SCHEMA_VERSION,
    SPLITS,
    iterate_parts,
    list_parts,
    read_json,
    read_parts,
    write_json,
    write_table,
    write_whole,
)


class Interruption(BaseException):
    """What no `except Exception` catches, as KeyboardInterrupt."""


def _tabulate(*ids: str) -> pa.Table:
    rows = [{"seed": 1, "image_id": name, "split": "test"} for name in ids]
    return pa.Table.from_pylist(rows, schema=SPLITS)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "down" / "file.txt"


def test_file_appears_at_the_end_only(file: Path) -> None:
    with write_whole(file) as unfinished:
        unfinished.write_text("new")
        assert not file.exists()
        assert unfinished.parent == file.parent  # renaming is atomic within a file system
    assert file.read_text() == "new"
    assert list(file.parent.iterdir()) == [file]


def test_old_file_is_replaced(file: Path) -> None:
    for text in ("old and long", "new"):
        with write_whole(file) as unfinished:
            unfinished.write_text(text)
    assert file.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, Interruption])
def test_old_file_survives_an_error(file: Path, error: type[BaseException]) -> None:
    with write_whole(file) as unfinished:
        unfinished.write_text("old")

    def fail() -> None:
        with write_whole(file) as unfinished:
            unfinished.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert file.read_text() == "old"
    assert list(file.parent.iterdir()) == [file]


def test_directory_appears_at_the_end_only(tmp_path: Path) -> None:
    target = tmp_path / "trial"
    with write_whole(target) as unfinished:
        unfinished.mkdir()
        (unfinished / "a.txt").write_text("a")
        assert not target.exists()
    assert [path.name for path in target.iterdir()] == ["a.txt"]
    assert list(tmp_path.iterdir()) == [target]


def test_unfinished_directory_is_removed_after_an_error(tmp_path: Path) -> None:
    def fail() -> None:
        with write_whole(tmp_path / "trial") as unfinished:
            (unfinished / "inner").mkdir(parents=True)
            raise Interruption

    with pytest.raises(Interruption):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_directory_that_another_process_finished_first_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "trial"
    with write_whole(target) as slow:
        slow.mkdir()
        (slow / "who.txt").write_text("slow")
        with write_whole(target) as quick:
            quick.mkdir()
            (quick / "who.txt").write_text("quick")
    assert (target / "who.txt").read_text() == "quick"
    assert list(tmp_path.iterdir()) == [target]


def test_writers_of_one_file_do_not_share_their_unfinished_files(file: Path) -> None:
    with write_whole(file) as one, write_whole(file) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert file.read_text() == "one"  # the outer block ends last


def test_json_round_trip_keeps_letters_readable(tmp_path: Path) -> None:
    content = {"größe": [1, 2.5, None, True], "b": {"a": "−"}}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == content
    assert "größe" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_json_refuses_what_it_cannot_hold_and_keeps_the_old_file(
    tmp_path: Path, value: object
) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises((ValueError, TypeError)):
        write_json(path, {"a": value})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_tables_carry_the_version_of_their_schema(tmp_path: Path) -> None:
    write_table(tmp_path / "splits.parquet", _tabulate("a"))
    schema = pq.read_schema(tmp_path / "splits.parquet")
    assert schema.metadata[b"osteo_ray"] == SCHEMA_VERSION
    assert schema.equals(SPLITS)


def test_parts_are_read_in_order_of_their_names(tmp_path: Path) -> None:
    write_table(tmp_path / "part-b.parquet", _tabulate("b"))
    write_table(tmp_path / "part-a.parquet", _tabulate("a", "c"))
    write_table(tmp_path / "sub" / "part-0.parquet", _tabulate("d"))
    assert read_parts(tmp_path, SPLITS)["image_id"].to_pylist() == ["a", "c", "b", "d"]


def test_a_large_part_is_read_by_its_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"a{number}" for number in range(10)]
    write_table(tmp_path / "0.parquet", _tabulate(*ids), 3)
    write_table(tmp_path / "1.parquet", _tabulate("b"))
    monkeypatch.setattr("osteo_ray.base.tables._ROWS", 3)
    tables = list(iterate_parts(tmp_path, SPLITS))
    assert [len(table) for table in tables] == [3, 3, 3, 2]
    assert read_parts(tmp_path, SPLITS)["image_id"].to_pylist() == [*ids, "b"]


def test_parts_are_read_some_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        write_table(tmp_path / f"{number}.parquet", _tabulate(f"a{number}", f"b{number}"))
    whole = read_parts(tmp_path, SPLITS), read_parts(tmp_path, SPLITS, ["split", "image_id"])
    monkeypatch.setattr("osteo_ray.base.tables._AT_A_TIME", 3)
    assert [len(table) for table in iterate_parts(tmp_path, SPLITS)] == [6, 6, 2]
    monkeypatch.setattr("osteo_ray.base.tables._ROWS", 3)
    assert [len(table) for table in iterate_parts(tmp_path, SPLITS)] == [4, 2, 4, 2, 2]
    assert read_parts(tmp_path, SPLITS).equals(whole[0], check_metadata=True)
    some = read_parts(tmp_path, SPLITS, ["split", "image_id"])
    assert some.equals(whole[1], check_metadata=True)
    assert some.column_names == ["split", "image_id"]
    pq.write_table(pa.table({"x": [1]}), tmp_path / "6.parquet")
    with pytest.raises(InputError, match=r"6\.parquet"):
        read_parts(tmp_path, SPLITS)


def test_unfinished_parts_are_passed_over(tmp_path: Path) -> None:
    write_table(tmp_path / "part-a.parquet", _tabulate("a"))
    (tmp_path / ".part-b.parquet.1234.tmp").write_bytes(b"half")
    (tmp_path / ".part-c.parquet").write_bytes(b"half")
    assert list_parts(tmp_path) == [str(tmp_path / "part-a.parquet")]
    assert read_parts(tmp_path, SPLITS).num_rows == 1


@pytest.mark.parametrize(
    ("metadata", "found"), [({b"osteo_ray": b"1"}, "found version 1"), (None, "found none")]
)
def test_parts_of_another_version_are_refused(tmp_path: Path, metadata: Any, found: str) -> None:
    write_table(tmp_path / "part-a.parquet", _tabulate("a"))
    write_table(tmp_path / "part-b.parquet", _tabulate("b").replace_schema_metadata(metadata))
    with pytest.raises(
        InputError, match=f"version {SCHEMA_VERSION.decode()}, .* but {found} in .*another --out"
    ) as error:
        read_parts(tmp_path, SPLITS)
    assert str(tmp_path / "part-b.parquet") in str(error.value)


@pytest.mark.parametrize("exists", [True, False])
def test_no_parts_make_an_empty_table_with_its_columns(tmp_path: Path, exists: bool) -> None:
    directory = tmp_path if exists else tmp_path / "none"
    table = read_parts(directory, MASKS)
    assert table.num_rows == 0
    assert table.column_names == MASKS.names
    assert read_parts(directory, MASKS, ["image_id"]).column_names == ["image_id"]


def test_artifacts_lie_apart_within_the_run(tmp_path: Path) -> None:
    run = Run(tmp_path)
    properties = [name for name, value in vars(Run).items() if isinstance(value, property)]
    paths = [getattr(run, name) for name in properties]
    assert len(set(paths)) == len(paths) >= 15
    assert all(path.parent == tmp_path for path in paths)
