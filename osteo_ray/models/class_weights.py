"""Weights of classes in the loss. Free of PyTorch, so that drivers may check beforehand."""

from collections.abc import Sequence

import numpy as np

from osteo_ray.base.errors import InputError


def balance_classes(labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return a weight per class, so that all classes count alike and the mean over images is 1.

    Args:
        labels: int, (n,); class numbers of the training images.
        names: Names of the classes.

    Returns:
        float64, (n_classes,).

    Raises:
        InputError: A class has no image.

    Example:
        >>> balance_classes(np.array([0, 0, 0, 1]), ["normal", "worn"]).round(3).tolist()
        [0.667, 2.0]
    """
    counts = np.bincount(labels, minlength=len(names))
    missing = [name for name, count in zip(names, counts, strict=True) if not count]
    if missing:
        raise InputError(
            "Expected training images of every class, since --training.loss.class-weights balanced "
            f"weights each class by how few it has, but class `{missing[0]}` has none among "
            f"{len(labels)}. Add images of it, leave the class out, or use "
            "--training.loss.class-weights none."
        )
    return np.asarray(len(labels) / (len(names) * counts))
