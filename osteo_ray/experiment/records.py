"""The records of a run, which nothing else determines, and their spare copies. Free of Ray."""

from collections.abc import Callable, Iterable

from osteo_ray.base.digests import SPARE, forget_digests, join_name, name_parent, write_record
from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place, digest_file, move_tree
from osteo_ray.experiment.run_files import (
    SET_ASIDE,
    comes_from_source,
    is_record,
    is_spare,
    name_original,
    name_spare,
)
from osteo_ray.experiment.soundness import Inspection, inspect_run, tell_names

Say = Callable[[str], None]


def find_room(root: Place) -> Place:
    """Return a new folder to set damaged files aside in."""
    number = 1
    while (root / SET_ASIDE / str(number)).exists():
        number += 1
    return root / SET_ASIDE / str(number)


def restore_identity(run: Run, say: Say = lambda text: None) -> None:
    """Restore what tells a run from others, if it is missing or damaged, from its spare copy.

    That is its configuration, and the record of what it began with. Everything else is found by
    them, so this comes before anything is read.

    Raises:
        InputError: The spare copy of one is damaged, too.
    """
    names = frozenset({run.config.name, run.environment.name})
    if any(join_name(run.root, name_spare(name)).is_file() for name in names):
        restore_records(inspect_run(run, (names | {SPARE}).__contains__), say, only=names)


def restore_records(
    inspection: Inspection, say: Say, only: Iterable[str] | None = None
) -> frozenset[str]:
    """Restore records from their spare copies, and spare copies from their records.

    Args:
        inspection: What a check of the run has found.
        say: Told what was restored.
        only: Names of the records to restore; by default all.

    Returns:
        Records that are lost, and that reading the source gives again.

    Raises:
        InputError: A record is lost that nothing gives again.
    """
    states = {one.name: one.state for one in inspection.checked}
    records = {name for name in states if is_record(name)}
    records |= {name_original(name) for name in states if is_spare(name)}
    lost = set()
    for name in sorted(records if only is None else records & set(only)):
        place, spare = inspection.tree.place(name), inspection.tree.place(name_spare(name))
        own, second = (states.get(one, "missing") for one in (name, name_spare(name)))
        if own == "sound":
            if second != "sound":
                if second == "damaged":
                    move_tree(spare, join_name(find_room(inspection.tree.root), name_spare(name)))
                _copy(place, place)
                say(f"{name_spare(name)} was {second}, and was made again from {name}.")
        elif second == "sound":
            if own == "damaged":
                move_tree(place, join_name(find_room(inspection.tree.root), name))
            _copy(spare, place)
            say(f"{name} was {own}, and was restored from its spare copy.")
        elif _are_alike(place, spare):
            _copy(place, place)
            say(f"The digest of {name} was lost, and was taken again: it equals its spare copy.")
        elif own == second == "missing" and _is_misnamed(inspection, name):
            forget_digests(inspection.tree, [name])
        elif own != "unverified" or second != "missing":  # else it is of an earlier version
            lost.add(name)
    beyond = [name for name in lost if not comes_from_source(name)]
    if beyond:
        raise InputError(
            f"Expected the records of {inspection.tree.root} as they were written, but neither "
            f"{tell_names(beyond)} nor {'its' if len(beyond) == 1 else 'their'} spare copy "
            f"({SPARE}/) {'is' if len(beyond) == 1 else 'are'}. Restore one of the two from a "
            "backup, or start anew in another --out."
        )
    return frozenset(lost)


def _are_alike(place: Place, other: Place) -> bool:
    return place.is_file() and other.is_file() and place.read_bytes() == other.read_bytes()


def _is_misnamed(inspection: Inspection, name: str) -> bool:
    """Tell whether a digest is that of a file beside, so that it is the name which is damaged."""
    tree, folder = inspection.tree, name_parent(name)
    beside = [
        one.name
        for one in inspection.checked
        if one.state in ("foreign", "unverified") and name_parent(one.name) == folder
    ]
    return any(digest_file(tree.place(other)) in tree.digests[name] for other in beside)


def _copy(source: Place, target: Place) -> None:
    content = source.read_bytes()
    with write_record(target) as unfinished:
        unfinished.write_bytes(content)
