"""The row of the ledger for a reproduction that did not come to an end."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from osteo_ray.base.errors import InputError
from osteo_ray.base.lock import HeldError
from osteo_ray.base.runs import Run, open_run
from osteo_ray.config.reproduce import ReproduceConfig
from osteo_ray.experiment.reproduction.ledger import Entry
from osteo_ray.experiment.soundness import inspect_run
from osteo_ray.pipeline.reproduce.record import WriteLedgerPage, add_record
from osteo_ray.pipeline.reproduce.task import Task, place_ledger
from osteo_ray.pipeline.reproduce.workspace import Workspace

_MOST_TOLD = 100  # damaged files


@dataclass
class Attempt:
    """How far a reproduction has come.

    Attributes:
        task: What was asked for, once the run could be opened.
        workspace: Where it is done, once it has begun.
    """

    task: Task | None = None
    workspace: Workspace | None = None


@contextmanager
def recording_failure(settings: ReproduceConfig, write_page: WriteLedgerPage) -> Iterator[Attempt]:
    """Add a row to the ledger if the block fails, or if the run is too damaged to be opened.

    A request that makes no sense, and one that another process is carrying out, leave no row.
    """
    attempt, started = Attempt(), time.time()
    try:
        yield attempt
    except HeldError:
        raise
    except Exception as error:
        with suppress(OSError, InputError):  # the first error is the one to tell
            run = open_run(settings.run or "")
            damaged = _list_what_can_be_read(run)
            if attempt.task is not None or damaged:
                entry = _describe_failed(run, settings, attempt, error, damaged, started)
                add_record(place_ledger(run, settings), entry, write_page)
        raise


def list_damaged(run: Run) -> list[str]:
    """Say of the files of a run, at most a hundred, which are not as they were written."""
    bad = inspect_run(run).list_bad()
    lines = [f"stored run: {one.name} is {one.state}" for one in bad[:_MOST_TOLD]]
    more = len(bad) - len(lines)
    return [*lines, *([f"stored run: and {more} more"] if more else [])]


def _list_what_can_be_read(run: Run) -> list[str]:
    """Return what `list_damaged` does, or else why nobody can tell, such as an unmounted disk."""
    try:
        return list_damaged(run)
    except (OSError, InputError) as error:
        return [" ".join(str(error).split())]


def _describe_failed(
    run: Run,
    settings: ReproduceConfig,
    attempt: Attempt,
    error: Exception,
    damaged: list[str],
    started: float,
) -> Entry:
    task, workspace = attempt.task, attempt.workspace
    unknown: dict[str, Any] = {
        "run_created": None,
        "config_hash": None,
        "whole": settings.sample is None and settings.share is None,
        "n_planned": 0,
        "n_trials": 0,
        "images_from": None,
    }
    known: dict[str, Any] = {}
    if task is not None:
        known = {
            "run_created": task.stored.environment.get("created"),
            "config_hash": task.stored.config.plan_hash(),
            "whole": task.only is None,
            "n_planned": len(task.stored.trials),
            "n_trials": len(task.planned),
            "images_from": "source" if task.images.source else "stored",
        }
    began = started if workspace is None else workspace.begun
    reason = " ".join(str(error).split()) or type(error).__name__
    return Entry(
        {
            "id": secrets.token_hex(6) if workspace is None else workspace.id,
            "date": datetime.fromtimestamp(int(began), UTC),
            "duration_s": round(time.time() - started, 1),
            "run": run.root.name,
            "path": str(run.root),
            **unknown,
            **known,
            "sample_seed": settings.seed if settings.sample or settings.share else None,
            "n_recomputed": 0,
            "expected": "not known",
            "outcome": "failed",
            "kinds": [],
            "figures": {},
            "drifted": [],
            "failures": list(dict.fromkeys([reason, *damaged])),
            "changes": [],
            "unknown": [],
            "versions": {},
            "hardware": {},
        }
    )
