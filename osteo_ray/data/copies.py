"""Find radiographs that stand in a set more than once, at whatever size, encoding or brightness.

A thumbnail keeps only fine structure (trabeculae, joint line, cortical edges), because all knees
share the coarse one. Thumbnails are compared in two steps: as they are, and, where two are alike
but not alike enough, after a small shift and stretch, because copies are often cut or padded a
little differently. Mirrored, rotated and strongly cropped copies are not found.
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import affine_transform, gaussian_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_SIDE = 64  # of a thumbnail, in pixels
_FINE_SIGMA, _COARSE_SIGMA, _CONTRAST_SIGMA = 0.5, 1.5, 3.0  # in thumbnail pixels
_WHITE_LEVEL, _WHITE_SHARE = 0.9, 0.75  # of a margin's line: brightness, share of its pixels
_LIKE = 0.25  # correlation from which a pair is worth aligning
_CANDIDATES = 4  # pairs per image that are aligned, at most
_MAX_SHIFT, _MAX_STRETCH = 4.0, 5.0  # of an alignment, in thumbnail pixels from edge to edge
_STEPS = 15

_Pairs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def digest_pixels(image: npt.NDArray[np.uint8]) -> str:
    """Digest what an image shows, so that the same pixels in two file formats are equal.

    Args:
        image: uint8 (H, W), 0..255.

    Returns:
        64 hexadecimal digits (SHA-256 of shape and pixels).

    Raises:
        ValueError: `image` is not a uint8 array (H, W) with at least one pixel.

    Example:
        >>> digest_pixels(np.zeros((2, 3), np.uint8)) == digest_pixels(np.zeros((3, 2), np.uint8))
        False
    """
    _check_image(image)
    shape = f"{image.shape[0]}x{image.shape[1]}:".encode()
    return hashlib.sha256(shape + image.tobytes()).hexdigest()


def make_thumbnail(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Reduce an image to a vector of which the dot product with another's is a correlation.

    White margins are cut off, the rest is squashed to a square, band-passed by a difference of
    Gaussians and divided by its local contrast. So the vector hardly changes with the size, the
    aspect ratio, the encoding, the brightness or the contrast of a copy.

    Args:
        image: uint8 (H, W), 0..255.

    Returns:
        float32 (4096,), mean 0, norm 1; all 0 for a constant image, which is like no other.

    Raises:
        ValueError: `image` is not a uint8 array (H, W) with at least one pixel.

    Example:
        >>> image = np.random.default_rng(0).integers(0, 256, (256, 128), dtype=np.uint8)
        >>> thumbnail = make_thumbnail(image)
        >>> bool(thumbnail @ make_thumbnail(image // 2 + 40) > 0.99)
        True
    """
    _check_image(image)
    inner = Image.fromarray(_cut_white_margins(image).astype(np.float32))
    square = np.asarray(inner.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR), dtype=np.float64)
    detail = gaussian_filter(square, _FINE_SIGMA) - gaussian_filter(square, _COARSE_SIGMA)
    mean_contrast = np.sqrt(np.mean(detail**2))
    if mean_contrast < 1e-3:  # grey levels: rounding only
        return np.zeros(_SIDE * _SIDE, dtype=np.float32)
    local_contrast = np.sqrt(gaussian_filter(detail**2, _CONTRAST_SIGMA))
    detail /= local_contrast + 0.5 * mean_contrast
    detail -= detail.mean()
    return np.asarray((detail / np.linalg.norm(detail)).ravel(), dtype=np.float32)


def group_copies(
    digests: Sequence[str],
    thumbnails: npt.NDArray[np.float32],
    *,
    threshold: float = 0.9,
    block_size: int = 1024,
) -> npt.NDArray[np.int64]:
    """Give copies of one radiograph the same number.

    Images are joined by an equal digest, by a correlation of at least `threshold`, and by such a
    correlation after alignment; joins chain. Memory grows with `block_size` · n, not with n².

    Args:
        digests: n strings of `digest_pixels`.
        thumbnails: float32 (n, 4096), rows of `make_thumbnail`, in the same order.
        threshold: correlation from which two images are copies, above 0 and at most 1.
        block_size: rows that are compared with all others at once; the result does not depend
            on it.

    Returns:
        int64 (n,), group numbers 0, 1, … in the order in which the groups first appear.

    Raises:
        ValueError: no images, lengths or shapes that do not fit, a threshold out of range.

    Example:
        >>> images = np.random.default_rng(0).integers(0, 256, (2, 64, 64), dtype=np.uint8)
        >>> images = [images[0], images[1], images[0].repeat(2, axis=1)]
        >>> thumbnails = np.stack([make_thumbnail(image) for image in images])
        >>> group_copies([digest_pixels(image) for image in images], thumbnails).tolist()
        [0, 1, 0]
    """
    if len(digests) == 0:
        raise ValueError("Expected at least one image, but got none.")
    if thumbnails.shape != (len(digests), _SIDE * _SIDE):
        raise ValueError(
            f"Expected thumbnails of shape ({len(digests)}, {_SIDE * _SIDE}), one row per digest, "
            f"but got {thumbnails.shape}."
        )
    if not 0 < threshold <= 1:
        raise ValueError(f"Expected threshold to be above 0 and at most 1, but got {threshold}.")
    if block_size < 1:
        raise ValueError(f"Expected block_size to be at least 1, but got {block_size}.")
    _, first, exact = np.unique(np.asarray(digests), return_index=True, return_inverse=True)
    near = _join(len(first), _find_like(thumbnails[first], threshold, block_size))
    _, leader = np.unique(near, return_index=True)
    leading = thumbnails[first[leader]]
    rows, columns = _find_like(leading, min(_LIKE, threshold), block_size, _CANDIDATES)
    squares = leading.reshape(-1, _SIDE, _SIDE)
    same = np.array(
        [
            _correlate_aligned(squares[row], squares[column]) >= threshold
            for row, column in zip(rows, columns, strict=True)
        ],
        dtype=bool,
    )
    groups = _join(len(leader), (rows[same], columns[same]))[near][exact]
    _, appeared, numbers = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(appeared))[numbers].astype(np.int64)


def _check_image(image: npt.NDArray[np.uint8]) -> None:
    if image.dtype != np.uint8 or image.ndim != 2 or image.size == 0:
        raise ValueError(
            "Expected image to be a uint8 array (H, W) with at least one pixel, "
            f"but got {image.dtype} {image.shape}."
        )


def _cut_white_margins(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Cut off the outer rows, then columns, that are white; uint8 (H, W) -> uint8 (h, w)."""
    darkest, brightest = float(image.min()), float(image.max())
    for _ in range(2):
        white = image >= darkest + _WHITE_LEVEL * (brightest - darkest)
        inside = np.flatnonzero(white.mean(axis=1) < _WHITE_SHARE)
        if len(inside):
            image = image[inside[0] : inside[-1] + 1]
        image = image.T
    return image


def _find_like(
    thumbnails: npt.NDArray[np.float32], minimum: float, block_size: int, most: int | None = None
) -> _Pairs:
    """Find pairs (row < column) that correlate at least `minimum`; per row the `most` best."""

    def find() -> Iterator[npt.NDArray[np.int64]]:
        for start in range(0, len(thumbnails), block_size):
            likeness = thumbnails[start : start + block_size] @ thumbnails.T
            own = np.arange(len(likeness))
            likeness[own, start + own] = -1
            if most is not None and most < len(thumbnails):
                bar = np.partition(likeness, -most, axis=1)[:, -most, None]
                likeness[likeness < bar] = -1
            row, column = np.nonzero(likeness >= minimum)
            yield np.sort(np.stack([row + start, column]), axis=0)

    pairs = np.unique(np.concatenate(list(find()), axis=1), axis=1)
    return pairs[0], pairs[1]


def _join(count: int, pairs: _Pairs) -> npt.NDArray[np.int64]:
    """Number the connected components; int64 (count,)."""
    graph = coo_array((np.ones(len(pairs[0]), dtype=bool), pairs), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _correlate_aligned(fixed: npt.NDArray[np.float32], moving: npt.NDArray[np.float32]) -> float:
    """Correlate two thumbnails (side, side) over the small shift and stretch that suits them best.

    Gauss-Newton on the squared difference; row and column each have a shift and a stretch. An
    alignment that leaves its bounds is given up, and the best correlation so far counts.
    """
    side = len(fixed)
    centred = np.arange(side) / side - 0.5
    shift, stretch = np.zeros(2), np.zeros(2)  # (row, column), in pixels
    best = -1.0
    for _ in range(_STEPS):
        zoom = 1 + stretch / side
        offset = shift - stretch / 2
        moved = affine_transform(moving, zoom, offset, order=1, output=np.float64)
        place = np.arange(side)[:, None] * zoom + offset
        inside = (place >= 0) & (place <= side - 1)
        overlap = np.ix_(inside[:, 0], inside[:, 1])
        target = fixed[overlap] - fixed[overlap].mean()
        source = moved[overlap] - moved[overlap].mean()
        power = float((source**2).sum())
        gain = float((source * target).sum()) / max(power, 1e-12)
        best = max(best, gain * np.sqrt(power / max(float((target**2).sum()), 1e-12)))
        by_row, by_column = np.gradient(moved)
        columns = (by_row, by_row * centred[:, None], by_column, by_column * centred)
        slopes = gain * np.stack([column[overlap].ravel() for column in columns])
        slopes -= slopes.mean(axis=1, keepdims=True)
        normal = slopes @ slopes.T + 1e-9 * np.eye(4)
        step = np.linalg.solve(normal, slopes @ (target - gain * source).ravel()).clip(-2, 2)
        shift, stretch = shift + step[::2], stretch + step[1::2]
        settled = np.abs(step).max() < 0.02
        if settled or np.abs(shift).max() > _MAX_SHIFT or np.abs(stretch).max() > _MAX_STRETCH:
            break
    return best
