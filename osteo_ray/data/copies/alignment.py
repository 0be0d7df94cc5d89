"""Align two thumbnails by their keypoints: which affine map do most of their matches agree on?"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from osteo_ray.data.copies.keypoints import Keypoints

_LEAST_SIMILARITY = 0.8  # product of two descriptors that may match
_TOLERANCE_PX = 3.0
_LEAST_APART_PX = 8.0  # two matches that are to give a map
_LEAST_SCALE, _MOST_SCALE = 0.35, 2.9
_TRIES = 100
_LEAST_MATCHES = 6

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Alignment:
    """How one thumbnail lies in another.

    Attributes:
        agreeing: Number of matches that agree with the map; of all but copies, rarely many.
        transform: float32 (2, 3); takes x, y of the first thumbnail to x, y of the second.
    """

    agreeing: int
    transform: Floats


def align_keypoints(fixed: Keypoints, moving: Keypoints) -> Alignment | None:
    """Find the affine map, nearly upright, that most matches of two sets of keypoints agree on.

    Matches are descriptors that are each other's nearest. Two of them give scale and place along
    each axis, as copies may be squeezed; what most of 100 such guesses agree with is refined. The
    guesses are the same for the same keypoints.

    Returns:
        None if fewer than six matches agree.
    """
    if min(len(fixed.points), len(moving.points)) < _LEAST_MATCHES:
        return None
    similar = fixed.descriptors @ moving.descriptors.T
    nearest, back = similar.argmax(axis=1), similar.argmax(axis=0)
    rows = np.arange(len(nearest))
    rows = rows[(back[nearest] == rows) & (similar[rows, nearest] > _LEAST_SIMILARITY)]
    one, other = fixed.points[rows], moving.points[nearest[rows]]
    agreeing = _guess(one, other)
    for _ in range(2):
        if agreeing is None or agreeing.sum() < _LEAST_MATCHES:
            return None
        known = np.column_stack([one, np.ones(len(one))])
        found = np.linalg.lstsq(known[agreeing], other[agreeing], rcond=None)[0]
        transform = np.asarray(found.T, np.float32)
        agreeing = np.abs(known @ found - other).max(axis=1) < _TOLERANCE_PX
    # Points of several sizes in one place say the same.
    places = {(x, y) for x, y in (one[agreeing] // 2).astype(int).tolist()}
    return Alignment(len(places), transform) if len(places) >= _LEAST_MATCHES else None


def _guess(one: Floats, other: Floats) -> npt.NDArray[np.bool_] | None:
    """Tell which matches agree with the best of many maps that two matches give."""
    if len(one) < _LEAST_MATCHES:
        return None
    first, second = np.random.default_rng(0).integers(0, len(one), (2, _TRIES))
    apart, moved = one[second] - one[first], other[second] - other[first]
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = moved / apart
    fit = (np.abs(apart) > _LEAST_APART_PX) & (scale > _LEAST_SCALE) & (scale < _MOST_SCALE)
    first, scale = first[fit.all(axis=1)], scale[fit.all(axis=1)]
    if not len(first):
        return None
    shift = other[first] - scale * one[first]
    errors = np.abs(scale[:, None] * one + shift[:, None] - other).max(axis=2)
    near = errors < _TOLERANCE_PX
    best: npt.NDArray[np.bool_] = near[near.sum(axis=1).argmax()]
    return best
