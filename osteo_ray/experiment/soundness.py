"""Which files of a run are as they were written. Free of Ray and of PyTorch."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from osteo_ray.base.digests import DIGESTS, Tree, name_parent, read_tree
from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.experiment.run_files import (
    is_checked,
    is_record,
    is_spare,
    name_original,
    name_spare,
)

State = Literal["sound", "damaged", "missing", "foreign", "unverified"]
"""What is known of a file.

`foreign` is a file without a digest in a folder whose other files have one: it came from elsewhere.
`unverified` is one in a folder without digests, as versions before them left it.
"""
_TOLD = 5


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
        OSError: A file cannot be read.
    """
    tree = read_tree(run.root, takes)
    known = frozenset(tree.digests)
    unsound = tree.find_unsound(known & tree.files)
    states: dict[str, State] = dict.fromkeys(known - tree.files, "missing")
    sealed = tree.sealed
    for name in tree.files:
        if name in known:
            states[name] = "damaged" if name in unsound else "sound"
        elif is_spare(name):
            states[name] = _check_spare(tree, name)
        elif name_parent(name) in sealed - {""}:
            states[name] = "foreign"
        else:
            states[name] = "unverified"
    spares = {name_spare(name) for name in known if is_record(name)}
    states |= dict.fromkeys(spares - tree.files, "missing")
    for folder in tree.unreadable:
        states[f"{folder}/{DIGESTS}".lstrip("/")] = "damaged"
    return Inspection(tree, tuple(Checked(name, states[name]) for name in sorted(states)))


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
    """Refuse to read files of a run that are damaged.

    Args:
        run: The run.
        kinds: Names in the run that are about to be read.

    Raises:
        InputError: One of them, or a file in one of them, is not as it was written.
    """
    wanted = frozenset(kinds)
    bad = [
        one.name
        for one in inspect_run(run, wanted.__contains__).checked
        if one.state in ("damaged", "foreign")
    ]
    if bad:
        raise InputError(
            f"Expected the files of {run.root} as they were written, but {tell_names(bad)} "
            f"{'does' if len(bad) == 1 else 'do'} not match {'its' if len(bad) == 1 else 'their'} "
            "digest. Run the command that made the run again, which makes them anew; "
            "`osteo-ray verify` lists all that is damaged."
        )
