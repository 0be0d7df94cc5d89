"""From what the trials of a comparison left to its tables and its verdict."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from osteo_ray.base.errors import IncompleteError
from osteo_ray.base.progress import Clock
from osteo_ray.base.tables import read_json, read_tables, write_json, write_table
from osteo_ray.experiment.comparison import Analysis, analyse
from osteo_ray.experiment.keep_masks import count_unexplained
from osteo_ray.experiment.looks import LookTaken, describe_looks, spend_alpha
from osteo_ray.experiment.trials import Experiment, Trial
from osteo_ray.pipeline.compare.sweeps import Failure
from osteo_ray.statistics.predictions import NAMES, encode_predictions
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
    """

    experiment: Experiment
    failures: list[Failure]
    clock: Clock
    looks: tuple[LookTaken, ...] = ()


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
    write_table(experiment.run.predictions, predictions.cast(plain))
    return predictions


def measure_results(finished: Finished, analysis: Analysis) -> pd.DataFrame:
    """Return the metrics of all trainings that are compared, as `compute_results` does.

    Raises:
        IncompleteError: No training finished.
    """
    predictions = gather_predictions(finished.experiment, finished.failures)
    coded = encode_predictions(predictions, analysis.classes, analysis.positive_class)
    return compute_results(coded, analysis.prevalence)


def describe_failures(failures: list[Failure]) -> list[dict[str, Any]]:
    """Return the trials that are missing, as comparison.json lists them."""
    return [{**vars(failure.trial), "reason": failure.reason} for failure in failures]


def keep_durations(finished: Finished) -> None:
    """Write how long each stage took into the record of the run."""
    path = finished.experiment.run.environment
    write_json(path, {**read_json(path), "durations_s": finished.clock.durations_s})


def conclude(finished: Finished) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Test and judge; write results.parquet and comparison.json, and return what they hold.

    Raises:
        IncompleteError: Too little finished to conclude anything.
    """
    experiment = finished.experiment
    images = pd.DataFrame({"image_id": experiment.image_ids, "group": experiment.groups})
    analysis = Analysis.of(experiment)
    if finished.looks:
        analysis = spend_alpha(analysis, finished.looks[-1])
    results, comparison = analyse(
        gather_predictions(experiment, finished.failures),
        images,
        analysis,
        describe_failures(finished.failures),
        looks=describe_looks(finished.looks),
    )
    comparison["unexplained"] = count_unexplained(experiment)
    write_table(experiment.run.results, pa.Table.from_pandas(results, preserve_index=False))
    write_json(experiment.run.comparison, comparison)
    finished.clock.lap("statistics")
    keep_durations(finished)
    return results, comparison
