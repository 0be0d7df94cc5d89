"""Images of stripes for which it is known what distinguishes the classes, and where.

An image is a grid of square patches of noise, some of them striped. Each image has a *region*, a
block of patches, at a random place. The `Drawing` decides what determines the stripes inside and
outside of the region (the class, chance, or the group of copies), and where the keep-masks lie. A
network with global average pooling sees how many patches are striped in which direction, but not
which of them matter: only a mask can tell it that.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_Value = TypeVar("_Value", bound=np.generic)

CLASSES = ("lying", "upright")
"""Labels: the direction of the stripes that the class determines."""

GRID = 4
"""Patches per side; superpixels by a grid of 4 × 4 are these patches."""
PATCH_PX = 8
SIDE_PX = GRID * PATCH_PX
REGION = 2
"""Side of the region, in patches."""

Content = Literal["nothing", "class", "chance", "half", "group", "any"]
Place = Literal["region", "part", "elsewhere", "nearly_all", "outline", "by_class"]

_GRAY, _NOISE = 64.0, 8.0  # mean and standard deviation of a patch without stripes, gray levels
_PERIOD_PX = 4.0  # of stripes that lie or stand
_PERIODS_PX = (3.0, 8.0)  # of others


@dataclass(frozen=True)
class Drawing:
    """What a set of images shows.

    Stripes are determined by
    - `class`: lying for one class, upright for the other;
    - `chance`: lying or upright at random, patch by patch;
    - `half`: straight (lying or upright) in half of all patches of the image, and slanting (to
      one side or the other) in the others, inside and outside alike;
    - `group`: copies share an angle and a period, which are unrelated to the class;
    - `any`: any angle and any period at random, patch by patch;
    - `nothing`: there are no stripes.

    A planted mask keeps
    - `region`: the region;
    - `part`: all patches of the region but one;
    - `elsewhere`: as many patches as the region has, all outside of it;
    - `nearly_all`: all patches but one outside the region;
    - `outline`: a row of patches in images of one class, a column in images of the other;
    - `by_class`: as many patches as the region has, with straight stripes in images of one class,
      with slanting ones in images of the other.

    Attributes:
        inside: What determines the stripes in the region.
        outside: What determines all other stripes.
        mask: What a planted mask keeps.
        n_images: Number of images.
        one_upright_in: One in so many groups is of the second class.
        n_copies: Images per group. They share the class and the stripes of the group, nothing else.
        moving: Whether the region is at a random place in each image, or always in the middle.
        signal: Amplitude of stripes that the class or group determines, gray levels.
        nuisance: Amplitude of all other stripes, gray levels.
        unreadable: Share of images in which stripes of the class are replaced by random ones, so
            that their class cannot be seen.
        exposure: Spread of the amplitude of all stripes of an image, which has nothing to do with
            its class: standard deviation of its natural logarithm.
        failing: Share of the images of the second class that cannot be explained; of the
            first, all can.
    """

    inside: Content = "class"
    outside: Content = "nothing"
    mask: Place = "region"
    n_images: int = 280
    one_upright_in: int = 2
    n_copies: int = 1
    moving: bool = True
    signal: float = 30.0
    nuisance: float = 50.0
    unreadable: float = 0.0
    exposure: float = 0.0
    failing: float = 0.0


@dataclass(frozen=True)
class StripedSet:
    """A set of images, and what is known about them.

    Attributes:
        images: uint8, (n, SIDE_PX, SIDE_PX).
        labels: str, (n,); of `CLASSES`.
        groups: int64, (n,); copies share a number.
        regions: bool, (n, SIDE_PX, SIDE_PX); True in the region.
        keep_masks: bool, (n, SIDE_PX, SIDE_PX), True = kept; the planted masks.
        failed: bool, (n,); True where the image cannot be explained, so that it has no mask.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.str_]
    groups: Ints
    regions: Bools
    keep_masks: Bools
    failed: Bools


class _Stripes(NamedTuple):
    """Stripes of each patch; all float64, (n, GRID, GRID).

    Attributes:
        angle: Of the direction in which they change, from downward; radians.
        period: Pixels.
        amplitude: Gray levels.
    """

    angle: Floats
    period: Floats
    amplitude: Floats


def draw_set(drawing: Drawing, *, seed: int) -> StripedSet:
    """Draw a set of images.

    Args:
        drawing: What they show.
        seed: Seed of everything random, at least 0.

    Raises:
        ValueError: There are fewer than two groups, or the last one is not full.

    Example:
        >>> drawn = draw_set(Drawing(n_images=4, n_copies=2), seed=0)
        >>> drawn.images.shape, drawn.groups.tolist(), int(drawn.keep_masks[0].sum())
        ((4, 32, 32), [0, 0, 1, 1], 256)
    """
    n_groups, rest = divmod(drawing.n_images, drawing.n_copies)
    if rest or n_groups < 2:
        raise ValueError(
            f"Expected at least two full groups of {drawing.n_copies} images, but got "
            f"{drawing.n_images} images."
        )
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), drawing.n_copies)
    upright = np.arange(n_groups) % drawing.one_upright_in == drawing.one_upright_in - 1
    classes = rng.permutation(upright.astype(np.int64))[groups]
    regions = _place_regions(drawing, rng)
    inside, outside = (
        _draw_stripes(content, drawing, classes, groups, rng)
        for content in (drawing.inside, drawing.outside)
    )
    if drawing.inside == "half":  # of all patches, so inside and outside are drawn as one
        outside = inside
    stripes = _Stripes(*(np.where(regions, *pair) for pair in zip(inside, outside, strict=True)))
    if drawing.exposure:
        exposures = np.exp(drawing.exposure * rng.standard_normal(len(classes)))
        stripes = stripes._replace(amplitude=stripes.amplitude * exposures[:, None, None])
    images = _render(stripes, rng)
    keep_masks = _plant_masks(drawing.mask, regions, classes, stripes, rng)
    failed = (classes == 1) & (rng.random(len(classes)) < drawing.failing)
    return StripedSet(
        images, np.array(CLASSES)[classes], groups, _enlarge(regions), _enlarge(keep_masks), failed
    )


def _place_regions(drawing: Drawing, rng: np.random.Generator) -> Bools:
    """Return bool, (n, GRID, GRID): True in the region."""
    last = GRID - REGION
    corners = rng.integers(0, last + 1, (drawing.n_images, 2))
    if not drawing.moving:
        corners[:] = last // 2
    patch = np.arange(GRID)
    spans = (patch >= corners[:, :, None]) & (patch < corners[:, :, None] + REGION)
    return np.asarray(spans[:, 0, :, None] & spans[:, 1, None, :])


def _draw_stripes(
    content: Content, drawing: Drawing, classes: Ints, groups: Ints, rng: np.random.Generator
) -> _Stripes:
    """Draw the stripes of all patches as if there were no region."""
    shape = (len(classes), GRID, GRID)
    amplitude = 0.0
    angle: np.ndarray = np.zeros(shape)
    period: np.ndarray = np.full(shape, _PERIOD_PX)
    if content in ("class", "chance", "half"):
        turned = rng.integers(0, len(CLASSES), shape) * 1.0
        if content == "half":
            turned += 0.5 * _choose(np.ones(shape, bool), GRID**2 // 2, rng)
        if content == "class":
            readable = rng.random(len(classes)) >= drawing.unreadable
            turned[readable] = classes[readable, None, None]
        angle = turned * (np.pi / 2)
        amplitude = drawing.signal if content == "class" else drawing.nuisance
    elif content == "group":
        n_groups = int(groups[-1]) + 1
        # Angles are as far apart as possible, so that how well groups differ is not up to luck.
        turn = (rng.permutation(n_groups) + rng.random()) / n_groups
        angle = np.pi * turn[groups, None, None]
        period = rng.uniform(*_PERIODS_PX, n_groups)[groups, None, None]
        amplitude = drawing.signal
    elif content == "any":
        angle, period = rng.uniform(0, np.pi, shape), rng.uniform(*_PERIODS_PX, shape)
        amplitude = drawing.nuisance
    return _Stripes(*(np.broadcast_to(values, shape) for values in (angle, period, amplitude)))


def _render(stripes: _Stripes, rng: np.random.Generator) -> NDArray[np.uint8]:
    phase = _enlarge(rng.uniform(0, 2 * np.pi, stripes.angle.shape))
    angle, period, amplitude = map(_enlarge, stripes)
    row, column = np.mgrid[:SIDE_PX, :SIDE_PX]
    across = row * np.cos(angle) + column * np.sin(angle)
    gray = _GRAY + amplitude * np.sin(2 * np.pi * across / period + phase)
    gray += _NOISE * rng.standard_normal(gray.shape)
    return np.asarray(np.clip(np.rint(gray), 0, 255), np.uint8)


def _plant_masks(
    place: Place, regions: Bools, classes: Ints, stripes: _Stripes, rng: np.random.Generator
) -> Bools:
    """Return keep-masks by patches: bool, (n, GRID, GRID), True = kept."""
    if place == "region":
        return regions
    if place == "part":
        return _choose(regions, REGION**2 - 1, rng)
    if place == "elsewhere":
        return _choose(~regions, REGION**2, rng)
    if place == "nearly_all":
        return ~_choose(~regions, 1, rng)
    if place == "by_class":
        slanting = stripes.angle % (np.pi / 2) > 0
        return _choose(slanting == (classes > 0)[:, None, None], REGION**2, rng)
    line = np.arange(GRID) == rng.integers(0, GRID, (len(classes), 1))
    upright = (classes == CLASSES.index("upright"))[:, None, None]
    kept = np.where(upright, line[:, None, :], line[:, :, None])
    return np.broadcast_to(kept, regions.shape)


def _choose(allowed: Bools, count: int, rng: np.random.Generator) -> Bools:
    """Choose so many patches of each image among those allowed."""
    order = rng.random(allowed.shape) + ~allowed
    rank = order.reshape(len(order), -1).argsort(1).argsort(1)
    return np.asarray(rank < count).reshape(allowed.shape)


def _enlarge(patches: NDArray[_Value]) -> NDArray[_Value]:
    """Turn values of patches, (n, GRID, GRID), into those of pixels."""
    return patches.repeat(PATCH_PX, 1).repeat(PATCH_PX, 2)
