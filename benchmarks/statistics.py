"""How long the statistics of a large comparison take, part by part."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.memory import PeakMemory
from osteo_ray.arms.registry import ARMS
from osteo_ray.base.errors import InputError
from osteo_ray.experiment.comparison import Analysis, analyse
from osteo_ray.statistics.predictions import NAMES
from osteo_ray.statistics.sizes import Sizes

CLASSES = ("normal", "worn")
_TESTED = 10  # one image in so many is in the test set of a seed


@dataclass(frozen=True)
class Part:
    """One part of the statistics.

    Attributes:
        name: What it does, in words.
        seconds: From call to return.
        memory_gib: Peak memory of the process meanwhile.
    """

    name: str
    seconds: float
    memory_gib: float


def bench_statistics(
    *, n_seeds: int, n_models: int, n_arms: int, n_test: int, metric: str
) -> Iterator[Part]:
    """Write a table of predictions, then time every step from it to the verdict.

    Args:
        n_seeds: Trainings per model and arm.
        n_models: Networks.
        n_arms: Arms, at least three, the first of `ARMS`.
        n_test: Test images per seed, of ten times as many in all; every fourth image has a copy.
        metric: The primary endpoint.

    Raises:
        InputError: There are fewer arms than that.
    """
    if n_arms > len(ARMS):
        raise InputError(f"Expected at most {len(ARMS)} arms, but got {n_arms}.")
    n_images = _TESTED * n_test
    images = pd.DataFrame(
        {"image_id": _name_images(n_images), "group": np.arange(n_images) * 4 // 5}
    )
    analysis = Analysis(
        models=tuple(f"model{number}" for number in range(n_models)),
        arms=tuple(ARMS)[:n_arms],
        seeds=tuple(range(n_seeds)),
        metric=metric,
        alpha=0.05,
        margin=0.03,
        sizes=Sizes(n_test=n_test, n_train=7.0 * n_test),
        classes=CLASSES,
        positive_class=CLASSES[-1],
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.parquet"
        _write_predictions(path, analysis, n_images)
        clock = _Clock()
        with clock.lap("read predictions.parquet"):
            predictions = pq.read_table(path, read_dictionary=list(NAMES))
    yield from clock.parts
    clock = _Clock()
    _, comparison = analyse(predictions, images, analysis, timed=clock.lap)
    if any(contrast["bootstrap_low"] is None for contrast in comparison["contrasts"]):
        note = comparison["contrasts"][0]["note"]
        raise RuntimeError(f"Expected an interval of each contrast, but {note}")
    yield from clock.parts


class _Clock:
    """Times what is done inside `lap`."""

    def __init__(self) -> None:
        self.parts: list[Part] = []

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        with PeakMemory() as memory:
            started = time.perf_counter()
            yield
            seconds = time.perf_counter() - started
        self.parts.append(Part(name, seconds, memory.driver_gib))


def _write_predictions(path: Path, analysis: Analysis, n_images: int) -> None:
    """Write plausible predictions, seed by seed; later arms are a little better."""
    rng = np.random.default_rng(0)
    label = np.arange(n_images) * 4 // 5 % 2
    difficulty = rng.normal(0, 1.5, n_images)
    names = np.array(_name_images(n_images))
    writer: pq.ParquetWriter | None = None
    for seed in analysis.seeds:
        tested = np.sort(rng.choice(n_images, n_images // _TESTED, replace=False))
        for model in analysis.models:
            for number, arm in enumerate(analysis.arms):
                noise = rng.normal(size=len(tested)) + rng.normal(0, 0.1)
                margin = 1.5 + 0.02 * number + difficulty[tested] + noise
                worn = 1 / (1 + np.exp(np.where(label[tested] == 1, -margin, margin)))
                table = pa.table(
                    {
                        "model": pa.array(np.full(len(tested), model)),
                        "seed": pa.array(np.full(len(tested), seed, np.int64)),
                        "arm": pa.array(np.full(len(tested), arm)),
                        "split": pa.array(np.full(len(tested), "test")),
                        "image_id": pa.array(names[tested]),
                        "label": pa.array(np.array(CLASSES)[label[tested]]),
                        "p_normal": 1 - worn,
                        "p_worn": worn,
                    }
                )
                writer = writer or pq.ParquetWriter(path, table.schema)
                writer.write_table(table)
    if writer is not None:
        writer.close()


def _name_images(n_images: int) -> list[str]:
    return [f"images/{number:08d}.png" for number in range(n_images)]
