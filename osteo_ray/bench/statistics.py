"""How long the statistics of a large comparison take, part by part."""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from osteo_ray.bench.memory import PeakMemory
from osteo_ray.compare.contrasts import compare_arms
from osteo_ray.compare.metrics import compute_results
from osteo_ray.compare.resampling import NAMES, resample_metric
from osteo_ray.compare.share import share_explained

CLASSES = ("normal", "worn")
_TESTED = 10  # one image in so many is in the test set of a seed

Result = TypeVar("Result")


@dataclass(frozen=True)
class Part:
    """One part of the statistics.

    Attributes:
        name: Which.
        seconds: From call to return.
        memory_gib: Most memory of the process meanwhile.
    """

    name: str
    seconds: float
    memory_gib: float


def bench_statistics(
    *, n_seeds: int, n_models: int, n_arms: int, n_test: int, metric: str
) -> Iterator[Part]:
    """Write a table of predictions, then time all that lies between it and the verdict.

    Args:
        n_seeds: Trainings per model and arm.
        n_models: Networks.
        n_arms: Arms, at least three; each is held against the first, some against others, too.
        n_test: Test images per seed, of ten times as many in all; every fourth image has a copy.
        metric: The primary endpoint.
    """
    models = [f"model{number}" for number in range(n_models)]
    arms = ["original", *(f"arm{number}" for number in range(1, n_arms))]
    n_images = _TESTED * n_test
    images = pd.DataFrame(
        {"image_id": _name_images(n_images), "group": np.arange(n_images) * 4 // 5}
    )
    parts: list[Part] = []

    def timed(name: str, work: Callable[[], Result]) -> Result:
        with PeakMemory() as memory:
            started = time.perf_counter()
            result = work()
            seconds = time.perf_counter() - started
        parts.append(Part(name, seconds, memory.driver_gib))
        return result

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.parquet"
        _write_predictions(path, models, arms, n_seeds, n_images)
        predictions = timed(
            "read predictions.parquet", lambda: pq.read_table(path, read_dictionary=list(NAMES))
        )
        resampled = timed(
            f"{metric} on resampled test images",
            lambda: resample_metric(
                predictions, images, metric=metric, classes=CLASSES, positive_class="worn"
            ),
        )
        yield from parts
        parts.clear()
        # Metrics are described by another module and count apart; they are needed for what follows.
        results = timed(
            "all metrics of every training",
            lambda: compute_results(predictions.to_pandas(), CLASSES, "worn"),
        )
    pairs = [(arm, "original") for arm in arms[1:]] + [(arms[1], arms[2])]
    contrasts = timed(
        "tests, intervals and power",
        lambda: compare_arms(
            results,
            pairs=pairs,
            metric=metric,
            alpha=0.05,
            margin=0.03,
            n_train=7.0 * n_test,
            n_test=n_test,
            resampled=resampled,
        ),
    )
    timed(
        "shares explained by controls",
        lambda: [
            share_explained(results, resampled, model=model, arm=arms[1], control=arm)
            for model in models
            for arm in arms[2:]
        ],
    )
    if any(contrast.bootstrap_low is None for contrast in contrasts):
        raise RuntimeError(f"Expected an interval of each contrast, but {contrasts[0].note}")
    yield from parts


def _write_predictions(
    path: Path, models: list[str], arms: list[str], n_seeds: int, n_images: int
) -> None:
    """Write plausible predictions, seed by seed; later arms are a little better."""
    rng = np.random.default_rng(0)
    label = np.arange(n_images) * 4 // 5 % 2
    difficulty = rng.normal(0, 1.5, n_images)
    names = np.array(_name_images(n_images))
    writer: pq.ParquetWriter | None = None
    for seed in range(n_seeds):
        tested = np.sort(rng.choice(n_images, n_images // _TESTED, replace=False))
        for model in models:
            for number, arm in enumerate(arms):
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
