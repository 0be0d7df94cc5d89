"""The main job: stages that fill the cluster one after the other and end in tables on disk."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from osteo_ray.cluster import Plan, confirm, connect, plan_resources
from osteo_ray.compare.dataset import Dataset, read_dataset, read_pixels
from osteo_ray.compare.experiment import Experiment, Trial, describe_experiment
from osteo_ray.compare.metrics import compute_results
from osteo_ray.compare.model_check import check_models
from osteo_ray.compare.predictions import encode_predictions
from osteo_ray.compare.prepare import create_run, list_source, locate_run
from osteo_ray.compare.sweeps import Failure, run_sweep
from osteo_ray.compare.verdict import build_comparison
from osteo_ray.config import CompareConfig
from osteo_ray.errors import IncompleteError
from osteo_ray.explain.generate import explain_images
from osteo_ray.explain.jobs import Explainable, read_done
from osteo_ray.progress import Clock, JobProgress, Stage
from osteo_ray.report.page import write_report
from osteo_ray.runs import Run, read_json, write_json, write_table

FIRST, EXPLAIN, SECOND = "train on originals", "explain", "train the other arms"
_TRAINING_COST = 3.0  # a forward and a backward pass of one image, in forward passes
_SAMPLES_PER_CLASS = 2  # test images of which heat maps are drawn for the report


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
    config = experiment.config
    first = [Trial(m, s, "original") for m in config.models for s in config.seed_numbers]
    others = [Trial(t.model, t.seed, arm) for t in first for arm in config.arms if arm != t.arm]
    wanted = frozenset(
        np.unique(
            np.concatenate(
                [experiment.image_ids[split != ""] for split in experiment.splits.values()]
            )
        ).tolist()
    )
    done = {trial: read_done(experiment.masks_of(trial)) for trial in first}
    trainings = {FIRST: first, SECOND: others}
    stages = _plan_stages(experiment, trainings, len(wanted), sum(map(len, done.values())))
    pending = {
        name: [trial for trial in trials if not experiment.is_done(trial)]
        for name, trials in trainings.items()
    }

    @cache
    def pixels() -> "ray.ObjectRef[np.ndarray]":
        ids = experiment.image_ids.tolist()
        return ray.put(read_pixels(experiment.run, ids, config.image_size))

    def sweep(name: str, trials: list[Trial]) -> list[Failure]:
        with progress.stage(name):
            failures = []
            if trials:
                failures = run_sweep(
                    trials,
                    experiment,
                    pixels(),
                    plan,
                    name=name.replace(" ", "-"),
                    on_progress=lambda share: progress.advance(name, share),
                )
        clock.lap(name)
        return failures

    with progress.showing(stages):
        failures = sweep(FIRST, pending[FIRST])
        lost = {(failure.trial.model, failure.trial.seed) for failure in failures}
        if others:
            explained = [trial for trial in first if (trial.model, trial.seed) not in lost]
            with progress.stage(EXPLAIN):
                _explain(experiment, plan, explained, wanted, done, progress)
            clock.lap(EXPLAIN)
            ready = [t for t in pending[SECOND] if (t.model, t.seed) not in lost]
            failures += sweep(SECOND, ready)
            failures += [
                Failure(trial, "its first model is missing")
                for trial in pending[SECOND]
                if (trial.model, trial.seed) in lost
            ]
    return failures


def _plan_stages(
    experiment: Experiment, trainings: dict[str, list[Trial]], n_images: int, n_masks_done: int
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
    if trainings[SECOND]:
        total = n_images * len(trainings[FIRST])
        explain = Stage(EXPLAIN, "explanations", total, config.lime.samples, n_masks_done)
        stages.insert(1, explain)
    return stages


def _explain(
    experiment: Experiment,
    plan: Plan,
    trials: list[Trial],
    wanted: frozenset[str],
    done: dict[Trial, frozenset[str]],
    progress: JobProgress,
) -> None:
    config = experiment.config
    samples = _choose_samples(experiment)
    explainables = [
        Explainable(
            model=trial.model,
            seed=trial.seed,
            checkpoint=experiment.path_of(trial) / "model.safetensors",
            frozen=experiment.path_of(trial) / "frozen",
            masks=experiment.masks_of(trial),
            faithfulness=experiment.run.faithfulness / trial.model / f"seed-{trial.seed}",
            faithfulness_ids=experiment.list_ids(trial.seed, "test"),
            heatmaps=experiment.run.heatmaps / trial.model / f"seed-{trial.seed}",
            heatmap_ids=samples if trial.seed == config.first_seed else frozenset(),
            done=done[trial],
        )
        for trial in trials
        if wanted - done[trial]
    ]
    if explainables:
        explain_images(
            experiment.run.pixels,
            explainables,
            wanted,
            config.lime,
            n_classes=len(experiment.classes),
            image_size=config.image_size,
            slot=plan.slot,
            n_actors=plan.slots,
            on_explained=lambda n, errors: progress.advance(EXPLAIN, n),
        )


def _choose_samples(experiment: Experiment) -> frozenset[str]:
    """Choose a few test images of the first seed for the report, the same at every rerun."""
    in_test = experiment.splits[experiment.config.first_seed] == "test"
    chosen: list[str] = []
    for label in experiment.classes:
        ids = experiment.image_ids[in_test & (experiment.labels == label)]
        chosen += sorted(ids.tolist())[:_SAMPLES_PER_CLASS]
    return frozenset(chosen)


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
    positive = config.positive_class or experiment.classes[-1]
    coded = encode_predictions(predictions, experiment.classes, positive)
    results = compute_results(coded, config.statistics.prevalence)
    write_table(run.results, pa.Table.from_pandas(results, preserve_index=False))
    counts = {
        name: float(np.mean([np.sum(split == name) for split in experiment.splits.values()]))
        for name in ("train", "test")
    }
    comparison = build_comparison(
        results,
        predictions=coded,
        arms=config.arms,
        metric=config.statistics.metric,
        alpha=config.statistics.alpha,
        margin=config.statistics.margin,
        n_train=counts["train"],
        n_test=counts["test"],
        classes=experiment.classes,
        positive_class=positive,
        split=config.split,
        seeds=config.seed_numbers,
        missing=[{**vars(failure.trial), "reason": failure.reason} for failure in failures],
    )
    write_json(run.comparison, comparison)
    environment = read_json(run.environment)
    clock.lap("statistics")
    environment["durations_s"] = clock.durations_s
    write_json(run.environment, environment)
    write_report(run)
    return Outcome(run, comparison, failures)
