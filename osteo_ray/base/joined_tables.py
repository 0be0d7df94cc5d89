"""Join the many small files of a table into few, without losing a row if it is interrupted."""

import hashlib
import json
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from osteo_ray.base.storage import Place, locate, open_place
from osteo_ray.base.tables import list_parts, read_table, write_table

_MOST_SMALL = 16  # files that are left as they are
_ROWS = 16_384  # per joined file; with a mask in each, 100 MiB at 224 px
_ROWS_PER_GROUP = 4096
_JOINED = b"joined"  # names the files that a file was made of, in its metadata
_PREFIX = "joined-"


def needs_joining(directory: Place) -> bool:
    """Tell whether a table consists of more small files than should stay."""
    return len(_list_small(directory)) > _MOST_SMALL


def join_parts(directory: Place) -> None:
    """Join the small files of a table, if there are many.

    The small files go when the joined one is there. If that is interrupted, rows are there twice
    until this is called again: a joined file names those that it was made of.

    Args:
        directory: The table. Nothing may write to it meanwhile.
    """
    for part in _list_leftovers(directory):
        part.unlink(missing_ok=True)
    if not needs_joining(directory):
        return
    for parts in _group(_list_small(directory)):
        names = [part.name for part in parts]
        tables = [read_table(part) for part in parts]
        table = pa.concat_tables(tables, promote_options="default")  # columns may be new
        metadata = {**(table.schema.metadata or {}), _JOINED: json.dumps(names).encode()}
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
        target = directory / f"{_PREFIX}{digest[:12]}.parquet"
        write_table(target, table.replace_schema_metadata(metadata), _ROWS_PER_GROUP)
        for part in parts:
            part.unlink(missing_ok=True)


def _list_small(directory: Place) -> list[Place]:
    parts = [locate(part) for part in list_parts(directory)]
    return [part for part in parts if not part.name.startswith(_PREFIX)]


def _list_leftovers(directory: Place) -> list[Place]:
    """List the files whose rows a joined file holds, too."""
    small = _list_small(directory)
    joined = {part.name for part in map(locate, list_parts(directory))} - {p.name for p in small}
    taken: set[str] = set()
    for name in joined if small else ():
        filesystem, path = open_place(directory / name)
        taken |= set(json.loads(pq.read_schema(path, filesystem=filesystem).metadata[_JOINED]))
    return [part for part in small if part.name in taken]


def _group(parts: Sequence[Place]) -> Iterator[list[Place]]:
    """Put files together until they have enough rows."""
    group: list[Place] = []
    n_rows = 0
    for part in parts:
        filesystem, name = open_place(part)
        group.append(part)
        n_rows += pq.read_metadata(name, filesystem=filesystem).num_rows
        if n_rows >= _ROWS:
            yield group
            group, n_rows = [], 0
    if group:
        yield group
