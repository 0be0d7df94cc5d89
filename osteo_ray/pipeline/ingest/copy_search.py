"""Find the copies in a set of any size, on the cluster.

Every image becomes a short vector (`Codebook.encode`). An index of nearest neighbors names the few
images that may be copies of it, and only those are compared (`measure_likeness`). So the work grows
with the number of images rather than of pairs, and pixels stay in a file that the workers map.
"""

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import faiss
import numpy as np
import numpy.typing as npt
import pandas as pd
import ray
import ray.data

from osteo_ray.base.progress import tell_progress
from osteo_ray.data.copies.codebook import Codebook, fit_codebook
from osteo_ray.data.copies.likeness import COPY_LIKENESS, measure_likeness
from osteo_ray.data.copies.thumbnails import Thumbnails, mirror

_TRAINING_IMAGES = 500
_NEIGHBOURS = 3  # to compare with an image as it is, and as many with its mirror image
_LEAST_ALIKE = 0.4  # least product of two vectors for which the images are compared
_FLAT_UP_TO = 20_000  # images; larger sets are searched in cells
_CELLS_SEARCHED = 160
_ROWS_PER_TASK = 256
_PAIRS_PER_TASK = 512

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
        likeness (float64, 1 for exact copies).
    """
    _, first, same = np.unique(np.asarray(digests), return_index=True, return_inverse=True)
    exact = np.flatnonzero(first[same] != np.arange(len(digests)))
    pairs = pd.DataFrame({"first": first[same][exact], "second": exact, "exact": True})
    pairs = pairs.assign(mirrored=False, likeness=1.0)
    distinct = np.sort(first)
    near = _find_near(thumbnails.select(distinct))
    near[["first", "second"]] = distinct[near[["first", "second"]].to_numpy(np.int64)]
    both = pd.concat([pairs, near.assign(exact=False)], ignore_index=True)
    return both.sort_values(["first", "second"], ignore_index=True)


@dataclass(frozen=True)
class _Shared:
    """Thumbnails in the object store, for workers that cannot read their file."""

    stored: "list[ray.ObjectRef[npt.NDArray[np.uint8]]]"  # in a list: Ray passes it on
    rows: Ints

    def read(self, images: Ints) -> npt.NDArray[np.uint8]:
        stored: npt.NDArray[np.uint8] = ray.get(self.stored[0])
        return stored[self.rows[images]]


def _share(thumbnails: Thumbnails) -> Thumbnails | _Shared:
    if thumbnails.workers_see:
        return thumbnails
    return _Shared([ray.put(thumbnails.open())], thumbnails.rows)


def _find_near(thumbnails: Thumbnails) -> pd.DataFrame:
    seen = _share(thumbnails)
    candidates = _name_candidates(thumbnails, seen)
    likeness = np.full(len(candidates), -1.0)
    compare = functools.partial(_compare, thumbnails=seen, pairs=ray.put(candidates))
    for part in _run("compare pairs", len(candidates), _PAIRS_PER_TASK, compare):
        likeness[part["start"] : part["stop"]] = np.frombuffer(part["found"])
    table = pd.DataFrame(candidates, columns=["first", "second", "mirrored"])
    table["mirrored"] = table["mirrored"].astype(bool)
    table = table.assign(likeness=likeness)[likeness >= COPY_LIKENESS]
    best = table.sort_values("likeness", ascending=False, kind="stable")
    return best.drop_duplicates(["first", "second"])


def _name_candidates(thumbnails: Thumbnails, seen: Thumbnails | _Shared) -> Ints:
    """Name the pairs that may be copies: int64 (p, 3) of first, second, mirrored."""
    n_images = len(thumbnails.rows)
    sample = np.linspace(0, n_images - 1, min(n_images, _TRAINING_IMAGES)).astype(np.int64)
    codebook = fit_codebook(thumbnails.read(sample))
    encode = functools.partial(_encode, thumbnails=seen, codebook=ray.put(codebook))
    vectors = np.zeros((n_images, 2, codebook.projection.shape[1]), np.float16)
    for part in _run("describe images", n_images, _ROWS_PER_TASK, encode):
        rows = np.frombuffer(part["found"], np.float16)
        vectors[part["start"] : part["stop"]] = rows.reshape(-1, *vectors.shape[1:])
    index = ray.put(faiss.serialize_index(_build_index(vectors[:, 0])))
    search = functools.partial(_search, index=index, vectors=ray.put(vectors))
    del vectors
    found = _run("look for copies", n_images, 8 * _ROWS_PER_TASK, search)
    named = np.frombuffer(b"".join(part["found"] for part in found), np.int64)
    return np.unique(named.reshape(-1, 3), axis=0)


def _run(
    what: str, total: int, step: int, work: Callable[[int, int], npt.NDArray[Any]]
) -> Iterator[dict[str, Any]]:
    """Run `work(start, stop)` over 0 .. total in slices, on the cluster."""
    slices = [{"start": at, "stop": min(at + step, total)} for at in range(0, total, step)]
    if not slices:
        return
    tell_progress(what, 0, total)
    if len(slices) == 1:  # not worth waking workers for
        yield {"start": 0, "stop": total, "found": work(0, total).tobytes()}
        tell_progress(what, total, total)
        return
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
    start: int, stop: int, thumbnails: Thumbnails | _Shared, codebook: "ray.ObjectRef[Codebook]"
) -> npt.NDArray[np.float16]:
    return ray.get(codebook).encode(thumbnails.read(np.arange(start, stop))).astype(np.float16)


def _build_index(vectors: npt.NDArray[np.float16]) -> Any:
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
        index.nprobe = _CELLS_SEARCHED
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
    index: "ray.ObjectRef[npt.NDArray[np.uint8]]",
    vectors: "ray.ObjectRef[npt.NDArray[np.float16]]",
) -> Ints:
    """Name the pairs to compare: int64 (p, 3) of first, second, mirrored."""
    searcher = _load_index(index)
    queries = ray.get(vectors)[start:stop].astype(np.float32)
    own = np.arange(start, stop)[:, None]
    pairs = []
    for mirrored in (0, 1):
        alike, neighbours = searcher.search(
            np.ascontiguousarray(queries[:, mirrored]), _NEIGHBOURS + 1
        )
        row, column = np.nonzero((alike >= _LEAST_ALIKE) & (neighbours != own) & (neighbours >= 0))
        ends = np.sort(np.stack([own[row, 0], neighbours[row, column]]), axis=0)
        pairs.append(np.stack([*ends, np.full(len(row), mirrored)], axis=1))
    return np.concatenate(pairs).astype(np.int64)


def _compare(
    start: int, stop: int, thumbnails: Thumbnails | _Shared, pairs: "ray.ObjectRef[Ints]"
) -> npt.NDArray[np.float64]:
    return np.array(list(_measure(ray.get(pairs)[start:stop], thumbnails)))


def _measure(pairs: Iterable[Any], thumbnails: Thumbnails | _Shared) -> Iterator[float]:
    for first, second, mirrored in pairs:
        fixed, moving = thumbnails.read(np.array([first, second]))
        yield measure_likeness(fixed, mirror(moving) if mirrored else moving)
