"""Run many trials on the cluster: one Ray Tune sweep per stage."""

import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial

from osteo_ray.base.free_memory import return_free_memory
from osteo_ray.base.runs import place_logs
from osteo_ray.cluster.placement import Layout
from osteo_ray.cluster.watchdog import watch
from osteo_ray.data.pixels import Pixels
from osteo_ray.experiment.trials import Experiment, Trial
from osteo_ray.pipeline.compare.trial_process import Means, run_here, run_on_workers
from osteo_ray.pipeline.compare.tuner import fit_tuner
from osteo_ray.pipeline.site import Site, StageListener

_MOST_PENDING = "16"  # trials that wait for room, so that a new node gets work at once


@dataclass(frozen=True)
class Failure:
    """A trial that did not finish, and why."""

    trial: Trial
    reason: str


def run_sweep(
    trials: Sequence[Trial],
    experiment: Experiment,
    pixels: "ray.ObjectRef[Pixels]",
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
        pixels: Those of all images, or where they are, in the object store.
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
        means = Means(layout, resources.max_retries, beat)
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
        fit_tuner(sweep, "The sweep")
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
    pixels: "list[ray.ObjectRef[Pixels]]",
    means: Means,
) -> None:
    """Run one trial in this process or, if it has several workers, in theirs."""
    trial = Trial(**config["trial"])
    run = run_on_workers if means.layout.workers > 1 else run_here
    try:
        failed = run(trial, experiment, pixels, means)
    finally:
        return_free_memory()
    tune.report({"failed": failed} if failed else {"share": 1.0})


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
