"""Check that a set can be split, and that a split keeps together what belongs together."""

from collections.abc import Sequence

import numpy as np

from osteo_ray.base.errors import InputError, LeakError
from osteo_ray.data.copies.groups import number_groups
from osteo_ray.data.splits.assignment import SPLIT_NAMES

_SHOWN = 3  # groups that the message of a leak names


def check_class_sizes(
    labels: np.ndarray,
    groups: np.ndarray,
    ratio: tuple[int, int, int],
    n_folds: int | None = None,
) -> None:
    """Refuse a set that is too small for each part of the split to get an image of each class.

    Args:
        labels: str (n,); the class of each image.
        groups: int (n,); images of one group stay together.
        ratio: Shares of training, validation and test; for the message only.
        n_folds: Number of folds of a cross-validation, or None for single splits.

    Raises:
        InputError: There are fewer than two classes, or a class has too few groups. It needs 3 for
            a single split; for folds, one more than there are folds, and at least 4.

    Example:
        >>> labels = np.array(["normal", "worn"] * 3)
        >>> check_class_sizes(labels, np.arange(6), (7, 2, 1))
    """
    names, label = np.unique(np.asarray(labels, dtype=np.str_), return_inverse=True)
    if len(names) < 2:
        raise InputError(
            f"Expected images of at least two classes, but found only {', '.join(names) or 'none'}"
            ". Put the images of each class into a folder of their own."
        )
    numbers = number_groups(groups)
    whole = "" if numbers.max() + 1 == len(numbers) else " (images that belong together count once)"
    distinct = np.unique(numbers * len(names) + label) % len(names)
    if n_folds is None:
        needed, split = len(SPLIT_NAMES), f"a split of {':'.join(map(str, ratio))}"
        advice = "Add images, or leave the class out."
    else:
        # Each of two folds must hold two groups, because training and validation share the fold
        # that is not tested.
        needed, split = max(n_folds + 1, 4), f"{n_folds} folds"
        advice = "Add images, leave the class out, or choose fewer folds."
    for name, count in zip(names, np.bincount(distinct), strict=True):
        if count < needed:
            raise InputError(
                f"Expected at least {needed} images of class `{name}` for {split}, "
                f"but found {count}{whole}. {advice}"
            )


def check_groups_whole(groups: np.ndarray, splits: np.ndarray, names: Sequence[str]) -> None:
    """Refuse a split that divides a group, since images seen in training would then be tested.

    Args:
        groups: int (n,), as `join_groups` returns them; equal numbers, even negative, are a group.
        splits: str (n,); the part that each image is in, or empty if it is set aside.
        names: n names by which the user knows the images, such as paths.

    Raises:
        LeakError: A group has images in several parts.
        ValueError: Lengths differ.

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
    # Find the first image of each group in each part, in the order of the images.
    cells, first = np.unique(numbers * len(parts) + part, return_index=True)
    owner = cells // max(len(parts), 1)
    torn = np.flatnonzero(np.bincount(owner) > 1)
    if len(torn) == 0:
        return
    examples = [
        ", ".join(f"{names[row]} ({splits[row]})" for row in sorted(used[first[owner == group]]))
        for group in torn[:_SHOWN]
    ]
    raise LeakError(
        "Expected images that belong together (copies, or images of one patient) to be in one part "
        f"of the split, but found {len(torn)} group{'s' if len(torn) > 1 else ''} of images in "
        f"several parts: {'; '.join(examples)}{'; …' if len(torn) > _SHOWN else ''}. Use a split "
        "that keeps groups together (`--split grouped`), or remove the copies."
    )
