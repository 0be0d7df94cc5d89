"""Explain a whole data set on a pool of actors, by Ray Data."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import ray.data

from osteo_ray.cluster import Slot
from osteo_ray.config import LimeSettings
from osteo_ray.explain.jobs import Explainable
from osteo_ray.runs import count_rows, list_parts
from osteo_ray.storage import Place, locate

_RESTARTS = 3  # of an actor whose process died; a poison image must not kill it for ever


class _PoolWorker:
    """An `Explainer` in a process of the pool; PyTorch is imported there, not in the driver."""

    def __init__(self, *arguments: Any) -> None:
        from osteo_ray.explain.explainer import Explainer

        self.explainer = Explainer(*arguments)

    def __call__(self, batch: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        yield from self.explainer(batch)


def explain_images(
    pixels: Place,
    explainables: list[Explainable],
    settings: LimeSettings,
    *,
    n_classes: int,
    image_size: int,
    slot: Slot,
    n_actors: int,
    on_explained: Callable[[int, int], None],
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
        on_explained: Called with the number of (image, classifier) pairs explained since the last
            call, and how many of them failed.
    """
    n_images = len(frozenset().union(*(explainable.wanted for explainable in explainables)))
    size = max(1, min(16, n_images // (4 * n_actors)))
    slices = []
    for file in list_parts(pixels):
        n_rows = count_rows(locate(file))
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
            on_explained(int(row["explained"]), int(row["errors"]))


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
