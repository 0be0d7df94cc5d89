"""Describe an image by a short vector, so that an index of nearest neighbors can find its copies.

SIFT keypoints are counted against a codebook (VLAD) and projected to a few dimensions. Vectors of
copies lie close together; `likeness` then decides which of the neighbors are copies.

Source: Jégou et al. 2010 (VLAD).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

from osteo_ray.data.copies.keypoints import CopyChange, Keypoints

_ROWS_PER_AXIS = 4  # least number of described images, changed ones counted, per dimension
_TRAINING_KEYPOINTS = 40_000
_MOST_FITTED = 1200  # forms of images, to which the principal axes are fitted
_SEED = 0

Floats = npt.NDArray[np.float32]


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

    def encode(self, images: Sequence[Keypoints], changes: Sequence[CopyChange]) -> Floats:
        """Describe images in each of several forms.

        Args:
            images: The keypoints of n images.
            changes: The forms.

        Returns:
            float32 (n, forms, d): vectors of norm 1, or all 0 for an image without keypoints. For
            a copy with a change, the dot product of the vector in that form with the other image's
            vector as it is comes near to 1.
        """
        seen = np.array([len(image.points) > 0 for image in images], bool)
        vectors = np.zeros((len(images), len(changes), self.projection.shape[1]), np.float32)
        counts = [
            _count_words(change.permute(image.descriptors), self.words)
            for image in images
            if len(image.points)
            for change in changes
        ]
        if counts:
            # All at once, because the projection is one large matrix.
            found = (np.stack(counts) - self.mean) @ self.projection
            found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
            vectors[seen] = found.reshape(-1, *vectors.shape[1:])
        return vectors


def fit_codebook(
    images: Sequence[Keypoints], changes: Sequence[CopyChange], *, words: int, dimensions: int
) -> Codebook:
    """Learn from some images how to describe all; equal images give equal codebooks.

    Args:
        images: Keypoints; those of some hundreds suffice for a set of any size.
        changes: The forms in which images will be described.
        words: Most words, to which keypoints are assigned.
        dimensions: Most dimensions of a vector.

    Raises:
        ValueError: There is no image.
    """
    if not len(images):
        raise ValueError("Expected at least one image, but got none.")
    described = [
        change.permute(image.descriptors)
        for change in changes
        for image in images
        if len(image.points)
    ]
    pooled = np.concatenate(described) if described else np.zeros((0, 128), np.float32)
    if len(pooled) < 2 * len(changes):  # blank images only
        none = np.zeros(128, np.float32)
        return Codebook(none[None], none, np.zeros((128, 1), np.float32))
    rng = np.random.default_rng(_SEED)
    sample = pooled[rng.permutation(len(pooled))[:_TRAINING_KEYPOINTS]]
    n_words = min(words, len(sample))
    kmeans = faiss.Kmeans(
        128, n_words, niter=15, seed=_SEED, min_points_per_centroid=1, max_points_per_centroid=1000
    )
    kmeans.train(np.ascontiguousarray(sample))
    words_found = np.asarray(kmeans.centroids, np.float32)
    chosen = rng.permutation(len(described))[:_MOST_FITTED]
    counts = np.stack([_count_words(described[row], words_found) for row in np.sort(chosen)])
    mean = counts.mean(axis=0)
    return Codebook(words_found, mean, _find_principal_axes(counts - mean, dimensions))


def _find_principal_axes(centred: Floats, dimensions: int) -> Floats:
    """Return the scaled axes of largest variance of rows (n, columns): float32 (columns, d)."""
    # Use the n × n products, as there are far fewer rows than columns.
    variance, mixtures = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    variance, mixtures = variance[::-1], mixtures[:, ::-1]
    # With nearly as many axes as rows, every row would lie far from all others, even from copies.
    meaningful = min(len(centred) // _ROWS_PER_AXIS, int(np.sum(variance > 1e-6 * variance[0])))
    kept = min(dimensions, max(1, meaningful))
    spread = np.sqrt(np.maximum(variance[:kept], 1e-12))
    axes = centred.T @ (mixtures[:, :kept] / spread)
    # Whiten halfway, so that rare structure counts more but noise does not take over.
    return np.asarray(axes / np.sqrt(spread / np.sqrt(len(centred))), np.float32)


def _count_words(keypoints: Floats, words: Floats) -> Floats:
    """Sum how keypoints differ from their nearest words (VLAD): float32 (k · 128,), norm 1."""
    nearest = np.argmax(keypoints @ words.T - 0.5 * (words**2).sum(axis=1), axis=1)
    belongs = nearest == np.arange(len(words))[:, None]
    sums = belongs.astype(np.float32) @ keypoints - belongs.sum(axis=1, keepdims=True) * words
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-6)
    return np.asarray(sums.ravel() / max(float(np.linalg.norm(sums)), 1e-6), np.float32)
