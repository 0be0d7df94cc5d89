"""From what the trials of a comparison left to its tables and its verdict."""

import time
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import pyarrow as pa

from osteo_ray.base.digests import write_record, write_sealed
from osteo_ray.base.errors import IncompleteError
from osteo_ray.base.forms import COMPARISON, CONCLUSIONS, ENVIRONMENT, read_record
from osteo_ray.base.progress import Clock
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import read_table, read_tables, write_json, write_table
from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.comparison import analyse
from osteo_ray.experiment.conclusions import identify_conclusion, number_conclusion, share_alpha
from osteo_ray.experiment.coverage import describe_coverage
from osteo_ray.experiment.curves import describe_trainings, read_curves
from osteo_ray.experiment.external import ExternalExperiment
from osteo_ray.experiment.external_results import judge_external
from osteo_ray.experiment.grid import list_grid, read_grid
from osteo_ray.experiment.keep_masks import count_unexplained
from osteo_ray.experiment.looks import LookTaken, describe_looks, spend_alpha
from osteo_ray.experiment.mask_notes import count_mask_notes
from osteo_ray.experiment.roles import assign_roles
from osteo_ray.experiment.trials import Experiment, Trial, list_arms, plan_trials
from osteo_ray.models.epochs import DIVERGED
from osteo_ray.pipeline.compare.sweeps import Failure
from osteo_ray.statistics.predictions import NAMES, Predictions, encode_predictions
from osteo_ray.statistics.results_table import compute_results


@dataclass(frozen=True)
class Finished:
    """What the trials of a comparison left.

    Attributes:
        experiment: What they share.
        failures: Trials that are missing.
        clock: How long each stage took.
        looks: What was decided at each look, the final analysis included; empty if no looks were
            planned.
        external: The same trainings with the images of an external cohort; None without one.
    """

    experiment: Experiment
    failures: list[Failure]
    clock: Clock
    looks: tuple[LookTaken, ...] = ()
    external: ExternalExperiment | None = None


def gather_predictions(experiment: Experiment, failures: list[Failure]) -> pa.Table:
    """Join the predictions of all arms into one table, and keep it in the run.

    Raises:
        IncompleteError: No training finished.
    """
    trials = [
        Trial(model, seed, arm)
        for model in experiment.models
        for seed in experiment.seeds
        for arm in experiment.arms
    ]
    done = experiment.list_done(trials)
    parts = [experiment.path_of(t) / "predictions.parquet" for t in trials if t in done]
    if not parts:
        raise IncompleteError(
            "No training finished, so there is nothing to compare. The first failure: "
            f"{failures[0].trial}: {failures[0].reason}"
        )
    predictions = pa.concat_tables(read_tables(parts, as_numbers=NAMES))
    plain = pa.schema(
        [
            field.with_type(pa.string()) if field.name in NAMES else field
            for field in predictions.schema
        ]
    )
    write_table(experiment.run.predictions, predictions.cast(plain), how=write_sealed)
    return predictions


def encode_results(finished: Finished, analysis: Analysis) -> Predictions:
    """Gather the predictions of all trainings that are compared, and encode them.

    Raises:
        IncompleteError: No training finished.
    """
    predictions = gather_predictions(finished.experiment, finished.failures)
    return encode_predictions(
        predictions, analysis.classes, analysis.positive_class, analysis.ordinal
    )


def measure_results(finished: Finished, analysis: Analysis) -> pd.DataFrame:
    """Return the metrics of all trainings that are compared, as `compute_results` does.

    Raises:
        IncompleteError: No training finished.
    """
    return compute_results(encode_results(finished, analysis), analysis.prevalence)


def gather_curves(experiment: Experiment) -> pa.Table:
    """Join the epochs of all trainings that are done into one table, and keep it in the run."""
    first, second = plan_trials(experiment)
    trials = list(dict.fromkeys([*first, *second]))
    done = experiment.list_done(trials)
    curves = read_curves(experiment, [trial for trial in trials if trial in done])
    write_table(experiment.run.curves, curves, how=write_sealed)
    return curves


def list_groups(experiment: Experiment) -> pd.DataFrame:
    """Return image_id and group of every image and, if the run knows them, its site."""
    images = pd.DataFrame({"image_id": experiment.image_ids, "group": experiment.groups})
    if not experiment.run.images.is_file():
        return images
    stored = read_table(experiment.run.images).to_pandas()
    if "site" not in stored:
        return images
    return images.merge(stored[["image_id", "site"]], on="image_id", how="left")


@dataclass(frozen=True)
class Conclusion:
    """A conclusion that is about to be drawn.

    Attributes:
        analysis: At the error rate that is left for it, looks aside.
        number: Among those of the run, from 1.
        key: What it rests on, as a hash; None where planned results are missing, so that no gain
            can be claimed and nothing is spent.
        earlier: Those that the run has drawn.
    """

    analysis: Analysis
    number: int
    key: str | None
    earlier: tuple[dict[str, Any], ...]


def plan_conclusion(experiment: Experiment) -> Conclusion:
    """Look up which conclusions a run has drawn, and what they left of the error rate."""
    analysis = Analysis.of(experiment)
    earlier = _read_conclusions(experiment.run)
    roles = assign_roles(analysis.arms, goes_on=analysis.goes_on)
    sides = (roles.judged, roles.baseline)
    trials = [Trial(m, s, arm) for m in analysis.models for s in analysis.seeds for arm in sides]
    done = experiment.list_done(trials)
    tested = {
        model: [s for s in analysis.seeds if {Trial(model, s, arm) for arm in sides} <= done]
        for model in analysis.models
    }
    key = None
    if any(len(seeds) == len(analysis.seeds) for seeds in tested.values()):
        key = identify_conclusion(
            metric=analysis.metric,
            margin=analysis.margin,
            alpha=analysis.alpha,
            positive_class=analysis.positive_class,
            judged=roles.judged,
            tested=tested,
            ordinal=analysis.ordinal,
        )
    number = len(earlier) + 1 if key is None else number_conclusion(earlier, key)
    spent = replace(analysis, alpha=analysis.alpha * share_alpha(number))
    return Conclusion(spent, number, key, tuple(earlier))


def _read_conclusions(run: Run) -> list[dict[str, Any]]:
    """Read the conclusions of a run; one of before they were kept drew the one that it left."""
    if run.conclusions.is_file():
        return list(read_record(run.conclusions, CONCLUSIONS))
    left = read_record(run.comparison, COMPARISON) if run.comparison.is_file() else None
    if left is None or left.get("conclusion"):  # planned results were missing, so nothing was spent
        return []
    primary = [one for one in left["contrasts"] if one["arm"] == left["judged"]]
    tested = {one["model"]: one["seeds"] for one in reversed(primary)}
    key = identify_conclusion(
        metric=left["metric"],
        margin=left["margin"],
        alpha=left["alpha"],
        positive_class=left["positive_class"],
        judged=left["judged"],
        tested=tested,
    )
    return [{"key": key, "stated": None, "verdict": left["verdict"]["verdict"]}]


def describe_failures(failures: list[Failure]) -> list[dict[str, Any]]:
    """Return the trials that are missing, as comparison.json lists them."""
    return [{**vars(failure.trial), "reason": failure.reason} for failure in failures]


def keep_durations(finished: Finished) -> None:
    """Write how long each stage took into the record of the run."""
    path = finished.experiment.run.environment
    content = {**read_record(path, ENVIRONMENT), "durations_s": finished.clock.durations_s}
    write_json(path, content, write_record)


def conclude(finished: Finished) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Test and judge; write results.parquet and comparison.json, and return what they hold.

    Every conclusion is kept in conclusions.json, and pays for those before it.

    Raises:
        IncompleteError: Too little finished to conclude anything.
    """
    experiment = finished.experiment
    conclusion = plan_conclusion(experiment)
    analysis = conclusion.analysis
    if finished.looks:
        analysis = spend_alpha(analysis, finished.looks[-1])
    predictions = gather_predictions(experiment, finished.failures)
    results, comparison = analyse(
        predictions,
        list_groups(experiment),
        analysis,
        describe_failures(finished.failures),
        looks=describe_looks(finished.looks),
        grid=read_grid(experiment, list_grid(experiment, list_arms(experiment))),
    )
    comparison["conclusion"] = {
        "number": conclusion.number,
        "planned_alpha": experiment.statistics.alpha,
        "alpha": analysis.alpha,
        "earlier": [one["verdict"] for one in conclusion.earlier[: conclusion.number - 1]],
    }
    comparison["unexplained"] = count_unexplained(experiment)
    curves = gather_curves(experiment)
    failed = {failure.trial: failure.reason for failure in finished.failures}
    diverged = [trial for trial, reason in failed.items() if reason.startswith(DIVERGED)]
    comparison["trainings"] = describe_trainings(curves, failed, diverged)
    comparison["mask_notes"] = count_mask_notes(experiment.run)
    coverage = describe_coverage(experiment, analysis)
    if coverage is not None:
        comparison["coverage"] = coverage
    if finished.external is not None:
        comparison["external"] = judge_external(
            finished.external, predictions, analysis, comparison
        )
    # First, as whoever has seen a conclusion has to pay for it, even if the disk is full by then.
    if conclusion.key is not None and conclusion.number > len(conclusion.earlier):
        record = {
            "key": conclusion.key,
            "stated": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "plan": experiment.plan_hash,
            "metric": analysis.metric,
            "n_seeds": len(analysis.seeds),
            "alpha": analysis.alpha,
            "verdict": comparison["verdict"]["verdict"],
        }
        write_json(experiment.run.conclusions, [*conclusion.earlier, record], write_record)
    table = pa.Table.from_pandas(results, preserve_index=False)
    write_table(experiment.run.results, table, how=write_sealed)
    write_json(experiment.run.comparison, comparison, write_sealed)
    finished.clock.lap("statistics")
    keep_durations(finished)
    return results, comparison
