"""Which files of a run are as they were written. Free of Ray and of PyTorch."""

import functools
import operator
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.dataset as ds

from osteo_ray.base.digests import DIGESTS, Tree, name_parent, read_tree
from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place, open_place
from osteo_ray.base.tables import scan_table
from osteo_ray.experiment.run_files import (
    is_checked,
    is_record,
    is_spare,
    name_original,
    name_spare,
    names_folder,
    split_cohort,
)

State = Literal["sound", "damaged", "missing", "foreign", "unverified"]
"""What is known of a file.

`foreign` is a file without a digest in a folder whose other files have one, or where no file of its
kind lies that has one: it came from elsewhere. `unverified` is any other without a digest, as
versions before them left it.
"""
_TOLD = 5
_REFUSED: Mapping[State, tuple[str, str]] = {
    "damaged": ("does not match its digest", "do not match their digests"),
    "missing": ("is missing", "are missing"),
    "foreign": ("was not written by the run", "were not written by the run"),
}
"""What is said of one file, and of several, that a command will not read."""
_READ_IN_PART = frozenset({"trials"})
"""Kinds of which no command that only reads needs all: each says itself what it lacks."""


@dataclass(frozen=True)
class Checked:
    """A file of a run.

    Attributes:
        name: Its path, relative to the run, with slashes.
        state: What is known of it.
    """

    name: str
    state: State

    @property
    def kind(self) -> str:
        """The folder of the run that it is in, or its name if that is the run itself."""
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class Inspection:
    """What a check of a run has found.

    Attributes:
        tree: Its files and their digests.
        checked: A row per file, those that are missing included, sorted by name.
    """

    tree: Tree
    checked: tuple[Checked, ...]

    def list_bad(self) -> list[Checked]:
        """Return the files that are damaged, missing or foreign."""
        return [one for one in self.checked if one.state not in ("sound", "unverified")]

    def count_kinds(self) -> dict[str, Counter[str]]:
        """Return, by kind, how many files are in each state."""
        found: dict[str, Counter[str]] = {}
        for one in self.checked:
            found.setdefault(one.kind, Counter())[one.state] += 1
        return found


def inspect_run(run: Run, takes: Callable[[str], bool] = is_checked) -> Inspection:
    """Compare the files of a run with their digests; nothing is changed.

    Args:
        run: The run, or a folder of explanations.
        takes: Tells of a name in the run whether it is looked at.

    Raises:
        InputError: A link in the run leads nowhere.
        OSError: A file cannot be read.
    """
    tree = read_tree(run.root, takes)
    known = frozenset(tree.digests)
    unsound = tree.find_unsound(known & tree.files)
    spares = {name_spare(name) for name in known if is_record(name)}
    absent = (known | spares) - tree.files
    blocked = {name for name in absent if tree.is_blocked(name)}
    states: dict[str, State] = dict.fromkeys(absent, "missing")
    states |= dict.fromkeys(blocked, "damaged")
    in_the_way = tuple(f"{name}/" for name in blocked)
    sealed, depths = tree.sealed - {""}, _find_depths(known)
    for name in tree.files:
        if name.startswith(in_the_way):
            continue
        if name in known:
            states[name] = "damaged" if name in unsound else "sound"
        elif names_folder(name):
            states[name] = "foreign"
        elif is_spare(name):
            states[name] = _check_spare(tree, name)
        elif name_parent(name) in sealed or _is_astray(name, depths):
            states[name] = "foreign"
        else:
            states[name] = "unverified"
    for folder in tree.unreadable:
        states[f"{folder}/{DIGESTS}".lstrip("/")] = "damaged"
    return Inspection(tree, tuple(Checked(name, states[name]) for name in sorted(states)))


def _find_depths(known: Iterable[str]) -> Mapping[str, set[int]]:
    """Return, by kind of file, how many folders deep those lie that have a digest."""
    depths: dict[str, set[int]] = defaultdict(set)
    for name in known:
        kind, depth = _locate_kind(name)
        depths[kind].add(depth)
    return depths


def _locate_kind(name: str) -> tuple[str, int]:
    """Return the kind of a file, apart for each cohort, and how many folders deep it lies."""
    cohort, rest = split_cohort(name)
    return f"{cohort}/{rest.partition('/')[0]}", rest.count("/")


def _is_astray(name: str, depths: Mapping[str, set[int]]) -> bool:
    """Tell whether no file of the kind lies as deep that has a digest, but others do.

    A folder as deep as these may only have lost its list.
    """
    kind, depth = _locate_kind(name)
    return kind in depths and depth not in depths[kind]


def _check_spare(tree: Tree, name: str) -> State:
    original = name_original(name)
    if original not in tree.digests:
        return "unverified"
    return "sound" if tree.is_sound(name, of=original) else "damaged"


def tell_names(names: Collection[str]) -> str:
    """Return the first few of some names, and how many there are beside them."""
    first = sorted(names)[:_TOLD]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")


def inspect_finished(run: Run) -> Inspection:
    """Compare the files of a run that a user names with their digests.

    Raises:
        InputError: There is no run, or none of its files is one.
        OSError: A file cannot be read.
    """
    found = inspect_run(run)
    if not found.checked:
        raise InputError(
            f"Expected a run directory, but {run.root} holds no files of a run. Give the --out of "
            "osteo-ray compare or osteo-ray explain."
        )
    return found


def refuse_damage(run: Run, kinds: Iterable[str]) -> None:
    """Refuse to read files of a run that are damaged, missing or foreign.

    A folder that was removed as a whole, with its list of digests, was left out on purpose, and a
    file that has a note alone may never have been written: neither counts as missing.

    Args:
        run: The run.
        kinds: Names in the run that are about to be read.

    Raises:
        InputError: One of them, or a file in one of them, is not as it was written.
    """
    found = inspect_run(run, frozenset(kinds).__contains__)
    bad = [one for one in found.list_bad() if not _is_spared(one, found.tree)]
    said = []
    for state, words in _REFUSED.items():
        names = [one.name for one in bad if one.state == state]
        if names:
            said.append(f"{tell_names(names)} {words[len(names) > 1]}")
    if said:
        raise InputError(
            f"Expected the files of {run.root} as they were written, but {'; '.join(said)}. Run "
            "the command that made the run again, which mends it; `osteo-ray verify` lists all "
            "that is not sound."
        )


def _is_spared(one: Checked, tree: Tree) -> bool:
    """Tell whether commands that only read a run do without a file as it should be."""
    if is_spare(one.name):
        return True
    return one.state == "missing" and (one.name in tree.noted or one.kind in _READ_IN_PART)


def refuse_repeats(place: Place, table: pa.Table, keys: Sequence[str]) -> None:
    """Refuse a table in parts that holds something twice, as where a part of it was copied.

    Args:
        place: The folder of its parts.
        table: Rows of it.
        keys: Columns by which each row differs from all others.

    Raises:
        InputError: Two rows do not.
    """
    counted = table.group_by(list(keys)).aggregate([([], "count_all")])
    repeated = counted.filter(ds.field("count_all") > 1).select(list(keys))
    if not len(repeated):
        return
    row = repeated.slice(0, 1).to_pylist()[0]
    alike = functools.reduce(operator.and_, (ds.field(key) == row[key] for key in keys))
    parts = set(scan_table(place, alike, ["__filename"])["__filename"].to_pylist())
    start = f"{open_place(place)[1]}/"
    raise InputError(
        f"Expected each mask or figure in {place} once, but "
        f"{', '.join(f'{key} {row[key]}' for key in keys)} has several rows, in "
        f"{tell_names({part.removeprefix(start) for part in parts})}. Remove what is a copy or was "
        "left by an earlier plan of the run; if nothing is, run the command that made the run "
        "again."
    )
