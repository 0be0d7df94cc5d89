"""Find copies that disagree on their label, and decide which label counts."""

from collections.abc import Sequence
from typing import get_args

import numpy as np
import numpy.typing as npt

from osteo_ray.data.settings import ConflictPolicy


def find_conflicts(copies: npt.NDArray[np.int64], labels: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Find the images that have a copy with another label.

    Args:
        copies: int64 (n,); equal numbers are copies, as `join_pairs` returns them.
        labels: n class names.

    Returns:
        bool (n,); True for every image of a group with several labels.

    Raises:
        ValueError: There are no images, or lengths differ.

    Example:
        >>> find_conflicts(np.array([0, 1, 0, 1]), ["a", "b", "b", "b"]).tolist()
        [True, False, True, False]
    """
    _, _, counts, numbers = _count_labels(copies, labels)
    return np.asarray((counts > 0).sum(axis=1)[numbers] > 1)


def resolve_conflicts(
    copies: npt.NDArray[np.int64], labels: Sequence[str], policy: ConflictPolicy
) -> tuple[np.ndarray, npt.NDArray[np.bool_]]:
    """Decide what becomes of images that have a copy with another label.

    Args:
        copies: int64 (n,); equal numbers are copies, as `join_pairs` returns them.
        labels: n class names.
        policy: `drop` leaves all of them out; `majority` gives them the most frequent label of
            their group, and leaves them out if several labels are equally frequent; `keep` changes
            nothing.

    Returns:
        str (n,), the labels that count; bool (n,), True for each image that is used.

    Raises:
        ValueError: There are no images, lengths differ, or the policy is unknown.

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
    # In a group without a conflict, the majority is the label that all of them have.
    return names[np.where(decided, counts.argmax(axis=1)[numbers], present)], np.asarray(decided)


def _count_labels(
    copies: np.ndarray, labels: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Count the labels in each group of copies.

    Returns:
        The names of the labels, str (k,); each image's label as an index into them, (n,); how many
        images of each group have each label, (groups, k); each image's group, (n,).
    """
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
