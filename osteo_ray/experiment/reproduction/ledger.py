"""The ledger: a Parquet file with one row for each reproduction of any number of runs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from osteo_ray.base.errors import InputError
from osteo_ray.base.remote import first_line
from osteo_ray.base.storage import Place
from osteo_ray.base.tables import read_table, write_table
from osteo_ray.experiment.reproduction.drift import REPRODUCED
from osteo_ray.experiment.reproduction.environment import compare_environments

LEDGER_VERSION = b"1"
_KEY = b"osteo_ray_reproductions"
_TEXTS = pa.map_(pa.string(), pa.string())
_KIND = pa.struct(
    [
        ("kind", pa.string()),
        ("outcome", pa.string()),
        ("compared", pa.int64()),
        ("equal", pa.int64()),
        ("drifted", pa.int64()),
        ("missing", pa.int64()),
    ]
)
LEDGER = pa.schema(
    [
        ("id", pa.string()),
        ("date", pa.timestamp("s", tz="UTC")),
        ("duration_s", pa.float64()),
        ("run", pa.string()),
        ("path", pa.string()),
        ("run_created", pa.string()),
        ("config_hash", pa.string()),
        ("whole", pa.bool_()),
        ("sample_seed", pa.int64()),
        ("n_planned", pa.int64()),
        ("n_trials", pa.int64()),
        ("n_recomputed", pa.int64()),
        ("images_from", pa.string()),
        ("expected", pa.string()),
        ("outcome", pa.string()),
        ("kinds", pa.list_(_KIND)),
        ("figures", pa.map_(pa.string(), pa.float64())),
        ("drifted", pa.list_(pa.string())),
        ("failures", pa.list_(pa.string())),
        ("changes", pa.list_(pa.string())),
        ("unknown", pa.list_(pa.string())),
        ("versions", _TEXTS),
        ("hardware", _TEXTS),
    ],
    metadata={_KEY: LEDGER_VERSION},
)


_OFTEN_UNKNOWN = frozenset({"run_created", "config_hash", "sample_seed", "images_from"})
"""Columns with nulls: what a run does not tell, or what was not asked for."""
_WITH_UNKNOWNS = frozenset({"versions", "hardware"})
"""Columns whose values have nulls within: what a machine does not tell."""


@dataclass(frozen=True)
class Entry:
    """A row of the ledger; docs/reproduce.md explains its columns.

    Attributes:
        values: The cells, by the names of the columns in `LEDGER`.
    """

    values: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


def list_changes(before: Entry, entry: Entry) -> list[str]:
    """List what results depend on that has changed between two reproductions of a run.

    That is its environment (versions and hardware), the configuration of the run, its data, the run
    itself, and which trainings were rerun. What one of the two does not know, because it failed
    before, has not changed.
    """
    old, new = ({part: one[part] for part in ("versions", "hardware")} for one in (before, entry))
    changes = compare_environments(old, new)
    said = [str(change) for change in changes if change.matters and change.is_known]
    for column, label in (("config_hash", "configuration"), ("run_created", "run made")):
        if None not in (before[column], entry[column]) and before[column] != entry[column]:
            said.append(f"{label} {before[column]} → {entry[column]}")
    data = [_find_outcome(one, "images") for one in (before, entry)]
    if data[1] == "drifted" and data[0] != "drifted":
        said.append("data: the images of the source are no longer those of the run")
    samples = [_name_sample(one) for one in (before, entry)]
    if samples[0] != samples[1] and before["n_trials"] and entry["n_trials"]:
        said.append(f"rerun {samples[0]} → {samples[1]}")
    return said


def _find_outcome(entry: Entry, kind: str) -> str | None:
    return next((one["outcome"] for one in entry["kinds"] if one["kind"] == kind), None)


def _name_sample(entry: Entry) -> str:
    if entry["whole"]:
        return "the whole run"
    return f"{entry['n_trials']} trainings (seed {entry['sample_seed']})"


def find_onset(entries: Sequence[Entry]) -> dict[str, Any] | None:
    """Find where the drift began that lasts to the latest reproduction of a run.

    Args:
        entries: Reproductions of one run, oldest first.

    Returns:
        `first`, the date of the first reproduction that drifted; `last_good`, the date of the last
        one before it that reproduced, None if there is none; and `changed` between the two, in
        words. None if the latest reproduction did not drift.
    """
    if not entries or entries[-1]["outcome"] != "drifted":
        return None
    good = [n for n, entry in enumerate(entries) if entry["outcome"] in REPRODUCED]
    start = good[-1] + 1 if good else 0
    first = next(entry for entry in entries[start:] if entry["outcome"] == "drifted")
    last_good = entries[good[-1]] if good else None
    return {
        "first": first["date"],
        "last_good": None if last_good is None else last_good["date"],
        "changed": [] if last_good is None else list_changes(last_good, first),
    }


def tabulate_history(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the rows of a ledger with two more columns, each on reproductions of the same run.

    `changed_since_last` lists what numbers depend on and changed since the previous one that came
    far enough to know its environment; `onset` is where the drift began that has lasted to this
    one, as `find_onset` returns it.

    Args:
        entries: Oldest first.
    """
    rows, earlier = [], dict[str, list[Entry]]()
    for entry in entries:
        same_run = earlier.setdefault(entry["path"], [])
        known = [one for one in same_run if one["versions"]] or same_run
        changes = list_changes(known[-1], entry) if known else []
        same_run.append(entry)
        onset = find_onset(same_run)
        rows.append({**entry.values, "changed_since_last": changes, "onset": onset})
    return rows


def read_ledger(path: Place) -> list[Entry]:
    """Read the reproductions in a ledger, oldest first; a missing file holds none.

    Raises:
        InputError: The file is not a ledger, or one of another version, or holds other values.
    """
    if not path.exists():
        return []
    try:
        table = read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"Expected a ledger of reproductions, but {path} cannot be read as Parquet "
            f"({first_line(error)}). Give another --ledger."
        ) from None
    found = (table.schema.metadata or {}).get(_KEY)
    if found is None:
        raise InputError(
            f"Expected a ledger of reproductions, but {path} is another kind of Parquet file. Give "
            "another --ledger."
        )
    if found != LEDGER_VERSION:
        raise InputError(
            f"Expected a ledger of version {LEDGER_VERSION.decode()}, which this osteo_ray writes, "
            f"but {path} is of version {found.decode(errors='replace')}. Use the osteo_ray that "
            "wrote it, or give a new --ledger; to keep the name, move the old file elsewhere."
        )
    lost = [name for name in LEDGER.names if name not in table.column_names]
    if lost:
        raise InputError(
            f"Expected a ledger of reproductions, but {path} lacks the columns {', '.join(lost)}. "
            "Give a new --ledger."
        )
    strange = [name for name in LEDGER.names if not _is_of_ledger(table[name], name)]
    if strange:
        raise InputError(
            f"Expected a ledger of reproductions, but the values of {', '.join(strange)} in {path} "
            "are not those that this osteo_ray writes. Put back a copy, or give a new --ledger."
        )
    rows = table.select(LEDGER.names).cast(LEDGER).to_pylist(maps_as_pydicts="strict")
    return sorted((Entry(row) for row in rows), key=lambda entry: (entry["date"], entry["id"]))


def _is_of_ledger(column: pa.ChunkedArray, name: str) -> bool:
    if column.null_count and name not in _OFTEN_UNKNOWN:
        return False
    try:
        values = column.cast(LEDGER.field(name).type).to_pylist(maps_as_pydicts="strict")
    except (pa.ArrowException, KeyError, OverflowError):  # the last: dates that Python lacks
        return False
    return name in _OFTEN_UNKNOWN or name in _WITH_UNKNOWNS or not any(map(_has_gap, values))


def _has_gap(value: Any) -> bool:
    """Tell whether something within a value is null, or a number that is not finite."""
    if isinstance(value, Mapping):
        return any(map(_has_gap, value.values()))
    if isinstance(value, list):
        return any(map(_has_gap, value))
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def append_entry(path: Place, entry: Entry) -> list[Entry]:
    """Add a reproduction to a ledger. If the process dies, either the old or the new file remains.

    A reproduction that was resumed replaces its earlier row.

    Returns:
        All reproductions in the ledger, oldest first.

    Raises:
        InputError: The file is not a ledger, or one of another version.
    """
    entries = [one for one in read_ledger(path) if one["id"] != entry["id"]] + [entry]
    rows = [dict(one.values) for one in entries]
    write_table(path, pa.Table.from_pylist(rows, schema=LEDGER))
    return sorted(entries, key=lambda one: (one["date"], one["id"]))
