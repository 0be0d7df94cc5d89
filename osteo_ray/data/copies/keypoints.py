"""Find the salient points of a thumbnail, and tell what they become in a changed copy.

Turning by quarters, mirroring and inverting the gray permute the numbers of a SIFT descriptor, so
that all these forms of an image cost no second look at its pixels.

Source: Lowe 2004 (SIFT).
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

MOST_KEYPOINTS = 200
_CONTRAST, _EDGE, _SIGMA = 0.008, 20, 1.2  # of SIFT, for 8-bit thumbnails of equal contrast
_LENGTH = 128  # of a descriptor: 4 × 4 cells, 8 directions
_SCALE = 400.0  # of stored descriptors; no share of a RootSIFT descriptor exceeds 0.6

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class CopyChange:
    """A change of an image that keeps all of it: mirror it, turn it, then invert its gray.

    Attributes:
        mirrored: Whether left and right are swapped.
        quarters: Counter-clockwise quarter turns, 0 to 3.
        inverted: Whether black becomes white.
    """

    mirrored: bool = False
    quarters: int = 0
    inverted: bool = False

    def describe(self) -> str:
        """Say what was changed; an empty string if nothing was.

        Example:
            >>> CopyChange(True, 2).describe(), CopyChange(inverted=True).describe()
            ('upside down', 'inverted gray')
        """
        turned = f"turned by {90 * self.quarters}°"
        if self.mirrored and self.quarters == 2:
            words = ["upside down"]
        else:
            words = ["mirrored"] * self.mirrored + [turned] * (self.quarters > 0)
        return ", ".join([*words, *["inverted gray"] * self.inverted])

    def undo(self) -> "CopyChange":
        """Return the change that undoes this one; what mirrors undoes itself."""
        quarters = self.quarters if self.mirrored else -self.quarters % 4
        return CopyChange(self.mirrored, quarters, self.inverted)

    def apply(self, thumbnail: Bytes) -> Bytes:
        """Change a square thumbnail."""
        changed = np.rot90(thumbnail[:, ::-1] if self.mirrored else thumbnail, self.quarters)
        return np.ascontiguousarray(255 - changed if self.inverted else changed)

    def move(self, points: Floats, side: int) -> Floats:
        """Move points (n, 2) of x and y to where they lie in the changed thumbnail."""
        x, y = points[:, 0], points[:, 1]
        if self.mirrored:
            x = side - 1 - x
        for _ in range(self.quarters):
            x, y = y, side - 1 - x
        return np.stack([x, y], axis=1)

    def permute(self, descriptors: Floats) -> Floats:
        """Turn upright SIFT descriptors (n, 128) into those of the changed thumbnail."""
        return np.ascontiguousarray(descriptors[:, self.order()])

    def order(self) -> npt.NDArray[np.intp]:
        """Return which number of a descriptor becomes each of the changed one: int (128,)."""
        cells = np.arange(_LENGTH).reshape(4, 4, 8)
        if self.mirrored:
            cells = cells[:, ::-1, (4 - np.arange(8)) % 8]
        for _ in range(self.quarters):
            cells = np.roll(np.rot90(cells), 2, axis=-1)
        if self.inverted:  # every direction becomes its opposite
            cells = np.roll(cells, 4, axis=-1)
        return np.asarray(cells.ravel())


COPY_CHANGES = tuple(
    CopyChange(mirrored, quarters, inverted)
    for inverted in (False, True)
    for quarters in range(4)
    for mirrored in (False, True)
)
"""All changes; the first two, as it is and mirrored, are those that copies mostly show."""


@dataclass(frozen=True)
class Keypoints:
    """The salient points of a thumbnail, the most salient first.

    Attributes:
        points: float32 (n, 2), x and y in pixels.
        descriptors: float32 (n, 128); RootSIFT, upright.
    """

    points: Floats
    descriptors: Floats


def find_keypoints(thumbnail: Bytes) -> Keypoints:
    """Find at most 200 salient points of a thumbnail, uint8 (side, side)."""
    image = _equalise(thumbnail)
    sift = cv2.SIFT.create(contrastThreshold=_CONTRAST, edgeThreshold=_EDGE, sigma=_SIGMA)
    # A point with two directions comes twice; without directions, once is enough.
    found = {(point.pt, point.size): point for point in sift.detect(image)}
    chosen = sorted(found.values(), key=lambda point: -point.response)[:MOST_KEYPOINTS]
    for point in chosen:
        point.angle = 0  # knees differ more when turns are ignored; `CopyChange` turns by quarters
    _, descriptors = sift.compute(image, chosen) if chosen else ((), None)
    if descriptors is None:
        return Keypoints(np.zeros((0, 2), np.float32), np.zeros((0, _LENGTH), np.float32))
    shares = descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6)
    points = np.array([point.pt for point in chosen], np.float32)
    return Keypoints(points, np.asarray(np.sqrt(shares), np.float32))


STORED_KEYPOINTS = 100
STORED_SHAPE = (STORED_KEYPOINTS, _LENGTH + 2)


def pack_keypoints(keypoints: Keypoints, side: int) -> Bytes:
    """Store the 100 most salient points: uint8 (100, 130), all 0 where there are fewer."""
    packed = np.zeros(STORED_SHAPE, np.uint8)
    points = keypoints.points[:STORED_KEYPOINTS]
    packed[: len(points), :2] = np.rint(points * (255 / side))
    levels = np.minimum(keypoints.descriptors[:STORED_KEYPOINTS] * _SCALE, 255)
    packed[: len(points), 2:] = np.rint(levels)
    return packed


def unpack_keypoints(packed: Bytes, side: int) -> Keypoints:
    """Read stored keypoints; positions are exact to a quarter of a pixel."""
    used = packed[packed[:, 2:].any(axis=1)]
    points = used[:, :2].astype(np.float32) * (side / 255)
    return Keypoints(points, used[:, 2:].astype(np.float32) / _SCALE)


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
