"""Find the files that a table means where its paths do not lead to them.

Public sets often name an image by its file name, or by that without its suffix, while the files lie
in folders elsewhere; or paths begin with the name of a folder above the table.
"""

import os
from collections.abc import Sequence

from osteo_ray.data.sources.layouts import is_image_name
from osteo_ray.data.sources.words import cut_suffix, names_masks

_MOST_FILES = 2_000_000  # a table in the home folder must not have all of a disk listed


def find_files(paths: Sequence[str], root: str) -> tuple[list[str], dict[int, str], list[str]]:
    """Find the files that paths mean, if most of them lead to none.

    Args:
        paths: Of files below the root; "" for those that are none.
        root: A folder of this machine.

    Returns:
        The paths as they are or as they were found; by row, why the name of a file does not tell
        which it is; and what to tell the user.
    """
    named = [path for path in paths if path]
    missing = [path for path in named if not os.path.lexists(f"{root}/{path}")]
    if 2 * len(missing) <= len(named):
        return list(paths), {}, []
    for n_folders in range(1, max(path.count("/") for path in missing) + 1):
        shorter = [path.split("/", n_folders)[-1] for path in missing if path.count("/")]
        there = sum(os.path.lexists(f"{root}/{path}") for path in shorter)
        if 2 * there > len(missing):
            dropped = "/".join(missing[0].split("/")[:n_folders])
            found = [path and path.split("/", n_folders)[-1] for path in paths]
            return found, {}, [f"Paths are read without `{dropped}/`, at which they begin."]
    return _find_by_name(paths, root)


def _find_by_name(paths: Sequence[str], root: str) -> tuple[list[str], dict[int, str], list[str]]:
    known = _list_names(root)
    found, doubtful = list(paths), dict[int, str]()
    for row, path in enumerate(paths):
        places = known.get(path.rpartition("/")[2], [])
        if path and len(places) == 1:
            found[row] = places[0]
        elif path and places:
            doubtful[row] = (
                f"{len(places)} files are called so ({', '.join(sorted(places)[:2])} …); give "
                "paths with folders"
            )
    folders = sorted({path.rpartition("/")[0] for path in set(found) - set(paths)})
    if not folders:
        return found, doubtful, []
    shown = ", ".join(f"`{folder or '.'}`" for folder in folders[:3])
    more = f" and {len(folders) - 3} more" if len(folders) > 3 else ""
    return found, doubtful, [f"Images are found by their names alone, in {shown}{more}."]


def _list_names(root: str) -> dict[str, list[str]]:
    """Return the images below a folder by their names, with and without suffix; masks are none."""
    names: dict[str, list[str]] = {}
    n_files = 0
    for folder, below, files in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".") and not names_masks(name)]
        place = os.path.relpath(folder, root).replace(os.sep, "/")
        for name in files:
            n_files += 1
            if is_image_name(name):
                path = name if place == "." else f"{place}/{name}"
                for key in {name, cut_suffix(name)}:
                    names.setdefault(key, []).append(path)
        if n_files > _MOST_FILES:
            break
    return names
