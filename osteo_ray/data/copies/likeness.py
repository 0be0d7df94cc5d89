"""Decide whether two radiographs are one, whatever the size, encoding, gray, crop or turn.

All knees look alike, so a whole image tells little. The keypoints of two images say how one lies in
the other, the map is refined from coarse to fine, and what counts is the correlation of the finest
structure (trabeculae, cortical edges) where they overlap: their likeness.

Source: Evangelidis & Psarakis 2008 (ECC alignment).
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from osteo_ray.data.copies.alignment import align_keypoints
from osteo_ray.data.copies.keypoints import CopyChange, Keypoints, find_keypoints
from osteo_ray.data.copies.thumbnails import SIDE

COPY_LIKENESS = 0.9
"""Likeness from which two images count as copies; docs/data.md says what reaches it."""

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

_LEAST_AGREEING = 9  # matches of keypoints; other knees may reach 40, copies have 30 to 90
_LEAST_OVERLAP = 0.06  # of the image that shows less
_FLAT_PX, _FLAT_LEVELS = 7, 3  # a window without structure, as segmentations and frames leave
_EDGE_PX = 11  # width of what such an edge distorts


@dataclass(frozen=True)
class Seen:
    """A thumbnail, uint8 (112, 112), and its keypoints."""

    thumbnail: Bytes
    keypoints: Keypoints

    @classmethod
    def look(cls, thumbnail: Bytes) -> "Seen":
        """Find the keypoints of a thumbnail."""
        return cls(thumbnail, find_keypoints(thumbnail))

    def change(self, change: CopyChange) -> "Seen":
        """Return what a change makes of it."""
        points = change.move(self.keypoints.points, SIDE)
        keypoints = Keypoints(points, change.permute(self.keypoints.descriptors))
        return Seen(change.apply(self.thumbnail), keypoints)


def measure_likeness(fixed: Seen, moving: Seen) -> float:
    """Align two thumbnails and correlate their finest structure where they overlap.

    Regions without structure, such as a background set to zero, count as not seen.

    Args:
        fixed: One of them; the order matters little.
        moving: The other; to look for a changed copy, change it first.

    Returns:
        In [-1, 1]; -1 if no map aligns the two. Compare with `COPY_LIKENESS`.
    """
    found = align_keypoints(fixed.keypoints, moving.keypoints)
    if found is None or found.agreeing < _LEAST_AGREEING:
        return -1.0
    one, other, transform = fixed.thumbnail, moving.thumbnail, found.transform
    growth = float(np.linalg.det(transform[:, :2]))
    if growth > 1:  # start from the image that shows less
        one, other = other, one
        transform = np.asarray(cv2.invertAffineTransform(transform), np.float32)
        growth = 1 / growth
    if growth < _LEAST_GROWTH:
        return -1.0
    # The image that shows more shows it smaller, and so less finely.
    scale = float(np.sqrt(growth))
    side = SIDE
    for step in _STEPS:
        transform = _rescale(transform, step.side / side)
        side = step.side
        transform = _refine(_shrink(one, side), _shrink(other, side), transform, step, scale)
    return _correlate(one, other, transform, scale)


@dataclass(frozen=True)
class _Step:
    """One step of the alignment: the band of structure to align, in pixels of `side`."""

    side: int
    fine: float
    coarse: float
    contrast: float


_STEPS = (_Step(64, 0.6, 2.0, 3.0), _Step(SIDE, 0.7, 2.0, 3.0))
_ITERATIONS = 15
_LEAST_GROWTH = 0.1  # of area: a third of the length of each side
_MOST_STRETCH, _MOST_SHIFT = 0.1, 0.1  # by which a step may correct the map


def _refine(one: Floats, other: Floats, transform: Floats, step: _Step, scale: float) -> Floats:
    """Correct a map by the structure of a band; a correction that is too large is none."""
    bands = (
        _pass_band(one, step.fine / scale, step.coarse / scale, step.contrast / scale),
        _pass_band(other, step.fine, step.coarse, step.contrast),
    )
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _ITERATIONS, 1e-3)
    try:
        _, found = cv2.findTransformECC(
            *bands, transform.copy(), cv2.MOTION_AFFINE, criteria, np.array([]), 1
        )
    except cv2.error:  # raised when it does not converge
        return transform
    moved = np.abs(np.asarray(found) - transform)
    if moved[:, :2].max() > _MOST_STRETCH or moved[:, 2].max() > _MOST_SHIFT * step.side:
        return transform
    return np.asarray(found, np.float32)


def _correlate(one: Bytes, other: Bytes, transform: Floats, scale: float) -> float:
    def warp(image: npt.NDArray[Any], flags: int, border: int) -> npt.NDArray[Any]:
        size, flags = one.shape[::-1], flags | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(image, transform, size, flags=flags, borderMode=border))

    seen = warp(_find_structure(other), cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)
    seen &= _find_structure(one)
    kernel = np.ones((5, 5), np.uint8)
    overlap = cv2.erode(seen, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    if overlap.mean() < _LEAST_OVERLAP:
        return -1.0
    moved = warp(other.astype(np.float32), cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    fine, coarse, contrast = 0.6 / scale, 1.8 / scale, 3.0 / scale
    pair = np.stack(
        [
            _pass_band(image, fine, coarse, contrast)[overlap]
            for image in (one.astype(np.float32), moved)
        ]
    )
    pair -= pair.mean(axis=1, keepdims=True)
    power = float(np.prod(np.sqrt((pair**2).sum(axis=1))))
    return float(np.clip(pair[0] @ pair[1] / max(power, 1e-9), -1, 1))


def _find_structure(image: Bytes) -> Bytes:
    """Mark with 1 what lies neither in a region without structure nor near its edge."""
    window = np.ones((_FLAT_PX, _FLAT_PX), np.uint8)
    varied = (cv2.dilate(image, window) - cv2.erode(image, window)) > _FLAT_LEVELS
    edge = np.ones((_EDGE_PX, _EDGE_PX), np.uint8)
    return np.asarray(cv2.erode(varied.astype(np.uint8), edge))


def _pass_band(image: Floats, fine: float, coarse: float, contrast: float) -> Floats:
    """Keep the structure between two scales and equalize its local contrast; sigmas in pixels."""
    detail = _blur(image, fine) - _blur(image, coarse)
    mean_contrast = float(np.sqrt(np.mean(detail**2)))
    if mean_contrast < 0.05:  # gray levels; nothing but rounding
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
    """Convert an affine map for images `factor` times as large; pixel centers lie at integers."""
    shift = (factor - 1) / 2
    grow = np.array([[factor, 0, shift], [0, factor, shift], [0, 0, 1]])
    full = np.vstack([transform, [0, 0, 1]])
    return np.asarray((grow @ full @ np.linalg.inv(grow))[:2], np.float32)
