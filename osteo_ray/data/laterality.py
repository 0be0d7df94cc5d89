"""Films of both knees: recognise them by the gap between two knees, and cut them there."""

import re
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Laterality = Literal["whole", "split"]
"""Whether films of both knees are one image each, or two."""
Half = Literal["left", "right"]
HALVES: tuple[Half, Half] = ("left", "right")
"""The halves of a film as one sees them."""
SIDES: dict[Half, str] = {"left": "R", "right": "L"}
"""The side of the body in each half, as radiographs are hung: the patient faces the viewer."""

_NAMED: dict[str, str] = {
    **dict.fromkeys(("l", "lt", "lft", "left", "lk", "lknee", "leftknee"), "L"),
    **dict.fromkeys(("r", "rt", "rgt", "right", "rk", "rknee", "rightknee"), "R"),
}
_BOTH = frozenset({"b", "bi", "bl", "lr", "rl", "both", "bilat", "bilateral", "bilaterally"})
_WORD = re.compile(r"[^\W_]+")

_MARK = "#"  # between the path of a film and the name of its half

_SIDE = 56  # columns and rows that are looked at
_TRIM = _SIDE // 10  # rows at the top and bottom that may hold letterboxes
_BANDS = 6
_FEWEST_BANDS = 3
_CENTRE = slice(int(0.36 * _SIDE), int(0.64 * _SIDE))
_LEAST_WIDTH = 5  # columns of a knee; markers, stripes and frames are narrower
_LEAN = 5  # columns that a gap may lean
_WIDE = 1.1  # width by height
_LEAST = {True: 0.25, False: 0.5}  # depth and emptiness of a gap, in a wide image and in others
_LEAST_SPAN = 10.0  # gray levels between gap and knee
_FINE = 20.0  # Sobel's gradient that counts as structure; steeper ones, as of frames, no more
_INVERTED = -0.1  # correlation of structure and gray below which an image is inverted
_FLAT = 0.15  # of the depth; what lies no higher above its floor belongs to the gap

Floats = npt.NDArray[np.float32]


def find_gap(image: np.ndarray, ratio: float | None = None) -> float | None:
    """Find the gap between the two knees of a film.

    A gap is a place near the middle that is darker than both sides of it, and shows less structure,
    at nearly all heights; of an inverted image, one that is brighter. The sides must be wide enough
    to be knees. The fibula beside a tibia makes no gap, as above the joint there is but one bone.
    In images that are not wider than high, only a marked gap counts: most show one knee, though a
    film of two may have been resized.

    Args:
        image: uint8, (H, W).
        ratio: Its width by its height, if it is not as it was.

    Returns:
        Where it lies, as a share of the width; None if the image shows no two knees.
    """
    size = (_SIDE, _SIDE)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    grays: Floats = small.astype(np.float32)
    across, down = cv2.spatialGradient(small)  # Sobel's, both at once
    structure = cv2.magnitude(across.astype(np.float32), down.astype(np.float32))
    # Tissue has structure and air has none, so this tells which of them is the brighter one.
    fine, shown = np.minimum(structure, _FINE)[_TRIM:-_TRIM], grays[_TRIM:-_TRIM]
    if _correlate(fine, shown) < _INVERTED:
        grays = 255 - grays
    gray, fine = _average_bands(grays), _average_bands(np.asarray(structure, np.float32))
    spans = np.ptp(gray, axis=1)
    told = spans >= max(0.25 * spans.max(), _LEAST_SPAN)
    if told.sum() < _FEWEST_BANDS:
        return None
    gray, fine, spans = gray[told], fine[told], spans[told]
    sides = _measure_sides(gray)
    depths = (sides - gray) / spans[:, None]
    empty = 1 - fine / np.maximum(_measure_sides(fine), 1e-3)
    gaps = np.minimum(depths, empty)[:, _CENTRE]
    # A gap may lean, and one band may differ, as where thighs touch.
    depth = np.sort(cv2.dilate(gaps, np.ones((1, _LEAN), np.uint8)), axis=0)[1]
    at = int(depth.argmax())
    ratio = ratio or image.shape[1] / image.shape[0]
    if depth[at] < _LEAST[ratio >= _WIDE]:
        return None
    return _centre_gap(gray.mean(axis=0), _CENTRE.start + at)


def cut_film(image: np.ndarray, gap: float) -> dict[Half, np.ndarray]:
    """Cut an image in two.

    Args:
        image: (H, W); a film, or a mask of its size.
        gap: Where, as a share of the width; each half keeps at least a column.
    """
    width = image.shape[1]
    at = min(max(round(gap * width), 1), width - 1)
    return {"left": image[:, :at], "right": image[:, at:]}


def name_half(film: str, half: Half) -> str:
    """Return the path by which a half of a film goes.

    Example:
        >>> name_half("normal/1.png", "left"), read_half("normal/1.png#left")
        ('normal/1.png#left', ('normal/1.png', 'left'))
    """
    return f"{film}{_MARK}{half}"


def read_half(path: str) -> tuple[str, Half | None]:
    """Return the film that a path names, and which half of it; None for a whole image."""
    film, _, end = path.rpartition(_MARK)
    half = next((half for half in HALVES if half == end), None)
    return (film, half) if film and half else (path, None)


def read_side(text: str) -> str:
    """Return R or L for a cell that names one side of the body, and "" for anything else.

    Example:
        >>> [read_side(text) for text in ("Left", "r", "left_knee", "(RK)", "2: Left", "2", "R/L")]
        ['L', 'R', 'L', 'R', 'L', '', '']
    """
    sides = _list_sides(text)
    return sides.pop() if len(sides) == 1 else ""


def names_both(text: str) -> bool:
    """Tell whether a cell names both sides of the body.

    Example:
        >>> [names_both(text) for text in ("bilateral", "Both knees", "L & R", "left", "frontal")]
        [True, True, True, False, False]
    """
    words = _WORD.findall(text.casefold())
    return len(_list_sides(text)) == 2 or not _BOTH.isdisjoint(words)


def _list_sides(text: str) -> set[str]:
    words = _WORD.findall(text.casefold())
    return {_NAMED[word] for word in words if word in _NAMED}


def _correlate(one: Floats, other: Floats) -> float:
    """Return the correlation of two images; 0 if one of them is constant."""
    # OpenCV, because for so few pixels NumPy spends more time starting than adding.
    (mean, spread), (mean_of_other, spread_of_other) = (
        (value.item() for value in cv2.meanStdDev(image)) for image in (one, other)
    )
    joint = float(np.vdot(one, other)) / one.size - mean * mean_of_other
    power = spread * spread_of_other
    return joint / power if power > 0 else 0.0


def _average_bands(values: Floats) -> Floats:
    """Return the mean of each band of rows and each column, a little smoothed along the row."""
    rows = values[_TRIM:-_TRIM]
    rows = rows[: len(rows) // _BANDS * _BANDS]
    bands = rows.reshape(_BANDS, -1, _SIDE).mean(axis=1)
    return np.asarray(cv2.blur(bands, (3, 1), borderType=cv2.BORDER_REPLICATE), np.float32)


def _measure_sides(values: Floats) -> Floats:
    """Return the lesser of the highest values left and right of each column.

    What is narrower than a knee does not count.
    """
    broad = cv2.erode(values, np.ones((1, _LEAST_WIDTH), np.uint8))
    left = np.maximum.accumulate(broad, axis=1)
    right = np.maximum.accumulate(broad[:, ::-1], axis=1)[:, ::-1]
    return np.minimum(left, right)


def _centre_gap(gray: Floats, at: int) -> float:
    """Return the middle of the floor of the gap that a column lies in, as a share of the width."""
    low, height = float(gray[at]), float(gray.max())
    floor = gray <= low + _FLAT * (height - low)
    first = last = at
    while first > _CENTRE.start and floor[first - 1]:
        first -= 1
    while last < _CENTRE.stop - 1 and floor[last + 1]:
        last += 1
    return ((first + last) / 2 + 0.5) / len(gray)
