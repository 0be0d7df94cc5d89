"""The main job, from images to verdict: prepare, run the trials, conclude."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import ray

from osteo_ray.base.lock import hold
from osteo_ray.base.progress import Clock, JobProgress, no_pace
from osteo_ray.base.runs import Run
from osteo_ray.base.time_left import Stage, guess_starting_s
from osteo_ray.cluster.connection import confirm, connect, plan_resources
from osteo_ray.cluster.observer import Observer
from osteo_ray.cluster.placement import Layout
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.splits.assignment import SPLIT_NAMES
from osteo_ray.experiment.costs import Parts
from osteo_ray.experiment.dataset import read_dataset
from osteo_ray.experiment.external import ExternalExperiment
from osteo_ray.experiment.healing import heal_run, settle_digests
from osteo_ray.experiment.trials import Experiment, describe_experiment
from osteo_ray.pipeline.before_reading import check_disk
from osteo_ray.pipeline.compare.calibration import begin_measuring
from osteo_ray.pipeline.compare.cohort import describe_cohort, describe_reading, open_cohort
from osteo_ray.pipeline.compare.conclusion import Finished, conclude
from osteo_ray.pipeline.compare.costing import check_search_hours
from osteo_ray.pipeline.compare.external_job import READ_COHORT, predict_external
from osteo_ray.pipeline.compare.given_regions import read_given
from osteo_ray.pipeline.compare.listed import ListedComparison, list_comparison
from osteo_ray.pipeline.compare.model_check import (
    check_models,
    list_cams,
    list_guidances,
    waits_for_check,
)
from osteo_ray.pipeline.compare.network_code import refer_to_run, store_networks
from osteo_ray.pipeline.compare.plan import state_plan
from osteo_ray.pipeline.compare.prepare import (
    create_run,
    divide_for_search,
    extend_run,
    list_new_arms,
    locate_run,
    record_choices,
)
from osteo_ray.pipeline.compare.running import run_experiment
from osteo_ray.pipeline.compare.sites import state_sites
from osteo_ray.pipeline.compare.stage_sizes import StageSizes, foresee_stages
from osteo_ray.pipeline.compare.sweeps import Failure
from osteo_ray.pipeline.compare.tensorboard import write_events
from osteo_ray.pipeline.compare.tracking import track_comparison
from osteo_ray.pipeline.compare.training_check import check_trainings
from osteo_ray.pipeline.compare.tuning import tune_arms
from osteo_ray.pipeline.explain.carrying import carry_code
from osteo_ray.pipeline.explain.precision import check_processor
from osteo_ray.pipeline.ingest.intake import draw_phantoms
from osteo_ray.pipeline.ingest.rereading import read_again
from osteo_ray.pipeline.output import check_devices
from osteo_ray.pipeline.site import READ, Site, follow_reading


@dataclass(frozen=True)
class Outcome:
    """How a comparison ended.

    Attributes:
        run: The run directory.
        comparison: What comparison.json holds.
        failures: Trials that are missing.
        untracked: Why the result could not be handed to MLflow; None if it was, or was not to be.
    """

    run: Run
    comparison: dict[str, Any]
    failures: list[Failure]
    untracked: str | None = None


def compare(
    config: CompareConfig,
    progress: JobProgress,
    *,
    write_report: Callable[[Run], object] | None = None,
) -> Outcome:
    """Run a comparison from images to verdict, or resume it.

    Args:
        config: Configuration of the comparison.
        progress: Where to show progress.
        write_report: Writes the page of a run whose tables are complete; called while the run is
            still held, and before it is handed to MLflow.

    Raises:
        InputError: The input cannot be used, or another process works on the run; nothing was
            written.
        IncompleteError: Too little finished to conclude anything, or another process has taken the
            run over.
    """
    with hold(locate_run(config, progress.say).root, progress.say):
        finished = run_trials(config, progress)
        results, comparison = conclude(finished)
        experiment = finished.experiment
        if write_report is not None:
            write_report(experiment.run)
        settle_digests(experiment.run)
        untracked = None
        if config.tensorboard:
            write_events(experiment)
        if config.mlflow:
            settings = config.model_dump(mode="json", exclude={"out", "mlflow", "tensorboard"})
            settings["unexplained"] = experiment.settings.unexplained
            untracked = track_comparison(config.mlflow, settings, experiment, results, comparison)
        return Outcome(experiment.run, comparison, finished.failures, untracked)


def run_trials(config: CompareConfig, progress: JobProgress) -> Finished:
    """Run the trials of a comparison, or resume them; conclude nothing.

    What is damaged of a run is set aside first, so that it is made again.

    Raises:
        InputError: The input cannot be used; nothing was written.
    """
    lost = heal_run(locate_run(config), progress.say)
    listed = list_comparison(config)
    run, config, source, codes = listed.run, listed.config, listed.source, listed.codes
    given = read_given(config, source)  # last, as it takes decoding
    for line in describe_reading(source, listed.cohort):
        progress.say(line)
    clock = Clock()
    progress.say("start Ray")
    with connect():
        clock.lap("start Ray")
        layout = plan_resources(config.resources, progress.say)
        check_processor(layout.explainer, config.lime.precision)
        if run.config.exists():
            check_devices(run, layout)
        guidances = list_guidances(config.arms)
        # Models that an earlier command has checked are to be explained in new ways at most.
        cams = list_cams(
            list_new_arms(run, config) if listed.is_known else config.arms, config.lime
        )
        carry_code(cams)
        if listed.is_known and not guidances and not cams:
            check: ray.ObjectRef[list[str]] = ray.put([])
        else:
            check = check_models.remote(
                *(config.first_weights, config.image_size, guidances, config.training, codes, cams),
                source.n_classes,
            )

        def look_over() -> None:
            confirm(check)
            store_networks(run, codes)
            check_trainings(describe_experiment(run, config, read_dataset(run, config)))

        if config.tuning.trials and not run.config.exists():
            check_search_hours(config, source, layout)
        starting_s = guess_starting_s(clock.durations_s["start Ray"])
        measure = partial(begin_measuring, check, config, codes, layout.slot)
        progress.expect(no_pace if listed.is_known else measure(), starting_s)
        progress.look_ahead(foresee_stages(config, source, layout, listed.cohort))
        config = refer_to_run(config, run)
        if not run.config.exists():
            if waits_for_check(config):
                progress.say("check the models")
                confirm(check)
                check_disk(config, run, source)  # a hub has given weights whose size is known now
            with follow_reading(progress, config.resources.stall_timeout):
                create_run(run, config, source, layout, given=given, confirm=look_over)
            clock.lap(READ)
        elif lost.digests:
            progress.say("read the images again")
            with follow_reading(progress, config.resources.stall_timeout):
                create = partial(create_run, config=config, source=source, layout=layout)
                read_again(run, lost, partial(create, given=given))
            clock.lap(READ)
        if lost.phantom:
            draw_phantoms(run, config.phantom)
        confirm(check)
        cohort = None
        if listed.cohort is not None:  # read before anything else, as it may turn out to be unfit
            with follow_reading(progress, config.resources.stall_timeout):
                cohort = open_cohort(run, config, listed.cohort, source)
            for line in describe_cohort(cohort):
                progress.say(line)
            clock.lap(READ_COHORT)
        store_networks(run, codes)
        extend_run(run, config, given)
        dataset = read_dataset(run, config)
        experiment = describe_experiment(run, config, dataset)
        check_trainings(experiment)
        if listed.is_known:
            pace = StageSizes.of(experiment, layout).recall_pace(run.logs)
            progress.expect(measure() if pace is None else lambda: pace, starting_s)
        if config.split == "site":
            progress.say(state_sites(dataset.images, config))
        site = Site(layout, config.resources, progress, clock, Observer(run.logs))
        if config.tuning.trials:
            experiment = tune_arms(experiment, config, divide_for_search(run, config), site)
            record_choices(run, config)
        progress.say(_state_plan(config, experiment))
        finished = run_experiment(experiment, site, ahead=_foresee_rest(listed, layout))
        if cohort is not None:
            external = ExternalExperiment.of(finished.experiment, cohort)
            predict_external(external, site)
            finished = replace(finished, external=external)
        return finished


def _foresee_rest(listed: ListedComparison, layout: Layout) -> list[Stage]:
    """Describe what follows the trials: the cohort, if there is one, and the conclusion."""
    alone = foresee_stages(listed.config, listed.source, layout)
    return foresee_stages(listed.config, listed.source, layout, listed.cohort)[len(alone) - 1 :]


def _state_plan(config: CompareConfig, experiment: Experiment) -> str:
    splits = list(experiment.splits.values())
    means = [float(np.mean([np.sum(split == name) for split in splits])) for name in SPLIT_NAMES]
    positive_share = float(np.mean(experiment.labels == experiment.positive_class))
    return state_plan(config, Parts(*means), positive_share)
