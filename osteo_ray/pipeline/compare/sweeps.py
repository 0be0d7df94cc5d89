"""Run many trials on the cluster: one Ray Tune sweep per stage.

Modules that need PyTorch are imported in the workers only, as importing it takes seconds.
"""

import os
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
import ray.train
from ray import tune
from ray.tune import TuneError
from ray.tune.experiment import Trial as TuneTrial

from osteo_ray.base.errors import IncompleteError
from osteo_ray.base.runs import place_logs
from osteo_ray.cluster.placement import Layout
from osteo_ray.cluster.watchdog import Beat, watch
from osteo_ray.experiment.trials import Experiment, Trial
from osteo_ray.models.epochs import Epoch, TrainingListener
from osteo_ray.pipeline.site import Site, StageListener

if TYPE_CHECKING:
    from osteo_ray.models.training import Worker

_REPORT_INTERVAL_S = 2.0
_MOST_PENDING = "16"  # trials that wait for room, so that a new node gets work at once


@dataclass(frozen=True)
class Failure:
    """A trial that did not finish, and why."""

    trial: Trial
    reason: str


@dataclass(frozen=True)
class _Means:
    """How the processes of a sweep run their trials.

    Attributes:
        layout: Workers per trial, and what each of them gets.
        max_retries: How often a trial whose workers died starts again.
        beat: Tells the watchdog that something was computed.
    """

    layout: Layout
    max_retries: int
    beat: Beat


def run_sweep(
    trials: Sequence[Trial],
    experiment: Experiment,
    pixels: "ray.ObjectRef[np.ndarray]",
    site: Site,
    listener: StageListener,
) -> list[Failure]:
    """Run trials, as many at a time as the cluster has room for.

    Trials take turns in the same processes, so that each process starts up only once. A trial that
    fails leaves the others running. One whose process or node died resumes from its last
    checkpoint; one whose loss diverged does not, as it would diverge again.

    Args:
        trials: What to run, at least one; none of them done.
        experiment: What they share.
        pixels: uint8, (n, height, width), in the object store.
        site: Where to run them.
        listener: Told of progress, and of each training that ends.

    Returns:
        The trials that did not finish.

    Raises:
        IncompleteError: Nothing was computed for too long, or the sweep itself failed.
    """
    layout, resources = site.layout, site.resources
    name = listener.name.replace(" ", "-")
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = _MOST_PENDING
    reasons: dict[Trial, str] = {}

    def tell_end(trial: Trial, result: dict[str, Any], reason: str | None) -> None:
        if reason:
            reasons[trial] = reason
        site.observer.trained(
            asdict(trial),
            experiment.key_of(trial),
            seconds=float(result.get("time_total_s", 0.0)),
            worker=f"{result.get('node_ip', 'unknown')}/{result.get('pid', 'unknown')}",
            reason=reason,
        )

    with watch(name, resources.stall_timeout) as beat:
        # Inside a list, Ray passes the reference on, so that workers map the array without a copy.
        means = _Means(layout, resources.max_retries, beat)
        run_one = tune.with_parameters(
            _run_trial, experiment=experiment, pixels=[pixels], means=means
        )
        sweep = tune.Tuner(
            tune.with_resources(run_one, _trial_resources(layout)),
            param_space={"trial": tune.grid_search([asdict(trial) for trial in trials])},
            tune_config=tune.TuneConfig(
                reuse_actors=True,
                # Ray decides what runs at once by what is free, so that nodes may come and go. But
                # trials of several workers reserve nothing, so their number must be limited.
                max_concurrent_trials=layout.concurrent_trials if layout.workers > 1 else None,
            ),
            run_config=tune.RunConfig(
                name=f"{name}-{uuid.uuid4().hex[:8]}",  # not by the clock, which may be changed
                storage_path=str(place_logs(experiment.run) / "tune"),
                failure_config=tune.FailureConfig(max_failures=resources.max_retries),
                callbacks=[_ProgressCallback(listener.advanced, tell_end)],
                verbose=0,
            ),
        )
        try:
            sweep.fit()
        except (
            OSError,
            TuneError,
        ) as error:  # usually because its own state can no longer be written
            raise IncompleteError(
                f"The sweep failed: {error}. What finished is kept. Run the same command again to "
                "resume."
            ) from error
    done = experiment.list_done(trials)
    return [
        Failure(trial, reasons.get(trial, "it ended without a result"))
        for trial in trials
        if trial not in done
    ]


def _trial_resources(layout: Layout) -> dict[str, float]:
    if layout.workers > 1:
        # The trial only waits for its workers, which request CPUs themselves. It must not hold even
        # a part of one, or the last worker might wait forever. Tune refuses an empty request.
        return {"cpu": 0, "memory": 2**26}
    return {"cpu": layout.slot.cpus, "gpu": layout.slot.gpus}


def _run_trial(
    config: dict[str, Any],
    experiment: Experiment,
    pixels: "list[ray.ObjectRef[np.ndarray]]",
    means: _Means,
) -> None:
    """Run one trial in this process or, if it has several workers, in theirs."""
    trial = Trial(**config["trial"])
    run = _run_on_workers if means.layout.workers > 1 else _run_here
    failed = run(trial, experiment, pixels, means)
    tune.report({"failed": failed} if failed else {"share": 1.0})


def _run_here(
    trial: Trial,
    experiment: Experiment,
    pixels: "list[ray.ObjectRef[np.ndarray]]",
    means: _Means,
) -> str:
    import torch

    from osteo_ray.models.training import Worker

    slot = means.layout.slot
    worker = Worker(torch.device(slot.device), slot.cpus)
    listener = _TrialListener(means.beat, experiment.training_of(trial).epochs)
    return _train(trial, experiment, ray.get(pixels[0]), worker, listener)


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
    pixels: np.ndarray,
    worker: "Worker",
    listener: TrainingListener,
) -> str:
    """Run a trial; return an empty string, or the reason why retrying would not help."""
    from osteo_ray.models.training import DivergedError
    from osteo_ray.pipeline.compare.one_trial import run_trial

    try:
        run_trial(trial, experiment, pixels, worker, listener)
    except DivergedError as error:
        return str(error)
    return ""


def _run_on_workers(
    trial: Trial,
    experiment: Experiment,
    pixels: "list[ray.ObjectRef[np.ndarray]]",
    means: _Means,
) -> str:
    from ray.train.torch import TorchTrainer

    layout, key = means.layout, experiment.key_of(trial)
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

    from osteo_ray.models.training import Worker

    context = ray.train.get_context()
    worker = Worker(
        get_device(), config["slot"].cpus, context.get_world_rank(), context.get_world_size()
    )
    pixels, listener = ray.get(config["pixels"][0]), _BeatListener(config["beat"])
    return _train(config["trial"], config["experiment"], pixels, worker, listener)


class _ProgressCallback(tune.Callback):
    """Report the progress of all trials as one stream, and the end of each trial."""

    def __init__(
        self,
        on_progress: Callable[[float], None],
        on_end: Callable[[Trial, dict[str, Any], str | None], None],
    ) -> None:
        self.on_progress = on_progress
        self.on_end = on_end
        self.shares: dict[str, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave the display out: Tune stores a copy of each callback."""
        return {"on_progress": None, "on_end": None, "shares": self.shares}

    def on_trial_result(
        self,
        iteration: int,
        trials: list[TuneTrial],
        trial: TuneTrial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        share = result.get("share", 0.0)
        before = self.shares.get(trial.trial_id, 0.0)
        if share > before:
            self.shares[trial.trial_id] = share
            self.on_progress(share - before)

    def on_trial_complete(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        result = trial.last_result or {}
        self.on_end(Trial(**trial.config["trial"]), result, result.get("failed"))

    def on_trial_error(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        reason = describe_error(trial)
        self.on_end(Trial(**trial.config["trial"]), trial.last_result or {}, reason)


def describe_error(trial: TuneTrial) -> str:
    """Return the last line of the error with which a trial of Tune ended."""
    # Read from the disk of the driver: Tune's results read it in the run directory, where it is
    # missing if that directory could not be written to.
    text = Path(trial.error_file).read_text(encoding="utf-8") if trial.error_file else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "its process died"
