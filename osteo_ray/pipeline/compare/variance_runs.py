"""Train a base and its reruns, each of which changes one source of randomness."""

from typing import Any

from osteo_ray.base.digests import write_sealed
from osteo_ray.base.lock import hold
from osteo_ray.base.progress import JobProgress
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import write_json
from osteo_ray.config.variants import VarianceConfig
from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.healing import settle_digests
from osteo_ray.experiment.run_files import VARIANCE
from osteo_ray.pipeline.compare.conclusion import (
    Finished,
    describe_failures,
    keep_durations,
    measure_results,
)
from osteo_ray.pipeline.compare.prepare import locate_run
from osteo_ray.pipeline.compare.stages import run_trials
from osteo_ray.pipeline.compare.sweeps import Failure
from osteo_ray.statistics.variance import divide_variance


def measure_variance(
    config: VarianceConfig, progress: JobProgress
) -> tuple[Run, list[dict[str, Any]], list[Failure]]:
    """Train the base and its reruns, and divide the variance of their results.

    Returns:
        The run; for each model and result (the primary metric of an arm, and the gain of each arm
        over `original`) how much variance each source contributes; and the missing trials.

    Raises:
        InputError: The input cannot be used; nothing was written.
        IncompleteError: No training finished.
    """
    with hold(locate_run(config, progress.say).root, progress.say):
        return _measure(run_trials(config, progress), config)


def _measure(
    finished: Finished, config: VarianceConfig
) -> tuple[Run, list[dict[str, Any]], list[Failure]]:
    run, analysis = finished.experiment.run, Analysis.of(finished.experiment)
    changed = {number: config.source_of(number) for number in config.seed_numbers}
    results = measure_results(finished, analysis)
    budget = divide_variance(results, config.statistics.metric, changed)
    missing = describe_failures(finished.failures)
    write_json(
        run.root / VARIANCE,
        {"metric": config.statistics.metric, "budget": budget, "missing": missing},
        write_sealed,
    )
    keep_durations(finished)
    settle_digests(run)
    return run, budget, finished.failures
