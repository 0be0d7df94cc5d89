"""Run one trial where Ray has put it: in this process, or in several that train together.

Modules that need PyTorch are imported in the workers only, as importing it takes seconds.
"""

import time
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import ray
import ray.data
import ray.train
from ray import tune

from osteo_ray.base.runs import place_logs
from osteo_ray.base.startup import importing
from osteo_ray.cluster.placement import Layout
from osteo_ray.cluster.watchdog import Beat
from osteo_ray.data.pixels import Pixels
from osteo_ray.experiment.stored_images import StoredImages
from osteo_ray.experiment.trials import Experiment, Trial
from osteo_ray.models.epochs import Epoch, TrainingListener
from osteo_ray.pipeline.compare.pixel_stream import limit_reading, plan_reading, stream_pixels

if TYPE_CHECKING:
    from osteo_ray.models.training import Worker

_REPORT_INTERVAL_S = 2.0


@dataclass(frozen=True)
class Means:
    """How the processes of a sweep run their trials.

    Attributes:
        layout: Workers per trial, and what each of them gets.
        max_retries: How often a trial whose workers died starts again.
        beat: Tells the watchdog that something was computed.
    """

    layout: Layout
    max_retries: int
    beat: Beat


def run_here(
    trial: Trial,
    experiment: Experiment,
    pixels: "list[ray.ObjectRef[Pixels]]",
    means: Means,
) -> str:
    """Run a trial in this process, as a trial of Ray Tune.

    Args:
        trial: What to run.
        experiment: What it shares with others.
        pixels: Those of all images, or where they are.
        means: How to run it.

    Returns:
        An empty string, or the reason why retrying would not help.
    """
    with importing("timm"):
        import torch

        from osteo_ray.models.training import Worker

    slot, shared = means.layout.slot, ray.get(pixels[0])
    worker = Worker(torch.device(slot.device), slot.cpus)
    listener = _TrialListener(means.beat, experiment.training_of(trial).epochs)
    stream = None
    if isinstance(shared, StoredImages):
        stream = _open_stream(trial, experiment, pixels, 1, 0).iterator()
    return _train(trial, experiment, shared, worker, listener, stream)


def _open_stream(
    trial: Trial,
    experiment: Experiment,
    pixels: "list[ray.ObjectRef[Pixels]]",
    n_workers: int,
    rank: int,
) -> ray.data.Dataset:
    """Describe what a worker of a training reads, from the epoch on with which it begins."""
    stored = cast(StoredImages, ray.get(pixels[0]))
    reading = plan_reading(trial, experiment, stored, n_workers=n_workers, rank=rank)
    return stream_pixels(reading)


class _BeatListener(TrainingListener):
    """Tells the watchdog of each step."""

    def __init__(self, beat: Beat) -> None:
        self.beat = beat

    def step_ended(self) -> None:
        self.beat()


class _TrialListener(_BeatListener):
    """Tells the watchdog of each step, and Tune every few seconds of the epochs that have ended."""

    def __init__(self, beat: Beat, n_epochs: int) -> None:
        super().__init__(beat)
        self.n_epochs = n_epochs
        self.reported_at = time.monotonic()

    def epoch_ended(self, epoch: Epoch) -> None:
        if time.monotonic() - self.reported_at > _REPORT_INTERVAL_S:
            self.reported_at = time.monotonic()
            tune.report({"share": (epoch.number + 1) / self.n_epochs})


def _train(
    trial: Trial,
    experiment: Experiment,
    pixels: Pixels,
    worker: "Worker",
    listener: TrainingListener,
    stream: ray.data.DataIterator | None,
) -> str:
    """Run a trial; return an empty string, or the reason why retrying would not help.

    Args:
        trial: What to run.
        experiment: What it shares with others.
        pixels: Those of all images.
        worker: Where to compute.
        listener: Told of each step and epoch.
        stream: Brings the training images; None if they are in memory.
    """
    from osteo_ray.models.training import DivergedError
    from osteo_ray.pipeline.compare.one_trial import run_trial
    from osteo_ray.pipeline.compare.stream_feed import StreamedFeed

    opened = nullcontext() if stream is None else closing(StreamedFeed(stream, worker.device))
    try:
        with opened as feed:
            run_trial(trial, experiment, pixels, worker, listener, feed)
    except DivergedError as error:
        return str(error)
    return ""


def run_on_workers(
    trial: Trial,
    experiment: Experiment,
    pixels: "list[ray.ObjectRef[Pixels]]",
    means: Means,
) -> str:
    """Run a trial in several workers, which Ray Train starts; see `run_here`."""
    from ray.train.torch import TorchTrainer

    layout, key = means.layout, experiment.key_of(trial)
    # Functions, not datasets: workers that start again read on from the last checkpoint.
    streams = {
        _name_stream(rank): partial(_open_stream, trial, experiment, pixels, layout.workers, rank)
        for rank in range(layout.workers)
    }
    result = TorchTrainer(
        _run_rank,  # type: ignore[arg-type]  # hints show V1, which returned nothing
        train_loop_config={
            "trial": trial,
            "experiment": experiment,
            "pixels": pixels,
            "slot": layout.slot,
            "beat": means.beat,
        },
        scaling_config=ray.train.ScalingConfig(
            num_workers=layout.workers,
            use_gpu=layout.slot.gpus > 0,
            resources_per_worker={"CPU": layout.slot.cpus, "GPU": layout.slot.gpus},
        ),
        datasets=streams,  # type: ignore[arg-type]  # hints show V1, which took datasets only
        # Each worker has a stream of its own, so that its images do not depend on chance.
        dataset_config=ray.train.DataConfig(
            datasets_to_split=[], execution_options=limit_reading()
        ),
        run_config=ray.train.RunConfig(
            name=f"{trial.arm}-{key}",
            storage_path=str(place_logs(experiment.run) / "train"),
            failure_config=ray.train.FailureConfig(  # type: ignore[call-arg]  # hints show V1
                max_failures=means.max_retries,
                controller_failure_limit=means.max_retries,
            ),
        ),
    ).fit()
    return str(result.return_value)  # type: ignore[attr-defined]  # hints show V1


def _run_rank(config: dict[str, Any]) -> str:
    """Train as one of the workers of a TorchTrainer, which has set the process group up."""
    from ray.train.torch import get_device

    with importing("timm"):
        from osteo_ray.models.training import Worker

    context = ray.train.get_context()
    worker = Worker(
        get_device(), config["slot"].cpus, context.get_world_rank(), context.get_world_size()
    )
    pixels, listener = ray.get(config["pixels"][0]), _BeatListener(config["beat"])
    stream = ray.train.get_dataset_shard(_name_stream(worker.rank))
    return _train(config["trial"], config["experiment"], pixels, worker, listener, stream)


def _name_stream(rank: int) -> str:
    return f"training images of worker {rank}"
