"""A reproduction on a terminal: what became of each kind of thing, why, and those before it."""

from collections.abc import Sequence
from itertools import pairwise

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from osteo_ray.experiment.reproduction.drift import Drift
from osteo_ray.experiment.reproduction.environment import Change
from osteo_ray.experiment.reproduction.ledger import Entry, list_changes
from osteo_ray.pipeline.reproduce.rerun import REPRODUCED, Reproduction

_TOLD, _LATEST = 5, 10  # drifted things per kind, reproductions
_STYLES = dict.fromkeys(REPRODUCED, "green")


def show_reproduction(console: Console, found: Reproduction) -> None:
    """Show what a reproduction came to."""
    entry = found.entry
    n_trials = f"{entry['n_trials']} of {entry['n_planned']} trainings"
    also = entry["n_recomputed"]
    told = f", and {also} first models that they need" if also else ""
    console.print(f"Rerun: {n_trials}{told}", highlight=False)
    for note in found.notes:
        console.print(note, style="yellow", markup=False, highlight=False, soft_wrap=True)
    console.print(_tabulate_kinds(found.drifts))
    for drift in found.drifts:
        if drift.outcome != "identical" and drift.figures:
            worst = ", ".join(f"{name} {value:.2g}" for name, value in drift.figures.items())
            _print(console, f"{drift.kind}, at worst: {worst}", "")
        for said in drift.said[:_TOLD]:
            _print(console, f"{drift.kind}: {said}", "red")
        if len(drift.said) > _TOLD:
            _print(console, f"{drift.kind}: and {len(drift.said) - _TOLD} more", "red")
    for failure in entry["failures"]:
        _print(console, f"Failed: {failure}", "red")
    for line in describe_changes(found.changes, entry["outcome"]):
        _print(console, line, "")
    if found.kept is not None:
        _print(console, f"Kept for a look: {found.kept}", "")
    same_run = [one for one in found.history if one["path"] == entry["path"]]
    if len(same_run) > 1:
        console.print(_tabulate_history(same_run[-_LATEST:]))
    _print(console, f"Outcome: {entry['outcome']}", _STYLES.get(entry["outcome"], "red"))


def _print(console: Console, text: str, style: str) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def describe_changes(changes: Sequence[Change], outcome: str) -> list[str]:
    """Say what changed in the environment, what is not known of it, and what that means."""
    differ = [str(change) for change in changes if change.is_known and change.matters]
    unknown = [change.name for change in changes if not change.is_known and change.matters]
    beside = [str(change) for change in changes if change.is_known and not change.matters]
    lines = []
    if differ:
        lines.append(f"Changed in the environment: {'; '.join(differ)}.")
    if unknown:
        lines.append(
            "Not known to be the same, as the record of the run, or of the present environment, "
            f"does not tell: {', '.join(unknown)}."
        )
    if beside:
        lines.append(f"Changed too, where numbers do not depend on it: {'; '.join(beside)}.")
    if not differ and not unknown:
        lines.append("Nothing that numbers depend on changed in the environment: equal bits.")
        if outcome == "drifted":
            lines[-1] = (
                "Nothing that is recorded changed in the environment: look at the files of the run "
                "(were they changed by hand?), at first weights from the hub, and at the machine's "
                "memory."
            )
    return lines


def _tabulate_kinds(drifts: Sequence[Drift]) -> Table:
    table = Table(box=box.SIMPLE)
    table.add_column("", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    for heading in ("compared", "equal", "drifted", "missing"):
        table.add_column(heading, justify="right", no_wrap=True)
    for drift in drifts:
        table.add_row(
            drift.kind,
            drift.outcome,
            *map(str, (drift.n_compared, drift.n_equal, drift.n_drifted, drift.n_missing)),
            style=_STYLES.get(drift.outcome, "red"),
        )
    return table


def _tabulate_history(entries: Sequence[Entry]) -> Table:
    table = Table(
        box=box.SIMPLE, title="Reproductions of this run", title_justify="left", title_style="bold"
    )
    table.add_column("date (UTC)", no_wrap=True)
    table.add_column("trainings", justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("changed since the one before")
    steps = [[], *(list_changes(one, other) for one, other in pairwise(entries))]
    for entry, changes in zip(entries, steps, strict=True):
        table.add_row(
            f"{entry['date']:%Y-%m-%d %H:%M}",
            f"{entry['n_trials']}/{entry['n_planned']}",
            entry["outcome"],
            escape("; ".join(changes) or "–"),
            style="" if entry["outcome"] in _STYLES else "red",
        )
    return table
