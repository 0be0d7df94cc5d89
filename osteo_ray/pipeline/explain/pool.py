"""Explain a whole data set on a pool of actors, with Ray Data."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError

from osteo_ray.base.digests import write_sealed
from osteo_ray.base.errors import IncompleteError
from osteo_ray.base.events import Explained
from osteo_ray.base.mappings import hash_settings
from osteo_ray.base.startup import importing
from osteo_ray.base.storage import Place, recall_place
from osteo_ray.base.tables import MASKS, count_rows, list_parts, read_table, write_table
from osteo_ray.cluster.connection import allow_lost_blocks, name_worker
from osteo_ray.cluster.placement import Layout, Slot
from osteo_ray.cluster.watchdog import Beat, watch
from osteo_ray.experiment.stored_images import locate_images
from osteo_ray.explain.jobs import Explainable, ExplainJob, Slice, make_record, read_done
from osteo_ray.pipeline.explain.carrying import carry_code
from osteo_ray.pipeline.explain.precision import check_overlaps

_TRIES = 3  # for a slice whose process dies, and then for each of its images alone
_MOST_LOST = 16  # slices, and then images; if more are lost, the images are not the reason
_SLICE = 16  # images, for LIME's default number of samples and images of 224 px
_COST_OF_SLICE = _SLICE * 1000 * 224**2  # samples × pixels


@dataclass(frozen=True)
class Pool:
    """How to set up a pool of explaining actors.

    Attributes:
        slot: The CPUs and GPUs of each actor.
        n_actors: How many actors to start with; more start when nodes are added.
        classifiers_bytes: Memory for the classifiers that each actor keeps.
        stall_timeout_s: The longest time without a single forward pass, in seconds.
    """

    slot: Slot
    n_actors: int
    classifiers_bytes: int
    stall_timeout_s: float = 1800.0

    @classmethod
    def on(cls, layout: Layout, stall_timeout_s: float) -> "Pool":
        """Set up the actors that a layout has room for."""
        return cls(layout.explainer, layout.explainers, layout.classifiers_bytes, stall_timeout_s)


class _PoolWorker:
    """An actor in a process of the pool; PyTorch is imported there, not in the driver."""

    def __init__(self, job: ExplainJob, pool: Pool, beat: Beat) -> None:
        with importing("timm"):
            from osteo_ray.pipeline.explain.actor import ExplainingActor

        self.actor = ExplainingActor(
            job,
            device=pool.slot.device,
            n_threads=pool.slot.cpus,
            classifiers_bytes=pool.classifiers_bytes,
            on_batch=beat,
        )

    def __call__(self, batch: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        began = time.monotonic()
        try:
            for found in self.actor(batch):
                seconds = time.monotonic() - began
                yield _pack(replace(found, seconds=seconds, worker=name_worker()))
                began += seconds
        except Exception as error:  # reported, as a lost block would look like a process that died
            yield _pack(Explained("", 0, 0, 0), failure=f"{type(error).__name__}: {error}")


def _pack(found: Explained, failure: str = "") -> dict[str, np.ndarray]:
    """Make a batch of one row; `_unpack` reads it."""
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
    pixels: Place, job: ExplainJob, *, pool: Pool, on_explained: Callable[[Explained], None]
) -> None:
    """Explain images with every classifier of a job, on a pool of actors.

    Masks that are stored already (`Explainable.done`) are not computed again. If the process of an
    actor dies, Ray restarts it and hands its slice to a free actor. If an image keeps killing its
    process, even when it is explained alone, its row gets an error and the other images go on.

    Args:
        pixels: The directory of the pixel files.
        job: The classifiers, and the masks that are wanted from each.
        pool: How to set up the actors.
        on_explained: Called with the images that a worker has explained with one classifier.

    Raises:
        InputError: Reduced precision gives other masks.
        IncompleteError: An actor failed; so many processes died that single images cannot be the
            reason; or nothing was computed for too long.
    """
    carry_code(job.explainers.values())
    check_overlaps(pixels, job, pool.slot)
    n_images = len(frozenset().union(*(one.wanted for one in job.explainables)))
    most = max(1, _COST_OF_SLICE // (job.settings.samples * job.image_size.area_px))
    size = max(1, min(_SLICE, most, n_images // (4 * pool.n_actors)))
    with watch("explaining", pool.stall_timeout_s) as beat:
        runner = _Runner(pool, beat, on_explained)
        slices = _cut(pixels, size)
        if any(one.done for one in job.explainables):
            slices = _choose_slices(slices, pixels, job)
        n_explained = runner.run(slices, job, alone=False)
        if n_explained >= sum(len(one.pending) for one in job.explainables):
            return
        job = _read_progress(job)
        lost = [one for _, one in _find_lost(slices, job)]
        runner.run(lost, job, alone=True)
        job = _read_progress(job)
        still_lost = frozenset(image_id for image_id, _ in _find_lost(lost, job))
        for explainable in job.explainables:
            n_lost = _quarantine(explainable, still_lost)
            on_explained(Explained(explainable.name, n_lost, n_lost, 0))


def _read_progress(job: ExplainJob) -> ExplainJob:
    """Return the job with what its directories hold by now."""
    return replace(
        job,
        explainables=tuple(replace(one, done=read_done(one.masks)) for one in job.explainables),
    )


def _cut(pixels: Place, size: int) -> list[Slice]:
    slices = []
    for file in list_parts(pixels):
        n_rows = count_rows(recall_place(file))
        starts = range(0, n_rows, size)
        slices += [Slice(file, start, min(start + size, n_rows)) for start in starts]
    return slices


def _choose_slices(slices: Sequence[Slice], pixels: Place, job: ExplainJob) -> list[Slice]:
    """Return the slices that hold an image of which anything is missing."""
    lacking = sorted(frozenset().union(*(one.lacking for one in job.explainables)))
    there, _ = locate_images(pixels, lacking, job.image_size, "pixels", np.uint8)
    rows: dict[str, list[int]] = defaultdict(list)
    for file, row in zip(there.file_of.tolist(), there.row_of.tolist(), strict=True):
        if file >= 0:
            rows[there.files[file]].append(row)
    return [
        one for one in slices if any(one.start <= row < one.stop for row in rows.get(one.file, ()))
    ]


@dataclass(frozen=True)
class _Runner:
    """Runs slices on a pool.

    Attributes:
        pool: How to set up the actors.
        beat: Called by actors whenever they compute.
        on_explained: Called with the images that a worker has explained with one classifier.
    """

    pool: Pool
    beat: Beat
    on_explained: Callable[[Explained], None]

    def run(self, slices: list[Slice], job: ExplainJob, *, alone: bool) -> int:
        """Explain slices; return how many pairs of image and classifier were explained."""
        pool = self.pool
        if not slices:
            return 0
        n_explained = 0
        with _flush_every_row(), allow_lost_blocks(_MOST_LOST):
            # The slices are in memory already, so the pool needs no reading task, which could wait
            # forever on a cluster whose CPUs the actors hold.
            dataset = ray.data.from_items(
                [vars(one) for one in slices], override_num_blocks=len(slices)
            ).map_batches(
                _PoolWorker,
                fn_constructor_args=(job, pool, self.beat),
                batch_size=1,
                # Nodes may come and go: the pool grows where there is room. If a node is lost, Ray
                # Data releases actors that are idle at the end, which makes room for waiting ones.
                compute=ray.data.ActorPoolStrategy(
                    min_size=min(pool.n_actors, len(slices)),
                    max_size=len(slices),
                    # A task that waits at an actor makes the pool grow where there is room; but
                    # when images are tried alone, it would be lost with the image before it.
                    max_tasks_in_flight_per_actor=1 if alone else 2,
                ),
                num_cpus=pool.slot.cpus,
                num_gpus=pool.slot.gpus or None,
                max_restarts=-1,  # the tries of each slice are the limit
                max_task_retries=_TRIES - 1,
            )
            try:
                for row in dataset.iter_rows():
                    if row["failure"]:
                        raise IncompleteError(
                            f"An explaining actor failed: {row['failure']}. Finished masks are "
                            "kept; run the same command again to resume."
                        )
                    found = _unpack(row)
                    n_explained += found.n_images
                    self.on_explained(found)
            except (RayError, ExecutionTimeoutError) as error:
                raise IncompleteError(
                    f"Explaining stopped: actors do not start, or more than {_MOST_LOST} slices "
                    "lost their process repeatedly, which single images cannot cause. Finished "
                    "masks are kept; run the same command again to resume. If memory is short, "
                    f"raise --resources.cpus-per-worker. The last error: {error}"
                ) from error
        return n_explained


def _find_lost(slices: list[Slice], job: ExplainJob) -> list[tuple[str, Slice]]:
    """Return each image that lacks a mask, and a slice of that image alone."""
    missing = frozenset().union(*(one.pending for one in job.explainables))
    lost = []
    for one in slices:
        ids = read_table(recall_place(one.file), ["image_id"])["image_id"].to_pylist()
        lost += [
            (ids[row], Slice(one.file, row, row + 1))
            for row in range(one.start, one.stop)
            if ids[row] in missing
        ]
    return lost


def _quarantine(explainable: Explainable, image_ids: frozenset[str]) -> int:
    """Store why images have no mask, and return how many; others lend them theirs."""
    lost = sorted(image_ids & explainable.pending)
    error = f"The process that explained this image alone died {_TRIES} times."
    records = [
        make_record(explainable, image_id, kind, error=error)
        for image_id in lost
        for kind in explainable.list_missing(image_id)
    ]
    if records:
        rows = [f"{record['kind']} {record['image_id']}" for record in records]
        part = f"part-{hash_settings(['quarantine', *rows])}.parquet"
        write_table(
            explainable.masks / part, pa.Table.from_pylist(records, schema=MASKS), how=write_sealed
        )
    return len(lost)


@contextmanager
def _flush_every_row() -> Iterator[None]:
    """Have Ray Data pass each small row on at once, so that progress shows immediately."""
    context = ray.data.DataContext.get_current()
    before = context.target_max_block_size
    context.target_max_block_size = 1
    try:
        yield
    finally:
        context.target_max_block_size = before
