"""Explain a whole data set on a pool of actors, by Ray Data."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import ray.data

from osteo_ray.cluster import Slot, name_worker
from osteo_ray.config import LimeSettings
from osteo_ray.explain.jobs import Explainable
from osteo_ray.observer import Explained
from osteo_ray.runs import list_parts

_RESTARTS = 3  # of an actor whose process died; a poison image must not kill it for ever


class _PoolWorker:
    """An `Explainer` in a process of the pool; PyTorch is imported there, not in the driver."""

    def __init__(self, *arguments: Any) -> None:
        from osteo_ray.explain.explainer import Explainer

        self.explainer = Explainer(*arguments)

    def __call__(self, batch: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        started = time.monotonic()
        for found in self.explainer(batch):
            now = time.monotonic()
            found["seconds"] = np.array([now - started])
            found["worker"] = np.array([name_worker()])
            yield found
            started = now


def explain_images(
    pixels: Path,
    explainables: list[Explainable],
    settings: LimeSettings,
    *,
    n_classes: int,
    image_size: int,
    slot: Slot,
    n_actors: int,
    on_explained: Callable[[Explained], None],
) -> None:
    """Explain images with every classifier, on a pool of actors.

    What is stored already (`Explainable.done`) is not computed again.

    Args:
        pixels: Directory of the pixel files.
        explainables: The classifiers, and which images each is to explain.
        settings: Of LIME.
        n_classes: Outputs of each classifier.
        image_size: Side of the images, pixels.
        slot: CPUs and GPUs of an actor.
        n_actors: Actors in the pool, at most.
        on_explained: Called with the images that a worker has explained with one classifier.
    """
    n_images = len(frozenset().union(*(explainable.wanted for explainable in explainables)))
    size = max(1, min(16, n_images // (4 * n_actors)))
    slices = []
    for file in list_parts(pixels):
        n_rows = pq.read_metadata(file).num_rows
        slices += [
            {"file": file, "start": start, "stop": min(start + size, n_rows)}
            for start in range(0, n_rows, size)
        ]
    with _flush_every_row(), warnings.catch_warnings():
        # Ray 2.60 has no named parameters yet for the bounds on restarts.
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
        # The slices are in memory already, so the pool needs no other task beside it, which could
        # wait for ever on a cluster whose CPUs the actors hold.
        dataset = ray.data.from_items(slices, override_num_blocks=len(slices)).map_batches(
            _PoolWorker,
            fn_constructor_args=(
                explainables,
                settings,
                n_classes,
                image_size,
                slot.device,
                slot.cpus,
            ),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(n_actors, len(slices))),
            num_cpus=slot.cpus,
            num_gpus=slot.gpus or None,
            max_restarts=_RESTARTS,
            max_task_retries=_RESTARTS,
        )
        for row in dataset.iter_rows():
            on_explained(
                Explained(
                    explainable=row["explainable"],
                    n_images=int(row["explained"]),
                    n_errors=int(row["errors"]),
                    n_samples=int(row["samples"]),
                    seconds=float(row["seconds"]),
                    worker=row["worker"],
                )
            )


@contextmanager
def _flush_every_row() -> Iterator[None]:
    """Have Ray Data hand each small row on at once, so that progress is seen as it is made."""
    context = ray.data.DataContext.get_current()
    before = context.target_max_block_size
    context.target_max_block_size = 1
    try:
        yield
    finally:
        context.target_max_block_size = before
