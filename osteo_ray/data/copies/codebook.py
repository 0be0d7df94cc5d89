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
        changed = _change_words(self.words, changes)
        counts = [_count_words(image.descriptors, changed) for image in images if len(image.points)]
        # All images at once, because the projection is one large matrix.
        for form, change in enumerate(changes if counts else ()):
            back = change.undo().order()
            mean = self.mean.reshape(self.words.shape)[:, back].ravel()
            axes = self.projection.reshape(*self.words.shape, -1)[:, back]
            found = (np.stack([one[form] for one in counts]) - mean) @ axes.reshape(len(mean), -1)
            found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
            vectors[seen, form] = found
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
        (change, image.descriptors) for change in changes for image in images if len(image.points)
    ]
    ends = np.cumsum([len(found) for _, found in described], dtype=np.int64)
    n_pooled = int(ends[-1]) if described else 0
    if n_pooled < 2 * len(changes):  # blank images only
        none = np.zeros(128, np.float32)
        return Codebook(none[None], none, np.zeros((128, 1), np.float32))
    rng = np.random.default_rng(_SEED)
    # Drawn before they are pooled, which would take a gibibyte.
    drawn = rng.permutation(n_pooled)[:_TRAINING_KEYPOINTS]
    sample = np.empty((len(drawn), 128), np.float32)
    parts = np.searchsorted(ends, drawn, side="right")
    for part in np.unique(parts):
        (places,), (change, found) = np.nonzero(parts == part), described[part]
        sample[places] = change.permute(found[drawn[places] - (ends[part] - len(found))])
    n_words = min(words, len(sample))
    kmeans = faiss.Kmeans(
        128, n_words, niter=15, seed=_SEED, min_points_per_centroid=1, max_points_per_centroid=1000
    )
    kmeans.train(np.ascontiguousarray(sample))
    words_found = np.asarray(kmeans.centroids, np.float32)
    chosen = rng.permutation(len(described))[:_MOST_FITTED]
    counts = np.concatenate(
        [
            _count_words(change.permute(found), words_found[None])
            for change, found in (described[row] for row in np.sort(chosen))
        ]
    )
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


def _change_words(words: Floats, changes: Sequence[CopyChange]) -> Floats:
    """Return the words as the keypoints of an image have them before each change.

    Changing the words and the axes back, rather than all keypoints, gives the same vectors.

    Returns:
        float32 (forms, k, 128).
    """
    return np.stack([change.undo().permute(words) for change in changes])


def _count_words(keypoints: Floats, words: Floats) -> Floats:
    """Sum how keypoints differ from their nearest words (VLAD), for each of several sets of words.

    Args:
        keypoints: float32 (n, 128).
        words: float32 (sets, k, 128).

    Returns:
        float32 (sets, k · 128), each of norm 1.
    """
    n_sets, n_words, width = words.shape
    flat = words.reshape(-1, width)
    alike = keypoints @ flat.T - 0.5 * (flat**2).sum(axis=1)
    nearest = alike.reshape(-1, n_sets, n_words).argmax(axis=2)
    belongs = (nearest.T[:, None] == np.arange(n_words)[:, None]).reshape(len(flat), -1)
    sums = belongs.astype(np.float32) @ keypoints - belongs.sum(axis=1, keepdims=True) * flat
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-6)
    counts = sums.reshape(n_sets, -1)
    norms = np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-6)
    return np.asarray(counts / norms, np.float32)
