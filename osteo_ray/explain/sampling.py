"""Which superpixels the perturbed images of one explanation keep."""

from collections.abc import Iterator

import numpy as np
from scipy.linalg import hadamard


def draw_rows(n_samples: int, n_superpixels: int, rng: np.random.Generator) -> np.ndarray:
    """Draw rows as `lime` does: each superpixel kept or not by a coin; the first row keeps all.

    Returns:
        uint8, (n_samples, n_superpixels); 1 = the superpixel is kept.
    """
    rows = rng.integers(0, 2, (n_samples, n_superpixels), dtype=np.uint8)
    rows[0] = 1
    return rows


def draw_balanced_rows(n_superpixels: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a block of rows that tells superpixels apart with fewer samples than coins need.

    Columns of a Hadamard matrix, chosen, signed and ordered by chance: over the block each
    superpixel is kept as often as not, and any two of them agree as often as not. Each row is
    followed by its complement (fold-over), which frees the effects of single superpixels from those
    of pairs (Box & Wilson 1951).

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
    """List every way to keep superpixels, each once; the first row keeps all.

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
    """Draw rows for as long as the taker goes on, or all there are where they are few.

    Args:
        n_superpixels: Columns.
        first: Rows of the first draw, beside the one that keeps all; even.
        step: Rows of every further draw; even.
        most: Rows in all.
        rng: Where chance comes from.

    Yields:
        uint8, (n, n_superpixels); 1 = kept. In the first, row 0 keeps all.
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
