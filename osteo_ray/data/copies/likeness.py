"""Decide whether two radiographs are one, whatever the size, encoding, brightness, crop or turn.

All knees look alike, so a whole image tells little. The two images are aligned by an affine map,
from coarse to fine, and what counts is the correlation of the finest structure (trabeculae,
cortical edges) where they overlap: their likeness.

Source: Evangelidis & Psarakis 2008 (ECC alignment).
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from osteo_ray.data.copies.thumbnails import SIDE

COPY_LIKENESS = 0.88
"""Likeness from which two images count as copies. In a public set of 744 knee radiographs, the
copies that it holds reach at least 0.95, most planted ones more than 0.93, and the most similar
other pairs, often both legs of a patient, at most 0.87. A missed copy leaks; a false one merely
joins two images."""

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


def measure_likeness(fixed: Bytes, moving: Bytes) -> float:
    """Align two thumbnails and correlate their finest structure where they overlap.

    The order matters little: if `moving` cannot be aligned with `fixed`, the reverse is tried.

    Args:
        fixed: uint8 (112, 112).
        moving: uint8 (112, 112); to look for a mirrored copy, mirror it first.

    Returns:
        In [-1, 1]; -1 if no small affine map aligns the two. Compare with `COPY_LIKENESS`.
    """
    likeness = _measure_one_way(fixed, moving)
    return likeness if likeness > -1 else _measure_one_way(moving, fixed)


def _measure_one_way(fixed: Bytes, moving: Bytes) -> float:
    transform = np.eye(2, 3, dtype=np.float32)
    side = SIDE
    # From coarse to fine. Below a step's least agreement, going on makes no sense.
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
    """One step of the alignment: the band of structure to align, in pixels of `side`."""

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
# Each step asks for slightly less than 99 of 100 copies reach; most other pairs stop there.
_MOST_STRETCH, _MOST_TURN_DEG, _MOST_SHIFT = 1.4, 15.0, 0.15  # shift as a share of the side
_LEAST_OVERLAP = 0.5


def _align(one: Floats, other: Floats, transform: Floats, step: _Step) -> tuple[float, Floats]:
    bands = [_pass_band(image, step.fine, step.coarse, step.contrast) for image in (one, other)]
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, step.iterations, 1e-3)
    try:
        agreement, found = cv2.findTransformECC(
            bands[0], bands[1], transform.copy(), cv2.MOTION_AFFINE, criteria, np.array([]), 1
        )
    except cv2.error:  # raised when it does not converge
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


def _is_small(transform: Floats, side: int) -> bool:
    """Tell whether an affine map changes an image no more than a copy may differ."""
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
