"""What a training needs for the masks of a large set: files, time to read them, and memory."""

import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.memory import PeakMemory
from osteo_ray.base.joined_tables import join_parts
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import MASKS, list_parts, write_table
from osteo_ray.config.build import build_config
from osteo_ray.experiment.dataset import Dataset
from osteo_ray.experiment.keep_masks import read_keep_masks
from osteo_ray.experiment.trials import Experiment, MaskJob, Trial, describe_experiment

_SLICE = 16  # images per file, as an explaining actor writes them
_KINDS = ("lime", "random", "gradcam")
_MODEL = "test_byobnet"


@dataclass(frozen=True)
class MaskReading:
    """How the masks of one teacher were joined and read.

    Attributes:
        n_images: Images of the set.
        files_before: Files as the actors leave them.
        files_after: Files once they are joined.
        joining_s: Seconds that joining took.
        reading_s: Seconds that a training takes to read its masks.
        joining_gib: Peak memory of the process that joins.
        reading_gib: Peak memory of the process that reads.
        array_gib: What the masks would take as an array, one byte per pixel.
    """

    n_images: int
    files_before: int
    files_after: int
    joining_s: float
    reading_s: float
    joining_gib: float
    reading_gib: float
    array_gib: float


def bench_masks(sizes: Sequence[int], *, size_px: int) -> Iterator[MaskReading]:
    """Write the masks of sets as actors do, join them, and read them as a training does.

    Joining and reading run in a process of their own each.

    Args:
        sizes: Numbers of images.
        size_px: Side of the images, in pixels.
    """
    context = multiprocessing.get_context("spawn")
    for n_images in sizes:
        with tempfile.TemporaryDirectory() as folder:
            experiment = _describe(Run(Path(folder)), n_images, size_px)
            masks = experiment.masks_of(_find_teacher(experiment))
            _write_masks(experiment, size_px)
            files_before = len(list_parts(masks))
            with context.Pool(1) as pool:
                joining_s, joining_gib = pool.apply(_join, (experiment,))
            files_after = len(list_parts(masks))
            with context.Pool(1) as pool:
                reading_s, reading_gib = pool.apply(_read, (experiment,))
        array_gib = n_images * size_px**2 / 2**30
        yield MaskReading(
            *(n_images, files_before, files_after, joining_s, reading_s),
            *(joining_gib, reading_gib, array_gib),
        )


def _describe(run: Run, n_images: int, size_px: int) -> Experiment:
    """Describe a comparison of images of two classes, seven in ten of which are trained on."""
    config = build_config(
        {
            "models": [_MODEL],
            "weights": "none",
            "arms": ["original", "lime"],
            "seeds": 2,
            "image_size": size_px,
            "lime": {"superpixels": "grid"},
            "out": str(run.root),
        }
    )
    ids = [f"{number:016x}" for number in range(n_images)]
    split = np.resize(np.repeat(["train", "validation", "test"], [7, 1, 2]), n_images)
    images = pd.DataFrame(
        {"image_id": ids, "path": ids, "digest": ids, "group": np.arange(n_images)}
    ).assign(label=np.resize(["normal", "osteoporosis"], n_images))
    dataset = Dataset(images, {0: split, 1: split}, ("normal", "osteoporosis"), "benchmark")
    return describe_experiment(run, config, dataset)


def _find_teacher(experiment: Experiment) -> MaskJob:
    (job,) = experiment.list_jobs(Trial(_MODEL, 0, "lime"))
    return job


def _write_masks(experiment: Experiment, size_px: int) -> None:
    """Write masks of a few of 6×6 squares, three kinds of each image."""
    rng = np.random.default_rng(0)
    folder = experiment.masks_of(_find_teacher(experiment))
    square = -(-size_px // 6)
    few = rng.random((64, 6, 6)) < 0.15
    packed = [
        np.packbits(np.kron(mask, np.ones((square, square)))[:size_px, :size_px] > 0).tobytes()
        for mask in few
    ]
    ids = experiment.image_ids.tolist()
    for start in range(0, len(ids), _SLICE):
        rows = [
            {"model": _MODEL, "seed": 0, "teacher": "original", "kind": kind, "image_id": image_id}
            | {"keep_mask": packed[rng.integers(len(packed))], "weights": rng.random(36).tolist()}
            for image_id in ids[start : start + _SLICE]
            for kind in _KINDS
        ]
        table = pa.Table.from_pylist(rows, schema=MASKS)
        write_table(folder / f"part-{start:09}.parquet", table)


def _join(experiment: Experiment) -> tuple[float, float]:
    with PeakMemory() as peak:
        begin = time.perf_counter()
        join_parts(experiment.masks_of(_find_teacher(experiment)))
        return time.perf_counter() - begin, peak.driver_gib


def _read(experiment: Experiment) -> tuple[float, float]:
    with PeakMemory() as peak:
        begin = time.perf_counter()
        found = read_keep_masks(experiment, Trial(_MODEL, 0, "lime"))
        assert found is not None
        return time.perf_counter() - begin, peak.driver_gib
