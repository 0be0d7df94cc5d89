"""Run the trials of an experiment: stages that fill the cluster one after the other."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import ray

from osteo_ray.base.tables import list_parts
from osteo_ray.base.time_left import Stage
from osteo_ray.data.pixels import Pixels
from osteo_ray.experiment.grid import GridRow, list_grid, list_pending
from osteo_ray.experiment.looks import take_look, take_seeds
from osteo_ray.experiment.superpixel_files import list_divisions
from osteo_ray.experiment.trials import Experiment, MaskJob, Trial, list_arms, plan_trials
from osteo_ray.explain.jobs import Explainable, plan_job
from osteo_ray.pipeline.compare.conclusion import (
    Finished,
    encode_results,
    list_groups,
    plan_conclusion,
)
from osteo_ray.pipeline.compare.grid_job import GRID, predict_grid
from osteo_ray.pipeline.compare.mask_jobs import list_explanations
from osteo_ray.pipeline.compare.shared_pixels import share_pixels
from osteo_ray.pipeline.compare.stage_sizes import StageSizes
from osteo_ray.pipeline.compare.superpixel_job import DIVIDE, divide_images
from osteo_ray.pipeline.compare.sweeps import Failure, run_sweep
from osteo_ray.pipeline.explain.joining import join_masks
from osteo_ray.pipeline.explain.pool import Pool, explain_images
from osteo_ray.pipeline.site import Site

FIRST, EXPLAIN, SECOND = "train on originals", "explain", "train the other arms"


def run_experiment(
    experiment: Experiment,
    site: Site,
    only: Sequence[Trial] | None = None,
    ahead: Sequence[Stage] = (),
) -> Finished:
    """Run those trials of an experiment that are not done.

    Args:
        experiment: What to run.
        site: Where to run it.
        only: Trials to run, with everything they need and without looks; by default all.
        ahead: What follows afterwards, for the time that is left.
    """
    for seed in experiment.splits:
        experiment.check_split(seed)
    layout = site.layout.describe()
    site.progress.say(f"{len(experiment.image_ids)} images; {layout}")
    with site.observer.job(plan_hash=experiment.plan_hash, layout=layout):
        if only is None and experiment.statistics.looks:
            return _run_looks(experiment, site, ahead)
        failures = _run_stages(experiment, site, only, ahead=ahead)
        return Finished(experiment, failures, site.clock)


def _run_looks(whole: Experiment, site: Site, ahead: Sequence[Stage]) -> Finished:
    """Run the seeds up to each planned look, then the rest, unless a look says to stop."""
    counts = [*whole.statistics.looks, len(whole.seeds)]
    finished = Finished(whole, [], site.clock)
    for number, n_seeds in enumerate(counts, start=1):
        experiment = take_seeds(whole, n_seeds)
        later = (counts[-1] - n_seeds) / (n_seeds - ([0, *counts][number - 1]))
        failures = _run_stages(experiment, site, ahead=ahead, later=later)
        finished = replace(finished, experiment=experiment, failures=failures)
        # A run that is gone on with has drawn its conclusion, at this look or at the end.
        planned = [plan_conclusion(one).analysis for one in (experiment, whole)]
        analysis = replace(planned[0], alpha=max(one.alpha for one in planned))
        look = take_look(
            encode_results(finished, analysis),
            list_groups(experiment),
            analysis,
            whole.statistics,
            n_planned=len(whole.seeds),
            number=number,
        )
        finished = replace(finished, looks=(*finished.looks, look))
        for model, verdict in look.verdicts.items():
            said = f"{verdict}. {look.reasons[model]}"
            site.progress.say(f"look {number}, {model}: {said}")
            site.observer.events.write("look", number=number, model=model, reason=said)
        if look.stop:
            break
    return finished


def prepare_trials(experiment: Experiment, site: Site, trials: Sequence[Trial]) -> list[Failure]:
    """Make everything that some trials need, such as masks, without running them.

    Returns:
        The trainings that failed.
    """
    return _run_stages(experiment, site, trials, prepare_only=True)


def _run_stages(
    experiment: Experiment,
    site: Site,
    only: Sequence[Trial] | None = None,
    *,
    prepare_only: bool = False,
    ahead: Sequence[Stage] | None = None,
    later: float = 0.0,
) -> list[Failure]:
    """Do what is missing; return the trials that failed, or that could not begin.

    Args:
        experiment: What to run.
        site: Where to run it.
        only: Trials to run; by default all.
        prepare_only: Leave the trials out, but make what they need.
        ahead: What follows afterwards; None if that is known already.
        later: How many times as many seeds follow before that.
    """
    first, second = plan_trials(experiment, only)
    divisions = list_divisions(experiment, second)
    explanations = list_explanations(experiment, second)
    grid = list_grid(experiment, list_arms(experiment)) if second and only is None else []
    sizes = StageSizes.of(experiment, site.layout)
    stages = [_plan_trainings(FIRST, experiment, first, sizes)] if first else []
    if explanations:
        stages.append(sizes.plan_explanations(EXPLAIN, explanations.values()))
    if divisions:
        n_files = len(list_parts(experiment.run.pixels))
        stages.append(sizes.plan_divisions(DIVIDE, len(divisions), n_files))
    if second and not prepare_only:
        stages.append(_plan_trainings(SECOND, experiment, second, sizes))
    if grid:
        n_done = len(grid) - len(list_pending(experiment, grid))
        stages.append(sizes.plan_grid(GRID, grid, sizes.parts.test, n_done))
    if ahead is not None:
        more = [replace(one, total=round(later * one.total), done=0.0) for one in stages if later]
        site.progress.look_ahead([*more, *ahead])

    @cache
    def pixels() -> "ray.ObjectRef[Pixels]":
        ids, image_size = experiment.image_ids.tolist(), experiment.settings.image_size
        return share_pixels(experiment.run, ids, image_size, site.layout.pixels_bytes)

    def sweep(name: str, trials: list[Trial]) -> list[Failure]:
        done = experiment.list_done(trials)
        pending = [trial for trial in trials if trial not in done]
        with site.stage(name) as listener:
            if not pending:
                return []
            return run_sweep(pending, experiment, pixels(), site, listener)

    with site.progress.showing(stages):
        failures = sweep(FIRST, first) if first else []
        if not second:
            return failures
        lost = {failure.trial for failure in failures}
        if explanations:
            # Listed again, as only the trained baseline tells which images the report shows.
            explain_all(experiment, site, list_explanations(experiment, second), lost)
        if divisions:
            with site.stage(DIVIDE) as listener:
                divide_images(
                    divisions,
                    experiment.settings.lime,
                    experiment.settings.image_size,
                    stall_timeout_s=site.resources.stall_timeout,
                    on_divided=lambda: listener.advanced(1),
                )
        if prepare_only:
            return failures
        stuck = {trial for trial in second if lost & set(experiment.list_requirements(trial))}
        failures += sweep(SECOND, [trial for trial in second if trial not in stuck])
        _predict_grid(experiment, site, grid, pixels)
        reason = "a first model that it needs is missing"
        return failures + [Failure(trial, reason) for trial in second if trial in stuck]


def _predict_grid(
    experiment: Experiment,
    site: Site,
    grid: list[GridRow],
    pixels: "Callable[[], ray.ObjectRef[Pixels]]",
) -> None:
    """Show the other views of the test images to the classifiers that are trained."""
    done = experiment.list_done([row.trial for row in grid])
    pending = [row for row in list_pending(experiment, grid) if row.trial in done]
    if not pending:
        return
    with site.stage(GRID) as listener:
        predict_grid(
            pending,
            experiment,
            pixels(),
            layout=site.layout,
            stall_timeout_s=site.resources.stall_timeout,
            on_predicted=listener.advanced,
        )


def _plan_trainings(
    name: str, experiment: Experiment, trials: list[Trial], sizes: StageSizes
) -> Stage:
    return sizes.plan_trainings(name, len(trials), len(experiment.list_done(trials)))


def explain_all(
    experiment: Experiment,
    site: Site,
    explanations: dict[MaskJob, Explainable],
    lost: set[Trial],
    name: str = EXPLAIN,
) -> None:
    """Explain images with all classifiers, except those whose training was lost.

    Args:
        experiment: Whose images.
        site: Where.
        explanations: What is to be explained.
        lost: Trainings that failed.
        name: Of the stage.
    """
    pending = [one for job, one in explanations.items() if job.teacher not in lost and one.lacking]
    with site.stage(name) as listener:
        if pending:
            explain_images(
                experiment.run.pixels,
                plan_job(
                    pending,
                    experiment.settings.lime,
                    n_classes=len(experiment.classes),
                    image_size=experiment.settings.image_size,
                ),
                pool=Pool.on(site.layout, site.resources.stall_timeout),
                on_explained=listener.explained,
            )
        join_masks(explanations.values())
