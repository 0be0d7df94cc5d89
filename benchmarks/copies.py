"""How well and how fast copies are found in sets of phantoms whose copies are known."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import ray.data
from PIL import Image

from benchmarks.memory import PeakMemory
from osteo_ray.data.copies.groups import join_pairs
from osteo_ray.data.phantoms.sets import make_phantoms
from osteo_ray.data.settings import COPY_KINDS, PhantomSettings
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.pipeline.ingest.copy_search import find_copies
from osteo_ray.pipeline.ingest.reading import ingest_images

COPY_SHARE = 0.1
_SLICES = 8  # each of them plans the whole set again


@dataclass(frozen=True)
class FoundCopies:
    """How copies were found in a set of one size.

    Attributes:
        n_images: Size of the set.
        read_s: Time to read the files, in seconds.
        find_s: Time to find the copies, in seconds.
        driver_gib: Peak memory of the driver.
        memory_gib: Peak memory of all processes, including those of Ray.
        precision: Share of the pairs found that are copies of one radiograph.
        recall: Share of the copies that are in the group of their original, by kind of copy.
        counts: Number of copies, by kind.
    """

    n_images: int
    read_s: float
    find_s: float
    driver_gib: float
    memory_gib: float
    precision: float
    recall: dict[str, float]
    counts: dict[str, int]


def bench_copies(sizes: list[int], *, size_px: int, seed: int = 0) -> Iterator[FoundCopies]:
    """Draw phantoms of which a tenth are copies, of every kind, and search for the copies.

    Args:
        sizes: Number of images of each set.
        size_px: Side of the images, in pixels.
        seed: Seed of the phantoms.
    """
    for n_images in sizes:
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            truth = draw_files(root / "images", n_images, size_px, seed)
            yield _measure(root, truth)


def draw_files(root: Path, n_images: int, size_px: int, seed: int = 0) -> pd.DataFrame:
    """Write phantoms on the cluster; return the path, copy_of and copy_kind of each."""
    settings = PhantomSettings(
        n_images=n_images,
        size_px=size_px,
        duplicate_share=COPY_SHARE,
        copy_kinds=COPY_KINDS,
        seed=seed,
    )
    slices = np.array_split(np.arange(n_images), min(_SLICES, n_images))
    rows = [{"start": int(part[0]), "stop": int(part[-1]) + 1} for part in slices]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).flat_map(
        partial(_write_slice, root=root, settings=settings)
    )
    return dataset.to_pandas()


def _write_slice(
    row: dict[str, Any], root: Path, settings: PhantomSettings
) -> Iterator[dict[str, str]]:
    for phantom in make_phantoms(settings, range(row["start"], row["stop"])):
        path = root / phantom.name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(phantom.image).save(path)
        yield {
            "path": phantom.name,
            "copy_of": phantom.copy_of or "",
            "copy_kind": phantom.copy_kind or "",
        }


def _measure(root: Path, truth: pd.DataFrame) -> FoundCopies:
    with PeakMemory() as memory:
        started = time.perf_counter()
        ingest = ingest_images(open_source(str(root / "images")), root / "scratch")
        read_s = time.perf_counter() - started
        pairs = find_copies(ingest.images["digest"].tolist(), ingest.thumbnails)
        find_s = time.perf_counter() - started - read_s
    paths = ingest.images["path"]
    known = truth.set_index("path").loc[paths]
    origin = np.where(known["copy_of"] == "", paths, known["copy_of"])
    right = origin[pairs["first"]] == origin[pairs["second"]]
    groups = pd.Series(join_pairs(len(paths), pairs[right]), index=paths)
    copies = truth[truth["copy_of"] != ""]
    found = groups.loc[copies["path"]].to_numpy() == groups.loc[copies["copy_of"]].to_numpy()
    by_kind = pd.Series(found).groupby(copies["copy_kind"].to_numpy())
    return FoundCopies(
        n_images=len(paths),
        read_s=read_s,
        find_s=find_s,
        driver_gib=memory.driver_gib,
        memory_gib=memory.total_gib,
        precision=float(right.mean()) if len(pairs) else 1.0,
        recall={str(kind): float(share) for kind, share in by_kind.mean().items()},
        counts={str(kind): int(count) for kind, count in by_kind.size().items()},
    )
