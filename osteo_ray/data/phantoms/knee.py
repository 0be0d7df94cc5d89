"""Draw a phantom knee: a synthetic radiograph whose disease lies in a known region.

Osteoporosis changes the bone near the joint and nothing else; markers, borders, exposure and noise
do not depend on the class. So a classifier, an explanation or an audit can be checked against the
truth.

Pixels are (row, column). Shapes are in knee units: the origin is in the joint, x points towards the
fibula and y towards the foot, and an image at scale 1 spans [-1, 1].
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_Knots = tuple[list[float], list[float]]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

# Knots of outlines, in knee units: walls and axes give x over y, joint surfaces y over x.
# fmt: off
_FEMUR_WALL = ([-2, -.9, -.72, -.57, -.44, -.34, -.26, -.16, -.06, .005, .06],
               [.20, .175, .185, .225, .315, .41, .445, .46, .445, .41, .365])
_FEMUR_JOINT = ([-.42, -.35, -.25, -.17, -.12, -.09, -.04, .04, .09, .12, .17, .25, .35, .42],
                [-.06, -.02, 0, -.01, -.04, -.1, -.16, -.16, -.11, -.05, -.02, -.01, -.03, -.07])
_TIBIA_WALL = ([-.1, .06, .13, .22, .34, .48, .62, .9, 2],
               [.40, .455, .46, .43, .34, .255, .205, .175, .165])
_TIBIA_JOINT = ([-.5, -.41, -.26, -.13, -.08, -.05, -.02, .02, .05, .08, .13, .26, .41, .5],
                [.10, .06, .065, .055, .02, -.03, .005, .01, -.015, .025, .055, .055, .06, .10])
_FIBULA_AXIS = ([0, .2, .4, .7, 2], [.40, .395, .375, .35, .34])
_FIBULA_HALF_WIDTH = ([0, .16, .18, .21, .26, .34, .46, 2],
                      [-.3, -.06, .03, .065, .08, .07, .052, .045])
_SKIN_HALF_WIDTH = ([-2, -1, -.4, 0, .3, .7, 2], [.95, .82, .69, .64, .63, .67, .62])
# fmt: on
_SEVERITY_SHIFT = 0.75  # what osteoporosis adds at difficulty 0; a healthy knee has 0.0 to 0.4
_REGION_END = (0.38, 0.50)  # range of |y| in which the disease fades towards the shafts
_STRUTS_PER_IMAGE = 26.0  # in a healthy knee; relative to the image, so that 64 px show them
_GLYPHS = {"L": (16, 16, 16, 16, 16, 16, 31), "R": (30, 17, 17, 30, 20, 18, 17)}  # 5 x 7 bits


@dataclass(frozen=True)
class Knee:
    """One rendered radiograph.

    Attributes:
        image: uint8, (size, size), bone bright, air dark.
        region: bool, (size, size), True where the disease shows or, in a healthy knee, would show;
            False under a marker, border or stripe.
    """

    image: Bytes
    region: Bools


class _Anatomy(NamedTuple):
    """Where the parts lie, each (size, size); depths, in knee units, are positive inside."""

    bone: Floats  # depth in femur or tibia
    fibula: Floats
    patella: Floats
    soft: Floats  # path length through soft tissue, in [0, 1]
    along: Floats  # coordinate y


def render_knee(
    rng: np.random.Generator,
    *,
    osteoporotic: bool,
    size_px: int = 128,
    difficulty: float = 0.3,
    nuisance: float = 0.5,
    clutter: float = 0.0,
) -> Knee:
    """Draw one knee.

    The same random numbers are drawn whatever the class, difficulty and nuisance. So with equal
    generators, the two classes differ inside the region and nowhere else.

    Args:
        rng: Source of pose, shape, texture and nuisance.
        osteoporotic: Whether the knee has the disease.
        size_px: Height and width of the image, in [32, 8192].
        difficulty: In [0, 1]; at 0 the eye can tell the classes, at 1 they are identical.
        nuisance: In [0, 1]; scales how often and how strongly markers, borders, stripes, exposure
            and noise disturb the image.
        clutter: In [0, 1]; how much of what lies outside the region is covered by bone, which is
            as thin, dense and bright as it happens to be, whatever the class.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> knee = render_knee(np.random.default_rng(0), osteoporotic=True, size_px=64)
        >>> knee.image.shape, knee.image.dtype.name, knee.region.dtype.name
        ((64, 64), 'uint8', 'bool')
    """
    _check_range(0, 1, difficulty=difficulty, nuisance=nuisance, clutter=clutter)
    _check_range(32, 8192, size_px=size_px)
    lateral = 1.0 if rng.random() < 0.5 else -1.0
    angle = np.deg2rad(rng.normal(0.0, 4.0))
    scale = rng.uniform(1.0, 1.3)
    anatomy = _draw_anatomy(rng, size_px, lateral, angle, scale)
    extent = _measure_extent(anatomy)
    healthy = rng.uniform(0.0, 0.4)
    spectrum = np.fft.rfft2(rng.standard_normal((size_px, size_px)))
    blur_px = size_px * rng.uniform(0.004, 0.007)

    def blurred_bone(severity: float) -> Floats:
        struts = _draw_struts(spectrum, angle, scale, severity)
        bone = _attenuate_bone(anatomy, struts, severity)
        return np.asarray(ndimage.gaussian_filter(bone, blur_px))

    attenuation = blurred_bone(healthy)
    shift = _SEVERITY_SHIFT * (1.0 - difficulty) ** 2 if osteoporotic else 0.0
    if shift:
        # Blending after the blur leaves every pixel outside the region exactly as it was.
        attenuation += extent * (blurred_bone(healthy + shift) - attenuation)
    attenuation += _attenuate_rest(rng, anatomy)
    if clutter:  # by numbers of its own, so that all else is as it would be without
        cover = clutter * (1.0 - extent)
        attenuation += cover * (_draw_clutter(rng.spawn(1)[0], size_px) - attenuation)
    image = _expose(rng, attenuation, nuisance)
    hidden = _stamp_nuisance(rng, image, "R" if lateral < 0 else "L", nuisance)
    return Knee(image, (extent > 0) & ~hidden)


def _check_range(low: int, high: int, **values: float) -> None:
    """Require named values to be in [low, high]."""
    for name, value in values.items():
        if not low <= value <= high:
            raise ValueError(f"Expected {name} to be in [{low}, {high}], but got {value}.")


def _draw_anatomy(
    rng: np.random.Generator, size_px: int, lateral: float, angle: float, scale: float
) -> _Anatomy:
    """Pose a knee of random shape, and measure how deep each pixel lies in each part."""
    shift = rng.normal(0.0, 0.05, 2)
    grid = (np.arange(size_px) + 0.5) * (2.0 / size_px) - 1.0
    column, row = (grid[None, :] - shift[0]) / scale, (grid[:, None] - shift[1]) / scale
    x = lateral * (np.cos(angle) * column + np.sin(angle) * row)
    y = np.cos(angle) * row - np.sin(angle) * column
    bend, gap = rng.normal(0.0, (0.03, 0.006))  # varus or valgus; width of the joint space
    width = rng.uniform(0.95, 1.1)
    x_femur, x_tibia = x / width, (x - bend * y) / width
    femur = _measure_depth(rng, x_femur, y, _FEMUR_WALL, _FEMUR_JOINT, -1)
    tibia = _measure_depth(rng, x_tibia, y - gap, _TIBIA_WALL, _TIBIA_JOINT, 1)
    fibula_x = np.interp(y, *_FIBULA_AXIS)
    fibula = np.interp(y, *_FIBULA_HALF_WIDTH) - np.abs(x_tibia - fibula_x)
    patella = 0.2 - np.hypot(x_femur - 0.02, 0.9 * (y - rng.normal(-0.33, 0.03)))
    half = np.interp(y, *_SKIN_HALF_WIDTH) * rng.uniform(0.95, 1.2)
    soft = np.sqrt(np.clip(1.0 - ((x - 0.03) / half) ** 2, 0.0, None))
    return _Anatomy(np.maximum(femur, tibia), fibula, patella, soft, y)


def _measure_depth(
    rng: np.random.Generator, x: Floats, y: Floats, wall: _Knots, joint: _Knots, joint_sign: int
) -> Floats:
    """Measure depth in a bone bounded by two walls and a joint surface, each of random shape."""
    table = np.linspace(-2.0, 2.0, 1001)
    column, row = (np.clip((at + 2.0) * 250.0, 0, 1000).astype(np.intp) for at in (x, y))

    def distance(knots: _Knots, where: NDArray[np.intp], across: Floats) -> Floats:
        curve: Floats = np.interp(table, knots[0], knots[1] + rng.normal(0, 0.007, len(knots[1])))
        curve = ndimage.gaussian_filter1d(curve, 5.0, mode="nearest")
        slant = 1.0 / np.hypot(1.0, np.gradient(curve, 0.004))
        return (across - curve[where]) * slant[where]

    walls = np.minimum(-distance(wall, row, x), -distance(wall, row, -x))
    surface = joint_sign * distance(joint, column, y)
    # The smooth minimum rounds the corners where a wall meets the surface.
    near = np.maximum(0.06 - np.abs(walls - surface), 0.0)
    return np.minimum(walls, surface) - near**2 / 0.24


def _measure_extent(anatomy: _Anatomy) -> Floats:
    """Return how much of the disease each pixel shows, in [0, 1]: 1 near the joint, 0 elsewhere."""
    start, end = _REGION_END
    return _ramp(anatomy.bone, -0.01, 0.01) * _ramp(-np.abs(anatomy.along), -end, -start)


def _ramp(values: Floats, low: float, high: float) -> Floats:
    t = np.clip((values - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _draw_struts(
    spectrum: NDArray[np.complex128], angle: float, scale: float, severity: float
) -> Floats:
    """Draw trabeculae, most along the leg, some across; disease makes them fewer and thinner."""
    size_px = spectrum.shape[0]
    row = np.fft.fftfreq(size_px, 1.0 / size_px)[:, None]
    column = np.fft.rfftfreq(size_px, 1.0 / size_px)[None, :]
    across = np.abs(np.cos(angle) * column + np.sin(angle) * row)
    along = np.abs(np.cos(angle) * row - np.sin(angle) * column)
    centre = _STRUTS_PER_IMAGE / scale / (1.0 + 0.7 * severity)

    def strands(frequency: Floats, other: Floats, threshold: float) -> Floats:
        octaves = np.log2(np.maximum(frequency, 1e-3) / centre)
        band = np.exp(-0.5 * (octaves / 0.6) ** 2 - 0.5 * (other / (0.4 * centre)) ** 2)
        field: Floats = np.fft.irfft2(spectrum * band, s=(size_px, size_px))
        return np.asarray(np.maximum(field / field.std() - threshold, 0.0))

    # Struts across the load vanish first, as in the clinical Singh index.
    main = strands(across, along, -0.6 + 1.3 * severity)
    cross = strands(along, across, 0.1 + 1.6 * severity)
    return main + 0.5 * cross


def _attenuate_bone(anatomy: _Anatomy, struts: Floats, severity: float) -> Floats:
    """Add up shell, struts and marrow of femur and tibia, in arbitrary units of attenuation."""
    near_joint = 1.0 - _ramp(np.abs(anatomy.along), 0.3, 0.7)
    shell_width = (0.035 - 0.017 * near_joint) * (1.0 - 0.5 * severity)
    interior = 0.17 + 0.08 * struts * (0.3 + 0.7 * near_joint)
    return _fill(anatomy.bone, interior, 0.20 - 0.06 * severity, shell_width)


def _fill(depth: Floats, interior: Floats | float, shell: float, width: Floats | float) -> Floats:
    bulk = np.sqrt(1.0 - np.clip(1.0 - depth / 0.10, 0.0, 1.0) ** 2)  # round, so thin at edges
    ridge = np.exp(-((depth / width - 1.0) ** 2))
    return _ramp(depth, -0.006, 0.012) * (bulk * interior + shell * ridge)


def _attenuate_rest(rng: np.random.Generator, anatomy: _Anatomy) -> Floats:
    """Add up what the disease spares: fibula, patella, fat and muscle."""
    zoom = anatomy.soft.shape[0] / 6
    uneven = ndimage.zoom(rng.standard_normal((6, 6)), zoom, order=1, mode="nearest")
    muscle = _ramp(anatomy.soft, 0.35, 0.75)
    tissue: Floats = anatomy.soft * (0.17 + 0.10 * muscle + 0.012 * uneven)
    tissue += 0.06 * _ramp(anatomy.patella, 0.0, 0.03)
    return tissue + _fill(anatomy.fibula, 0.12, 0.08, 0.018)


def _draw_clutter(rng: np.random.Generator, size_px: int) -> Floats:
    """Draw bone all over the image, of any severity, density and brightness."""
    severity = rng.uniform(0.0, 0.4 + _SEVERITY_SHIFT)
    background, density = rng.uniform((0.1, 0.04), (0.6, 0.24))
    angle, scale = np.deg2rad(rng.normal(0.0, 4.0)), rng.uniform(1.0, 1.3)
    spectrum = np.fft.rfft2(rng.standard_normal((size_px, size_px)))
    struts = _draw_struts(spectrum, angle, scale, severity)
    return np.asarray(background + density * struts)


def _expose(rng: np.random.Generator, attenuation: Floats, nuisance: float) -> Bytes:
    """Turn attenuation into gray values by a random exposure, gradient and noise."""
    gain, offset, gamma, tilt_row, tilt_column = rng.uniform(-1.0, 1.0, 5) * nuisance
    noise = rng.standard_normal(attenuation.shape)
    slope = np.linspace(-0.05, 0.05, attenuation.shape[0])
    film = np.clip(1.25 * attenuation, 0.0, None) ** np.exp2(0.5 * gamma) * (1.0 + 0.35 * gain)
    film += tilt_row * slope[:, None] + tilt_column * slope[None, :] + 0.10 * offset
    film += (0.007 + 0.025 * nuisance) * noise + 0.05
    return to_gray(255.0 * film)


def to_gray(values: NDArray[np.floating[Any]]) -> Bytes:
    """Round and clip gray values to uint8."""
    return np.asarray(np.clip(values, 0, 255).round(), np.uint8)


def _stamp_nuisance(rng: np.random.Generator, image: Bytes, letter: str, nuisance: float) -> Bools:
    """Burn a marker, a stripe and borders into the image, each at random; return their pixels."""
    size_px = image.shape[0]
    hidden = np.zeros(image.shape, bool)
    by_chance = rng.random(3) < np.array([0.8, 0.3, 0.5]) * nuisance
    marker, stripe, border = rng.random((3, 4))
    if by_chance[0]:
        _stamp_marker(image, hidden, letter, marker)
    if by_chance[1]:  # a bright line down one side, as scanners leave it
        width = max(1, round(size_px * (0.01 + 0.02 * stripe[0])))
        start = round((size_px - width) * (0.05 * stripe[1] if stripe[2] < 0.5 else 1.0))
        _overwrite(image, hidden, np.s_[:, start : start + width], 255)
    if by_chance[2]:  # a constant border on two opposite sides
        width = max(1, round(size_px * (0.02 + 0.10 * border[0])))
        gray = 0 if border[1] < 0.7 else round(255 * border[2])
        for side in (np.s_[:width], np.s_[-width:]):
            _overwrite(image, hidden, np.s_[side, :] if border[3] < 0.5 else np.s_[:, side], gray)
    return hidden


def _overwrite(image: Bytes, hidden: Bools, where: Any, gray: int) -> None:
    image[where] = gray
    hidden[where] = True


def _stamp_marker(image: Bytes, hidden: Bools, letter: str, draws: Floats) -> None:
    """Burn the letter of the side into one of the four corners."""
    size_px = image.shape[0]
    zoom = max(1, round(size_px / 64 * (0.8 + 0.7 * draws[0])))
    bits = [[row >> (4 - column) & 1 for column in range(5)] for row in _GLYPHS[letter]]
    rows, columns = np.nonzero(np.kron(np.array(bits), np.ones((zoom, zoom), int)))
    margin = round(size_px * (0.03 + 0.09 * draws[1]))
    corner = int(4 * draws[2])
    top = margin if corner < 2 else size_px - margin - 7 * zoom
    left = margin if corner % 2 else size_px - margin - 5 * zoom
    _overwrite(image, hidden, (top + rows, left + columns), round(190 + 65 * draws[3]))
