"""Divide images into training, validation and test sets, once per seed."""

import math
from collections import Counter

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from osteo_ray.errors import InputError

SPLIT_NAMES = ("train", "validation", "test")


def count_parts(ratio: tuple[int, int, int]) -> int:
    """Return into how many equal folds a ratio divides the images: 7:2:1 into ten."""
    return sum(ratio) // math.gcd(*ratio)


def check_class_sizes(
    labels: np.ndarray, groups: np.ndarray, ratio: tuple[int, int, int], *, grouped: bool
) -> None:
    """Refuse a set too small to give each part of the split an image of each class.

    Raises:
        InputError: There is one class only, or a class has fewer images (or groups of copies) than
            the split has parts.
    """
    counts = (
        Counter(label for label, _ in set(zip(labels.tolist(), groups.tolist(), strict=True)))
        if grouped
        else Counter(labels.tolist())
    )
    if len(counts) < 2:
        raise InputError(
            f"Expected images of at least two classes, but found only {', '.join(counts) or 'none'}"
            ". Put the images of each class into a folder of its own."
        )
    needed = count_parts(ratio)
    unit = "images that are not copies of one another" if grouped else "images"
    for label, count in sorted(counts.items()):
        if count < needed:
            raise InputError(
                f"Expected at least {needed} {unit} of class `{label}` for a split of "
                f"{':'.join(map(str, ratio))}, but found {count}. Add images, or choose a coarser "
                "--split-ratio (3 1 1 needs 5)."
            )


def assign_splits(
    labels: np.ndarray,
    groups: np.ndarray,
    ratio: tuple[int, int, int],
    *,
    seed: int,
    grouped: bool,
) -> np.ndarray:
    """Assign each image to training, validation or test.

    The images are dealt into as many equal folds as the ratio has parts, stratified by class;
    folds are then joined: the first for the test, the next for validation, the rest for training.

    Args:
        labels: str, (n,); the class of each image.
        groups: int, (n,); images of one group are copies of each other.
        ratio: Parts for training, validation and test.
        seed: Which of the possible splits.
        grouped: Keep groups on one side. Otherwise copies fall where chance puts them.

    Returns:
        str, (n,); one of `SPLIT_NAMES` each.
    """
    divisor = math.gcd(*ratio)
    n_validation, n_test = ratio[1] // divisor, ratio[2] // divisor
    folds = StratifiedGroupKFold if grouped else StratifiedKFold
    splitter = folds(n_splits=count_parts(ratio), shuffle=True, random_state=seed)
    assigned = np.full(len(labels), "train", dtype="<U10")
    for number, (_, rows) in enumerate(splitter.split(labels, labels, groups if grouped else None)):
        if number < n_test:
            assigned[rows] = "test"
        elif number < n_test + n_validation:
            assigned[rows] = "validation"
    return assigned
