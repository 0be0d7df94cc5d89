"""Divide images into training, validation and test sets, once for each seed or in folds."""

import numpy as np
import numpy.typing as npt

from osteo_ray.data.splits.allocation import allocate
from osteo_ray.data.splits.sites import find_held_out

SPLIT_NAMES = ("train", "validation", "test")

_SPLIT_STREAM, _FOLD_STREAM, _VALIDATION_STREAM, _PART_STREAM, _LABEL_STREAM, _SITE_STREAM = range(
    6
)


def assign_splits(
    labels: np.ndarray, groups: np.ndarray, ratio: tuple[int, int, int], *, seed: int
) -> np.ndarray:
    """Assign each image to training, validation or test, in shares close to the ratio per class.

    First, each part gets a group of each class, if there are enough. Then the image counts are
    brought as close to the ratio as the search finds possible, in squared deviations, with equal
    weight for each class however small.

    How many images of each class a part gets depends only on the sizes of the groups, the ratio and
    the seed. Which images they are depends on the order of the images as well. The numbers that
    groups go by play no role.

    Args:
        labels: str (n,); the class of each image.
        groups: int (n,); images of one group stay together. With `np.arange(n)`, each image is on
            its own.
        ratio: Shares of training, validation and test, such as (7, 2, 1).
        seed: Selects one of the possible splits; at least 0.

    Returns:
        str (n,); each one of `SPLIT_NAMES`.

    Raises:
        ValueError: There are no images, lengths differ, or a share of the ratio is below 1.

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
    """Assign each image to one of several folds of equal size, by the rules of `assign_splits`.

    Args:
        labels: str (n,); the class of each image.
        groups: int (n,); images of one group stay together.
        n_folds: At least 2.
        seed: Selects one of the possible divisions; at least 0.

    Returns:
        int64 (n,); 0 to `n_folds` - 1.

    Raises:
        ValueError: There are no images, lengths differ, or there are fewer than two folds.

    Example:
        >>> labels = np.repeat(["normal", "worn"], 10)
        >>> np.bincount(assign_folds(labels, np.arange(20), 5, seed=0)).tolist()
        [4, 4, 4, 4, 4]
    """
    if n_folds < 2:
        raise ValueError(f"Expected at least two folds, but got {n_folds}.")
    rng = np.random.default_rng((_FOLD_STREAM, seed))
    # Of two folds, the one that is not tested must provide both training and validation.
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

    Splits 0 to `n_folds` - 1 form the first repeat, in which each image is tested once; the next
    `n_folds` splits form the second, and so on. Each split draws its own validation set from the
    images that it does not test.

    Args:
        labels: str (n,); the class of each image.
        groups: int (n,); images of one group stay together.
        ratio: Shares of training and validation; the third, for the test, is ignored.
        n_folds: At least 2.
        number: Number of the split; at least 0.

    Returns:
        str (n,); each one of `SPLIT_NAMES`.

    Raises:
        ValueError: There are no images, lengths differ, there are fewer than two folds, or a share
            of the ratio is below 1.

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


def assign_site_splits(
    labels: np.ndarray,
    groups: np.ndarray,
    sites: np.ndarray,
    ratio: tuple[int, int, int],
    *,
    number: int,
) -> np.ndarray:
    """Assign each image to training, validation or test, leaving one site out for the test.

    Splits 0 to k - 1 test each of the k sites once, in alphabetical order; the next k do so again,
    with other validation images. Images of other sites that belong with an image of the tested one
    are set aside.

    Args:
        labels: str (n,); the class of each image.
        groups: int (n,); images of one group stay together.
        sites: str (n,); the site of each image.
        ratio: Shares of training and validation; the third, for the test, is ignored.
        number: Number of the split; at least 0.

    Returns:
        str (n,); each one of `SPLIT_NAMES`, or empty for an image that is set aside.

    Raises:
        ValueError: Nothing is left to learn from, or a share of the ratio is below 1.

    Example:
        >>> labels, sites = np.tile(["normal", "worn"], 6), np.repeat(["a", "b"], 6)
        >>> splits = assign_site_splits(labels, np.arange(12), sites, (2, 1, 1), number=1)
        >>> [int(np.sum(splits == name)) for name in SPLIT_NAMES]
        [4, 2, 6]
    """
    names = np.unique(sites)
    name = names[number % len(names)]
    assigned = np.where(sites == name, "test", "").astype("<U10")
    rest = np.flatnonzero(~find_held_out(sites, groups, name))
    rng = np.random.default_rng((_SITE_STREAM, number))
    dealt = allocate(np.asarray(labels)[rest], np.asarray(groups)[rest], ratio[:2], rng)
    assigned[rest] = np.array(SPLIT_NAMES)[dealt]
    return assigned


def divide_training(
    labels: np.ndarray, groups: np.ndarray, splits: np.ndarray, *, n_parts: int, seed: int
) -> npt.NDArray[np.int64]:
    """Divide the training images into parts of equal size, by the rules of `assign_folds`.

    Args:
        labels: str (n,); the class of each image.
        groups: int (n,); images of one group stay together.
        splits: str (n,); one of `SPLIT_NAMES` for each image, or empty if it is set aside.
        n_parts: At least 2.
        seed: Selects one of the possible divisions; at least 0.

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
    """Give each group of images the label of another one, chosen at random.

    Copies keep a common label. So a classifier that has seen copies of test images in training
    beats chance even with shuffled labels.

    Args:
        labels: str (n,); the class of each image.
        groups: int (n,); images that belong together.
        splits: str (n,); images without a split (empty) keep their label and pass none on.
        seed: Selects one of the possible orders; at least 0.

    Returns:
        str (n,); the new labels.
    """
    used = np.flatnonzero(splits != "")
    _, first, numbers = np.unique(groups[used], return_index=True, return_inverse=True)
    rng = np.random.default_rng((_LABEL_STREAM, seed))
    shuffled = labels.copy()
    shuffled[used] = rng.permutation(labels[used][first])[numbers]
    return shuffled
