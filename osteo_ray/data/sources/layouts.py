"""What the folders of a set of images stand for: parts of a split, classes, masks, or nothing."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from osteo_ray.base.errors import InputError
from osteo_ray.data.sources.no_classes import find_repeating, find_unnamed, may_be_classes
from osteo_ray.data.sources.parts import tell_parts
from osteo_ray.data.sources.words import (
    cut_suffix,
    names_data,
    names_only_data,
    read_short_split,
    read_split,
    read_suffix,
    separate_split,
)

IMAGE_SUFFIXES = (
    *(".avif", ".bmp", ".dcm", ".dicom", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
    *(".nii", ".nii.gz", ".pgm", ".png", ".ppm", ".qoi", ".sgi", ".tif", ".tiff", ".webp"),
    *(".heic", ".heif"),  # which are refused, but by their names
)
_NO_IMAGES = (
    *(".txt", ".cls", ".md", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".pdf"),
    *(".py", ".ipynb", ".html", ".xlsx", ".xls", ".docx", ".parquet", ".npz", ".npy", ".mat"),
    *(".ini", ".db", ".log", ".sh", ".zip", ".gz", ".tar", ".h5", ".pt", ".pth", ".safetensors"),
)
_FOLD = re.compile(r"(?i)(?:k?[ _-]?fold|cv|split)[ _-]*\d+")

Files = Sequence[tuple[str, int]]
"""Path and size in bytes of each file, as they lie in the source."""
Row = dict[str, Any]


@dataclass(frozen=True)
class FolderLayout:
    """What was made of a set of files.

    Attributes:
        rows: path, label, split and size of each image.
        refused: Path and reason of each image that is in no class.
        notes: What the user should know.
        n_levels: Number of folders above the images that stand for parts and classes.
    """

    rows: list[Row]
    refused: list[tuple[str, str]]
    notes: list[str] = field(default_factory=list)
    n_levels: int = 1


def is_image_name(path: str) -> bool:
    """Tell whether a file is called like an image."""
    return read_suffix(path) in IMAGE_SUFFIXES


def is_dicom_name(path: str) -> bool:
    """Tell whether the name of a file allows it to be DICOM, whose files often lack a suffix."""
    suffix = read_suffix(path)
    return suffix in (".dcm", ".dicom", "") or suffix[1:].isdigit()


def is_no_image(path: str) -> bool:
    """Tell whether a file is called like something else than an image."""
    return read_suffix(path) in _NO_IMAGES


def leave_out_annotations(files: Files) -> tuple[Files, list[str]]:
    """Leave out what belongs to an image beside it but is none, such as boxes in text or JSON.

    Returns:
        The other files, and what to tell the user.

    Example:
        >>> files = [("worn/1.png", 9), ("worn/1.txt", 9), ("worn/1.png.json", 9), ("worn/2", 9)]
        >>> leave_out_annotations(files)[0]
        [('worn/1.png', 9), ('worn/2', 9)]
    """
    papers = {path for path, _ in files if is_no_image(path)}
    images = [path for path, _ in files if path not in papers] if papers else []
    names = {*images, *map(cut_suffix, images)}
    beside = {path for path in papers if cut_suffix(path) in names}
    if not beside:
        return files, []
    note = (
        f"{len(beside)} files that are named like an image beside them but are none by their "
        f"endings, such as `{min(beside)}`, are passed over."
    )
    return [one for one in files if one[0] not in beside], [note]


def read_folders(files: Files, uri: str) -> FolderLayout:
    """Find the classes of images, and the parts of a split if there are any.

    Args:
        files: The files, without masks; see `masks_beside.leave_out_masks`.
        uri: The source, for messages.

    Raises:
        InputError: The folders contradict each other, or stand for no classes.
    """
    files, notes = leave_out_annotations(files)
    files, said = _leave_out_papers(files)
    notes += said
    prefix, said = _find_wrapper(path for path, _ in files)
    notes += said
    level = prefix.count("/")
    tops = _group(files, level)
    _refuse_folds(tops, uri)
    combined = {top: separate_split(top) for top in tops}
    splits = _name_splits(tops) or _name_alike(combined)
    others = sorted(tops.keys() - splits.keys())
    if splits and others and len(splits) < 2:
        (only,) = splits
        raise InputError(
            f"Expected the folders in {uri} to be classes or parts of a split, but `{only}` names "
            f"a part ({splits[only]}), and {_quote(others)} none. Put class folders into each "
            "part, move away what belongs to neither, or give a manifest with the columns path, "
            "label and split."
        )
    if splits:
        return _lay_out_parts(files, uri, level, splits, others, notes)
    parts = {split for split, _ in combined.values()}
    if len(parts - {""}) >= 2 and "" in parts:
        raise InputError(
            f"Expected the folders in {uri} to be classes or parts of a split, but "
            f"{_quote(top for top, (split, _) in combined.items() if split)} name parts, and "
            f"{_quote(top for top, (split, _) in combined.items() if not split)} none. Put class "
            "folders into each part, or give a manifest with the columns path, label and split."
        )
    if len(parts) >= 2:
        rows = [
            {"path": path, "label": combined[top][1], "split": combined[top][0], "size": size}
            for top, of_top in tops.items()
            for path, size in of_top
        ]
        said = [f"`{top}` as {name} for {split}" for top, (split, name) in combined.items()]
        notes.append(f"Folders name class and part of a split in one: {', '.join(said)}.")
        return FolderLayout(rows, _list_strays(files, level), notes, level + 1)
    return _lay_out_classes(files, level, tops, notes)


def _lay_out_classes(
    files: Files, level: int, tops: Mapping[str, Files], notes: list[str]
) -> FolderLayout:
    """Take the uppermost folders as classes; those below may still be parts of a split."""
    below = {top: set(_group(of_top, level + 1)) for top, of_top in tops.items()}
    direct = {path.split("/")[level] for path, _ in files if path.count("/") == level + 1}
    repeating = find_repeating(below, direct)
    strays = _list_strays(files, level) + [
        (path, f"in `{top}`, which repeats the classes beside it, so in none of them")
        for top in sorted(repeating)
        for path, _ in tops[top]
    ]
    tops = {top: of_top for top, of_top in tops.items() if top not in repeating}
    below = {top: below[top] for top in tops}
    names = set().union(*below.values()) if below else set()
    parts = _name_splits(names)
    has_parts = len(set(parts.values())) >= 2 and parts.keys() == names and not direct
    if has_parts:
        notes.append(_state_splits(parts, "inside the class folders"))
    elif len(tops) >= 2 and may_be_classes(names, below.values()):
        notes.append(
            f"The classes are the upper folders, {_quote(tops)}, each of which holds "
            f"{_quote(names)}. If the lower ones are the classes, say so by a manifest."
        )
    rows = [
        {
            "path": path,
            "label": top,
            "split": parts[path.split("/")[level + 1]] if has_parts else "",
            "size": size,
        }
        for top, of_top in tops.items()
        for path, size in of_top
    ]
    return FolderLayout(rows, strays, notes, level + 1 + has_parts)


def _lay_out_parts(
    files: Files,
    uri: str,
    level: int,
    splits: Mapping[str, str],
    others: Sequence[str],
    notes: list[str],
) -> FolderLayout:
    files, said = _leave_out_papers(files, level + 1)
    notes += said
    levels = _find_class_levels(files, level, splits)
    inside = [path.split("/") for path, _ in files if _part(path, level) in splits]
    unnamed = find_unnamed(
        (parts[at] for parts in inside if len(parts) > (at := levels[parts[level]]) + 1), uri
    )
    rows, strays = [], _list_strays(files, level)
    for path, size in files:
        parts = path.split("/")
        if len(parts) <= level + 1:
            continue
        inner = levels.get(parts[level], 0)
        if parts[level] in others:
            beside = _quote(splits)
            strays.append((path, f"beside the folders of parts ({beside}), so in none of them"))
        elif len(parts) > inner + 1 and parts[inner] not in unnamed:
            split = splits[parts[level]]
            rows.append({"path": path, "label": parts[inner], "split": split, "size": size})
        elif len(parts) > inner + 1 or is_image_name(path):
            strays.append((path, "not in a class folder"))
    if not rows:
        told = ", ".join(f"`{name}` ({split})" for name, split in splits.items())
        raise InputError(
            f"Expected class folders in {uri}, but its folders name parts of a split, {told}, and "
            "hold no class folders, so the class of an image is not known. Put each image into "
            "PART/CLASS/, add metadata.csv with the columns file_name and label to each part, or "
            "give a manifest with the columns path, label and split."
        )
    notes.append(_state_splits(splits, "and the classes are the folders below them"))
    return FolderLayout(rows, sorted(strays), notes, 1 + max(levels.values()))


def _find_class_levels(files: Files, level: int, splits: Mapping[str, str]) -> dict[str, int]:
    """Return at which level the class folders of each part lie."""
    within = {top: of_top for top, of_top in _group(files, level).items() if top in splits}
    levels = {}
    for top, of_top in within.items():
        names = list(_group(of_top, level + 1))
        # As archives are often unpacked, `train` may hold nothing but `train`.
        again = len(names) == 1 and (names[0] == top or read_split(names[0]) == splits[top])
        levels[top] = level + 1 + again
    below = {name for top, of_top in within.items() for name in _group(of_top, levels[top])}
    strays, direct = (
        any(_has_strays(of_top, levels[top] + more) for top, of_top in within.items())
        for more in (0, 1)
    )
    # But `Normal images`, with images, is a class.
    are_above = all(map(names_data, below)) and (not direct or all(map(names_only_data, below)))
    if below and are_above and not strays:
        levels = {top: inner + 1 for top, inner in levels.items()}  # train/images/normal
    return levels


def _leave_out_papers(files: Files, level: int = 0) -> tuple[Files, list[str]]:
    """Leave out folders at a level that hold no file that may be an image."""
    tops = _group(files, level)
    papers = [top for top, of_top in tops.items() if all(is_no_image(path) for path, _ in of_top)]
    if not papers or len(papers) == len(tops):
        return files, []
    notes = [f"The folder `{top}` holds no images and is passed over." for top in papers]
    return [one for one in files if _part(one[0], level) not in papers], notes


def _find_wrapper(paths: Iterable[str]) -> tuple[str, list[str]]:
    """Find the folder that holds all others, as archives are often unpacked: its path and a note.

    A folder that may be a class is none, so it must be named as one of data.
    """
    known, prefix = list(paths), ""
    while True:
        deep = [path.removeprefix(prefix) for path in known if path.startswith(prefix)]
        tops = {path.partition("/")[0] for path in deep if "/" in path}
        strays = any("/" not in path and is_image_name(path) for path in deep)
        if len(tops) != 1 or strays:
            break
        (top,) = tops
        subfolders = {path.split("/")[1] for path in deep if path.count("/") >= 2}
        direct = any(path.count("/") == 1 and is_image_name(path) for path in deep)
        holds_parts = len(set(_name_splits(subfolders).values())) >= 2
        if not (names_data(top) or holds_parts) or read_split(top) or not subfolders or direct:
            break
        prefix += f"{top}/"
    notes = [f"The images are those in the folder `{prefix.rstrip('/')}`."] if prefix else []
    return prefix, notes


def _group(files: Iterable[tuple[str, int]], level: int) -> dict[str, list[tuple[str, int]]]:
    """Group files by their folder at a level; those above it are left out."""
    found: dict[str, list[tuple[str, int]]] = {}
    for path, size in files:
        parts = path.split("/")
        if len(parts) > level + 1:
            found.setdefault(parts[level], []).append((path, size))
    return dict(sorted(found.items()))


def _part(path: str, level: int) -> str:
    parts = path.split("/")
    return parts[level] if len(parts) > level + 1 else ""


def _list_strays(files: Files, level: int) -> list[tuple[str, str]]:
    return [
        (path, "not in a class folder")
        for path, _ in files
        if path.count("/") <= level and is_image_name(path)
    ]


def _has_strays(files: Files, level: int) -> bool:
    return bool(_list_strays(files, level))


def _name_splits(names: Iterable[str]) -> dict[str, str]:
    """Return the part of a split for each of some names that stands for one."""
    found = tell_parts(sorted(names))
    short = {name: read_short_split(name) for name in found}
    if len(short) >= 2 and all(short.values()):
        return short
    return {name: split for name, split in found.items() if split}


def _name_alike(combined: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Return the part for each name if parts are all that differs, as in `knee_train`, or none."""
    parts = {split for split, _ in combined.values()}
    alike = len({rest for _, rest in combined.values()}) == 1
    if len(parts) < 2 or "" in parts or not alike:
        return {}
    return {name: split for name, (split, _) in combined.items()}


def _state_splits(splits: Mapping[str, str], where: str) -> str:
    told = ", ".join(f"`{name}` as {split}" for name, split in splits.items())
    return (
        f"Folders are taken as parts of a split, {told}, {where}. --split given uses this split; "
        "without it, new ones are drawn."
    )


def _refuse_folds(tops: Mapping[str, object], uri: str) -> None:
    if len(tops) >= 2 and all(_FOLD.fullmatch(top) for top in tops):
        raise InputError(
            f"Expected the folders in {uri} to be classes or parts of a split, but they are named "
            f"as folds: {_quote(tops)}. Give one folder that holds each image once; --folds "
            "divides it anew."
        )


def _quote(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))
