"""Rerun a stored run, or a sample of it, in the present environment; report what has drifted."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from osteo_ray.base.digests import write_record
from osteo_ray.base.errors import InputError
from osteo_ray.base.lock import hold
from osteo_ray.base.progress import Clock, JobProgress
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place
from osteo_ray.base.tables import write_json
from osteo_ray.cluster.connection import confirm, connect, describe_environment, plan_resources
from osteo_ray.cluster.observer import Observer
from osteo_ray.config.reproduce import ReproduceConfig
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.listing import Source
from osteo_ray.experiment.dataset import read_dataset
from osteo_ray.experiment.reproduction.drift import REPRODUCED, Compared, Drift, summarize_drift
from osteo_ray.experiment.reproduction.environment import (
    Change,
    compare_environments,
    expects_equal_bits,
)
from osteo_ray.experiment.reproduction.ledger import Entry
from osteo_ray.experiment.soundness import refuse_damage
from osteo_ray.experiment.trials import Experiment, describe_experiment
from osteo_ray.pipeline.before_reading import check_setup, check_weights_hubs
from osteo_ray.pipeline.compare.model_check import check_models, list_guidances
from osteo_ray.pipeline.compare.prepare import create_run
from osteo_ray.pipeline.compare.running import run_experiment
from osteo_ray.pipeline.reproduce.compare_runs import IMAGES, compare_runs, compare_sources
from osteo_ray.pipeline.reproduce.failed import Attempt, list_damaged, recording_failure
from osteo_ray.pipeline.reproduce.record import WriteLedgerPage, add_record, describe_reproduction
from osteo_ray.pipeline.reproduce.stored import Rerun
from osteo_ray.pipeline.reproduce.task import Task, plan_task
from osteo_ray.pipeline.reproduce.workspace import Workspace, open_workspace
from osteo_ray.pipeline.site import READ, Site, follow_reading


@dataclass(frozen=True)
class Reproduction:
    """The result of a reproduction.

    Attributes:
        entry: Its row of the ledger.
        drifts: How far each kind of result has drifted.
        changes: What of the environment is not known to be the same.
        edits: What in the configuration of the run is not as it was recorded, in words.
        notes: What else the user should know.
        ledger: Path of the ledger.
        history: All reproductions in the ledger, oldest first.
        kept: Working directory; None if it was removed.
    """

    entry: Entry
    drifts: tuple[Drift, ...]
    changes: tuple[Change, ...]
    edits: tuple[str, ...]
    notes: tuple[str, ...]
    ledger: Place
    history: tuple[Entry, ...]
    kept: Place | None


def reproduce(
    config: ReproduceConfig, progress: JobProgress, write_page: WriteLedgerPage
) -> Reproduction:
    """Rerun a stored run, or resume rerunning it.

    Args:
        config: Which run to reproduce, and how much of it.
        progress: Where to show progress.
        write_page: Writes the page of the ledger, also after a failure.

    Raises:
        InputError: The run, the sample, the ledger, the source or the first weights cannot be used,
            or another process is reproducing the run.
    """
    with recording_failure(config, write_page) as attempt:
        task = attempt.task = plan_task(config)
        run = task.stored.run
        used = [run.images, run.splits, run.pixels, run.regions, run.tuning, run.networks]
        if task.only is None and task.stored.n_earlier:
            used.append(run.conclusions)
        refuse_damage(run, [place.name for place in used])
        earlier = task.stored.read_earlier_conclusions() if task.only is None else []
        check_setup(task.config)
        check_weights_hubs(task.config)
        with hold(task.work, progress.say):
            return _reproduce(task, attempt, earlier, progress, write_page)


def _reproduce(
    task: Task,
    attempt: Attempt,
    earlier: Sequence[dict[str, Any]],
    progress: JobProgress,
    write_page: WriteLedgerPage,
) -> Reproduction:
    """Rerun what is asked for.

    Args:
        task: What is asked for.
        attempt: How far it has come.
        earlier: The conclusions before that of the run, which lowered the error rate of its looks
            and of its verdict, and so must lower that of the rerun.
        progress: Where to show progress.
        write_page: Writes the page of the ledger.
    """
    damaged = list_damaged(task.stored.run)
    started, clock = time.monotonic(), Clock()
    progress.say("start Ray")
    with connect():
        clock.lap("start Ray")
        resources = task.config.resources
        layout = plan_resources(resources, progress.say)
        config = task.config
        guidances = list_guidances(config.arms)
        check = check_models.remote(
            config.first_weights,
            config.image_size,
            guidances,
            config.training,
            task.codes,
            (),  # what could not be explained is in the run as such
            len(task.stored.comparison["classes"]),
        )
        present = describe_environment(layout)
        changes = compare_environments(task.stored.environment, present)
        confirm(check)
        workspace = attempt.workspace = open_workspace(task.work, task.make_key(present))
        if not workspace.is_new:
            progress.say(f"resume what was begun in {workspace.root}")
        run = Rerun(workspace.root / "run", task.stored.run)
        source = task.images.source
        site = Site(layout, resources, progress, clock, Observer(run.logs))
        drifts = [_reread(task, source, workspace, site)] if source else []
        write_json(run.environment, present)
        if earlier:
            write_json(run.conclusions, earlier, write_record)
        finished = run_experiment(_open_experiment(task, run), site, task.only)
    progress.say("compare with the run")
    drifts += compare_runs(
        task.stored,
        finished,
        task.only,
        task.settings.tolerances,
        equal_expected=expects_equal_bits(changes),
    )
    entry = describe_reproduction(
        task,
        workspace,
        finished,
        drifts,
        present=present,
        changes=changes,
        duration_s=time.monotonic() - started,
        damaged=damaged,
    )
    history = add_record(task.ledger, entry, write_page)
    keep = task.settings.keep or entry["outcome"] not in REPRODUCED
    if entry["outcome"] != "failed":  # what failed is retried in the same place
        workspace.finish(keep=keep)
    return Reproduction(
        entry=entry,
        drifts=tuple(drifts),
        changes=changes,
        edits=task.stored.edits,
        notes=(task.images.note,) if task.images.note else (),
        ledger=task.ledger,
        history=tuple(history),
        kept=workspace.root if keep else None,
    )


def _reread(
    task: Task, source: Source | PhantomSettings, workspace: Workspace, site: Site
) -> Drift:
    """Read the images of the source again, as a new run would, and compare them."""
    run = Run(workspace.root / "source")
    try:
        if not run.config.exists():
            with follow_reading(site.progress, site.resources.stall_timeout):
                create_run(run, task.config, source, site.layout)
    except InputError as error:  # a new run would not even begin
        unusable = Compared("source", False, (str(error),))
        return summarize_drift(IMAGES, [unusable], equal_expected=True)
    finally:
        site.clock.lap(READ)
    return compare_sources(task.stored, run)


def _open_experiment(task: Task, run: Rerun) -> Experiment:
    """Describe the trials of a rerun, which use the stored pixels and splits.

    They do so even if the source has changed. The effect of changed data is thereby kept apart from
    the effect of a changed environment.
    """
    try:
        return describe_experiment(run, task.config, read_dataset(run, task.config))
    except OSError as error:
        raise InputError(
            f"Expected the first weights with which the run began, but {error.filename} cannot be "
            f"read ({error.strerror}). Restore the file."
        ) from None
