"""The row that a reproduction adds to the ledger."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from osteo_ray.base.storage import Place
from osteo_ray.experiment.reproduction.drift import Drift, judge
from osteo_ray.experiment.reproduction.environment import Change, expects_equal_bits
from osteo_ray.experiment.reproduction.ledger import Entry, append_entry, tabulate_history
from osteo_ray.experiment.trials import plan_trials
from osteo_ray.pipeline.compare.conclusion import Finished
from osteo_ray.pipeline.reproduce.task import Task
from osteo_ray.pipeline.reproduce.workspace import Workspace

_MOST_TOLD = 100  # lines per kind of result, so that the ledger stays small

WriteLedgerPage = Callable[[Place, list[dict[str, Any]]], object]
"""Writes the page of a ledger, whose rows are those of `tabulate_history`."""


def add_record(ledger: Place, entry: Entry, write_page: WriteLedgerPage) -> list[Entry]:
    """Add a reproduction to a ledger, and write its page; return all rows, oldest first.

    Raises:
        InputError: The file is not a ledger, or one of another version.
    """
    history = append_entry(ledger, entry)
    write_page(ledger, tabulate_history(history))
    return history


def describe_reproduction(
    task: Task,
    workspace: Workspace,
    finished: Finished,
    drifts: Sequence[Drift],
    *,
    present: dict[str, Any],
    changes: Sequence[Change],
    duration_s: float,
    damaged: Sequence[str] = (),
) -> Entry:
    """Return the row of the ledger.

    Args:
        task: What was asked for.
        workspace: Where it was done.
        finished: What was rerun.
        drifts: How far each kind of result has drifted.
        present: The environment, as `describe_environment` returns it.
        changes: What is not known to be the same as in the environment of the run.
        duration_s: How many seconds it took, without what an earlier, interrupted try took.
        damaged: What is known of files of the run that are not as they were written.
    """
    stored, failures = task.stored, finished.failures
    needed = {one for part in plan_trials(finished.experiment, task.only) for one in part}
    return Entry(
        {
            "id": workspace.id,
            "date": datetime.fromtimestamp(workspace.begun, UTC),
            "duration_s": round(duration_s, 1),
            "run": stored.run.root.name,
            "path": str(stored.run.root),
            "run_created": stored.environment.get("created"),
            "config_hash": stored.config.plan_hash(),
            "whole": task.only is None,
            "sample_seed": None if task.only is None else task.settings.seed,
            "n_planned": len(stored.trials),
            "n_trials": len(task.planned),
            "n_recomputed": len(needed - set(task.planned)),
            "images_from": "source" if task.images.source else "stored",
            "expected": "equal bits" if expects_equal_bits(changes) else "within tolerance",
            "outcome": judge(drifts, n_failures=len(failures)),
            "kinds": [_describe_kind(drift) for drift in drifts],
            "figures": {name: value for drift in drifts for name, value in drift.figures.items()},
            "drifted": [line for drift in drifts for line in _tell_drifted(drift)],
            "failures": [*(f"{one.trial}: {one.reason}" for one in failures), *damaged],
            "changes": [
                *(f"configuration of the run: {edit}" for edit in stored.edits),
                *(str(change) for change in changes if change.is_known),
            ],
            "unknown": [change.name for change in changes if not change.is_known],
            "versions": _write_texts(present["versions"]),
            "hardware": _write_texts(present["hardware"]),
        }
    )


def _describe_kind(drift: Drift) -> dict[str, Any]:
    return {
        "kind": drift.kind,
        "outcome": drift.outcome,
        "compared": drift.n_compared,
        "equal": drift.n_equal,
        "drifted": drift.n_drifted,
        "missing": drift.n_missing,
    }


def _tell_drifted(drift: Drift) -> list[str]:
    lines = [f"{drift.kind}: {said}" for said in drift.said[:_MOST_TOLD]]
    n_more = len(drift.said) - len(lines)
    return [*lines, *([f"{drift.kind}: and {n_more} more"] if n_more else [])]


def _write_texts(values: dict[str, Any]) -> dict[str, str | None]:
    return {name: None if value is None else str(value) for name, value in values.items()}
