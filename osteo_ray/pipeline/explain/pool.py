"""Explain a whole data set on a pool of actors, by Ray Data."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError

from osteo_ray.base.errors import IncompleteError
from osteo_ray.base.events import Explained
from osteo_ray.base.mappings import hash_settings
from osteo_ray.base.storage import Place, locate
from osteo_ray.base.tables import MASKS, count_rows, list_parts, read_table, write_table
from osteo_ray.cluster.connection import allow_lost_blocks, name_worker
from osteo_ray.cluster.placement import Slot
from osteo_ray.cluster.watchdog import watch
from osteo_ray.explain.jobs import Explainable, Slice, make_record, read_done
from osteo_ray.explain.settings import LimeSettings

_TRIES = 3  # of a slice whose process dies, and then of each image of it alone
_MOST_LOST = 16  # slices, and then images; above that it is not the images
_SLICE = 16  # images, at the default settings and size of LIME
_COST_OF_SLICE = _SLICE * 1000 * 224**2  # samples × pixels


@dataclass(frozen=True)
class Pool:
    """How a pool of explaining actors is made.

    Attributes:
        slot: CPUs and GPUs of an actor.
        n_actors: Actors to begin with; more start where nodes are added.
        stall_timeout_s: Longest time without a single forward pass, seconds.
    """

    slot: Slot
    n_actors: int
    stall_timeout_s: float = 1800.0


class _PoolWorker:
    """An `Explainer` in a process of the pool; PyTorch is imported there, not in the driver."""

    def __init__(self, *arguments: Any) -> None:
        from osteo_ray.pipeline.explain.actor import Explainer

        self.explainer = Explainer(*arguments)

    def __call__(self, batch: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        began = time.monotonic()
        try:
            for found in self.explainer(batch):
                seconds = time.monotonic() - began
                yield _pack(replace(found, seconds=seconds, worker=name_worker()))
                began += seconds
        except Exception as error:  # told, where a lost block would look like a dead process
            yield _pack(Explained("", 0, 0, 0), failure=f"{type(error).__name__}: {error}")


def _pack(found: Explained, failure: str = "") -> dict[str, np.ndarray]:
    """Make a batch of one row, which `_unpack` reads."""
    return {name: np.array([value]) for name, value in {**vars(found), "failure": failure}.items()}


def _unpack(row: dict[str, Any]) -> Explained:
    return Explained(
        explainable=row["explainable"],
        n_images=int(row["n_images"]),
        n_errors=int(row["n_errors"]),
        n_samples=int(row["n_samples"]),
        seconds=float(row["seconds"]),
        worker=row["worker"],
    )


def explain_images(
    pixels: Place,
    explainables: list[Explainable],
    settings: LimeSettings,
    *,
    n_classes: int,
    image_size: int,
    pool: Pool,
    on_explained: Callable[[Explained], None],
) -> None:
    """Explain images with every classifier, on a pool of actors.

    What is stored already (`Explainable.done`) is not computed again. Where the process of an actor
    dies, Ray starts it again and hands its slice to whoever is free. An image whose process dies
    again and again, also when it is alone, gets a row with an error, and the others go on.

    Args:
        pixels: Directory of the pixel files.
        explainables: The classifiers, and which images each is to explain.
        settings: Of LIME.
        n_classes: Outputs of each classifier.
        image_size: Side of the images, pixels.
        pool: Of actors.
        on_explained: Called with the images that a worker has explained with one classifier.

    Raises:
        IncompleteError: An actor failed, so many processes died that it cannot be single images, or
            nothing was computed for too long.
    """
    n_images = len(frozenset().union(*(one.wanted for one in explainables)))
    most = max(1, _COST_OF_SLICE // (settings.samples * image_size**2))
    size = max(1, min(_SLICE, most, n_images // (4 * pool.n_actors)))
    with watch("explaining", pool.stall_timeout_s) as beat:

        def run(slices: list[Slice], explainables: list[Explainable], *, alone: bool) -> int:
            given = (explainables, settings, n_classes, image_size)
            arguments = (*given, pool.slot.device, pool.slot.cpus, beat)
            return _run_pool(slices, arguments, pool, on_explained, alone=alone)

        slices = _cut(pixels, size)
        n_explained = run(slices, explainables, alone=False)
        if n_explained >= sum(len(one.wanted - one.done) for one in explainables):
            return
        explainables = [replace(one, done=read_done(one.masks)) for one in explainables]
        lost = [one for _, one in _find_lost(slices, explainables)]
        run(lost, explainables, alone=True)
        explainables = [replace(one, done=read_done(one.masks)) for one in explainables]
        still_lost = frozenset(image_id for image_id, _ in _find_lost(lost, explainables))
        for explainable in explainables:
            n_lost = _quarantine(explainable, still_lost)
            on_explained(Explained(explainable.name, n_lost, n_lost, 0))


def _cut(pixels: Place, size: int) -> list[Slice]:
    slices = []
    for file in list_parts(pixels):
        n_rows = count_rows(locate(file))
        starts = range(0, n_rows, size)
        slices += [Slice(file, start, min(start + size, n_rows)) for start in starts]
    return slices


def _run_pool(
    slices: list[Slice],
    arguments: tuple[Any, ...],
    pool: Pool,
    on_explained: Callable[[Explained], None],
    *,
    alone: bool,
) -> int:
    """Explain slices; return the number of (image, classifier) pairs that were."""
    if not slices:
        return 0
    n_explained = 0
    with _flush_every_row(), allow_lost_blocks(_MOST_LOST):
        # The slices are in memory already, so the pool needs no other task beside it, which could
        # wait for ever on a cluster whose CPUs the actors hold.
        dataset = ray.data.from_items(
            [vars(one) for one in slices], override_num_blocks=len(slices)
        ).map_batches(
            _PoolWorker,
            fn_constructor_args=arguments,
            batch_size=1,
            # Nodes may come and go: the pool grows where there is room; and where a node was lost,
            # Ray Data lets go of the actors that are idle at the end, so that one which waits for
            # their place gets its turn.
            compute=ray.data.ActorPoolStrategy(
                min_size=min(pool.n_actors, len(slices)),
                max_size=len(slices),
                # One that waits at an actor makes the pool grow where there is room; but it would
                # go down with an image that is tried alone.
                max_tasks_in_flight_per_actor=1 if alone else 2,
            ),
            num_cpus=pool.slot.cpus,
            num_gpus=pool.slot.gpus or None,
            max_restarts=-1,  # bounded by the tries of each slice
            max_task_retries=_TRIES - 1,
        )
        try:
            for row in dataset.iter_rows():
                if row["failure"]:
                    raise IncompleteError(
                        f"An explaining actor failed: {row['failure']}. What finished is kept; the "
                        "same command goes on from there."
                    )
                found = _unpack(row)
                n_explained += found.n_images
                on_explained(found)
        except (RayError, ExecutionTimeoutError) as error:
            raise IncompleteError(
                f"Explaining was given up: actors do not start, or more than {_MOST_LOST} slices "
                "lost their process again and again, which single images do not explain. If memory "
                f"is short, raise --resources.cpus-per-worker. The last error: {error}"
            ) from error
    return n_explained


def _find_lost(slices: list[Slice], explainables: list[Explainable]) -> list[tuple[str, Slice]]:
    """Return each image of which a mask is missing, and a slice of that image alone."""
    missing = frozenset().union(*(one.wanted - one.done for one in explainables))
    lost = []
    for one in slices:
        ids = read_table(locate(one.file), ["image_id"])["image_id"].to_pylist()
        lost += [
            (ids[row], Slice(one.file, row, row + 1))
            for row in range(one.start, one.stop)
            if ids[row] in missing
        ]
    return lost


def _quarantine(explainable: Explainable, image_ids: frozenset[str]) -> int:
    """Store why images have no mask, and return how many; their arms show them whole."""
    lost = sorted(image_ids & explainable.wanted - explainable.done)
    error = f"The process that explained this image alone died {_TRIES} times."
    records = [
        make_record(explainable, image_id, kind, error=error)
        for image_id in lost
        for kind in explainable.kinds
    ]
    if records:
        part = f"part-{hash_settings(['quarantine', *lost])}.parquet"
        write_table(explainable.masks / part, pa.Table.from_pylist(records, schema=MASKS))
    return len(lost)


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
