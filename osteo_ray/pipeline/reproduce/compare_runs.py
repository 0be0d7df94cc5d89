"""Compare the artifacts of a rerun with those of the stored run."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import pyarrow.compute as pc

from osteo_ray.base.damage import DamagedError
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import list_parts, read_table
from osteo_ray.config.reproduce import ToleranceSettings
from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.reproduction.differences import (
    compare_effects,
    compare_images,
    compare_metrics,
    compare_predictions,
    compare_verdicts,
)
from osteo_ray.experiment.reproduction.drift import Compared, Drift, summarize_drift
from osteo_ray.experiment.reproduction.mask_differences import compare_masks, expect_overlap
from osteo_ray.experiment.trials import Experiment, Trial, plan_trials
from osteo_ray.pipeline.compare.conclusion import Finished, conclude, measure_results
from osteo_ray.pipeline.compare.mask_jobs import list_explanations
from osteo_ray.pipeline.reproduce.stored import (
    StoredRun,
    find_masks,
    find_trial,
    hash_pixels,
    iterate_masks,
    read_gathered,
    read_image_tables,
    read_mask_facts,
    read_trial,
)

IMAGES, PREDICTIONS, MASKS, METRICS = "images", "predictions", "masks", "metrics"
EFFECTS, VERDICTS = "effects", "verdicts"
_DAMAGED = "what the run holds of it is damaged or missing"
KINDS = (IMAGES, PREDICTIONS, MASKS, METRICS, EFFECTS, VERDICTS)
"""What is compared, in the order in which each follows from the one before."""


def compare_sources(stored: StoredRun, present: Run) -> Drift:
    """Compare the images of a run with those that its source holds now."""
    before, after = read_image_tables(stored.run), read_image_tables(present)
    compared = compare_images(before[0], after[0], before[1], after[1])
    ours, theirs = hash_pixels(stored.run), hash_pixels(present)
    unlike = sum(ours[name] != theirs[name] for name in ours.keys() & theirs.keys())
    beyond = (f"{unlike} images are resized differently",) if unlike else ()
    compared.append(Compared("pixels at the size of the run", not unlike, beyond))
    return summarize_drift(IMAGES, compared, equal_expected=True)


def compare_runs(
    stored: StoredRun,
    finished: Finished,
    only: Sequence[Trial] | None,
    tolerances: ToleranceSettings,
    *,
    equal_expected: bool,
) -> list[Drift]:
    """Compare everything that a rerun made with what the run holds.

    Args:
        stored: The run.
        finished: The rerun; its tables of predictions and results are written on the way.
        only: The trials that were rerun; None for the whole run, whose effects and verdicts are
            then compared, too.
        tolerances: How far the results may be off.
        equal_expected: Whether anything but equal bits counts as drift.
    """
    experiment = finished.experiment
    first, second = plan_trials(experiment, only)
    planned = stored.trials if only is None else only
    most = find_largest_shift(stored, tolerances)
    found = {
        PREDICTIONS: _compare_trials(stored, finished, [*first, *second], planned, tolerances),
        MASKS: list(_compare_explanations(stored, experiment, second, tolerances)),
    }
    if only is None and not finished.failures:
        _, comparison = conclude(finished)
        found[EFFECTS] = compare_effects(
            stored.comparison, comparison, most_errors=tolerances.effect, most=most
        )
        found[VERDICTS] = compare_verdicts(stored.comparison, comparison)
    if any(experiment.is_done(trial) for trial in planned):
        found[METRICS] = _compare_results(stored, finished, most)
    return [
        summarize_drift(kind, found[kind], equal_expected=equal_expected)
        for kind in KINDS
        if found.get(kind)
    ]


def find_largest_shift(stored: StoredRun, tolerances: ToleranceSettings) -> float:
    """Return the largest tolerated shift of the endpoint: as stated, or else the run's margin.

    The margin is that of the conclusion: the configuration knows that of an error only as a share.
    """
    if tolerances.metric is not None:
        return tolerances.metric
    return float(stored.comparison.get("margin", stored.config.statistics.effect))


def _compare_trials(
    stored: StoredRun,
    finished: Finished,
    trials: Sequence[Trial],
    planned: Sequence[Trial],
    tolerances: ToleranceSettings,
) -> list[Compared]:
    experiment = finished.experiment
    old = replace(experiment, run=stored.run)
    reasons = {failure.trial: failure.reason for failure in finished.failures}
    compared = []
    gathered = None
    try:
        gathered = read_gathered(stored.run, planned)
    except (DamagedError, FileNotFoundError):
        compared.append(Compared(stored.run.predictions.name, False, missing=_DAMAGED))
    for trial in dict.fromkeys([*trials, *planned]):
        name, path = str(trial), find_trial(old, trial)
        if trial.seed not in experiment.splits or trial not in trials:
            compared.append(Compared(name, False, ("a look ended the rerun before this training",)))
        elif not experiment.is_done(trial):
            why = f"its rerun failed: {reasons.get(trial, 'for an unknown reason')}"
            compared.append(Compared(name, False, missing=why))
        elif path is None:
            compared.append(
                Compared(name, False, missing="the run does not hold it, or holds it twice")
            )
        else:
            rerun = read_trial(experiment.path_of(trial))
            try:
                was = read_trial(path)
            except (DamagedError, FileNotFoundError):
                compared.append(Compared(name, False, missing=_DAMAGED))
                continue
            one = compare_predictions(name, was, rerun, experiment.classes, tolerances)
            compared.append(one)
            if trial in planned and gathered is not None:
                listed = f"{name}, in predictions.parquet"
                table = gathered.get(trial, was.iloc[:0])
                other = compare_predictions(listed, table, rerun, experiment.classes, tolerances)
                if other.equal != one.equal or other.figures != one.figures:
                    compared.append(other)
    return compared


def _compare_explanations(
    stored: StoredRun,
    experiment: Experiment,
    trials: Sequence[Trial],
    tolerances: ToleranceSettings,
) -> Iterator[Compared]:
    old = replace(experiment, run=stored.run)
    for job, explainable in list_explanations(experiment, trials).items():
        teacher = f"{job.teacher}{', true class' if job.target == 'true' else ''}"
        path = find_masks(old, job)
        made = experiment.masks_of(job)
        if not list_parts(made):
            yield Compared(teacher, False, missing="its classifier was not trained")
            continue
        if path is None:
            yield Compared(
                teacher, False, missing="the run does not hold its masks, or holds them twice"
            )
            continue
        try:
            leading = explainable.kinds[0]
            least = tolerances.overlap
            if least is None:
                facts = read_mask_facts(path)
                least = expect_overlap(facts.filter(pc.equal(facts["kind"], leading)))
            compared = [
                compare_masks(
                    f"{teacher}, {kind}",
                    partial(iterate_masks, path, kind),
                    partial(iterate_masks, made, kind),
                    least_overlap=least,
                    most_failures=tolerances.failures,
                )
                for kind in explainable.kinds
            ]
        except DamagedError:
            yield Compared(teacher, False, missing=_DAMAGED)
            continue
        yield from compared


def _compare_results(stored: StoredRun, finished: Finished, most: float) -> list[Compared]:
    analysis = Analysis.of(finished.experiment)
    damaged = [Compared(stored.run.results.name, False, missing=_DAMAGED)]
    try:
        before = read_table(stored.run.results).to_pandas()
    except (DamagedError, FileNotFoundError):
        return damaged
    if not {"model", "arm", "seed", "split", analysis.metric} <= set(before):
        return damaged
    return compare_metrics(before, measure_results(finished, analysis), analysis.metric, most=most)
