"""Describe an image by a short vector, so that an index of nearest neighbors can find its copies.

SIFT keypoints are counted against a codebook (VLAD) and projected to a few dimensions. Vectors of
copies lie close together; `likeness` then decides which of the neighbors are copies.

Sources: Lowe 2004 (SIFT), Jégou et al. 2010 (VLAD).
"""

from dataclasses import dataclass

import cv2
import faiss
import numpy as np
import numpy.typing as npt

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
    """Turns keypoints into vectors.

    Attributes:
        words: float32 (k, 128); typical descriptors of keypoints.
        mean: float32 (k · 128,); mean of the counts before projection.
        projection: float32 (k · 128, d).
    """

    words: Floats
    mean: Floats
    projection: Floats

    def encode(self, thumbnails: Bytes) -> Floats:
        """Describe thumbnails, each as it is and as its mirror image.

        Args:
            thumbnails: uint8 (n, 112, 112). Each takes 128 KiB of memory, so pass some hundreds.

        Returns:
            float32 (n, 2, d): the vector as it is and mirrored, of norm 1, or all 0 for a blank
            image. For copies, the dot product of the first vectors is near 1; for mirrored copies,
            that of the first vector of one and the second vector of the other.
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
        # All at once, because the projection is one large matrix.
        found = (np.stack(counts) - self.mean) @ self.projection
        found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
        vectors[seen] = found.reshape(-1, 2, found.shape[1])
        return vectors


def fit_codebook(thumbnails: Bytes) -> Codebook:
    """Learn from some thumbnails how to describe all; equal thumbnails give equal codebooks.

    Args:
        thumbnails: uint8 (n, 112, 112); some hundreds suffice for a set of any size.

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
    """Return the scaled axes of largest variance of rows (n, columns): float32 (columns, d)."""
    # Use the n × n products, as there are far fewer rows than columns.
    variance, mixtures = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    variance, mixtures = variance[::-1], mixtures[:, ::-1]
    # With nearly as many axes as rows, every row would lie far from all others, even from copies.
    meaningful = min(len(centred) // _ROWS_PER_AXIS, int(np.sum(variance > 1e-6 * variance[0])))
    kept = min(_DIMENSIONS, max(1, meaningful))
    spread = np.sqrt(np.maximum(variance[:kept], 1e-12))
    axes = centred.T @ (mixtures[:, :kept] / spread)
    # Whiten halfway, so that rare structure counts more but noise does not take over.
    return np.asarray(axes / np.sqrt(spread / np.sqrt(len(centred))), np.float32)


def _describe_keypoints(thumbnail: Bytes) -> Floats:
    """Describe the most salient points by upright RootSIFT: float32 (n, 128), n at most 200."""
    image = _equalise(thumbnail)
    sift = cv2.SIFT.create(
        nfeatures=_MOST_KEYPOINTS, contrastThreshold=_CONTRAST, edgeThreshold=_EDGE, sigma=_SIGMA
    )
    points = sift.detect(image)
    for point in points:
        point.angle = 0  # radiographs stand upright, and knees differ more when turns are ignored
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
    """Turn upright SIFT descriptors (4 × 4 cells, 8 directions) into those of the mirror image."""
    cells = descriptors.reshape(-1, 4, 4, 8)[:, :, ::-1]
    return np.ascontiguousarray(cells[..., (4 - np.arange(8)) % 8].reshape(-1, 128))


def _count_words(keypoints: Floats, words: Floats) -> Floats:
    """Sum how keypoints differ from their nearest words (VLAD): float32 (k · 128,), norm 1."""
    nearest = np.argmax(keypoints @ words.T - 0.5 * (words**2).sum(axis=1), axis=1)
    belongs = nearest == np.arange(len(words))[:, None]
    sums = belongs.astype(np.float32) @ keypoints - belongs.sum(axis=1, keepdims=True) * words
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-6)
    return np.asarray(sums.ravel() / max(float(np.linalg.norm(sums)), 1e-6), np.float32)
