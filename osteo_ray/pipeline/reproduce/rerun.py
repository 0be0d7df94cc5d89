"""Rerun a stored run, or a sample of it, in the present environment, and say what has drifted."""

import time
from dataclasses import dataclass
from typing import Any

from osteo_ray.base.errors import InputError
from osteo_ray.base.lock import hold
from osteo_ray.base.progress import Clock, JobProgress
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place
from osteo_ray.base.tables import write_json
from osteo_ray.cluster.connection import confirm, connect, describe_environment, plan_resources
from osteo_ray.cluster.placement import Layout
from osteo_ray.config.reproduce import ReproduceConfig
from osteo_ray.experiment.dataset import read_dataset
from osteo_ray.experiment.trials import describe_experiment
from osteo_ray.pipeline.compare.model_check import check_models
from osteo_ray.pipeline.compare.prepare import create_run
from osteo_ray.pipeline.compare.stages import Finished, run_experiment
from osteo_ray.pipeline.reproduce.compare_runs import IMAGES, compare_runs, compare_sources
from osteo_ray.pipeline.reproduce.drift import Compared, Drift, summarize
from osteo_ray.pipeline.reproduce.environment import (
    Change,
    compare_environments,
    expects_equal_bits,
)
from osteo_ray.pipeline.reproduce.ledger import Entry, append_entry
from osteo_ray.pipeline.reproduce.record import describe_reproduction
from osteo_ray.pipeline.reproduce.stored import Rerun
from osteo_ray.pipeline.reproduce.task import Task, plan_task
from osteo_ray.pipeline.reproduce.workspace import Workspace, open_workspace

REPRODUCED = frozenset({"identical", "within tolerance"})
"""Outcomes of a run that has not drifted."""


@dataclass(frozen=True)
class Reproduction:
    """What a reproduction came to.

    Attributes:
        entry: As the ledger has it.
        drifts: What became of each kind of thing.
        changes: What of the environment is not known to be the same.
        notes: What else the user should know.
        ledger: Where it is kept.
        history: All reproductions in the ledger, oldest first.
        kept: Working directory, if it was kept.
    """

    entry: Entry
    drifts: tuple[Drift, ...]
    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    ledger: Place
    history: tuple[Entry, ...]
    kept: Place | None


def reproduce(config: ReproduceConfig, progress: JobProgress) -> Reproduction:
    """Rerun a stored run, or what an earlier try left of rerunning it.

    Args:
        config: Which run, how much of it.
        progress: Where to say how far it is.

    Raises:
        InputError: The run, the sample, the ledger, the source or the first weights cannot be used,
            or another process reproduces the run.
    """
    task = plan_task(config)
    with hold(task.work, progress.say):
        return _reproduce(task, progress)


def _reproduce(task: Task, progress: JobProgress) -> Reproduction:
    config = task.settings
    started, clock = time.monotonic(), Clock()
    progress.say("start Ray")
    with connect():
        clock.lap("start Ray")
        plan = plan_resources(task.config.resources)
        check = check_models.remote(task.config)
        present = describe_environment(plan)
        changes = compare_environments(task.stored.environment, present)
        confirm(check)
        workspace = open_workspace(task.work, task.make_key(present))
        if not workspace.is_new:
            progress.say(f"go on with what was begun in {workspace.root}")
        drifts = [_reread(task, workspace, progress, clock)] if task.images.wanted else []
        finished = _rerun(task, workspace, present, plan, progress, clock)
    progress.say("compare with the run")
    drifts += compare_runs(
        task.stored,
        finished,
        task.only,
        config.tolerances,
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
    )
    history = append_entry(task.ledger, entry)
    keep = config.keep or entry["outcome"] not in REPRODUCED
    if entry["outcome"] != "failed":  # what failed is tried again in the same place
        workspace.finish(keep=keep)
    return Reproduction(
        entry=entry,
        drifts=tuple(drifts),
        changes=changes,
        notes=(task.images.note,) if task.images.note else (),
        ledger=task.ledger,
        history=tuple(history),
        kept=workspace.root if keep else None,
    )


def _reread(task: Task, workspace: Workspace, progress: JobProgress, clock: Clock) -> Drift:
    """Read the images of the source anew, as a new run would, and compare them."""
    run = Run(workspace.root / "source")
    try:
        if not run.config.exists():
            with progress.following() as report:
                create_run(run, task.config, task.images.source, lambda: None, report=report)
    except InputError as error:  # a new run would not even begin
        unusable = Compared("source", False, (str(error),))
        return summarize(IMAGES, [unusable], equal_expected=True)
    finally:
        clock.lap("read images")
    return compare_sources(task.stored, run)


def _rerun(
    task: Task,
    workspace: Workspace,
    present: dict[str, Any],
    plan: Layout,
    progress: JobProgress,
    clock: Clock,
) -> Finished:
    """Train and explain again, on the pixels and splits of the run.

    On those also where the source has changed: so what the data make is told from what the
    environment makes.
    """
    run = Rerun(workspace.root / "run", task.stored.run)
    write_json(run.environment, present)
    dataset = read_dataset(run, task.config)
    try:
        experiment = describe_experiment(run, task.config, dataset)
    except OSError as error:
        raise InputError(
            f"Expected the first weights with which the run began, but {error.filename} cannot be "
            f"read ({error.strerror}). Put the file back."
        ) from None
    return run_experiment(experiment, dataset, plan, progress, clock, task.only)
