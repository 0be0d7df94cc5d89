"""Tables and records: their columns, and how they are read and written.

Every write is atomic: a file appears complete, or not at all. docs/run-files.md has the columns.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import yaml

from osteo_ray.base.damage import naming_damage
from osteo_ray.base.digests import write_sealed
from osteo_ray.base.errors import InputError
from osteo_ray.base.remote import RemotePath
from osteo_ray.base.storage import Place, open_place, recall_place, walk_files
from osteo_ray.base.storage import write_whole as write_whole
from osteo_ray.base.trust import refuse_objects

Writing = Callable[[Place], AbstractContextManager[Path]]
"""Gives a local path to write to, which becomes a place: `write_whole`, or one with a digest."""
SCHEMA_VERSION = b"4"
_AT_A_TIME = 256  # files; each takes some 80 KiB of memory while it is read
_ROWS = 4096  # with a mask in each, 25 MiB at 224 px
_READS = 16  # requests at a time, if most of their time is waiting
IMAGE_ROWS = 16
"""How many images are read together from a table that holds an array for each of them."""


def _schema(*fields: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema(list(fields), metadata={b"osteo_ray": SCHEMA_VERSION})


IMAGES = _schema(
    ("image_id", pa.string()),
    ("path", pa.string()),
    ("label", pa.string()),
    ("given_label", pa.string()),
    ("copies", pa.int64()),
    ("patient", pa.int64()),
    ("group", pa.int64()),
    ("conflict", pa.bool_()),
    ("used", pa.bool_()),
    ("side", pa.string()),
    ("site", pa.string()),
    ("given_split", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("format", pa.string()),
    ("mode", pa.string()),
    ("digest", pa.string()),
)
READ_IMAGES = _schema(  # what is known of images that are only read
    *(
        (name, IMAGES.field(name).type)
        for name in (
            *("image_id", "path", "label", "patient", "side", "site"),
            *("width", "height", "format", "mode", "digest"),
        )
    )
)
REJECTS = _schema(("path", pa.string()), ("reason", pa.string()))
SPLITS = _schema(("seed", pa.int64()), ("image_id", pa.string()), ("split", pa.string()))
PIXELS = _schema(("image_id", pa.string()), ("digest", pa.string()), ("pixels", pa.binary()))
REGIONS = _schema(("image_id", pa.string()), ("digest", pa.string()), ("region", pa.binary()))
SUPERPIXELS = _schema(("image_id", pa.string()), ("superpixels", pa.binary()))
MASKS = _schema(
    ("model", pa.string()),
    ("seed", pa.int64()),
    ("teacher", pa.string()),
    ("target", pa.string()),
    ("kind", pa.string()),
    ("image_id", pa.string()),
    ("keep_mask", pa.binary()),
    ("weights", pa.list_(pa.float64())),
    ("explained_class", pa.int64()),
    ("n_samples", pa.int64()),
    ("local_fit", pa.float64()),
    ("stability", pa.float64()),
    ("unstable", pa.bool_()),
    ("error", pa.string()),
    # Null in tables of earlier versions, which lack these columns.
    ("note", pa.string()),
    ("peak", pa.binary()),
)
FAITHFULNESS = _schema(
    ("model", pa.string()),
    ("seed", pa.int64()),
    ("kind", pa.string()),
    ("image_id", pa.string()),
    ("insertion_auc", pa.float64()),
    ("deletion_auc", pa.float64()),
    ("drop", pa.float64()),
)
HEATMAPS = _schema(
    ("model", pa.string()),
    ("seed", pa.int64()),
    ("image_id", pa.string()),
    ("heatmap", pa.binary()),
)


# Whole tables and records


def write_table(
    path: Place,
    table: pa.Table,
    rows_per_group: int | None = None,
    *,
    how: Writing = write_whole,
) -> None:
    """Write a Parquet file, of which as many rows are read together as one group has."""
    with how(path) as unfinished:
        pq.write_table(table, unfinished, compression="zstd", row_group_size=rows_per_group)


def write_pixels(path: Place, table: pa.Table) -> None:
    """Write a Parquet file of pixels, uncompressed: compressing takes longer than decoding."""
    with write_sealed(path) as unfinished:
        pq.write_table(
            table,
            unfinished,
            compression="none",
            use_dictionary=False,
            write_statistics=False,
            row_group_size=IMAGE_ROWS,
        )


def write_json(path: Place, content: Any, how: Writing = write_whole) -> None:
    """Write a JSON file; NaN is refused, because JSON has no such value."""
    with how(path) as unfinished:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        unfinished.write_text(text + "\n", encoding="utf-8")


def write_yaml(path: Place, settings: dict[str, Any], how: Writing = write_whole) -> None:
    """Write settings as YAML."""
    with how(path) as unfinished:
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
        unfinished.write_text(text, encoding="utf-8")


def read_json(path: Place) -> Any:
    """Read a JSON file.

    Raises:
        DamagedError: It is none.
    """
    with naming_damage(path):
        return json.loads(path.read_text(encoding="utf-8"))


def _open_table(path: Place) -> Any:
    """Return what PyArrow can read a Parquet file from; remote files are fetched as a whole."""
    return path if isinstance(path, Path) else pa.BufferReader(path.read_bytes())


def read_table(
    path: Place, columns: list[str] | None = None, *, as_numbers: Sequence[str] = ()
) -> pa.Table:
    """Read a Parquet file.

    Args:
        path: The file.
        columns: Names of the columns to read; all by default.
        as_numbers: Text columns to keep in memory as numbers into a dictionary.

    Raises:
        InputError: A column could run code when it is read.
        DamagedError: It is none.
    """
    with naming_damage(path):
        table = pq.read_table(_open_table(path), columns=columns, read_dictionary=list(as_numbers))
    refuse_objects(table.schema, path)
    return table


def read_tables(paths: Iterable[Place], *, as_numbers: Sequence[str] = ()) -> list[pa.Table]:
    """Read Parquet files in order; remote ones are fetched several at a time."""
    files = list(paths)
    if not any(isinstance(path, RemotePath) for path in files):
        return [read_table(path, as_numbers=as_numbers) for path in files]
    with ThreadPoolExecutor(_READS) as pool:
        return list(pool.map(lambda path: read_table(path, as_numbers=as_numbers), files))


def count_rows(path: Place) -> int:
    """Return the number of rows of a Parquet file."""
    filesystem, name = open_place(path)
    with naming_damage(path):
        return int(pq.read_metadata(name, filesystem=filesystem).num_rows)


def read_rows(part: str, start: int, stop: int) -> list[dict[str, Any]]:
    """Read some rows of a Parquet file, and only the row groups that contain them.

    Args:
        part: The file, as `list_parts` names it.
        start: Number of the first row.
        stop: Number of the row after the last.
    """
    filesystem, name = open_place(recall_place(part))
    with naming_damage(part), pq.ParquetFile(name, filesystem=filesystem) as file:
        refuse_objects(file.schema_arrow, part)
        sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
        ends = list(itertools.accumulate(sizes))
        groups = [n for n, end in enumerate(ends) if end > start and end - sizes[n] < stop]
        first = ends[groups[0]] - sizes[groups[0]] if groups else 0
        table = file.read_row_groups(groups).slice(start - first, stop - start)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def check_version(path: Place) -> None:
    """Refuse a table whose columns belong to another version of this package.

    Raises:
        InputError: It was written by another version, or by another program.
    """
    filesystem, name = open_place(path)
    with naming_damage(path):
        schema = pq.read_schema(name, filesystem=filesystem)
    _check_schema(schema, str(path))


# Tables in parts


def _check_schema(schema: pa.Schema, part: str) -> None:
    found = (schema.metadata or {}).get(b"osteo_ray")
    if found != SCHEMA_VERSION:
        version = "none" if found is None else f"version {found.decode(errors='replace')}"
        raise InputError(
            f"Expected tables of version {SCHEMA_VERSION.decode()}, which this osteo_ray writes, "
            f"but found {version} in {part}. Continue with the osteo_ray that wrote it, or start "
            "again in another --out."
        )
    refuse_objects(schema, part)


def _list_files(directory: Place) -> dict[Place, int | None]:
    """List the finished Parquet files below a directory, with their sizes if those cost nothing."""
    found: dict[Place, int | None]
    if isinstance(directory, RemotePath):
        found = dict(directory.list_files())
    else:
        names = sorted(walk_files(directory)) if directory.exists() else []
        found = dict.fromkeys(directory / name for name in names)
    return {
        path: size
        for path, size in found.items()
        if path.name.endswith(".parquet") and not path.name.startswith(".")
    }


def list_parts(directory: Place) -> list[str]:
    """Return the finished Parquet files below a directory, sorted by name."""
    return [str(path) for path in _list_files(directory)]


def scan_table(
    path: Place, keep: "pyarrow.dataset.Expression | None" = None, columns: list[str] | None = None
) -> pa.Table:
    """Read some rows of a Parquet file, or of all Parquet files below a directory.

    Args:
        path: The file or directory.
        keep: Which rows to keep; all by default.
        columns: Names of the columns to read; all by default.

    Returns:
        The rows; an empty table if there are no files.
    """
    files = list(_list_files(path)) if path.is_dir() else [path] if path.is_file() else []
    if not files:
        return pa.table({})
    names = [open_place(file)[1] for file in files]
    with naming_damage(path):
        dataset = pyarrow.dataset.dataset(names, filesystem=open_place(path)[0], format="parquet")
    refuse_objects(dataset.schema, path)
    with naming_damage(path):
        return dataset.to_table(filter=keep, columns=columns)


def read_parts(directory: Place, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
    """Read a table that is stored in several Parquet files; it is empty if there are none.

    In object storage this takes a listing and two requests per file, many of them at a time.

    Raises:
        InputError: A file was written with other columns than those of this version.
    """
    tables = list(iterate_parts(directory, schema, columns))
    return (
        pa.concat_tables(tables) if tables else schema.empty_table().select(columns or schema.names)
    )


def iterate_parts(
    directory: Place, schema: pa.Schema, columns: list[str] | None = None
) -> Iterator[pa.Table]:
    """Read a table that is stored in several Parquet files, some thousand rows at a time.

    Raises:
        InputError: A file was written with other columns than those of this version.
    """
    files = list(_list_files(directory).items())
    for start in range(0, len(files), _AT_A_TIME):
        yield from _read_some(files[start : start + _AT_A_TIME], schema, columns)


def _read_some(
    files: Sequence[tuple[Place, int | None]], schema: pa.Schema, columns: list[str] | None
) -> Iterator[pa.Table]:
    filesystem, form = open_place(files[0][0])[0], pyarrow.dataset.ParquetFileFormat()
    fragments = [
        form.make_fragment(open_place(file)[1], filesystem, file_size=size) for file, size in files
    ]
    with ThreadPoolExecutor(_READS if isinstance(files[0][0], RemotePath) else 1) as pool:
        # The fragments remember their schemas, so nothing is read twice.
        schemas = pool.map(lambda fragment: fragment.physical_schema, fragments)
        for file, _ in files:
            with naming_damage(file):
                found = next(schemas)
            _check_schema(found, str(file))
    together: list[pyarrow.dataset.Fragment] = []
    n_rows = 0
    pieces: list[pyarrow.dataset.ParquetFileFragment] = []
    for (file, _), fragment in zip(files, fragments, strict=True):
        with naming_damage(file):
            pieces += fragment.split_by_row_group()
    for number, piece in enumerate(pieces, start=1):
        together.append(piece)
        n_rows += sum(group.num_rows for group in piece.row_groups)
        if n_rows >= _ROWS or number == len(pieces):
            dataset = pyarrow.dataset.FileSystemDataset(together, schema, form, filesystem)
            with naming_damage(files[0][0].parent):
                found_rows = dataset.to_table(columns=columns)
            yield found_rows
            together, n_rows = [], 0
