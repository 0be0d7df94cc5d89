"""Plant copies of every kind, some of them severe, among real radiographs, and look for them."""

import io
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.rival_copies import USUAL_THRESHOLD, Rival, choose_threshold
from osteo_ray.data.copies.groups import join_pairs
from osteo_ray.data.copies.thumbnails import Thumbnails, make_thumbnail
from osteo_ray.data.decoding.content import decode
from osteo_ray.data.decoding.identity import digest_pixels
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.pipeline.ingest.copy_search import find_copies

Planted = list[np.ndarray]
"""The images that are planted for one radiograph; usually one, which is a copy of it."""
_Change = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def _cut(image: np.ndarray, top: float, bottom: float, left: float, right: float) -> np.ndarray:
    """Cut shares of height and width off the four sides of an image (H, W)."""
    height, width = image.shape
    inner = np.s_[
        round(top * height) : height - round(bottom * height),
        round(left * width) : width - round(right * width),
    ]
    return image[inner].copy()


def _crop(share: float) -> _Change:
    return lambda rng, image: _cut(image, share, share, share, share)


def _cut_one_side(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    shares = np.zeros(4)
    shares[rng.integers(4)] = 0.2
    return _cut(image, *shares)


def _pad(share: float) -> _Change:
    def pad(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
        tall, wide = (round(share * side) for side in image.shape)
        return np.pad(image, ((tall, tall), (wide, wide)))

    return pad


def _turn(*quarters: int) -> _Change:
    return lambda rng, image: np.rot90(image, int(rng.choice(quarters))).copy()


def _segment(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Set everything to zero outside of a smooth blob that covers about half of the image."""
    row, column = (
        np.linspace(-1, 1, side)[shape]
        for side, shape in zip(image.shape, (np.s_[:, None], np.s_[None, :]), strict=True)
    )
    angle = np.arctan2(row, column)
    waves = sum(
        rng.normal(0, 0.06) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
        for order in range(2, 6)
    )
    tall, wide = rng.uniform(0.7, 0.95, 2)
    shift = rng.uniform(-0.08, 0.08, 2)
    radius = np.hypot((row - shift[0]) / tall, (column - shift[1]) / wide)
    segmented: np.ndarray = np.where(radius < 1 + waves, image, 0).astype(np.uint8)
    return segmented


def _change_gray(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    gain, offset, gamma = rng.uniform((0.8, -15.0, 0.75), (1.2, 15.0, 1.35))
    levels = 255 * gain * (image / 255) ** gamma + offset
    return np.asarray(np.clip(np.rint(levels), 0, 255), np.uint8)


def _resize(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    tall, wide = (max(64, round(side * rng.uniform(0.4, 0.8))) for side in image.shape)
    return np.asarray(cv2.resize(image, (wide, tall), interpolation=cv2.INTER_AREA))


def _encode(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=int(rng.integers(30, 61)))
    return np.asarray(Image.open(buffer))


def _tilt(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    angle = rng.uniform(1, 6) * rng.choice((-1, 1))
    return np.asarray(Image.fromarray(image).rotate(angle, Image.Resampling.BILINEAR))


PLANTED_CHANGES: dict[str, _Change] = {
    "re-encoded as JPEG, quality 30 to 60": _encode,
    "resized to .4 to .8, each side by itself": _resize,
    "brightness and gamma changed": _change_gray,
    "turned by 1 to 6 degrees": _tilt,
    "mirrored": lambda rng, image: image[:, ::-1].copy(),
    "upside down": lambda rng, image: image[::-1].copy(),
    "inverted gray": lambda rng, image: 255 - image,
    "turned by a quarter": _turn(1, 3),
    "turned by a half": _turn(2),
    "cropped by 10 % a side": _crop(0.1),
    "cropped by 12 % a side": _crop(0.12),
    "cropped by 15 % a side": _crop(0.15),
    "one side cut by 20 %": _cut_one_side,
    "black padding of 15 % a side": _pad(0.15),
    "black padding of 25 % a side": _pad(0.25),
    "centre only, half of each side": _crop(0.25),
    "background set to zero": _segment,
    "histogram equalised": lambda rng, image: cv2.equalizeHist(image),
    "equalised locally (CLAHE)": lambda rng, image: cv2.createCLAHE(3.0, (8, 8)).apply(image),
}
"""Kinds of copies of one radiograph."""

BOTH_SEGMENTED = "segmented twice, differently"
HALF_OF_FILM = "half of a film of both knees"


def copy_radiograph(
    rng: np.random.Generator, image: np.ndarray, other: np.ndarray, kind: str
) -> Planted:
    """Copy a radiograph in one of `PLANTED_CHANGES`, or make what else `kind` names of it.

    Args:
        rng: Decides how much is changed.
        image: uint8 (H, W); the radiograph.
        other: uint8 (H, W); another one, which becomes the other half of a film of both knees.
        kind: A name of `PLANTED_CHANGES`, `BOTH_SEGMENTED` or `HALF_OF_FILM`.

    Returns:
        The images that take the place of the copy; of `BOTH_SEGMENTED`, two, of which neither is
        the radiograph itself.
    """
    if kind == BOTH_SEGMENTED:
        return [_segment(rng, image), _segment(rng, image)]
    if kind == HALF_OF_FILM:
        beside = cv2.resize(other, image.shape[::-1], interpolation=cv2.INTER_AREA)
        pair = [image, beside] if rng.integers(2) else [beside, image]
        return [np.hstack(pair)]
    return [PLANTED_CHANGES[kind](rng, image)]


OURS = "osteo_ray"


@dataclass(frozen=True)
class FoundKind:
    """How copies of one kind were found.

    Attributes:
        kind: The kind.
        method: What looked for them.
        n: Number of images planted.
        recall: Share of them in a pair with another image of their radiograph.
        precision: Share of the pairs found that show one radiograph.
        images_per_s: Image files read and searched per second; with so few, what has to be started
            counts.
    """

    kind: str
    method: str
    n: int
    recall: float
    precision: float
    images_per_s: float


@dataclass(frozen=True)
class _Planting:
    """Radiographs with the planted images of one kind.

    Attributes:
        kind: The kind.
        images: uint8 (H, W) each; the planted ones come last.
        sources: For each image the radiographs that it shows.
        n_kept: Number of images that are not planted.
    """

    kind: str
    images: list[np.ndarray]
    sources: list[set[int]]
    n_kept: int

    def hold(self, pairs: pd.DataFrame) -> np.ndarray:
        """Return which pairs show one radiograph: bool, (n_pairs,)."""
        ends = zip(pairs["first"], pairs["second"], strict=True)
        return np.array([bool(self.sources[one] & self.sources[two]) for one, two in ends], bool)

    def score(self, pairs: pd.DataFrame, method: str, seconds: float) -> FoundKind:
        """Compare the pairs that a method found with the truth."""
        right = self.hold(pairs)
        met = set(pairs.loc[right, ["first", "second"]].to_numpy().ravel().tolist())
        planted = range(self.n_kept, len(self.sources))
        return FoundKind(
            self.kind,
            method,
            len(planted),
            float(np.mean([row in met for row in planted])),
            float(right.mean()) if len(right) else 1.0,
            len(self.sources) / seconds,
        )


def bench_kinds(
    data: str, scratch: Path, *, copies: int, rival: Rival | None = None, seed: int = 0
) -> Iterator[FoundKind]:
    """Plant copies of each kind, one kind at a time, among the distinct radiographs of a set.

    Args:
        data: A source of radiographs; of those that it holds several times, the largest is used.
        scratch: Folder for the images and their thumbnails.
        copies: Most radiographs that are copied.
        rival: A published detector, which searches the same files.
        seed: Decides which radiographs are copied, and how much they are changed.

    Yields:
        For each kind what was found here and, if there is a rival, what the rival finds with its
        usual threshold, and with the one that suits it best: the lowest that still gives a
        precision of .99, chosen with the truth at hand.
    """
    for planting in _plant(data, scratch, copies, seed):
        folder = scratch / "images"
        _write(planting.images, folder)
        yield planting.score(*_search(folder, scratch))
        if rival is None:
            continue
        pairs, seconds = rival.search(folder)
        best = choose_threshold(pairs["likeness"].to_numpy(), planting.hold(pairs))
        for threshold in (USUAL_THRESHOLD, best):
            chosen = pairs[pairs["likeness"] >= threshold]
            yield planting.score(chosen, f"imagededup, threshold {threshold:.3f}", seconds)


def _plant(data: str, scratch: Path, copies: int, seed: int) -> Iterator[_Planting]:
    images = _read_distinct(data, scratch)
    chosen = np.random.default_rng(seed).permutation(len(images))[:copies].tolist()
    for kind in (*PLANTED_CHANGES, BOTH_SEGMENTED, HALF_OF_FILM):
        planted, sources = [], []
        for row in chosen:
            other = (row + 7) % len(images)
            made = copy_radiograph(
                np.random.default_rng([seed, row]), images[row], images[other], kind
            )
            planted += made
            sources += [{row, other} if kind == HALF_OF_FILM else {row}] * len(made)
        hidden = set(chosen) if kind == BOTH_SEGMENTED else set()
        kept = [row for row in range(len(images)) if row not in hidden]
        yield _Planting(
            kind,
            [*(images[row] for row in kept), *planted],
            [*({row} for row in kept), *sources],
            len(kept),
        )


def _read_distinct(data: str, scratch: Path) -> list[np.ndarray]:
    source = open_source(data)
    places = zip(source.items["path"], source.items["position"], strict=True)
    images = [decode(source.reader.read(path, position)).pixels for path, position in places]
    _write(images, scratch / "images")
    groups = join_pairs(len(images), _search(scratch / "images", scratch)[0])
    rising = sorted(range(len(images)), key=lambda row: images[row].size)
    largest = {int(groups[row]): row for row in rising}
    return [images[row] for row in sorted(largest.values())]


def _write(images: Sequence[np.ndarray], folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for row, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{row:06d}.png", compress_level=1)


def _search(folder: Path, scratch: Path) -> tuple[pd.DataFrame, str, float]:
    started = time.perf_counter()
    images = [decode(file.read_bytes()).pixels for file in sorted(folder.iterdir())]
    path = scratch / "thumbnails.u8"
    path.write_bytes(b"".join(make_thumbnail(image).tobytes() for image in images))
    digests = [digest_pixels(image) for image in images]
    pairs = find_copies(digests, Thumbnails(path, np.arange(len(images))))
    return pairs, OURS, time.perf_counter() - started
