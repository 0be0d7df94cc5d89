"""Folders that lie where classes do, but are none: copies of these, parts, or further images."""

import re
from collections.abc import Iterable, Mapping, Set

from osteo_ray.base.errors import InputError
from osteo_ray.data.sources.classes import fold_label
from osteo_ray.data.sources.words import names_only_data, read_split

_MOST_CLASSES_BELOW = 10
_SIDES_AND_VIEWS = frozenset(
    {"left", "right", "l", "r", "ap", "pa", "lat", "lateral", "frontal", "front", "side"}
)


def find_repeating(below: Mapping[str, Set[str]], direct: Set[str]) -> set[str]:
    """Find folders beside those of classes that hold nothing but folders called like these.

    So do segmented, cropped or older versions of all images that lie beside them.

    Args:
        below: By folder, those in it.
        direct: Folders that hold files of their own.

    Example:
        >>> below = {"normal": set(), "worn": set(), "segmented": {"Normal", "worn"}}
        >>> find_repeating(below, {"normal", "worn"})
        {'segmented'}
    """
    classes = {fold_label(name) for name in direct}
    found = {
        name
        for name, inner in below.items()
        if inner and name not in direct and {fold_label(one) for one in inner} <= classes
    }
    return found if len(direct) >= 2 else set()


def find_unnamed(labels: Iterable[str], uri: str) -> set[str]:
    """Find folders within parts of a split that are called like images, where others are classes.

    Args:
        labels: Names of the folders that lie where classes do.
        uri: The source, for the message.

    Raises:
        InputError: Some of them, but not all, are named like parts of a split.

    Example:
        >>> find_unnamed(["normal", "worn", "test images"], "knees")
        {'test images'}
    """
    names = set(labels)
    unnamed = set(filter(names_only_data, names))
    parts = sorted(filter(read_split, names - unnamed))
    if parts and len(parts) < len(names):
        raise InputError(
            f"Expected the folders within the parts of {uri} to be classes, but `{parts[0]}` names "
            f"a part ({read_split(parts[0])}) within another. Put parts beside each other, as "
            "PART/CLASS/, or give a manifest with the columns path, label and split."
        )
    return unnamed if unnamed < names else set()


def may_be_classes(names: Set[str], below: Iterable[Set[str]]) -> bool:
    """Tell whether folders that all others hold alike may be the classes rather than these.

    Args:
        names: The folders within any other.
        below: Those within each of the others.

    Example:
        >>> may_be_classes({"normal", "worn"}, [{"normal", "worn"}, {"worn", "normal"}])
        True
    """
    few = 2 <= len(names) <= _MOST_CLASSES_BELOW
    of_patients = all(re.search(r"[A-Za-z].*\d", name) for name in names)
    plain = any(name.casefold() in _SIDES_AND_VIEWS for name in names)
    return few and not of_patients and not plain and all(found == names for found in below)
