"""Say which images belong together: copies of one radiograph, and images of one patient."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def number_groups(groups: np.ndarray) -> npt.NDArray[np.int64]:
    """Renumber groups in the order in which they first appear, whatever they were called.

    Args:
        groups: (n,); any values, of which equal ones form a group.

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

    Joins chain: a copy shared by two patients joins all images of both.

    Args:
        partitions: int (n,) each. Images with equal numbers belong together; a negative number
            means that nothing is known about the image.

    Returns:
        int64 (n,), numbers 0, 1, … in the order in which the groups first appear.

    Raises:
        ValueError: There is no partition, or they are not whole numbers of one length.

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
    # Build a graph of images and numbers, in which each image is tied to its numbers.
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
        n_images: Number of images in the set.
        pairs: A row per pair; columns first and second, positions in the set.

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
