"""A set of phantom knees as collections are: with copies, some of them in the wrong class."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from osteo_ray.base.errors import suggest
from osteo_ray.data.phantoms.knee import Bools, Bytes, Knee, check_range, render_knee, to_gray
from osteo_ray.data.settings import COPY_KINDS, USUAL_COPY_KINDS

CLASSES = ("normal", "osteoporosis")

_PLAN, _KNEE, _COPY, _FILE = range(4)  # what the random numbers of an image are for


@dataclass(frozen=True)
class Phantom:
    """One labelled image of a phantom data set.

    Attributes:
        name: Path below the image folder, `<label>/<file>.png`.
        label: One of `CLASSES`; the wrong one for a copy that stands in the other class.
        image: (H, W) gray values in [0, 255], bone bright, air dark; square for originals.
        region: (H, W), True where the disease shows.
        copy_of: Name of the image that this one is a copy of; None for an original.
        copy_kind: One of `COPY_KINDS`; None for an original.
    """

    name: str
    label: str
    image: Bytes
    region: Bools
    copy_of: str | None
    copy_kind: str | None


def make_phantoms(
    *,
    n_images: int,
    size_px: int,
    positive_share: float = 0.5,
    duplicate_share: float = 0.2,
    copy_kinds: Sequence[str] = USUAL_COPY_KINDS,
    conflict_share: float = 0.0,
    difficulty: float = 0.3,
    nuisance: float = 0.5,
    seed: int = 0,
    indices: Iterable[int] | None = None,
) -> Iterator[Phantom]:
    """Make a data set of phantom knees, copies included.

    An original depends on `seed`, its index and its class only. Which indices are osteoporotic
    or copies depends on `n_images` too, since the counts are exact.

    Args:
        n_images: Number of images, copies included.
        size_px: Height and width of most images, in [32, 4096]; nuisance makes some originals a
            quarter larger, and some kinds of copies have sizes of their own.
        positive_share: In [0, 1]; the share of images labelled osteoporotic.
        duplicate_share: In [0, 1]; the share of images that are copies of another one.
        copy_kinds: Of `COPY_KINDS`, in any order; each copy is of one of them, all equally likely.
        conflict_share: In [0, 1]; the share of the copies that stand in the other class than what
            they copy.
        difficulty: See `render_knee`.
        nuisance: See `render_knee`.
        seed: In [0, 2**63).
        indices: Which of the images to make; by default all.

    Raises:
        ValueError: If an argument is out of range, the copies leave a class no original, or there
            is no other class for conflicts.

    Example:
        >>> phantoms = list(make_phantoms(n_images=10, size_px=64))
        >>> sum(phantom.label == "osteoporosis" for phantom in phantoms)
        5
        >>> sum(phantom.copy_of is not None for phantom in phantoms)
        2
    """
    check_range(0, 1, positive_share=positive_share, duplicate_share=duplicate_share)
    check_range(0, 1, conflict_share=conflict_share, difficulty=difficulty, nuisance=nuisance)
    check_range(32, 4096, size_px=size_px)
    check_range(1, 10**6, n_images=n_images)
    check_range(0, 2**63 - 1, seed=seed)
    kinds = _sort_kinds(copy_kinds)
    positive, sources = _plan(n_images, positive_share, duplicate_share, conflict_share, seed)

    def name(index: int) -> str:
        return f"{CLASSES[int(positive[index])]}/knee-{index:05d}.png"

    def phantom(index: int) -> Phantom:
        source = sources.get(index, index)
        rng = _generator(seed, source, _KNEE)
        larger = rng.random() < 0.4 * nuisance
        knee = render_knee(
            rng,
            osteoporotic=bool(positive[source]),
            size_px=round(1.25 * size_px) if larger else size_px,
            difficulty=difficulty,
            nuisance=nuisance,
        )
        copy_of = kind = None
        if source != index:
            rng = _generator(seed, index, _COPY)
            copy_of, kind = name(source), kinds[int(rng.integers(len(kinds)))]
            knee = copy_knee(rng, knee, kind)
        label = CLASSES[int(positive[index])]
        return Phantom(name(index), label, knee.image, knee.region, copy_of, kind)

    return map(phantom, range(n_images) if indices is None else indices)


def _generator(seed: int, index: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index, purpose)))


def _sort_kinds(names: Sequence[str]) -> list[str]:
    """Check names of kinds; return each once, in the order of `COPY_KINDS`."""
    for name in names:
        _check_kind(name)
    if not names:
        raise ValueError("Expected at least one of copy_kinds, but got none")
    return [kind for kind in COPY_KINDS if kind in names]


def _check_kind(name: str) -> None:
    if name not in COPY_KINDS:
        raise ValueError(
            f"Expected copy_kinds among {', '.join(COPY_KINDS)}, but got `{name}`."
            + suggest(name, COPY_KINDS)
        )


def _plan(
    n_images: int,
    positive_share: float,
    duplicate_share: float,
    conflict_share: float,
    seed: int,
) -> tuple[Bools, dict[int, int]]:
    """Choose the osteoporotic images, and the copies with the index that each is copied from."""
    draws = np.array([_generator(seed, index, _PLAN).random(4) for index in range(n_images)])
    positive = np.zeros(n_images, bool)
    positive[np.argsort(draws[:, 0])[: round(n_images * positive_share)]] = True
    by_draw = np.argsort(draws[:, 1])
    # The last of each class stays an original, so that every copy finds one of its class.
    kept = [by_draw[positive[by_draw] == label][-1] for label in np.unique(positive)]
    n_copies = round(n_images * duplicate_share)
    copies = by_draw[~np.isin(by_draw, kept)][:n_copies]
    if len(copies) < n_copies:
        raise ValueError(
            f"Expected duplicate_share to leave an original in each class, but got "
            f"{duplicate_share}: {n_copies} copies among {n_images} images"
        )
    n_conflicts = round(n_copies * conflict_share)
    if n_conflicts and len(kept) < 2:
        raise ValueError(
            f"Expected images of both classes for a conflict_share of {conflict_share}, but "
            f"positive_share is {positive_share} of {n_images} images"
        )
    conflicts = copies[np.argsort(draws[copies, 3])[:n_conflicts]]
    originals = np.setdiff1d(np.arange(n_images), copies)
    sources = {}
    for index in copies:
        wanted = positive[index] ^ (index in conflicts)
        of_class = originals[positive[originals] == wanted]
        sources[int(index)] = int(of_class[int(draws[index, 2] * len(of_class))])
    return positive, sources


def copy_knee(rng: np.random.Generator, knee: Knee, kind: str) -> Knee:
    """Copy a knee in one of the ways in which collections come to hold copies.

    Args:
        rng: Source of how much is changed.
        knee: What to copy; image and region are changed alike.
        kind: `exact`; `reencoded` as JPEG, slightly brighter or darker; `resized` to 0.6 to 1.6
            times the size; `brightness`, by gain, offset and gamma; `cropped` by up to 8 % at each
            border; `mirrored`, left to right; `rotated` by 1 to 4 degrees, corners black.

    Raises:
        ValueError: If there is no such kind.
    """
    _check_kind(kind)
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
    # Pillow's bilinear filter averages over the whole area of a new pixel when it shrinks.
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


def write_phantoms(directory: Path, **settings: Any) -> None:
    """Write a phantom data set as PNG files, a folder per class; equal settings, equal bytes.

    Writes `images/<class>/<file>.png` (mode L or RGB), `regions/<class>/<file>.png` (mode L, 255
    where the disease shows, else 0; same size as the image) and `truth.csv` with the columns
    name, label, copy_of and copy_kind (both empty for originals).

    Args:
        directory: Where to write; created if missing.
        settings: The keyword arguments of `make_phantoms`.

    Raises:
        ValueError: If a setting is out of range.
        FileExistsError: If the directory holds images or regions already.
    """
    phantoms = make_phantoms(**settings)
    for kind in ("images", "regions"):
        if (directory / kind).exists():
            raise FileExistsError(f"Expected no folder {directory / kind} yet; remove it first")
        for label in CLASSES:
            (directory / kind / label).mkdir(parents=True)
    rows = [("name", "label", "copy_of", "copy_kind")]
    for index, phantom in enumerate(phantoms):
        in_colour = _generator(settings.get("seed", 0), index, _FILE).random() < 0.3
        image = Image.fromarray(phantom.image).convert("RGB" if in_colour else "L")
        image.save(directory / "images" / phantom.name)
        Image.fromarray(np.uint8(255) * phantom.region).save(directory / "regions" / phantom.name)
        rows.append((phantom.name, phantom.label, phantom.copy_of or "", phantom.copy_kind or ""))
    with (directory / "truth.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
