"""Samples of LIME: which superpixels each perturbed image keeps."""

from collections.abc import Iterator

import numpy as np
from scipy.linalg import hadamard


def draw_rows(n_samples: int, n_superpixels: int, rng: np.random.Generator) -> np.ndarray:
    """Draw rows as `lime` does: a coin decides for each superpixel; the first row keeps all.

    Returns:
        uint8, (n_samples, n_superpixels); 1 = the superpixel is kept.
    """
    rows = rng.integers(0, 2, (n_samples, n_superpixels), dtype=np.uint8)
    rows[0] = 1
    return rows


def draw_balanced_rows(n_superpixels: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a block of rows that separates superpixels with fewer samples than coins need.

    The rows come from columns of a Hadamard matrix, chosen, signed and ordered at random: within
    the block, each superpixel is kept in half of the rows, and any two agree in half of the rows.
    Each row is followed by its complement (fold-over), which separates the effects of single
    superpixels from those of pairs (Box & Wilson 1951).

    Returns:
        uint8, (2 m, n_superpixels), m the smallest power of two above n_superpixels; 1 = kept.
    """
    order = 1 << n_superpixels.bit_length()
    columns = 1 + rng.permutation(order - 1)[:n_superpixels]
    flipped = rng.integers(0, 2, n_superpixels, dtype=bool)
    block = (hadamard(order)[:, columns] > 0) ^ flipped
    block = block[rng.permutation(order)]
    return np.stack([block, ~block], 1).reshape(-1, n_superpixels).astype(np.uint8)


def list_all_rows(n_superpixels: int) -> np.ndarray:
    """List all combinations of superpixels, each once; the first row keeps all.

    Returns:
        uint8, (2**n_superpixels, n_superpixels); 1 = kept.

    Example:
        >>> list_all_rows(2).tolist()
        [[1, 1], [0, 1], [1, 0], [0, 0]]
    """
    numbers = np.arange(2**n_superpixels)[::-1, None]
    return (numbers >> np.arange(n_superpixels) & 1).astype(np.uint8)


def draw_adaptive_rows(
    n_superpixels: int, first: int, step: int, most: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Draw rows for as long as the caller asks, or list all combinations where they are few.

    Args:
        n_superpixels: Number of columns.
        first: Rows in the first draw, in addition to the row that keeps all; even.
        step: Rows in every further draw; even.
        most: The largest number of rows in total.
        rng: The source of randomness.

    Yields:
        uint8, (n, n_superpixels); 1 = kept. Row 0 of the first draw keeps all.
    """
    if 2**n_superpixels <= most:
        yield list_all_rows(n_superpixels)
        return
    waiting = np.ones((1, n_superpixels), np.uint8)
    wanted, drawn = 1 + first, 0
    while drawn < most:
        wanted = min(wanted, most - drawn)
        while len(waiting) < wanted:
            waiting = np.concatenate([waiting, draw_balanced_rows(n_superpixels, rng)])
        yield waiting[:wanted]
        drawn += wanted
        waiting, wanted = waiting[wanted:], step
