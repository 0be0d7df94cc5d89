"""Damaged files of a run: what is set aside with them, so that all of it is made again. No Ray.

What is made from other files is moved to `set-aside/`; then it is missing, as in a run that was
interrupted, and the run goes on. What only a source gives, such as pixels, has to be read again.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from osteo_ray.base.digests import (
    DIGESTS,
    Digests,
    Tree,
    forget_digests,
    gather_digests,
    join_name,
    name_parent,
    read_tree,
    seal_again,
)
from osteo_ray.base.remote import RemotePath
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import UNFINISHED, digest_file, move_tree
from osteo_ray.experiment.records import Say, find_room, restore_records
from osteo_ray.experiment.run_files import (
    FROZEN,
    SET_ASIDE,
    is_checked,
    is_record,
    is_spare,
    names_folder,
    split_cohort,
)
from osteo_ray.experiment.soundness import Checked, Inspection, inspect_run, tell_names
from osteo_ray.experiment.trials import LAST

_PHANTOM, _PIXELS = "phantom", "pixels"
_WHOLE = {"trials": 4, "tensorboard": 4, _PHANTOM: 1, FROZEN: 1}
"""By kind, how many parts the name has of a folder that is made as a whole."""


@dataclass(frozen=True)
class Losses:
    """What a run has lost that only its source gives.

    Attributes:
        digests: By name, the contents that are known to be right, or may be.
        phantom: Whether the phantoms that the run was made from are to be drawn again.
    """

    digests: Digests = field(default_factory=dict)
    phantom: bool = False


def heal_run(run: Run, say: Say = lambda text: None) -> Losses:
    """Restore what has a spare copy, and set aside what is damaged and can be made again.

    Only the process that holds the run may do so.

    Args:
        run: The run, or a folder of explanations; a new one has nothing to heal.
        say: Told what was found, in a few lines however much it is.

    Returns:
        What has to be read again.

    Raises:
        InputError: A record is damaged, and so is its spare copy.
        OSError: A file cannot be read, or not be moved.
    """
    mark = run.root / UNFINISHED
    if mark.exists():
        if not run.config.is_file():
            return Losses()
        mark.unlink(missing_ok=True)  # the process that read the images died just before this
    inspection = inspect_run(run)
    if astray := [one for one in inspection.list_bad() if names_folder(one.name)]:
        names = {one.name for one in astray}
        _tell(inspection, astray, names, say)
        _set_aside(inspection.tree, names)  # first, as records may have to be restored there
        inspection = inspect_run(run)
    tree = inspection.tree
    lost = set(restore_records(inspection, say))
    bad = [one for one in inspection.list_bad() if not _is_settled(one.name)]
    units = set(_list_units(tree, bad, lost))
    read = {one.name: one.state for one in bad if _is_read(one.name)}
    if set(read.values()) - {"foreign"}:  # else no image lacks its pixels
        lost |= set(read)
    digests = {n: tree.digests.get(n, frozenset()) for n in lost if not split_cohort(n)[0]}
    known = {name: found | _find_content(tree, name) for name, found in digests.items()}
    _tell(inspection, bad, units, say)
    _set_aside(tree, units)
    forget_digests(tree, [one.name for one in bad if not _is_read(one.name)])
    _seal_lost_lists(inspection, units)
    return Losses(known, _PHANTOM in units)


def settle_digests(run: Run) -> None:
    """Gather the digests of files that were written one by one into the lists of their folders."""
    gather_digests(read_tree(run.root, is_checked))


def _is_settled(name: str) -> bool:
    """Tell whether a file has been looked after with the records."""
    return is_record(name) or is_spare(name)


def _is_read(name: str) -> bool:
    """Tell whether a file comes from the source of the run, and not from that of a cohort."""
    return name.partition("/")[0] == _PIXELS and not name.endswith(f"/{DIGESTS}")


def _find_content(tree: Tree, name: str) -> frozenset[str]:
    return frozenset((digest_file(tree.place(name)),)) if name in tree.files else frozenset()


def _list_units(tree: Tree, bad: list[Checked], records: set[str]) -> Iterator[str]:
    """List the files and folders that have to go, each of which is made as a whole."""
    for name in records:
        yield split_cohort(name)[0] or name
    for one in bad:
        cohort, rest = split_cohort(one.name)
        parts = rest.split("/")
        if one.state == "foreign" or parts[-1] == DIGESTS:
            yield one.name
        elif cohort and parts[0] == _PIXELS:
            yield cohort
        elif parts[0] in _WHOLE and not cohort:
            whole = "/".join(parts[: _WHOLE[parts[0]]])
            cut_off = parts[0] == "trials" and f"{whole}/{LAST}" not in tree.files
            if cut_off and isinstance(tree.root, RemotePath):
                continue  # its upload was cut off, and the next one takes its place
            inner = parts[_WHOLE[parts[0]] :]
            frozen = 1 if len(inner) > 1 and parts[0] == "trials" else 0  # made later, and alone
            yield "/".join(parts[: _WHOLE[parts[0]] + frozen])
        else:
            yield one.name
            yield from _list_partners(tree, cohort, parts)


def _list_partners(tree: Tree, cohort: str, parts: list[str]) -> Iterator[str]:
    """List the files that are written together with a file, and are missing with it."""
    start = f"{cohort}/" if cohort else ""
    folder, last = "/".join(parts[1:-1]), parts[-1]
    if parts[0] == "masks":
        for inner in (folder, name_parent(folder)):
            yield f"{start}faithfulness/{inner}/{last}".replace("//", "/")
    if parts[0] == "faithfulness":
        around = f"{start}masks/{folder}/".replace("//", "/")
        masks = (name for name in tree.files if name.startswith(around))
        yield from (name for name in masks if name.endswith(f"/{last}"))


def _tell(inspection: Inspection, bad: list[Checked], units: set[str], say: Say) -> None:
    names = defaultdict(list)
    for one in bad:
        names[one.kind, one.state].append(one.name)
    for (kind, state), found in names.items():
        what = "1 file" if len(found) == 1 else f"{len(found)} files"
        then = "set aside" if state == "foreign" else "made again"
        say(f"{kind}: {what} {state} ({tell_names(found)}); {then}.")
    n_units = sum(inspection.tree.place(name).exists() for name in units)
    if n_units:
        say(f"What was damaged, and what was made with it, is kept in {SET_ASIDE}/.")


def _set_aside(tree: Tree, units: set[str]) -> None:
    room = find_room(tree.root)
    for name in sorted(units):
        place = tree.place(name)
        if place.exists():
            move_tree(place, join_name(room, name))
    forget_digests(tree, [name for name in units if name in tree.digests and not _is_read(name)])
    for name in units:
        folder = join_name(tree.root, name_parent(name))
        if isinstance(folder, Path):
            with suppress(OSError):  # not empty
                folder.rmdir()


def _seal_lost_lists(inspection: Inspection, units: set[str]) -> None:
    """Write the lists of digests again that were lost; those of earlier versions were never there.

    A run has digests if its records have.
    """
    tree = inspection.tree
    if "" not in tree.sealed:
        return
    folders = defaultdict(list)
    for one in inspection.checked:
        if one.state == "unverified" and "/" in one.name and not _is_settled(one.name):
            cohort, rest = split_cohort(one.name)
            whole = rest.startswith(f"{_PHANTOM}/") and not cohort
            folders[_PHANTOM if whole else name_parent(one.name)].append(one.name)
    gone = tuple(f"{unit}/" for unit in units)
    for folder, names in folders.items():
        if not f"{folder}/".startswith(gone):
            seal_again(tree, folder, names)
