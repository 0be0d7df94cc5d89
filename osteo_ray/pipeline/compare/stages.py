"""The main job: stages that fill the cluster one after the other and end in tables on disk."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import ray

from osteo_ray.base.errors import IncompleteError
from osteo_ray.base.events import Explained
from osteo_ray.base.lock import hold
from osteo_ray.base.progress import Clock, JobProgress, Stage
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import read_json, read_tables, write_json, write_table
from osteo_ray.cluster.connection import confirm, connect, plan_resources
from osteo_ray.cluster.observer import Observer
from osteo_ray.cluster.placement import Layout
from osteo_ray.cluster.watchdog import watch
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.splits.assignment import SPLIT_NAMES
from osteo_ray.experiment.comparison import Analysis, analyse
from osteo_ray.experiment.costs import TRAINING_COST, Parts
from osteo_ray.experiment.dataset import Dataset, read_dataset, read_pixels
from osteo_ray.experiment.looks import LookTaken, describe_looks, spend_alpha, take_look
from osteo_ray.experiment.trials import Experiment, Trial, describe_experiment, plan_trials
from osteo_ray.explain.jobs import plan_job
from osteo_ray.pipeline.compare.mask_jobs import Explanations, list_explanations
from osteo_ray.pipeline.compare.model_check import check_models
from osteo_ray.pipeline.compare.plan import state_plan
from osteo_ray.pipeline.compare.prepare import (
    create_run,
    extend_run,
    knows_models,
    list_source,
    locate_run,
)
from osteo_ray.pipeline.compare.sweeps import Failure, run_sweep
from osteo_ray.pipeline.compare.tracking import check_tracking, track_comparison
from osteo_ray.pipeline.explain.pool import Pool, explain_images
from osteo_ray.report.page import write_report
from osteo_ray.statistics.predictions import NAMES, encode_predictions
from osteo_ray.statistics.results_table import compute_results

READ, FIRST, EXPLAIN, SECOND = (
    "read images",
    "train on originals",
    "explain",
    "train the other arms",
)


@dataclass(frozen=True)
class Outcome:
    """How a comparison ended.

    Attributes:
        run: Where everything lies.
        comparison: What comparison.json holds.
        failures: Trials that are missing.
        untracked: Why the result could not be handed to MLflow; None where it was, or need not be.
    """

    run: Run
    comparison: dict[str, Any]
    failures: list[Failure]
    untracked: str | None = None


@dataclass(frozen=True)
class Finished:
    """What the trials of a comparison left.

    Attributes:
        experiment: What they share.
        dataset: Their images.
        failures: Trials that are missing.
        clock: How long each stage took.
        looks: What was decided at each look, the final analysis included; none were planned if
            empty.
    """

    experiment: Experiment
    dataset: Dataset
    failures: list[Failure]
    clock: Clock
    looks: tuple[LookTaken, ...]


def compare(config: CompareConfig, progress: JobProgress) -> Outcome:
    """Run a comparison from images to verdict, or what an earlier try left of it.

    Args:
        config: Of the comparison.
        progress: Where to say how far it is.

    Raises:
        InputError: The input cannot be used, or another process works on the run; nothing was
            written.
        IncompleteError: Nothing can be concluded, because too little finished; or another process
            has taken the run over.
    """
    with hold(locate_run(config).root, progress.say):
        finished = run_trials(config, progress)
        results, comparison = conclude(finished)
        experiment = finished.experiment
        write_report(experiment.run)
        untracked = None
        if config.mlflow:
            untracked = track_comparison(experiment, results, comparison)
        return Outcome(experiment.run, comparison, finished.failures, untracked)


def run_trials(config: CompareConfig, progress: JobProgress) -> Finished:
    """Run the trials of a comparison, or what an earlier try left of them; conclude nothing.

    Raises:
        InputError: The input cannot be used; nothing was written.
    """
    run = locate_run(config)
    if config.mlflow:
        check_tracking(config.mlflow, run)
    source = list_source(config, run)
    clock = Clock()
    progress.say("start Ray")
    with connect():
        clock.lap("start Ray")
        plan = plan_resources(config.resources, progress.say)
        # Asked for by an earlier command, they passed: a run that goes on does not wait to hear it.
        check = ray.put([]) if knows_models(run, config) else check_models.remote(config)
        if not run.config.exists():
            with (
                progress.following() as report,
                watch(READ, config.resources.stall_timeout) as beat,
            ):
                told = beat.with_reports(report)
                create_run(run, config, source, lambda: confirm(check), report=told)
            clock.lap(READ)
        confirm(check)
        extend_run(run, config)
        dataset = read_dataset(run, config)
        experiment = describe_experiment(run, config, dataset)
        progress.say(_state_plan(experiment))
        return run_experiment(experiment, dataset, plan, progress, clock)


def run_experiment(
    experiment: Experiment,
    dataset: Dataset,
    plan: Layout,
    progress: JobProgress,
    clock: Clock,
    only: Sequence[Trial] | None = None,
) -> Finished:
    """Run the trials of an experiment that are not done, on the cluster that is connected.

    Args:
        experiment: What to run.
        dataset: Its images.
        plan: Of the cluster.
        progress: Where to say how far it is.
        clock: Where the time goes.
        only: Arms to run, with all that they need and without looks; by default all.
    """
    for seed in experiment.splits:
        experiment.check_split(seed)
    progress.say(f"{len(dataset.images)} images; {plan.describe()}")
    observer = Observer(experiment.run.logs)
    begun = Finished(experiment, dataset, [], clock, ())
    with observer.job(plan_hash=experiment.config.plan_hash(), layout=plan.describe()):
        if only is None:
            return _run_looks(begun, plan, progress, observer)
        failures = _run_stages(experiment, plan, progress, clock, observer, only)
        return replace(begun, failures=failures)


def _state_plan(experiment: Experiment) -> str:
    config, splits = experiment.config, list(experiment.splits.values())
    means = [float(np.mean([np.sum(split == name) for split in splits])) for name in SPLIT_NAMES]
    positive = config.positive_class or experiment.classes[-1]
    return state_plan(config, Parts(*means), float(np.mean(experiment.labels == positive)))


def _run_looks(
    finished: Finished, plan: Layout, progress: JobProgress, observer: Observer
) -> Finished:
    """Run the seeds up to each planned look, then the rest, unless a look says to stop."""
    whole = finished.experiment
    counts = [*whole.config.statistics.looks, whole.config.seeds]
    for number, n_seeds in enumerate(counts, start=1):
        experiment = whole.take_seeds(n_seeds) if len(counts) > 1 else whole
        failures = _run_stages(experiment, plan, progress, finished.clock, observer)
        finished = replace(finished, experiment=experiment, failures=failures)
        if len(counts) == 1:
            break
        analysis = Analysis.of(experiment)
        predictions = encode_predictions(
            gather_predictions(finished), analysis.classes, analysis.positive_class
        )
        look = take_look(
            compute_results(predictions),
            analysis,
            whole.config.statistics,
            n_planned=whole.config.seeds,
            number=number,
        )
        finished = replace(finished, looks=(*finished.looks, look))
        for model, decision in look.decisions.items():
            said = "too few seeds are complete" if decision is None else decision.reason
            progress.say(f"look {number}, {model}: {said}")
            observer.events.write("look", number=number, model=model, reason=said)
        if look.stop:
            break
    return finished


def _run_stages(
    experiment: Experiment,
    plan: Layout,
    progress: JobProgress,
    clock: Clock,
    observer: Observer,
    only: Sequence[Trial] | None = None,
) -> list[Failure]:
    """Do what is missing; return the trials that failed, or that could not begin."""
    first, second = plan_trials(experiment, only)
    jobs = list_explanations(experiment, second)
    trainings = {FIRST: first, SECOND: second}
    stages = _plan_stages(experiment, trainings, jobs)

    @cache
    def pixels() -> "ray.ObjectRef[np.ndarray]":
        ids = experiment.image_ids.tolist()
        return ray.put(read_pixels(experiment.run, ids, experiment.config.image_size))

    def sweep(name: str, trials: list[Trial]) -> list[Failure]:
        done = experiment.list_done(trials)
        pending = [trial for trial in trials if trial not in done]
        with progress.stage(name), observer.stage(name):
            failures = []
            if pending:
                failures = run_sweep(
                    pending,
                    experiment,
                    pixels(),
                    plan,
                    name=name.replace(" ", "-"),
                    on_progress=lambda share: progress.advance(name, share),
                    observer=observer,
                )
        clock.lap(name)
        return failures

    with progress.showing(stages):
        failures = sweep(FIRST, first)
        lost = {failure.trial for failure in failures}
        if second:
            if jobs:
                with progress.stage(EXPLAIN), observer.stage(EXPLAIN):
                    ready = [job for job in jobs if job.job.teacher not in lost]
                    _explain(experiment, plan, ready, progress, observer)
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
    per_training = n_trained * config.training.epochs * TRAINING_COST
    stages = [
        Stage(
            name,
            "trainings",
            len(trials),
            per_training,
            len(experiment.list_done(trials)),
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
    experiment: Experiment,
    plan: Layout,
    jobs: list[Explanations],
    progress: JobProgress,
    observer: Observer,
) -> None:
    config = experiment.config

    def tell(part: Explained) -> None:
        progress.advance(EXPLAIN, part.n_images)
        observer.explained(part)

    pending = [job.explainable for job in jobs if job.n_done < job.n_wanted]
    if pending:
        explain_images(
            experiment.run.pixels,
            plan_job(
                pending,
                config.lime,
                n_classes=len(experiment.classes),
                image_size=config.image_size,
            ),
            pool=Pool(plan.explainer, plan.explainers, config.resources.stall_timeout),
            on_explained=tell,
        )


def gather_predictions(finished: Finished) -> pa.Table:
    """Join the predictions of all arms into one table, and keep it in the run.

    Raises:
        IncompleteError: No training finished.
    """
    experiment = finished.experiment
    trials = [
        Trial(model, seed, arm)
        for model in experiment.config.models
        for seed in experiment.config.seed_numbers
        for arm in experiment.config.arms
    ]
    done = experiment.list_done(trials)
    parts = [experiment.path_of(t) / "predictions.parquet" for t in trials if t in done]
    if not parts:
        failure = finished.failures[0]
        raise IncompleteError(
            "No training finished, so there is nothing to compare. The first failure: "
            f"{failure.trial}: {failure.reason}"
        )
    predictions = pa.concat_tables(read_tables(parts, as_numbers=NAMES))
    plain = pa.schema(
        [
            field.with_type(pa.string()) if field.name in NAMES else field
            for field in predictions.schema
        ]
    )
    write_table(experiment.run.predictions, predictions.cast(plain))
    return predictions


def keep_durations(finished: Finished) -> None:
    """Write how long each stage took into the record of the run."""
    path = finished.experiment.run.environment
    write_json(path, {**read_json(path), "durations_s": finished.clock.durations_s})


def conclude(finished: Finished) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Gather the tables, test and judge; return what results.parquet and comparison.json hold.

    Raises:
        IncompleteError: Nothing can be concluded, because too little finished.
    """
    run, failures = finished.experiment.run, finished.failures
    predictions = gather_predictions(finished)
    missing = [{**vars(failure.trial), "reason": failure.reason} for failure in failures]
    images = finished.dataset.images[["image_id", "group"]]
    analysis = Analysis.of(finished.experiment)
    if finished.looks:
        analysis = spend_alpha(analysis, finished.looks[-1])
    results, comparison = analyse(
        predictions, images, analysis, missing, looks=describe_looks(finished.looks)
    )
    write_table(run.results, pa.Table.from_pandas(results, preserve_index=False))
    write_json(run.comparison, comparison)
    finished.clock.lap("statistics")
    keep_durations(finished)
    return results, comparison
