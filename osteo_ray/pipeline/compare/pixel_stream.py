"""Ray Data reads the pixels of training images from disk, ahead of the workers of a training."""

import time
from dataclasses import dataclass
from functools import partial

import numpy as np
import ray.data
from ray.data import Dataset, ExecutionOptions, ExecutionResources, TaskPoolStrategy
from ray.data._internal.execution.execution_callback import ExecutionCallback

from osteo_ray.experiment.stored_images import StoredImages
from osteo_ray.experiment.trials import Experiment, Trial
from osteo_ray.models.steps import StepPlan, draw_order, plan_steps

EPOCH, ROW, PIXELS = "epoch", "row", "pixels"
"""Columns of a stream; see `PixelReading.read`."""
_BYTES_PER_TASK = 16 * 2**20
_TASKS = 2  # at a time, per worker of a training
_MOST_BYTES = 256 * 2**20  # of blocks that wait for a worker
_PAUSE_S = 0.02


class _Rest(ExecutionCallback):
    """Makes a stream rest between two looks at its tasks.

    While a task has read what nobody needs yet, Ray looks at it again and again. In the process of
    a training, that would take a quarter of its time. Its `DataContext` takes such callbacks,
    whose base class is found only here.
    """

    def on_execution_step(self, executor: object) -> None:
        time.sleep(_PAUSE_S)


@dataclass(frozen=True)
class PixelReading:
    """What one worker reads in the course of a training.

    Attributes:
        pixels: Those of all training images.
        steps: How an epoch is dealt to steps and workers.
        seed: That of the training; it determines the order of the images.
        epochs: The epochs to come.
        rank: The number of the worker.
    """

    pixels: StoredImages
    steps: StepPlan
    seed: int
    epochs: range
    rank: int

    @property
    def parts(self) -> int:
        """In how many tasks the pixels of an epoch are read."""
        bytes_per_worker = self.pixels.nbytes / self.steps.n_workers
        return max(1, round(bytes_per_worker / _BYTES_PER_TASK))

    def read(self, number: int) -> dict[str, np.ndarray]:
        """Read what one task reads.

        Args:
            number: Of the task, from 0; the tasks of an epoch follow one another.

        Returns:
            `EPOCH`: int64, (k,); `ROW`: int64, (k,), the rows of the images in the order in which
            the steps show them; `PIXELS`: uint8 or uint16, (k, height, width).
        """
        nth, part = divmod(number, self.parts)
        epoch = self.epochs[nth]
        order, _ = draw_order(self.steps.n_images, self.seed, epoch)
        shares = self.steps.deal_to(self.rank, order)
        rows = np.array_split(np.concatenate(shares), self.parts)[part]
        return {
            EPOCH: np.full(len(rows), epoch),
            ROW: rows,
            PIXELS: self.pixels[rows],
        }


def plan_reading(
    trial: Trial, experiment: Experiment, pixels: StoredImages, *, n_workers: int, rank: int
) -> PixelReading:
    """Plan what a worker of a training reads, which may have been interrupted.

    Args:
        trial: The training.
        experiment: What it shares with others.
        pixels: Those of all images, in the order of `experiment.image_ids`.
        n_workers: Workers that share the training.
        rank: The number of this one.
    """
    from osteo_ray.models.resumption import count_epochs
    from osteo_ray.pipeline.compare.one_trial import locate_checkpoint

    rows = np.flatnonzero(experiment.split_of(trial) == "train")
    done = count_epochs(locate_checkpoint(trial, experiment))
    return PixelReading(
        pixels.select(rows),
        plan_steps(len(rows), experiment.training_of(trial), n_workers),
        experiment.seeds[trial.seed].order,
        range(done, experiment.epochs_of(trial)),
        rank,
    )


def stream_pixels(reading: PixelReading) -> Dataset:
    """Return the pixels that a worker needs, epoch after epoch and in its order; none is read yet.

    The tasks ask Ray for no CPU, since the trainings may have taken all of them: a task needs a
    small part of one for a moment.
    """
    n_tasks = len(reading.epochs) * reading.parts
    numbers = [{"number": number} for number in range(n_tasks)]
    stream = ray.data.from_items(numbers, override_num_blocks=max(1, n_tasks)).map_batches(
        partial(_read_part, reading=reading),
        batch_size=1,
        num_cpus=0,
        compute=TaskPoolStrategy(size=_TASKS),
    )
    stream.context.execution_options = limit_reading()
    stream.context.custom_execution_callback_classes = [_Rest]
    return stream


def limit_reading() -> ExecutionOptions:
    """Return how a stream is executed: in order, and not too far ahead."""
    return ExecutionOptions(
        resource_limits=ExecutionResources(object_store_memory=_MOST_BYTES),
        preserve_order=True,
    )


def _read_part(batch: dict[str, np.ndarray], reading: PixelReading) -> dict[str, np.ndarray]:
    (number,) = batch["number"]
    return reading.read(int(number))
