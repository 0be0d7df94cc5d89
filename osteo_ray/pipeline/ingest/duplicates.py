"""Find the copies in a set of any size, on the cluster.

Every image becomes a short vector (`copies.Codebook`); an index of nearest neighbours names the few
images that may be copies of it, and only those are compared (`copies.measure_likeness`). So the
work grows with the number of images, not of pairs, and pixels stay in a file that workers map.
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

from osteo_ray.base.progress import Report, ignore_progress
from osteo_ray.data.copies.likeness import COPY_LIKENESS, Codebook, fit_codebook, measure_likeness
from osteo_ray.data.decoding.thumbnails import Thumbnails, mirror

_TRAINING_IMAGES = 500
_NEIGHBOURS = 3  # of an image as it is, and of its mirror image, that are compared with it
_LEAST_ALIKE = 0.4  # product of two vectors from which the images are compared
_FLAT_UP_TO = 20_000  # images; larger sets are searched by cells
_CELLS_SEARCHED = 160
_ROWS_PER_TASK = 256
_PAIRS_PER_TASK = 512

Ints = npt.NDArray[np.int64]


def find_copies(
    digests: list[str], thumbnails: Thumbnails, *, report: Report = ignore_progress
) -> pd.DataFrame:
    """Find pairs of images that show one radiograph.

    Exact copies are named with the first of them only, near copies with the first of each exact
    kind; joined up (`groups.join_pairs`), the pairs give all groups.

    Args:
        digests: n strings of `digest_pixels`.
        thumbnails: Of the same n images.
        report: Told how far it is.

    Returns:
        A row per pair, sorted: first, second (int64, first < second), exact, mirrored (bool),
        likeness (float64; 1 for exact copies).
    """
    _, first, same = np.unique(np.asarray(digests), return_index=True, return_inverse=True)
    exact = np.flatnonzero(first[same] != np.arange(len(digests)))
    pairs = pd.DataFrame({"first": first[same][exact], "second": exact, "exact": True})
    pairs = pairs.assign(mirrored=False, likeness=1.0)
    distinct = np.sort(first)
    near = _find_near(thumbnails.select(distinct), report)
    near[["first", "second"]] = distinct[near[["first", "second"]].to_numpy(np.int64)]
    both = pd.concat([pairs, near.assign(exact=False)], ignore_index=True)
    return both.sort_values(["first", "second"], ignore_index=True)


@dataclass(frozen=True)
class _Shared:
    """Thumbnails in the object store, for workers that do not see the file that they are in."""

    stored: "list[ray.ObjectRef[npt.NDArray[np.uint8]]]"  # in a list, Ray hands on the reference
    rows: Ints

    def read(self, images: Ints) -> npt.NDArray[np.uint8]:
        stored: npt.NDArray[np.uint8] = ray.get(self.stored[0])
        return stored[self.rows[images]]


def _share(thumbnails: Thumbnails) -> Thumbnails | _Shared:
    if thumbnails.workers_see:
        return thumbnails
    return _Shared([ray.put(thumbnails.open())], thumbnails.rows)


def _find_near(thumbnails: Thumbnails, report: Report) -> pd.DataFrame:
    n_images = len(thumbnails.rows)
    seen = _share(thumbnails)
    sample = np.linspace(0, n_images - 1, min(n_images, _TRAINING_IMAGES)).astype(np.int64)
    codebook = fit_codebook(thumbnails.read(sample))
    shared = ray.put(codebook)
    found = _run("describe images", n_images, _ROWS_PER_TASK, report, _encode, seen, shared)
    vectors = np.zeros((n_images, 2, codebook.projection.shape[1]), np.float16)
    for part in found:
        rows = np.frombuffer(part["found"], np.float16)
        vectors[part["start"] : part["stop"]] = rows.reshape(-1, *vectors.shape[1:])
    index = ray.put(faiss.serialize_index(_build_index(vectors[:, 0])))
    stored = ray.put(vectors)
    del vectors
    found = _run("look for copies", n_images, 8 * _ROWS_PER_TASK, report, _search, index, stored)
    named = np.frombuffer(b"".join(part["found"] for part in found), np.int64)
    candidates = np.unique(named.reshape(-1, 3), axis=0)
    named_pairs = ray.put(candidates)
    found = _run(
        "compare pairs", len(candidates), _PAIRS_PER_TASK, report, _compare, seen, named_pairs
    )
    likeness = np.full(len(candidates), -1.0)
    for part in found:
        likeness[part["start"] : part["stop"]] = np.frombuffer(part["found"])
    table = pd.DataFrame(candidates, columns=["first", "second", "mirrored"])
    table["mirrored"] = table["mirrored"].astype(bool)
    table = table.assign(likeness=likeness)[likeness >= COPY_LIKENESS]
    best = table.sort_values("likeness", ascending=False, kind="stable")
    return best.drop_duplicates(["first", "second"])


def _run(
    what: str,
    total: int,
    step: int,
    report: Report,
    work: Callable[..., npt.NDArray[Any]],
    *arguments: Any,
) -> Iterator[dict[str, Any]]:
    """Run `work(start, stop, *arguments)` over 0 .. total in slices, on the cluster."""
    slices = [{"start": at, "stop": min(at + step, total)} for at in range(0, total, step)]
    if not slices:
        return
    if len(slices) == 1:  # not worth waking workers for
        report(what, 0, total)
        yield {"start": 0, "stop": total, "found": work(0, total, *arguments).tobytes()}
        report(what, total, total)
        return
    # In a list, so that Ray hands over references instead of fetching what they stand for.
    dataset = ray.data.from_items(slices, override_num_blocks=len(slices)).map(
        functools.partial(_do_slice, work=work, arguments=list(arguments))
    )
    done = 0
    report(what, 0, total)
    for part in dataset.iter_rows():
        done += part["stop"] - part["start"]
        report(what, done, total)
        yield part


def _do_slice(row: dict[str, Any], work: Callable[..., Any], arguments: list[Any]) -> Any:
    cv2.setNumThreads(1)  # one task, one CPU
    faiss.omp_set_num_threads(1)
    start, stop = int(row["start"]), int(row["stop"])
    return {"start": start, "stop": stop, "found": work(start, stop, *arguments).tobytes()}


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
    for start in range(0, n_images, 65_536):  # converted bit by bit, to keep memory flat
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
    start: int, stop: int, thumbnails: Thumbnails, pairs: "ray.ObjectRef[Ints]"
) -> npt.NDArray[np.float64]:
    return np.array(list(_measure(ray.get(pairs)[start:stop], thumbnails)))


def _measure(pairs: Iterable[Any], thumbnails: Thumbnails) -> Iterator[float]:
    for first, second, mirrored in pairs:
        fixed, moving = thumbnails.read(np.array([first, second]))
        yield measure_likeness(fixed, mirror(moving) if mirrored else moving)
