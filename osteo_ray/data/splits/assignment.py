"""Divide images into training, validation and test sets, once per seed or in folds."""

import numpy as np
import numpy.typing as npt

from osteo_ray.base.errors import InputError
from osteo_ray.data.copies.groups import number_groups
from osteo_ray.data.splits.allocation import allocate

SPLIT_NAMES = ("train", "validation", "test")

_SPLIT_STREAM, _FOLD_STREAM, _VALIDATION_STREAM, _PART_STREAM, _LABEL_STREAM = range(5)


def check_class_sizes(
    labels: np.ndarray,
    groups: np.ndarray,
    ratio: tuple[int, int, int],
    n_folds: int | None = None,
) -> None:
    """Refuse a set too small to give each part of the split an image of each class.

    Args:
        labels: str (n,); the class of each image.
        groups: int (n,); images of one group stay together.
        ratio: Parts for training, validation and test.
        n_folds: Of a cross-validation; None for single splits.

    Raises:
        InputError: There is one class only, or a class has fewer groups than there are parts: 3,
            or one more than there are folds, and at least 4.

    Example:
        >>> labels = np.array(["normal", "worn"] * 3)
        >>> check_class_sizes(labels, np.arange(6), (7, 2, 1))
    """
    names, label = np.unique(np.asarray(labels, dtype=np.str_), return_inverse=True)
    if len(names) < 2:
        raise InputError(
            f"Expected images of at least two classes, but found only {', '.join(names) or 'none'}"
            ". Put the images of each class into a folder of its own."
        )
    numbers = number_groups(groups)
    whole = "" if numbers.max() + 1 == len(numbers) else " (images that belong together count once)"
    distinct = np.unique(numbers * len(names) + label) % len(names)
    if n_folds is None:
        needed, split = len(SPLIT_NAMES), f"a split of {':'.join(map(str, ratio))}"
        advice = "Add images, or leave the class out."
    else:
        # Two folds must hold two groups each: when one is tested, training and validation share
        # the other.
        needed, split = max(n_folds + 1, 4), f"{n_folds} folds"
        advice = "Add images, leave the class out, or choose fewer folds."
    for name, count in zip(names, np.bincount(distinct), strict=True):
        if count < needed:
            raise InputError(
                f"Expected at least {needed} images of class `{name}` for {split}, "
                f"but found {count}{whole}. {advice}"
            )


def assign_splits(
    labels: np.ndarray, groups: np.ndarray, ratio: tuple[int, int, int], *, seed: int
) -> np.ndarray:
    """Assign each image to training, validation or test, in shares close to the ratio per class.

    First, each part gets a group of each class, if the groups allow it. Then the squared deviations
    of the image counts from the ratio are made as small as can be found, where each class counts
    alike, however small.

    How many images of each class a part gets depends on nothing but the sizes of the groups, the
    ratio and the seed. Which images these are depends also on the order of the images. How groups
    are numbered plays no role.

    Args:
        labels: str (n,); the class of each image.
        groups: int (n,); images of one group stay together. `np.arange(n)` lets chance decide.
        ratio: Parts for training, validation and test.
        seed: Which of the possible splits; at least 0.

    Returns:
        str (n,); one of `SPLIT_NAMES` each.

    Raises:
        ValueError: no images, lengths that do not fit, or a part of the ratio below 1.

    Example:
        >>> labels, groups = np.repeat(["normal", "worn"], 20), np.arange(40) // 2
        >>> splits = assign_splits(labels, groups, (7, 2, 1), seed=0)
        >>> [int(np.sum(splits == name)) for name in SPLIT_NAMES]
        [28, 8, 4]
    """
    rng = np.random.default_rng((_SPLIT_STREAM, seed))
    return np.array(SPLIT_NAMES)[allocate(labels, groups, ratio, rng)]


def assign_folds(
    labels: np.ndarray, groups: np.ndarray, n_folds: int, *, seed: int
) -> npt.NDArray[np.int64]:
    """Assign each image to one of several folds of equal size, as `assign_splits` does to parts.

    Args:
        labels: str (n,); the class of each image.
        groups: int (n,); images of one group stay together.
        n_folds: At least 2.
        seed: Which of the possible divisions; at least 0.

    Returns:
        int64 (n,); 0 to `n_folds` - 1.

    Raises:
        ValueError: no images, lengths that do not fit, or fewer than two folds.

    Example:
        >>> labels = np.repeat(["normal", "worn"], 10)
        >>> np.bincount(assign_folds(labels, np.arange(20), 5, seed=0)).tolist()
        [4, 4, 4, 4, 4]
    """
    if n_folds < 2:
        raise ValueError(f"Expected at least two folds, but got {n_folds}.")
    rng = np.random.default_rng((_FOLD_STREAM, seed))
    # Of two folds, the one that is not tested has to serve training and validation.
    return allocate(labels, groups, (1,) * n_folds, rng, least=2 if n_folds == 2 else 1)


def assign_fold_splits(
    labels: np.ndarray,
    groups: np.ndarray,
    ratio: tuple[int, int, int],
    *,
    n_folds: int,
    number: int,
) -> np.ndarray:
    """Assign each image to training, validation or test, as in repeated k-fold cross-validation.

    Splits 0 to `n_folds` - 1 are the first repeat, in which each image is tested once; the next
    `n_folds` are the second, and so on. The validation set is drawn from what is not tested, anew
    for each split.

    Args:
        labels: str (n,); the class of each image.
        groups: int (n,); images of one group stay together.
        ratio: Parts for training and validation, to which the third, for the test, adds nothing.
        n_folds: At least 2.
        number: Which split; at least 0.

    Returns:
        str (n,); one of `SPLIT_NAMES` each.

    Raises:
        ValueError: no images, lengths that do not fit, fewer than two folds, or a part of the
            ratio below 1.

    Example:
        >>> labels = np.repeat(["normal", "worn"], 10)
        >>> tested = [
        ...     assign_fold_splits(labels, np.arange(20), (3, 1, 1), n_folds=5, number=number)
        ...     == "test"
        ...     for number in range(5)
        ... ]
        >>> bool(np.all(np.sum(tested, axis=0) == 1))
        True
    """
    repeat, fold = divmod(number, n_folds)
    tested = assign_folds(labels, groups, n_folds, seed=repeat) == fold
    assigned = np.full(len(tested), "test", dtype="<U10")
    rest = np.flatnonzero(~tested)
    rng = np.random.default_rng((_VALIDATION_STREAM, number))
    dealt = allocate(np.asarray(labels)[rest], np.asarray(groups)[rest], ratio[:2], rng)
    assigned[rest] = np.array(SPLIT_NAMES)[dealt]
    return assigned


def divide_training(
    labels: np.ndarray, groups: np.ndarray, splits: np.ndarray, *, n_parts: int, seed: int
) -> npt.NDArray[np.int64]:
    """Divide the training images into parts, as `assign_folds` does.

    Args:
        labels: str (n,); the class of each image.
        groups: int (n,); images of one group stay together.
        splits: str (n,); the part of the split of each image.
        n_parts: At least 2.
        seed: Which of the possible divisions; at least 0.

    Returns:
        int64 (n,); 0 to `n_parts` - 1 for training images, -1 for others.
    """
    parts = np.full(len(splits), -1, np.int64)
    rows = np.flatnonzero(splits == "train")
    rng = np.random.default_rng((_PART_STREAM, seed))
    parts[rows] = allocate(labels[rows], groups[rows], (1,) * n_parts, rng)
    return parts


def shuffle_labels(
    labels: np.ndarray, groups: np.ndarray, splits: np.ndarray, *, seed: int
) -> np.ndarray:
    """Give each group of images the label of another, by chance.

    Copies keep a common label, so a classifier that finds copies of test images among the training
    images does better than chance even here.

    Args:
        labels: str (n,); the class of each image.
        groups: int (n,); images that belong together.
        splits: str (n,); images without a part (empty) keep their label and give none.
        seed: Which of the possible orders; at least 0.

    Returns:
        str (n,).
    """
    used = np.flatnonzero(splits != "")
    _, first, numbers = np.unique(groups[used], return_index=True, return_inverse=True)
    rng = np.random.default_rng((_LABEL_STREAM, seed))
    shuffled = labels.copy()
    shuffled[used] = rng.permutation(labels[used][first])[numbers]
    return shuffled
