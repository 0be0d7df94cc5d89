"""Copy a knee in the ways in which collections come to hold copies."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from osteo_ray.base.errors import suggest
from osteo_ray.data.phantoms.knee import Knee, to_gray
from osteo_ray.data.settings import COPY_KINDS


def copy_knee(rng: np.random.Generator, knee: Knee, kind: str) -> Knee:
    """Copy a knee in one of the ways in which collections come to hold copies.

    Args:
        rng: Decides how much is changed.
        knee: The original; image and region are changed alike.
        kind: `exact`; `reencoded` as JPEG, slightly brighter or darker; `resized` to 0.6 to 1.6
            times the size; `brightness`, by gain, offset and gamma; `cropped` by up to 8 % at each
            border; `mirrored`, left to right; `rotated` by 1 to 4 degrees, corners black.

    Raises:
        ValueError: There is no such kind.
    """
    if kind not in _COPY_BY:
        raise ValueError(
            f"Expected kind to be one of {', '.join(COPY_KINDS)}, but got `{kind}`."
            + suggest(kind, COPY_KINDS)
        )
    return _COPY_BY[kind](rng, knee)


def _keep(_: np.random.Generator, knee: Knee) -> Knee:
    return knee


def _reencode(rng: np.random.Generator, knee: Knee) -> Knee:
    gray = to_gray(knee.image.astype(np.float64) * rng.uniform(0.96, 1.04))
    buffer = io.BytesIO()
    Image.fromarray(gray).save(buffer, "JPEG", quality=int(rng.integers(40, 81)))
    return Knee(np.asarray(Image.open(buffer)), knee.region)


def _resize(rng: np.random.Generator, knee: Knee) -> Knee:
    side = knee.image.shape[0]
    new = int(rng.integers(round(0.6 * side), round(1.6 * side)))
    new += new >= side  # any size but its own
    # When it shrinks, Pillow's bilinear filter averages over the whole area of a new pixel.
    image = Image.fromarray(knee.image).resize((new, new), Image.Resampling.BILINEAR)
    region = Image.fromarray(knee.region).resize((new, new), Image.Resampling.NEAREST)
    return Knee(np.asarray(image), np.asarray(region))


def _change_brightness(rng: np.random.Generator, knee: Knee) -> Knee:
    gain, offset, gamma = rng.uniform((0.8, -15.0, 0.75), (1.2, 15.0, 1.35))
    film = (knee.image.astype(np.float64) / 255) ** gamma
    return Knee(to_gray(255 * gain * film + offset), knee.region)


def _crop(rng: np.random.Generator, knee: Knee) -> Knee:
    side = knee.image.shape[0]
    cut = rng.integers(0, int(0.08 * side) + 1, 4)
    if not cut.any():
        cut[0] = 1
    inner = np.s_[cut[0] : side - cut[1], cut[2] : side - cut[3]]
    return Knee(knee.image[inner].copy(), knee.region[inner].copy())


def _mirror(_: np.random.Generator, knee: Knee) -> Knee:
    return Knee(knee.image[:, ::-1].copy(), knee.region[:, ::-1].copy())


def _rotate(rng: np.random.Generator, knee: Knee) -> Knee:
    angle = rng.uniform(1.0, 4.0) * rng.choice((-1.0, 1.0))
    image = Image.fromarray(knee.image).rotate(angle, Image.Resampling.BILINEAR, fillcolor=0)
    region = Image.fromarray(knee.region).rotate(angle, Image.Resampling.NEAREST, fillcolor=0)
    return Knee(np.asarray(image), np.asarray(region))


_COPY_BY: dict[str, Callable[[np.random.Generator, Knee], Knee]] = {
    "exact": _keep,
    "reencoded": _reencode,
    "resized": _resize,
    "brightness": _change_brightness,
    "cropped": _crop,
    "mirrored": _mirror,
    "rotated": _rotate,
}
