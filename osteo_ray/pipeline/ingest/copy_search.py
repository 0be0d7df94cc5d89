"""Find the copies in a set of any size, on the cluster.

Every image becomes short vectors (`Codebook.encode`), one for each form that a copy may have. An
index of nearest neighbors names the few images that may be copies of it, and these are compared
(`measure_likeness`). So the work grows with the number of images rather than of pairs, and pixels
and keypoints stay in files that the workers map.
"""

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import faiss
import numpy as np
import numpy.typing as npt
import pandas as pd
import ray
import ray.data

from osteo_ray.base.progress import tell_progress
from osteo_ray.data.copies.codebook import fit_codebook
from osteo_ray.data.copies.keypoints import (
    COPY_CHANGES,
    STORED_SHAPE,
    find_keypoints,
    pack_keypoints,
    unpack_keypoints,
)
from osteo_ray.data.copies.likeness import COPY_LIKENESS, Seen, measure_likeness
from osteo_ray.data.copies.thumbnails import SIDE, Thumbnails

_TRAINING_IMAGES = 500
_FLAT_UP_TO = 20_000  # images; larger sets are searched in cells
_ROWS_PER_TASK = 256
_ROWS_HERE = 32  # between two reports of what is done in this process
_PAIRS_PER_TASK = 512


@dataclass(frozen=True)
class _Look:
    """One way to name candidates: the forms of an image that it compares, and how closely.

    Attributes:
        forms: Positions in `COPY_CHANGES`.
        words: Of its codebook.
        dimensions: Of its vectors.
        most: Candidates per image, over all forms.
        least_alike: Least product of two vectors of candidates.
        cells: Cells that are searched in a large set.
    """

    forms: range
    words: int
    dimensions: int
    most: int
    least_alike: float
    cells: int

    @property
    def described(self) -> list[int]:
        """The forms in which images are described: as they are, then as compared."""
        return sorted({0, *self.forms})


# Images that are turned by quarters or inverted are otherwise whole, so little tells them.
_LOOKS = (
    _Look(range(2), 128, 256, most=8, least_alike=0.2, cells=100),
    _Look(range(2, len(COPY_CHANGES)), 32, 64, most=2, least_alike=0.45, cells=24),
)

Ints = npt.NDArray[np.int64]


def find_copies(digests: list[str], thumbnails: Thumbnails) -> pd.DataFrame:
    """Find pairs of images that show one radiograph.

    Exact copies are paired with the first of them only, and near copies with the first of their
    exact copies. Joined up by `join_pairs`, the pairs give all groups.

    Args:
        digests: n digests, as `digest_pixels` returns them.
        thumbnails: Thumbnails of the same n images.

    Returns:
        A row per pair, sorted: first, second (int64, first < second), exact, mirrored (bool),
        change (in words; empty unless the second is mirrored, turned by quarters or inverted),
        likeness (float64, 1 for exact copies).
    """
    _, first, same = np.unique(np.asarray(digests), return_index=True, return_inverse=True)
    exact = np.flatnonzero(first[same] != np.arange(len(digests)))
    pairs = pd.DataFrame({"first": first[same][exact], "second": exact, "exact": True})
    pairs = pairs.assign(mirrored=False, change="", likeness=1.0)
    distinct = np.sort(first)
    near = _find_near(thumbnails.select(distinct))
    near[["first", "second"]] = distinct[near[["first", "second"]].to_numpy(np.int64)]
    both = pd.concat([pairs, near.assign(exact=False)], ignore_index=True)
    return both.sort_values(["first", "second"], ignore_index=True)


@dataclass(frozen=True)
class _Shared:
    """Thumbnails and keypoints, in files that workers map or else in the object store."""

    thumbnails: Thumbnails
    keypoints: Path | None
    stored: "list[ray.ObjectRef[npt.NDArray[np.uint8]]]"  # in a list: Ray passes it on

    def read(self, images: Ints) -> npt.NDArray[np.uint8]:
        """Read thumbnails: uint8 (len(images), 112, 112)."""
        if not self.stored:
            return self.thumbnails.read(images)
        stored: npt.NDArray[np.uint8] = ray.get(self.stored[0])
        return stored[self.thumbnails.rows[images]]

    def open(self) -> Callable[[int], Seen]:
        """Open both; return what reads the thumbnail and the keypoints of an image."""
        if self.keypoints is not None:  # opening a file takes nine times as long as reading from it
            packed = np.asarray(np.memmap(self.keypoints, np.uint8, "r"))
            packed, thumbnails = packed.reshape(-1, *STORED_SHAPE), self.thumbnails.open()
        else:
            thumbnails, packed = (ray.get(reference) for reference in self.stored)
        rows = self.thumbnails.rows
        return lambda image: Seen(thumbnails[rows[image]], unpack_keypoints(packed[image], SIDE))


def _find_near(thumbnails: Thumbnails) -> pd.DataFrame:
    shared = _Shared(thumbnails, None, [])
    if not thumbnails.workers_see:
        shared = _Shared(thumbnails, None, [ray.put(thumbnails.open())])
    candidates, shared = _name_candidates(shared)
    likeness = np.full(len(candidates), -1.0)
    compare = functools.partial(_compare, shared=shared, pairs=ray.put(candidates))
    for part in _run("compare pairs", len(candidates), _PAIRS_PER_TASK, compare):
        likeness[part["start"] : part["stop"]] = np.frombuffer(part["found"])
    table = pd.DataFrame(candidates, columns=["first", "second", "form"])
    table["mirrored"] = [COPY_CHANGES[form].mirrored for form in table["form"]]
    table["change"] = [COPY_CHANGES[form].describe() for form in table.pop("form")]
    table = table.assign(likeness=likeness)[likeness >= COPY_LIKENESS]
    best = table.sort_values("likeness", ascending=False, kind="stable")
    return best.drop_duplicates(["first", "second"])


def _name_candidates(shared: _Shared) -> tuple[Ints, _Shared]:
    """Name the pairs that may be copies: int64 (p, 3) of first, second, and the second's form."""
    n_images = len(shared.thumbnails.rows)
    sample = np.linspace(0, n_images - 1, min(n_images, _TRAINING_IMAGES)).astype(np.int64)
    known = [find_keypoints(thumbnail) for thumbnail in shared.thumbnails.read(sample)]
    codebooks = [
        fit_codebook(
            known,
            [COPY_CHANGES[form] for form in look.described],
            words=look.words,
            dimensions=look.dimensions,
        )
        for look in _LOOKS
    ]
    encode = functools.partial(_encode, shared=shared, codebooks=ray.put(codebooks))
    sizes = [codebook.projection.shape[1] for codebook in codebooks]
    vectors = [
        np.zeros((n_images, len(look.described), size), np.float16)
        for look, size in zip(_LOOKS, sizes, strict=True)
    ]
    path = shared.thumbnails.path.with_suffix(".keypoints")
    n_packed = math.prod(STORED_SHAPE)
    with path.open("wb") as file:  # not mapped, which would keep all of it in this process
        for part in _run("describe images", n_images, _ROWS_PER_TASK, encode):
            start, stop = part["start"], part["stop"]
            rows = np.frombuffer(part["found"], np.uint8).reshape(stop - start, -1)
            file.seek(start * n_packed)
            file.write(rows[:, :n_packed].tobytes())
            place = n_packed
            for one in vectors:
                width = 2 * math.prod(one.shape[1:])
                found = np.ascontiguousarray(rows[:, place : place + width]).view(np.float16)
                one[start:stop] = found.reshape(-1, *one.shape[1:])
                place += width
    if shared.stored:
        packed = np.fromfile(path, np.uint8).reshape(-1, *STORED_SHAPE)
        shared = replace(shared, stored=[*shared.stored, ray.put(packed)])
    else:
        shared = replace(shared, keypoints=path)
    named = [_look_for(look, one) for look, one in zip(_LOOKS, vectors, strict=True)]
    return np.unique(np.concatenate(named), axis=0), shared


def _look_for(look: _Look, vectors: npt.NDArray[np.float16]) -> Ints:
    """Name candidates by the vectors (n, forms, d) of images in the forms `look.described`."""
    index = ray.put(faiss.serialize_index(_build_index(vectors[:, 0], look.cells)))
    search = functools.partial(_search, look=look, index=index, vectors=ray.put(vectors))
    found = _run("look for copies", len(vectors), 8 * _ROWS_PER_TASK, search)
    named = np.frombuffer(b"".join(part["found"] for part in found), np.int64)
    return named.reshape(-1, 3)


def _run(
    what: str, total: int, step: int, work: Callable[[int, int], npt.NDArray[Any]]
) -> Iterator[dict[str, Any]]:
    """Run `work(start, stop)` over 0 .. total in slices: on the cluster, unless one would do."""
    tell_progress(what, 0, total)
    if total <= step:  # not worth waking workers for
        for start in range(0, total, _ROWS_HERE):
            stop = min(start + _ROWS_HERE, total)
            yield {"start": start, "stop": stop, "found": work(start, stop).tobytes()}
            tell_progress(what, stop, total)
        return
    slices = [{"start": at, "stop": min(at + step, total)} for at in range(0, total, step)]
    dataset = ray.data.from_items(slices, override_num_blocks=len(slices)).map(
        functools.partial(_do_slice, work=work)
    )
    done = 0
    for part in dataset.iter_rows():
        done += part["stop"] - part["start"]
        tell_progress(what, done, total)
        yield part


def _do_slice(row: dict[str, Any], work: Callable[[int, int], npt.NDArray[Any]]) -> Any:
    cv2.setNumThreads(1)  # one task, one CPU
    faiss.omp_set_num_threads(1)
    start, stop = int(row["start"]), int(row["stop"])
    return {"start": start, "stop": stop, "found": work(start, stop).tobytes()}


def _encode(
    start: int, stop: int, shared: _Shared, codebooks: "ray.ObjectRef[Any]"
) -> npt.NDArray[np.uint8]:
    """Describe images: a row of bytes each, with keypoints and then the vectors of each look."""
    found = [find_keypoints(thumbnail) for thumbnail in shared.read(np.arange(start, stop))]
    parts = [np.stack([pack_keypoints(keypoints, SIDE) for keypoints in found])]
    for look, codebook in zip(_LOOKS, ray.get(codebooks), strict=True):
        forms = [COPY_CHANGES[form] for form in look.described]
        parts.append(codebook.encode(found, forms).astype(np.float16))
    rows = [part.reshape(stop - start, -1).view(np.uint8) for part in parts]
    return np.concatenate(rows, axis=1)


def _build_index(vectors: npt.NDArray[np.float16], cells: int) -> Any:
    """Index vectors (n, d) by their dot product."""
    n_images, width = vectors.shape
    if n_images <= _FLAT_UP_TO:
        index: Any = faiss.IndexFlatIP(width)
    else:
        n_cells = int(4 * math.sqrt(n_images))
        index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(width),
            width,
            n_cells,
            faiss.ScalarQuantizer.QT_fp16,
            faiss.METRIC_INNER_PRODUCT,
        )
        index.nprobe = cells
        sample = np.linspace(0, n_images - 1, min(n_images, 50 * n_cells)).astype(np.int64)
        index.train(vectors[sample].astype(np.float32))
    for start in range(0, n_images, 65_536):  # converted piece by piece to save memory
        index.add(vectors[start : start + 65_536].astype(np.float32))
    return index


@functools.lru_cache(maxsize=1)
def _load_index(reference: "ray.ObjectRef[npt.NDArray[np.uint8]]") -> Any:
    return faiss.deserialize_index(ray.get(reference))


def _search(
    start: int,
    stop: int,
    look: _Look,
    index: "ray.ObjectRef[npt.NDArray[np.uint8]]",
    vectors: "ray.ObjectRef[npt.NDArray[np.float16]]",
) -> Ints:
    """Name the pairs to compare: int64 (p, 3) of first, second, and the second's form."""
    searcher = _load_index(index)
    queries = ray.get(vectors)[start:stop].astype(np.float32)
    own = np.arange(start, stop)
    scores, neighbours = [], []
    for form in look.forms:
        asked = np.ascontiguousarray(queries[:, look.described.index(form)])
        alike, found = searcher.search(asked, look.most + 1)
        scores.append(np.where((found == own[:, None]) | (found < 0), -1.0, alike))
        neighbours.append(found)
    joined = np.concatenate(scores, axis=1)
    best = np.argsort(-joined, axis=1, kind="stable")[:, : look.most]
    row, rank = np.nonzero(np.take_along_axis(joined, best, 1) >= look.least_alike)
    column = best[row, rank]
    query, other = own[row], np.concatenate(neighbours, axis=1)[row, column]
    # The query was changed; where it comes first, the other one is changed back instead.
    forms = np.asarray(look.forms)[column // (look.most + 1)]
    forms = np.where(query < other, _BACK[forms], forms)
    ends = np.sort(np.stack([query, other]), axis=0)
    return np.stack([*ends, forms], axis=1).astype(np.int64)


_BACK = np.array([COPY_CHANGES.index(change.undo()) for change in COPY_CHANGES])


def _compare(
    start: int, stop: int, shared: _Shared, pairs: "ray.ObjectRef[Ints]"
) -> npt.NDArray[np.float64]:
    return np.array(list(_measure(ray.get(pairs)[start:stop], shared)))


def _measure(pairs: Iterable[Any], shared: _Shared) -> Iterator[float]:
    see = shared.open()
    see_first = functools.lru_cache(maxsize=1)(see)  # pairs are sorted by it
    for first, second, form in pairs:
        yield measure_likeness(see_first(first), see(second).change(COPY_CHANGES[form]))
