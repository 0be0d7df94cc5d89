"""Say which images belong together, whose label counts, and whether a split keeps them together."""

from collections.abc import Sequence
from typing import get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from osteo_ray.base.errors import LeakError
from osteo_ray.data.settings import ConflictPolicy

_SHOWN = 3  # groups that the message of a leak names


def number_groups(groups: np.ndarray) -> npt.NDArray[np.int64]:
    """Number groups anew, so that only who belongs together matters, not how groups are called.

    Args:
        groups: (n,), any values; equal ones are a group.

    Returns:
        int64 (n,), numbers 0, 1, … in the order in which the groups first appear.

    Example:
        >>> number_groups(np.array([7, -1, 7, 3])).tolist()
        [0, 1, 0, 2]
    """
    _, first, numbers = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[numbers].astype(np.int64)


def join_groups(*partitions: np.ndarray) -> npt.NDArray[np.int64]:
    """Join images that share a number in any of several partitions, such as copies and patients.

    Joins chain: a copy of an image of one patient brings all images of both patients together.

    Args:
        partitions: int (n,) each; images of equal number belong together, and a negative number
            says that nothing is known of the image.

    Returns:
        int64 (n,), numbers 0, 1, … in the order in which the groups first appear.

    Raises:
        ValueError: no partition, or partitions that are not whole numbers of one length.

    Example:
        >>> copies, patients = np.array([0, 1, 1, 2, 3]), np.array([5, 5, 8, -1, -1])
        >>> join_groups(copies, patients).tolist()
        [0, 0, 0, 1, 2]
    """
    if not partitions:
        raise ValueError("Expected at least one partition, but got none.")
    n = len(partitions[0])
    for partition in partitions:
        if partition.shape != (n,) or not np.issubdtype(partition.dtype, np.integer):
            raise ValueError(
                f"Expected partitions of whole numbers and shape ({n},), "
                f"but got {partition.dtype} {partition.shape}."
            )
    if n == 0:
        return np.zeros(0, np.int64)
    # A graph of images and of shared numbers: each image is tied to its number in each partition.
    images, numbers, n_nodes = [], [], n
    for partition in partitions:
        known = np.flatnonzero(partition >= 0)
        values, index = np.unique(partition[known], return_inverse=True)
        images.append(known)
        numbers.append(n_nodes + index)
        n_nodes += len(values)
    return number_groups(_connect(n_nodes, np.concatenate(images), np.concatenate(numbers))[:n])


def join_pairs(n_images: int, pairs: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Number the groups of images that pairs connect, directly or through others.

    Args:
        n_images: Of the set.
        pairs: Of `duplicates.find_copies`: first and second, rows of the set.

    Returns:
        int64 (n_images,), numbers 0, 1, … in the order in which the groups first appear.

    Example:
        >>> join_pairs(4, pd.DataFrame({"first": [0], "second": [2]})).tolist()
        [0, 1, 0, 2]
    """
    return number_groups(_connect(n_images, pairs["first"].to_numpy(), pairs["second"].to_numpy()))


def _connect(n_nodes: int, one: np.ndarray, other: np.ndarray) -> npt.NDArray[np.int32]:
    graph = coo_array((np.ones(len(one), bool), (one, other)), shape=(n_nodes, n_nodes))
    return np.asarray(connected_components(graph, directed=False)[1])


def find_conflicts(copies: npt.NDArray[np.int64], labels: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Find the images whose copies do not agree on the label.

    Args:
        copies: int64 (n,), of `join_pairs`.
        labels: n class names, in the same order.

    Returns:
        bool (n,), True for every image of a group that holds more than one label.

    Raises:
        ValueError: no images, or lengths that do not fit.

    Example:
        >>> find_conflicts(np.array([0, 1, 0, 1]), ["a", "b", "b", "b"]).tolist()
        [True, False, True, False]
    """
    _, _, counts, numbers = _count_labels(copies, labels)
    return np.asarray((counts > 0).sum(axis=1)[numbers] > 1)


def resolve_conflicts(
    copies: npt.NDArray[np.int64], labels: Sequence[str], policy: ConflictPolicy
) -> tuple[np.ndarray, npt.NDArray[np.bool_]]:
    """Decide what becomes of the images whose copies do not agree on the label.

    Args:
        copies: int64 (n,), of `join_pairs`.
        labels: n class names, in the same order.
        policy: `drop` leaves all of them out; `majority` gives them the label of most images of
            their group, and leaves them out if two labels are equally frequent; `keep` changes
            nothing.

    Returns:
        str (n,), the labels; bool (n,), whether an image is used.

    Raises:
        ValueError: no images, lengths that do not fit, or an unknown policy.

    Example:
        >>> copies, labels = np.array([0, 0, 0, 1, 1]), ["a", "b", "b", "a", "b"]
        >>> resolved, used = resolve_conflicts(copies, labels, "majority")
        >>> resolved.tolist(), used.tolist()
        (['b', 'b', 'b', 'a', 'b'], [True, True, True, False, False])
    """
    if policy not in get_args(ConflictPolicy):
        raise ValueError(
            f"Expected policy to be one of {', '.join(get_args(ConflictPolicy))}, but got {policy}."
        )
    names, present, counts, numbers = _count_labels(copies, labels)
    conflict = (counts > 0).sum(axis=1)[numbers] > 1
    if policy == "keep":
        return names[present], np.ones(len(present), dtype=bool)
    if policy == "drop":
        return names[present], np.asarray(~conflict)
    decided = (counts == counts.max(axis=1, keepdims=True)).sum(axis=1)[numbers] == 1
    # A group without a conflict is decided, and its majority is the label it has.
    return names[np.where(decided, counts.argmax(axis=1)[numbers], present)], np.asarray(decided)


def _count_labels(
    copies: np.ndarray, labels: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the names (k,), the label of each image (n,), groups x names counts, groups (n,)."""
    if len(labels) == 0:
        raise ValueError("Expected at least one image, but got none.")
    if copies.shape != (len(labels),):
        raise ValueError(
            f"Expected groups of shape ({len(labels)},), one per label, but got {copies.shape}."
        )
    names, present = np.unique(np.asarray(labels, dtype=np.str_), return_inverse=True)
    found, numbers = np.unique(copies, return_inverse=True)
    cells = np.bincount(numbers * len(names) + present, minlength=len(found) * len(names))
    return names, present, cells.reshape(len(found), len(names)), numbers


def check_groups_whole(groups: np.ndarray, splits: np.ndarray, names: Sequence[str]) -> None:
    """Refuse a split that tears a group apart: what is tested would have been seen in training.

    Args:
        groups: int (n,), of `join_groups`; any equal numbers are a group, negative ones too.
        splits: str (n,); the part of each image, empty where it is set aside.
        names: n names by which the user knows the images.

    Raises:
        LeakError: A group has images in more than one part.
        ValueError: Lengths do not fit.

    Example:
        >>> check_groups_whole(np.array([0, 0, 1]), np.array(["train", "", "test"]), "abc")
    """
    if not len(groups) == len(splits) == len(names):
        raise ValueError(
            "Expected groups, splits and names of one length, "
            f"but got {len(groups)}, {len(splits)} and {len(names)}."
        )
    used = np.flatnonzero(np.asarray(splits) != "")
    numbers = number_groups(np.asarray(groups)[used])
    parts, part = np.unique(np.asarray(splits)[used], return_inverse=True)
    # The first image of each group in each part, in the order of the images.
    cells, first = np.unique(numbers * len(parts) + part, return_index=True)
    owner = cells // max(len(parts), 1)
    torn = np.flatnonzero(np.bincount(owner) > 1)
    if len(torn) == 0:
        return
    examples = [
        ", ".join(f"{names[row]} ({splits[row]})" for row in sorted(used[first[owner == group]]))
        for group in torn[:_SHOWN]
    ]
    groups_of = "group of images that belong" if len(torn) == 1 else "groups of images that belong"
    raise LeakError(
        "Expected images that belong together (copies, or images of one patient) to be in one part "
        f"of the split, but found {len(torn)} {groups_of} together in several: "
        f"{'; '.join(examples)}{'; …' if len(torn) > _SHOWN else ''}. Let the split be made with "
        "grouping (`--split grouped`), or remove the copies."
    )
