"""Tell whether two radiographs are one, at whatever size, encoding, brightness, crop or turn.

All knees look alike, so a copy is found in two steps that scale. An image is described by its local
structure: SIFT keypoints are counted against a codebook (VLAD) and projected to a short vector,
which an index of nearest neighbours can search. The few neighbours of an image are then aligned
with it by an affine map, and what counts is the correlation of the finest structure (trabeculae,
cortical edges) where the two overlap: `likeness`.

Sources: Lowe 2004 (SIFT), Jégou et al. 2010 (VLAD), Evangelidis & Psarakis 2008 (ECC alignment).
"""

from dataclasses import dataclass
from typing import Any

import cv2
import faiss
import numpy as np
import numpy.typing as npt

from osteo_ray.data.decoding.thumbnails import SIDE

COPY_LIKENESS = 0.88
"""Likeness from which two images are copies. On a public set of 744 knee radiographs its own copies
have 0.95 and more, planted ones mostly more than 0.93, and the most alike others, often the two
legs of a patient, 0.87 at most. A missed copy leaks; a false one only joins two images."""

_MOST_KEYPOINTS = 200
_CONTRAST, _EDGE, _SIGMA = 0.008, 20, 1.2  # of SIFT, for 8-bit thumbnails of equal contrast
_WORDS, _DIMENSIONS = 128, 256
_ROWS_PER_AXIS = 4  # least number of described images, mirrored ones counted, per dimension
_TRAINING_KEYPOINTS = 40_000
_SEED = 0

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Codebook:
    """How keypoints become a vector.

    Attributes:
        words: float32 (k, 128), typical keypoint descriptors.
        mean: float32 (k · 128,), of the counts before projection.
        projection: float32 (k · 128, d).
    """

    words: Floats
    mean: Floats
    projection: Floats

    def encode(self, thumbnails: Bytes) -> Floats:
        """Describe thumbnails as they are and as their mirror images would be described.

        Args:
            thumbnails: uint8 (n, 112, 112), n of some hundreds: 128 KiB are needed for each.

        Returns:
            float32 (n, 2, d), as it is and mirrored, norm 1; all 0 where nothing is to be seen.
            The dot product of the first vectors of two images is near 1 for copies; of the first
            and the second one, for mirrored copies.
        """
        described = [_describe_keypoints(thumbnail) for thumbnail in thumbnails]
        seen = np.array([len(keypoints) > 0 for keypoints in described], bool)
        vectors = np.zeros((len(thumbnails), 2, self.projection.shape[1]), np.float32)
        if not seen.any():
            return vectors
        counts = [
            _count_words(form, self.words)
            for keypoints in described
            if len(keypoints)
            for form in (keypoints, _mirror_keypoints(keypoints))
        ]
        # Together, as the projection is one large matrix.
        found = (np.stack(counts) - self.mean) @ self.projection
        found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
        vectors[seen] = found.reshape(-1, 2, found.shape[1])
        return vectors


def fit_codebook(thumbnails: Bytes) -> Codebook:
    """Learn from some thumbnails how to describe all; equal thumbnails, equal codebook.

    Args:
        thumbnails: uint8 (n, 112, 112); some hundreds are enough for a set of any size.

    Raises:
        ValueError: There is no thumbnail.
    """
    if not len(thumbnails):
        raise ValueError("Expected at least one thumbnail, but got none.")
    described = [_describe_keypoints(thumbnail) for thumbnail in thumbnails]
    described += [_mirror_keypoints(keypoints) for keypoints in described]
    pooled = np.concatenate(described)
    if len(pooled) < 2:  # blank images only
        none = np.zeros(128, np.float32)
        return Codebook(none[None], none, np.zeros((128, 1), np.float32))
    rng = np.random.default_rng(_SEED)
    sample = pooled[rng.permutation(len(pooled))[:_TRAINING_KEYPOINTS]]
    words = min(_WORDS, len(sample))
    kmeans = faiss.Kmeans(
        128, words, niter=15, seed=_SEED, min_points_per_centroid=1, max_points_per_centroid=1000
    )
    kmeans.train(np.ascontiguousarray(sample))
    words_found = np.asarray(kmeans.centroids, np.float32)
    seen = [keypoints for keypoints in described if len(keypoints)]
    counts = np.stack([_count_words(keypoints, words_found) for keypoints in seen])
    mean = counts.mean(axis=0)
    return Codebook(words_found, mean, _find_principal_axes(counts - mean))


def _find_principal_axes(centred: Floats) -> Floats:
    """Return the axes of largest variance, scaled: float32 (columns, d), for rows (n, columns)."""
    # Through the n × n products: there are far fewer rows than columns.
    variance, mixtures = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    variance, mixtures = variance[::-1], mixtures[:, ::-1]
    # With nearly as many axes as rows, every row would lie far from all others, its copies too.
    meaningful = min(len(centred) // _ROWS_PER_AXIS, int(np.sum(variance > 1e-6 * variance[0])))
    kept = min(_DIMENSIONS, max(1, meaningful))
    spread = np.sqrt(np.maximum(variance[:kept], 1e-12))
    axes = centred.T @ (mixtures[:, :kept] / spread)
    # Whitened half-way: rare structure counts more, and noise does not take over.
    return np.asarray(axes / np.sqrt(spread / np.sqrt(len(centred))), np.float32)


def measure_likeness(fixed: Bytes, moving: Bytes) -> float:
    """Align two thumbnails and correlate their finest structure where they overlap.

    The order matters little: where one cannot be aligned with the other, the other is with the one.

    Args:
        fixed: uint8 (112, 112).
        moving: uint8 (112, 112); mirror it first to look for a mirrored copy.

    Returns:
        In [-1, 1]; -1 where no small affine map aligns the two. See `COPY_LIKENESS`.
    """
    likeness = _measure_one_way(fixed, moving)
    return likeness if likeness > -1 else _measure_one_way(moving, fixed)


def _measure_one_way(fixed: Bytes, moving: Bytes) -> float:
    transform = np.eye(2, 3, dtype=np.float32)
    side = SIDE
    # From coarse to fine; at each step the least agreement with which going on makes sense.
    for step in _STEPS:
        transform = _rescale(transform, step.side / side)
        side = step.side
        one, other = _shrink(fixed, side), _shrink(moving, side)
        agreement, transform = _align(one, other, transform, step)
        if agreement < step.least_agreement or not _is_small(transform, side):
            return -1.0
        likeness = _correlate(one, other, transform)
        if likeness < step.least_likeness:
            return likeness
    return likeness


@dataclass(frozen=True)
class _Step:
    """One step of the alignment: the band of structure that is aligned, in pixels of `side`."""

    side: int
    fine: float
    coarse: float
    contrast: float
    iterations: int
    least_agreement: float
    least_likeness: float


_STEPS = (
    _Step(32, 1.0, 4.0, 4.0, 30, 0.0, 0.7),
    _Step(32, 0.5, 2.0, 2.0, 20, 0.4, 0.85),
    _Step(64, 0.6, 2.0, 3.0, 30, 0.5, 0.85),
    _Step(SIDE, 0.7, 2.0, 3.0, 15, 0.0, -1.0),
)
# A step asks for a little less than what 99 of 100 copies have; most others end there.
_MOST_STRETCH, _MOST_TURN_DEG, _MOST_SHIFT = 1.4, 15.0, 0.15  # shift as a share of the side
_LEAST_OVERLAP = 0.5


def _align(one: Floats, other: Floats, transform: Floats, step: _Step) -> tuple[float, Floats]:
    bands = [_pass_band(image, step.fine, step.coarse, step.contrast) for image in (one, other)]
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, step.iterations, 1e-3)
    try:
        agreement, found = cv2.findTransformECC(
            bands[0], bands[1], transform.copy(), cv2.MOTION_AFFINE, criteria, np.array([]), 1
        )
    except cv2.error:  # it raises where it does not converge
        return -1.0, transform
    return float(agreement), np.asarray(found, np.float32)


def _correlate(one: Floats, other: Floats, transform: Floats) -> float:
    size = one.shape[::-1]
    moved: Any = cv2.warpAffine(
        other,
        transform,
        size,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    covered = cv2.warpAffine(
        np.ones(one.shape, np.uint8),
        transform,
        size,
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
    )
    kernel = np.ones((5, 5), np.uint8)
    overlap = cv2.erode(covered, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    if overlap.mean() < _LEAST_OVERLAP:
        return -1.0
    pair = np.stack([_pass_band(image, 0.6, 1.8, 3.0)[overlap] for image in (one, moved)])
    pair -= pair.mean(axis=1, keepdims=True)
    power = float(np.prod(np.sqrt((pair**2).sum(axis=1))))
    return float(np.clip(pair[0] @ pair[1] / max(power, 1e-9), -1, 1))


def _pass_band(image: Floats, fine: float, coarse: float, contrast: float) -> Floats:
    """Keep structure between two scales, at equal local contrast; sigmas in pixels."""
    detail = _blur(image, fine) - _blur(image, coarse)
    mean_contrast = float(np.sqrt(np.mean(detail**2)))
    if mean_contrast < 0.05:  # grey levels: rounding only
        return np.zeros_like(detail)
    detail /= np.sqrt(_blur(detail**2, contrast)) + 0.5 * mean_contrast
    return detail


def _blur(image: Floats, sigma: float) -> Floats:
    blurred = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.float32)


def _shrink(thumbnail: Bytes, side: int) -> Floats:
    if side == len(thumbnail):
        return thumbnail.astype(np.float32)
    small = cv2.resize(thumbnail, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _rescale(transform: Floats, factor: float) -> Floats:
    """Carry an affine map over to images `factor` times as large (pixel centres at integers)."""
    shift = (factor - 1) / 2
    grow = np.array([[factor, 0, shift], [0, factor, shift], [0, 0, 1]])
    full = np.vstack([transform, [0, 0, 1]])
    return np.asarray((grow @ full @ np.linalg.inv(grow))[:2], np.float32)


def _is_small(transform: Floats, side: int) -> bool:
    """Tell whether an affine map changes no more than a copy may be changed."""
    linear = transform[:, :2].astype(np.float64)
    centre = np.full(2, (side - 1) / 2)
    shift = linear @ centre + transform[:, 2] - centre
    turn = np.degrees(np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1]))
    stretch = np.linalg.svd(linear, compute_uv=False)
    return bool(
        np.linalg.det(linear) > 0
        and stretch.max() < _MOST_STRETCH
        and stretch.min() > 1 / _MOST_STRETCH
        and abs(turn) < _MOST_TURN_DEG
        and np.abs(shift).max() < _MOST_SHIFT * side
    )


def _describe_keypoints(thumbnail: Bytes) -> Floats:
    """Describe the most salient points: float32 (n ≤ 200, 128), upright RootSIFT."""
    image = _equalise(thumbnail)
    sift = cv2.SIFT.create(
        nfeatures=_MOST_KEYPOINTS, contrastThreshold=_CONTRAST, edgeThreshold=_EDGE, sigma=_SIGMA
    )
    points = sift.detect(image)
    for point in points:
        point.angle = 0  # radiographs stand upright; ignoring turns tells knees apart better
    _, descriptors = sift.compute(image, points)
    if descriptors is None:
        return np.zeros((0, 128), np.float32)
    shares = descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6)
    return np.asarray(np.sqrt(shares), np.float32)


def _equalise(thumbnail: Bytes) -> Bytes:
    image = thumbnail.astype(np.float32)
    width = len(image) // 8 | 1

    def average(values: Floats) -> Floats:
        for _ in range(2):
            blurred = cv2.blur(values, (width, width), borderType=cv2.BORDER_REPLICATE)
            values = np.asarray(blurred, np.float32)
        return values

    mean = average(image)
    deviation = np.sqrt(np.maximum(average((image - mean) ** 2), 0))
    level = (image - mean) / (deviation + 2 + 0.1 * deviation.mean())
    return np.asarray(np.clip(128 + 45 * level, 0, 255), np.uint8)


def _mirror_keypoints(descriptors: Floats) -> Floats:
    """Turn upright SIFT descriptors into those of the mirrored image: 4 × 4 cells, 8 directions."""
    cells = descriptors.reshape(-1, 4, 4, 8)[:, :, ::-1]
    return np.ascontiguousarray(cells[..., (4 - np.arange(8)) % 8].reshape(-1, 128))


def _count_words(keypoints: Floats, words: Floats) -> Floats:
    """Sum up how keypoints differ from their nearest words (VLAD): float32 (k · 128,), norm 1."""
    nearest = np.argmax(keypoints @ words.T - 0.5 * (words**2).sum(axis=1), axis=1)
    belongs = nearest == np.arange(len(words))[:, None]
    sums = belongs.astype(np.float32) @ keypoints - belongs.sum(axis=1, keepdims=True) * words
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-6)
    return np.asarray(sums.ravel() / max(float(np.linalg.norm(sums)), 1e-6), np.float32)
