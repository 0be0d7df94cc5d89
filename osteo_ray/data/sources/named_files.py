"""Find the files that a table means where its paths do not lead to them.

Public sets often name an image by its file name, or by that without its suffix, while the files lie
in folders elsewhere; or paths begin with the name of a folder above the table, or of another
machine. A path that leads to a file is left alone, and a file that another row means is no other's.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set

from osteo_ray.data.laterality import read_side
from osteo_ray.data.sources.layouts import is_image_name
from osteo_ray.data.sources.words import cut_suffix, names_masks, read_split, read_split_within

_MOST_FILES = 2_000_000  # a table in the home folder must not have all of a disk listed
_MEANINGS = (read_split, read_side)  # of folders, where different words are no slip


def find_files(
    paths: Sequence[str], root: str, part: str = ""
) -> tuple[list[str], dict[int, str], list[str]]:
    """Find the files that paths mean where they lead to none, by their names if most do not.

    Args:
        paths: Of files below the root, or absolute ones of another machine; "" for those that are
            none.
        root: A folder of this machine.
        part: The part of a split that the table is of, if its name says so; no file is then looked
            for in the folder of another one.

    Returns:
        The paths as they are or as they were found; by row, why the name of a file does not tell
        which it is; and what to tell the user.
    """
    rows = Counter(path for path in paths if path)
    missing = [path for path in rows if path[0] == "/" or not os.path.lexists(f"{root}/{path}")]
    there = rows.keys() - set(missing)
    found = _respell(missing, root, there)
    notes = []
    if found:
        notes.append(_count(rows, found, "lead to files whose accents are composed otherwise"))
    missing = [path for path in missing if path not in found]
    doubts: dict[str, str] = {}
    if 2 * sum(rows[path] for path in missing) > rows.total():
        prefix, more = _drop_folders(missing, root)
        if not prefix:
            more, doubts = _find_by_name(missing, root, part)
        more = _keep_certain(more, {*there, *found.values()})
        how = f"are read without `{prefix}`, at which they begin"
        if not prefix:
            how = f"lead to no file and are taken for the files of the same name in {_show(more)}"
        if more:
            notes.append(_count(rows, more, how))
        found |= more
    doubtful = {row: doubts[path] for row, path in enumerate(paths) if path in doubts}
    return [found.get(path, path) for path in paths], doubtful, notes


def _count(rows: Counter[str], found: Collection[str], how: str) -> str:
    return f"{sum(rows[path] for path in found)} of {rows.total()} paths {how}."


def _respell(missing: Sequence[str], root: str, there: Set[str]) -> dict[str, str]:
    """Return the files of paths that differ from theirs in how accents are composed alone.

    On macOS, names of files are often decomposed, and those in tables seldom are.
    """
    found = {}
    for path in missing:
        forms = {unicodedata.normalize(form, path) for form in ("NFC", "NFD")} - {path}
        for form in forms:
            if path[0] != "/" and form not in there and os.path.lexists(f"{root}/{form}"):
                found[path] = form
    times = Counter(found.values())
    return {path: form for path, form in found.items() if times[form] == 1}


def _drop_folders(missing: Sequence[str], root: str) -> tuple[str, dict[str, str]]:
    """Return the folders at which all paths begin and without which most lead to files, and these.

    As all begin alike, no two paths become one.
    """
    for n_folders in range(1, missing[0].count("/") + 1):
        prefix = "/".join(missing[0].split("/")[:n_folders]) + "/"
        if not all(path.startswith(prefix) for path in missing):
            break
        shorter = {path: path.removeprefix(prefix) for path in missing}
        found = {path: s for path, s in shorter.items() if os.path.lexists(f"{root}/{s}")}
        if 2 * len(found) > len(missing):
            return prefix, found
    return "", {}


def _find_by_name(
    missing: Sequence[str], root: str, part: str
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the file of each path whose name, with most folders, only one has; or why not."""
    known = _list_ends(root, {path.rpartition("/")[2] for path in missing})
    found, doubts = dict[str, str](), dict[str, str]()
    for path in missing:
        ends = (path.split("/", n)[-1] for n in range(path.count("/") + 1))  # the longest first
        places = next((known[end] for end in ends if end in known), [])
        places = [place for place in places if _read_part(place) in ("", part)] if part else places
        if len(places) == 1:
            found[path] = places[0]
        elif places:
            many = f"{len(places)} files are called so ({', '.join(places[:2])} …)"
            doubts[path] = (
                f"no such file, but {many}; correct the path"
                if "/" in path
                else f"{many}; give paths with folders"
            )
    return found, doubts


def _read_part(place: str) -> str:
    return next(filter(None, map(read_split_within, place.split("/")[:-1])), "")


def _keep_certain(found: Mapping[str, str], there: Collection[str]) -> dict[str, str]:
    """Return what was found without what another row means, or what lies in a wrong folder.

    Args:
        found: The file by path.
        there: The paths that lead to a file as they are.
    """
    times = Counter(found.values())
    tops = set(map(_name_top, there))
    return {
        path: place
        for path, place in found.items()
        if place not in there
        and ("/" not in path or (times[place] == 1 and not _contradict(path, place, tops)))
    }


def _contradict(path: str, place: str, tops: Collection[str]) -> bool:
    """Tell whether a file lies in a folder that means something else than that of a path.

    Args:
        path: As the table has it.
        place: Path of the file.
        tops: The uppermost folders of other rows, which lead to files as they are.
    """
    ours, theirs = path.split("/")[:-1], place.split("/")[:-1]
    while ours and theirs and ours[-1] == theirs[-1]:
        del ours[-1], theirs[-1]
    if not ours:
        return False
    for read in _MEANINGS:
        meant, shown = ({read(folder) for folder in folders} - {""} for folders in (ours, theirs))
        if meant and shown and not meant & shown:
            return True
    # A path may begin with more folders than that of the file, as on another machine.
    return bool(theirs or "/" not in place) and _name_top(place) in tops


def _name_top(path: str) -> str:
    return path.partition("/")[0] if "/" in path else ""


def _show(found: Mapping[str, str]) -> str:
    folders = sorted({place.rpartition("/")[0] for place in found.values()})
    shown = ", ".join(f"`{folder or '.'}`" for folder in folders[:3])
    return shown + (f" and {len(folders) - 3} more" if len(folders) > 3 else "")


def _list_ends(root: str, wanted: Set[str]) -> dict[str, list[str]]:
    """Return the images below a folder by all ends of their paths, with and without suffix.

    Args:
        root: The folder. Those of masks below it hold none.
        wanted: The names, with or without suffix, that count.
    """
    ends: dict[str, list[str]] = {}
    n_files = 0
    for folder, below, files in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".") and not names_masks(name)]
        place = os.path.relpath(folder, root).replace(os.sep, "/")
        folders = [] if place == "." else place.split("/")
        for name in filter(is_image_name, files):
            for key in {name, cut_suffix(name)} & wanted:
                for n in range(len(folders) + 1):
                    end = "/".join([*folders[n:], key])
                    ends.setdefault(end, []).append("/".join([*folders, name]))
        n_files += len(files)
        if n_files > _MOST_FILES:
            break
    return {end: sorted(places) for end, places in ends.items()}
