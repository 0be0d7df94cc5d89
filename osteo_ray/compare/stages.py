"""The main job: stages that fill the cluster one after the other and end in tables on disk."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from osteo_ray.cluster import Plan, confirm, connect, plan_resources
from osteo_ray.compare.comparison import Analysis, analyse
from osteo_ray.compare.dataset import Dataset, read_dataset, read_pixels
from osteo_ray.compare.experiment import (
    Experiment,
    Trial,
    describe_experiment,
    plan_trials,
)
from osteo_ray.compare.mask_jobs import Explanations, list_explanations
from osteo_ray.compare.model_check import check_models
from osteo_ray.compare.prepare import create_run, extend_run, list_source, locate_run
from osteo_ray.compare.sweeps import Failure, run_sweep
from osteo_ray.config import CompareConfig
from osteo_ray.errors import IncompleteError
from osteo_ray.explain.generate import explain_images
from osteo_ray.progress import Clock, JobProgress, Stage
from osteo_ray.report.page import write_report
from osteo_ray.runs import Run, read_json, write_json, write_table

FIRST, EXPLAIN, SECOND = "train on originals", "explain", "train the other arms"
_TRAINING_COST = 3.0  # a forward and a backward pass of one image, in forward passes


@dataclass(frozen=True)
class Outcome:
    """How a comparison ended.

    Attributes:
        run: Where everything lies.
        comparison: What comparison.json holds.
        failures: Trials that are missing.
    """

    run: Run
    comparison: dict[str, Any]
    failures: list[Failure]


def compare(config: CompareConfig, progress: JobProgress) -> Outcome:
    """Run a comparison from images to verdict, or what an earlier try left of it.

    Args:
        config: Of the comparison.
        progress: Where to say how far it is.

    Raises:
        InputError: The input cannot be used; nothing was written.
        IncompleteError: Nothing can be concluded, because too little finished.
    """
    run = locate_run(config)
    source = list_source(config, run)
    clock = Clock()
    progress.say("start Ray")
    with connect():
        clock.lap("start Ray")
        plan = plan_resources(config.resources)
        check = check_models.remote(config)
        if not run.config.exists():
            with progress.following() as report:
                create_run(run, config, source, lambda: confirm(check), report=report)
            clock.lap("read images")
        confirm(check)
        extend_run(run, config)
        dataset = read_dataset(run, config)
        experiment = describe_experiment(run, config, dataset)
        for seed in experiment.splits:
            experiment.check_split(seed)
        progress.say(
            f"{len(dataset.images)} images; {plan.concurrent_trials} trainings and {plan.slots} "
            f"explaining actors at a time, each on {plan.slot.cpus} CPU(s), {plan.slot.gpus:g} GPU"
        )
        failures = _run_stages(experiment, plan, progress, clock)
        return _conclude(experiment, dataset, failures, clock)


def _run_stages(
    experiment: Experiment, plan: Plan, progress: JobProgress, clock: Clock
) -> list[Failure]:
    """Do what is missing; return the trials that failed, or that could not begin."""
    first, second = plan_trials(experiment)
    jobs = list_explanations(experiment, second)
    trainings = {FIRST: first, SECOND: second}
    stages = _plan_stages(experiment, trainings, jobs)

    @cache
    def pixels() -> "ray.ObjectRef[np.ndarray]":
        ids = experiment.image_ids.tolist()
        return ray.put(read_pixels(experiment.run, ids, experiment.config.image_size))

    def sweep(name: str, trials: list[Trial]) -> list[Failure]:
        pending = [trial for trial in trials if not experiment.is_done(trial)]
        with progress.stage(name):
            failures = []
            if pending:
                failures = run_sweep(
                    pending,
                    experiment,
                    pixels(),
                    plan,
                    name=name.replace(" ", "-"),
                    on_progress=lambda share: progress.advance(name, share),
                )
        clock.lap(name)
        return failures

    with progress.showing(stages):
        failures = sweep(FIRST, first)
        lost = {failure.trial for failure in failures}
        if second:
            if jobs:
                with progress.stage(EXPLAIN):
                    ready = [job for job in jobs if job.job.teacher not in lost]
                    _explain(experiment, plan, ready, progress)
                clock.lap(EXPLAIN)
            stuck = {t for t in second if lost & set(experiment.list_requirements(t))}
            failures += sweep(SECOND, [trial for trial in second if trial not in stuck])
            reason = "a first model that it needs is missing"
            failures += [Failure(trial, reason) for trial in second if trial in stuck]
    return failures


def _plan_stages(
    experiment: Experiment, trainings: dict[str, list[Trial]], jobs: list[Explanations]
) -> list[Stage]:
    config = experiment.config
    n_trained = float(np.mean([np.sum(split == "train") for split in experiment.splits.values()]))
    per_training = n_trained * config.training.epochs * _TRAINING_COST
    stages = [
        Stage(
            name,
            "trainings",
            len(trials),
            per_training,
            sum(experiment.is_done(trial) for trial in trials),
        )
        for name, trials in trainings.items()
        if trials
    ]
    if jobs:
        total = sum(job.n_wanted for job in jobs)
        done = sum(job.n_done for job in jobs)
        stages.insert(1, Stage(EXPLAIN, "explanations", total, config.lime.samples, done))
    return stages


def _explain(
    experiment: Experiment, plan: Plan, jobs: list[Explanations], progress: JobProgress
) -> None:
    config = experiment.config
    pending = [job.explainable for job in jobs if job.n_done < job.n_wanted]
    if pending:
        explain_images(
            experiment.run.pixels,
            pending,
            config.lime,
            n_classes=len(experiment.classes),
            image_size=config.image_size,
            slot=plan.slot,
            n_actors=plan.slots,
            on_explained=lambda n, errors: progress.advance(EXPLAIN, n),
        )


def _conclude(
    experiment: Experiment, dataset: Dataset, failures: list[Failure], clock: Clock
) -> Outcome:
    """Gather the tables, test, judge and report."""
    run, config = experiment.run, experiment.config
    trials = [
        Trial(model, seed, arm)
        for model in config.models
        for seed in config.seed_numbers
        for arm in config.arms
    ]
    parts = [experiment.path_of(t) / "predictions.parquet" for t in trials if experiment.is_done(t)]
    if not parts:
        raise IncompleteError(
            "No training finished, so there is nothing to compare. The first failure: "
            f"{failures[0].trial}: {failures[0].reason}"
        )
    predictions = pa.concat_tables([pq.read_table(part) for part in parts])
    write_table(run.predictions, predictions)
    missing = [{**vars(failure.trial), "reason": failure.reason} for failure in failures]
    images = dataset.images[["image_id", "group"]]
    results, comparison = analyse(predictions, images, Analysis.of(experiment), missing)
    write_table(run.results, pa.Table.from_pandas(results, preserve_index=False))
    write_json(run.comparison, comparison)
    environment = read_json(run.environment)
    clock.lap("statistics")
    environment["durations_s"] = clock.durations_s
    write_json(run.environment, environment)
    write_report(run)
    return Outcome(run, comparison, failures)
