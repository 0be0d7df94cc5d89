"""Sets of phantom knees like real collections: with copies, some of them in the wrong class."""

import csv
import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from osteo_ray.data.phantoms.copying import copy_knee
from osteo_ray.data.phantoms.knee import Bools, Bytes, Knee, render_knee
from osteo_ray.data.settings import COPY_KINDS, PhantomSettings

CLASSES = ("normal", "osteoporosis")

_PLAN, _KNEE, _COPY, _FILE, _BESIDE = range(5)  # purposes of an image's random numbers


@dataclass(frozen=True)
class Phantom:
    """One labelled image of a phantom data set.

    Attributes:
        name: Path below the image folder, `<label>/<file>.png`.
        label: One of `CLASSES`; the wrong one for a copy that stands in the other class.
        image: uint8, (H, W), bone bright, air dark; originals are square, or two squares wide.
        region: bool, (H, W), True where the disease that the label is about shows.
        copy_of: Name of the image that this one copies, or None for an original.
        copy_kind: One of `COPY_KINDS`, or None for an original.
    """

    name: str
    label: str
    image: Bytes
    region: Bools
    copy_of: str | None
    copy_kind: str | None


def make_phantoms(
    settings: PhantomSettings, indices: Iterable[int] | None = None
) -> Iterator[Phantom]:
    """Make a data set of phantom knees, copies included.

    An original depends only on the seed, its index and its class. Which indices are osteoporotic or
    copies depends on the number of images too, because the counts are exact. With nuisance, some
    originals are a quarter larger than `size_px`, and some kinds of copies have other sizes.

    Args:
        settings: Describes the set. The order of `copy_kinds` does not matter; each copy is of one
            of them, all equally likely.
        indices: Indices of the images to make; all by default.

    Raises:
        ValueError: The copies leave a class without an original, or there is no other class for
            conflicts.

    Example:
        >>> phantoms = list(make_phantoms(PhantomSettings(n_images=10, size_px=64)))
        >>> sum(phantom.label == "osteoporosis" for phantom in phantoms)
        5
        >>> sum(phantom.copy_of is not None for phantom in phantoms)
        2
    """
    kinds = [kind for kind in COPY_KINDS if kind in settings.copy_kinds]
    positive, sources = _plan(settings)
    size_px, seed = settings.size_px, settings.seed

    def name(index: int) -> str:
        return f"{CLASSES[int(positive[index])]}/knee-{index:05d}.png"

    def phantom(index: int) -> Phantom:
        source = sources.get(index, index)
        rng = _generator(seed, source, _KNEE)
        larger = rng.random() < 0.4 * settings.nuisance
        draw = functools.partial(
            render_knee,
            size_px=round(1.25 * size_px) if larger else size_px,
            difficulty=settings.difficulty,
            nuisance=settings.nuisance,
            clutter=settings.clutter,
        )
        knee = draw(rng, osteoporotic=bool(positive[source]))
        if settings.bilateral:
            knee = _set_beside(_generator(seed, source, _BESIDE), knee, draw)
        copy_of = kind = None
        if source != index:
            rng = _generator(seed, index, _COPY)
            copy_of, kind = name(source), kinds[int(rng.integers(len(kinds)))]
            knee = copy_knee(rng, knee, kind)
        label = CLASSES[int(positive[index])]
        return Phantom(name(index), label, knee.image, knee.region, copy_of, kind)

    return map(phantom, range(settings.n_images) if indices is None else indices)


def _set_beside(rng: np.random.Generator, knee: Knee, draw: Callable[..., Knee]) -> Knee:
    """Set a knee beside another one, which may be ill, too, and to which no label refers."""
    other = draw(rng, osteoporotic=bool(rng.random() < 0.5))
    sides = [(knee.image, knee.region), (other.image, np.zeros_like(other.region))]
    if rng.random() < 0.5:
        sides.reverse()
    images, regions = zip(*sides, strict=True)
    return Knee(np.hstack(images), np.hstack(regions))


def _generator(seed: int, index: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index, purpose)))


def _plan(settings: PhantomSettings) -> tuple[Bools, dict[int, int]]:
    """Choose the osteoporotic images, and for each copy the index of its original."""
    n_images, seed = settings.n_images, settings.seed
    draws = np.array([_generator(seed, index, _PLAN).random(4) for index in range(n_images)])
    positive = np.zeros(n_images, bool)
    positive[np.argsort(draws[:, 0])[: round(n_images * settings.positive_share)]] = True
    by_draw = np.argsort(draws[:, 1])
    # The last of each class stays an original, so that every copy finds one in its class.
    kept = [by_draw[positive[by_draw] == label][-1] for label in np.unique(positive)]
    n_copies = round(n_images * settings.duplicate_share)
    copies = by_draw[~np.isin(by_draw, kept)][:n_copies]
    if len(copies) < n_copies:
        raise ValueError(
            "Expected duplicate_share to leave an original in each class, but got "
            f"{settings.duplicate_share}: {n_copies} copies among {n_images} images. Lower it."
        )
    n_conflicts = round(n_copies * settings.conflict_share)
    if n_conflicts and len(kept) < 2:
        raise ValueError(
            f"Expected images of both classes for a conflict_share of {settings.conflict_share}, "
            f"but positive_share is {settings.positive_share} of {n_images} images. Change one of "
            "them."
        )
    conflicts = copies[np.argsort(draws[copies, 3])[:n_conflicts]]
    originals = np.setdiff1d(np.arange(n_images), copies)
    sources = {}
    for index in copies:
        wanted = positive[index] ^ (index in conflicts)
        of_class = originals[positive[originals] == wanted]
        sources[int(index)] = int(of_class[int(draws[index, 2] * len(of_class))])
    return positive, sources


def write_phantoms(directory: Path, settings: PhantomSettings) -> None:
    """Write a phantom data set as PNG files, a folder per class; equal settings give equal bytes.

    Writes `images/<class>/<file>.png` (mode L or RGB), `regions/<class>/<file>.png` (mode L, 255
    where the disease shows, else 0; same size as the image) and `truth.csv` with the columns
    name, label, copy_of and copy_kind (both empty for originals).

    Args:
        directory: Folder to write to; created if missing.
        settings: Describes the set; see `make_phantoms`.

    Raises:
        ValueError: The settings contradict each other.
        FileExistsError: The directory already holds images or regions.
    """
    phantoms = make_phantoms(settings)
    for kind in ("images", "regions"):
        if (directory / kind).exists():
            raise FileExistsError(
                f"Expected {directory / kind} not to exist yet, but it does. Remove it first."
            )
        for label in CLASSES:
            (directory / kind / label).mkdir(parents=True)
    rows = [("name", "label", "copy_of", "copy_kind")]
    for index, phantom in enumerate(phantoms):
        in_colour = _generator(settings.seed, index, _FILE).random() < 0.3
        image = Image.fromarray(phantom.image).convert("RGB" if in_colour else "L")
        image.save(directory / "images" / phantom.name)
        Image.fromarray(np.uint8(255) * phantom.region).save(directory / "regions" / phantom.name)
        rows.append((phantom.name, phantom.label, phantom.copy_of or "", phantom.copy_kind or ""))
    with (directory / "truth.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
