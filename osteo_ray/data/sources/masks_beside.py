"""Leave out masks that lie beside images, and files that systems leave behind."""

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence, Set

from osteo_ray.data.sources.layouts import Files
from osteo_ray.data.sources.words import (
    cut_suffix,
    is_of_system,
    list_words,
    names_data,
    names_masks,
    read_split,
    separate_mask,
)

_MASK_NAME = re.compile(r"(?i)(.+?)[ _.-]+(?:mask|masks|seg|segmentation|roi|gt)(?:[ _-]*\d+)?")


def leave_out_masks(files: Files) -> tuple[Files, list[str]]:
    """Leave out files of the system, such as DICOMDIR, and masks that lie beside images.

    Masks lie in folders that are named so, or are named like an image beside them, or lie in class
    folders that repeat those of a folder `images` file by file.

    Returns:
        The other files, and what to tell the user.

    Example:
        >>> files = [("normal/1.png", 9), ("normal/1_mask.png", 9), ("masks/1.png", 9)]
        >>> leave_out_masks(files)[0]
        [('normal/1.png', 9)]
    """
    files = [(path, size) for path, size in files if not is_of_system(path)]
    stems = {cut_suffix(path) for path, _ in files}
    kept, folders, named = [], Counter[str](), 0
    beside = _find_folders_beside(path for path, _ in files)
    beside |= _find_mirrors(path for path, _ in files)
    of_masks = {
        folder: _find_mask_folder(folder, beside)
        for folder in {path.rpartition("/")[0] for path, _ in files}
    }
    for path, size in files:
        folder = of_masks[path.rpartition("/")[0]]
        stem = _MASK_NAME.fullmatch(cut_suffix(path))
        if folder:
            folders[folder] += 1
        elif stem and stem[1] in stems:
            named += 1
        else:
            kept.append((path, size))
    notes = [
        f"The folder `{name}` is taken as one of masks, no class: {n} files are passed over."
        for name, n in sorted(folders.items())
    ]
    if len(notes) > 4:
        notes = [
            f"{len(folders)} folders such as `{min(folders)}` are taken as folders of masks, no "
            f"classes: {folders.total()} files are passed over."
        ]
    if named:
        notes.append(
            f"{named} files that are named like an image beside them, with `mask` or the like "
            "added, are taken as masks and passed over."
        )
    return kept, notes


def _find_mask_folder(path: str, beside: Set[str]) -> str:
    """Return the uppermost folder of masks that a folder is or lies in, or ""."""
    parts = path.split("/") if path else []
    for level, name in enumerate(parts):
        folder = "/".join(parts[: level + 1])
        if names_masks(name) or folder in beside:
            return folder
    return ""


def _find_folders_beside(paths: Iterable[str]) -> set[str]:
    """Return folders such as `normal_masks` that lie beside one called `normal`."""
    folders: set[str] = set()
    for path in paths:
        while path := path.rpartition("/")[0]:
            if path in folders:
                break
            folders.add(path)
    known: dict[tuple[str, str], str] = {}
    for folder in folders:
        above, _, name = folder.rpartition("/")
        known[above, " ".join(list_words(name))] = folder
    found = set()
    for folder in folders:
        above, _, name = folder.rpartition("/")
        whose = separate_mask(name)
        if whose and (above, whose) in known:
            found.add(folder)
    return found


def _find_mirrors(paths: Iterable[str]) -> set[str]:
    """Return folders such as `regions` that hold the class folders of `images` once more.

    They lie beside `images`, at the top or where the first folders part, or in a part of a split
    that lies there, and every file in them has the place and the name, but for its ending, of an
    image.
    """
    listed = list(paths)
    above = posixpath.commonpath([posixpath.dirname(path) for path in listed] or [""])
    found = _find_mirrors_in(above, listed)
    of_part: dict[str, list[str]] = {}
    for path in listed:
        name, slash, _ = path.removeprefix(above).strip("/").partition("/")
        if slash:
            of_part.setdefault(name, []).append(path)
    for name in filter(read_split, of_part):
        found |= _find_mirrors_in(posixpath.join(above, name), of_part[name])
    return found


def _find_mirrors_in(above: str, paths: Sequence[str]) -> set[str]:
    """Return the folders in `above` that repeat one beside them that is named as one of data."""
    held: dict[str, set[str]] = {}
    for path in paths:
        name, _, below = path.removeprefix(above).strip("/").partition("/")
        held.setdefault(name, set()).add(cut_suffix(below))
    shown = [name for name in held if names_data(name)]
    if len(shown) != 1:
        return set()
    return {
        posixpath.join(above, name)
        for name, stems in held.items()
        if name not in shown
        and not read_split(name)
        and all("/" in stem for stem in stems)
        and stems <= held[shown[0]]
    }
