"""A reproduction on a terminal: what drifted, why, and earlier reproductions of the same run."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from osteo_ray.base.formatting import say_number
from osteo_ray.commands.terminal import ERROR, GOOD, WARNING, print_table, say
from osteo_ray.experiment.reproduction.drift import REPRODUCED, Drift
from osteo_ray.experiment.reproduction.environment import Change
from osteo_ray.experiment.reproduction.ledger import Entry, tabulate_history
from osteo_ray.pipeline.reproduce.rerun import Reproduction

_MOST_DRIFTED, _LATEST = 5, 10  # things that drifted, of each kind; reproductions
_STYLES = dict.fromkeys(REPRODUCED, GOOD)


def show_reproduction(console: Console, found: Reproduction) -> None:
    """Show what a reproduction came to."""
    entry = found.entry
    also = entry["n_recomputed"]
    text = f"Rerun: {entry['n_trials']} of {entry['n_planned']} trainings"
    first = say_number(also, "first model", "first models")
    say(console, f"{text}, and {first} that they need" if also else text)
    for note in found.notes:
        say(console, note, WARNING)
    print_table(
        console,
        ("kind", "outcome", "compared", "equal", "drifted", "missing"),
        [
            (one.kind, one.outcome, one.n_compared, one.n_equal, one.n_drifted, one.n_missing)
            for one in found.drifts
        ],
        prose=(1,),
        styles=[_STYLES.get(one.outcome, ERROR) for one in found.drifts],
    )
    for drift in found.drifts:
        _show_drift(console, drift)
    for failure in entry["failures"]:
        say(console, f"Failed: {failure}", ERROR)
    for line in describe_changes(found.changes, found.edits, entry["outcome"]):
        say(console, line)
    if found.kept is not None:
        say(console, f"The rerun is kept for inspection: {found.kept}")
    same_run = [one for one in found.history if one["path"] == entry["path"]]
    if len(same_run) > 1:
        _show_history(console, same_run)
    say(console, f"Outcome: {entry['outcome']}", _STYLES.get(entry["outcome"], ERROR))


def _show_drift(console: Console, drift: Drift) -> None:
    if drift.outcome != "identical" and drift.figures:
        worst = ", ".join(f"{name} {value:.2g}" for name, value in drift.figures.items())
        say(console, f"{drift.kind}, at worst: {worst}")
    for text in drift.said[:_MOST_DRIFTED]:
        say(console, f"{drift.kind}: {text}", ERROR)
    if len(drift.said) > _MOST_DRIFTED:
        say(console, f"{drift.kind}: and {len(drift.said) - _MOST_DRIFTED} more", ERROR)


def describe_changes(changes: Sequence[Change], edits: Sequence[str], outcome: str) -> list[str]:
    """Say what changed in the environment and the run, what is unknown, and what that means."""
    differ = [str(change) for change in changes if change.is_known and change.matters]
    unknown = [change.name for change in changes if not change.is_known and change.matters]
    beside = [str(change) for change in changes if change.is_known and not change.matters]
    lines = []
    if edits:
        lines.append(
            f"Changed in the configuration of the run after its results: {'; '.join(edits)}. This "
            "alone makes results drift: restore its config.yaml, or run the comparison anew."
        )
    if differ:
        lines.append(f"Changed in the environment: {'; '.join(differ)}.")
    if unknown:
        lines.append(
            "Possibly changed, because the run or the present environment has no record of it: "
            f"{', '.join(unknown)}."
        )
    if beside:
        lines.append(f"Also changed, without effect on numbers: {'; '.join(beside)}.")
    if not differ and not unknown:
        lines.append(
            "Nothing that affects numbers changed in the environment, so equal bits are expected."
        )
        if outcome == "drifted" and not edits:
            lines[-1] = (
                "Nothing in the record of the environment changed. Check whether files of the run "
                "were edited by hand, whether pretrained weights on the hub changed, and whether "
                "the memory of this machine is sound."
            )
    return lines


def _show_history(console: Console, entries: Sequence[Entry]) -> None:
    rows = tabulate_history(entries)
    print_table(
        console,
        ("date (UTC)", "trainings", "outcome", "changed since the previous one"),
        [
            (
                f"{row['date']:%Y-%m-%d %H:%M}",
                f"{row['n_trials']}/{row['n_planned']}",
                row["outcome"],
                "; ".join(row["changed_since_last"]) or "–",
            )
            for row in rows[-_LATEST:]
        ],
        title="Reproductions of this run",
        prose=(2, 3),
        styles=["" if row["outcome"] in _STYLES else ERROR for row in rows[-_LATEST:]],
    )
    if (onset := rows[-1]["onset"]) is not None:
        say(console, describe_onset(onset), ERROR)


def describe_onset(onset: Mapping[str, Any]) -> str:
    """Say since when a run has drifted, and what changed then; of `ledger.find_onset`."""
    first = f"{onset['first']:%Y-%m-%d %H:%M} UTC"
    if onset["last_good"] is None:
        return f"Drifted since {first}, the first reproduction of it that came to an end."
    changed = "; ".join(onset["changed"]) or "nothing that is recorded"
    return (
        f"Drifted since {first}; last reproduced {onset['last_good']:%Y-%m-%d %H:%M} UTC. Changed "
        f"between the two: {changed}."
    )
