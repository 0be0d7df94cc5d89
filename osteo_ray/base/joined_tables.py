"""Join the many small files of a table into few, without losing a row if it is interrupted."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from osteo_ray.base.digests import forget_files, write_sealed
from osteo_ray.base.storage import Place, open_place, recall_place
from osteo_ray.base.tables import count_rows, list_parts, read_table, write_table

_MOST_SMALL = 16  # files that are left as they are
_ROWS = 16_384  # per joined file; with a mask in each, 100 MiB at 224 px
_ROWS_PER_GROUP = 4096
_JOINED = b"joined"  # names the files that a file was made of, in its metadata
_PREFIX = "joined-"


def needs_joining(directory: Place, beside: Place | None = None) -> bool:
    """Tell whether `join_parts` has anything to do."""
    small = {part.name for part in _list_small(directory)}
    if len(small) > _MOST_SMALL:
        return True
    others = {part.name for part in _list_small(beside)}
    if not small | others:
        return False
    taken = _list_taken(_read_joined(directory))
    return bool((small | others) & taken) or bool(others - small - taken)


def join_parts(directory: Place, beside: Place | None = None) -> None:
    """Join the small files of a table, if there are many.

    The small files go when the joined one is there. If that is interrupted, rows are there twice
    until this is called again: a joined file names those that it was made of.

    Args:
        directory: The table. Nothing may write to it meanwhile.
        beside: Another table, whose files tell more of the same images under the same names; it is
            divided alike, so that this stays so. Each of its files is written before the one of the
            table, so one without the other was left by a process that died in between. What it
            tells was found again with the rows of the table, perhaps under another name; it goes.
    """
    groups = _read_joined(directory)
    small = _list_small(directory)
    taken = _list_taken(groups)
    if beside is not None:
        known = {part.name for part in small} | taken
        _remove(beside, [part for part in _list_small(beside) if part.name not in known])
    fresh = [part for part in small if part.name not in taken]
    if len(fresh) > _MOST_SMALL:
        groups |= {_name_joined(names): names for names in _group(fresh)}
    for target, names in groups.items():
        for table in (directory, *([] if beside is None else [beside])):
            _join(table, target, names)


def _join(directory: Place, target: str, names: Sequence[str]) -> None:
    """Join those of some files that are there, unless they are joined already; remove them."""
    chosen = frozenset(names)
    parts = [part for part in _list_small(directory) if part.name in chosen]
    if parts and not (directory / target).exists():
        tables = [read_table(part) for part in parts]
        table = pa.concat_tables(tables, promote_options="default")  # columns may be new
        metadata = {**(table.schema.metadata or {}), _JOINED: json.dumps(list(names)).encode()}
        joined = table.replace_schema_metadata(metadata)
        write_table(directory / target, joined, _ROWS_PER_GROUP, how=write_sealed)
    _remove(directory, parts)


def _remove(directory: Place, parts: Sequence[Place]) -> None:
    # First, as a file that is noted and has gone would count as lost.
    forget_files(directory, {part.name for part in parts})
    for part in parts:
        part.unlink(missing_ok=True)


def _name_joined(names: Sequence[str]) -> str:
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return f"{_PREFIX}{digest[:12]}.parquet"


def _list_small(directory: Place | None) -> list[Place]:
    if directory is None or not directory.is_dir():
        return []
    parts = [recall_place(part) for part in list_parts(directory)]
    return [part for part in parts if not part.name.startswith(_PREFIX)]


def _read_joined(directory: Place) -> dict[str, list[str]]:
    """Return, by the name of each joined file, the names of those that it was made of."""
    found = {}
    for part in map(recall_place, list_parts(directory)):
        if part.name.startswith(_PREFIX):
            filesystem, path = open_place(part)
            metadata = pq.read_schema(path, filesystem=filesystem).metadata
            found[part.name] = list(json.loads(metadata[_JOINED]))
    return found


def _list_taken(joined: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the names of all files that joined ones were made of."""
    return {name for names in joined.values() for name in names}


def _group(parts: Sequence[Place]) -> Iterator[list[str]]:
    """Put files together until they have enough rows; return their names."""
    group: list[str] = []
    n_rows = 0
    for part in parts:
        group.append(part.name)
        n_rows += count_rows(part)
        if n_rows >= _ROWS:
            yield group
            group, n_rows = [], 0
    if group:
        yield group
