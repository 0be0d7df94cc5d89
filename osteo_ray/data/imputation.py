"""Fill what a mask removes from what it keeps, so that the fill hardly shows where the mask was.

Noisy linear imputation (Rong et al. 2022, ROAD): a removed pixel is the weighted mean of its eight
neighbours, kept or removed, and noise hides that it is smoother than the image.
"""

import hashlib

import numpy as np

from osteo_ray.data.pixels import find_white

_NEIGHBOURS = tuple(
    ((down, right), 1 / 6 if 0 in (down, right) else 1 / 12)
    for down in (-1, 0, 1)
    for right in (-1, 0, 1)
    if (down, right) != (0, 0)
)
_NOISE = 0.01  # standard deviation, as a share of white


def impute(image: np.ndarray, keep_mask: np.ndarray) -> np.ndarray:
    """Fill the pixels that a mask removes. The noise depends on image and mask alone.

    Args:
        image: uint8 or uint16, (height, width).
        keep_mask: bool, the shape of `image`, True = kept. If nothing is kept, there is nothing to
            fill from, and the fill is the mean of the image.

    Returns:
        The type and shape of the image; kept pixels are those of the image.
    """
    filled, white = image.astype(np.float64), find_white(image)
    removed = ~keep_mask
    if not removed.any():
        return image
    filled[removed] = solve_means(filled, keep_mask) if keep_mask.any() else image.mean()
    digest = hashlib.sha256(image.tobytes() + np.packbits(keep_mask).tobytes()).digest()
    rng = np.random.default_rng(int.from_bytes(digest))
    filled[removed] += _NOISE * white * rng.standard_normal(int(removed.sum()))
    return np.asarray(np.clip(np.rint(filled), 0, white), image.dtype)


def solve_means(image: np.ndarray, keep_mask: np.ndarray) -> np.ndarray:
    """Find gray levels such that each removed pixel is the weighted mean of its neighbours.

    Args:
        image: float64, (height, width).
        keep_mask: bool, the shape of `image`, True = kept; at least one pixel is kept.

    Returns:
        float64, (k,); the removed pixels, row by row.
    """
    # Imported here: SciPy takes a moment to import, and other fills do without it.
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    height, width = image.shape
    removed = ~keep_mask
    number = np.full(image.shape, -1)
    number[removed] = np.arange(removed.sum())
    row, column = np.nonzero(removed)
    here = np.arange(len(row))
    total, known = np.zeros(len(row)), np.zeros(len(row))
    entries: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for (down, right), weight in _NEIGHBOURS:
        near, beside = row + down, column + right
        inside = (near >= 0) & (near < height) & (beside >= 0) & (beside < width)
        total[inside] += weight
        at, near, beside = here[inside], near[inside], beside[inside]
        kept = keep_mask[near, beside]
        known[at[kept]] += weight * image[near[kept], beside[kept]]
        open_at = at[~kept]
        entries.append(
            (open_at, number[near[~kept], beside[~kept]], np.full(len(open_at), -weight))
        )
    entries.append((here, here, total))
    at, of, weights = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    system = sparse.csc_array((weights, (at, of)), shape=(len(here), len(here)))
    # The matrix is symmetric; orders of elimination that do not know it take twice as long.
    found = spsolve(system, known, permc_spec="MMD_AT_PLUS_A")
    return np.asarray(found)
