"""What a check of a run has found, on a terminal."""

from typing import get_args

from rich.console import Console

from osteo_ray.base.formatting import say_number
from osteo_ray.base.storage import LOCK
from osteo_ray.commands.terminal import ERROR, GOOD, WARNING, print_table, say
from osteo_ray.experiment.soundness import Inspection, State

_SHOWN = 20  # files by name


def show_inspection(console: Console, found: Inspection) -> None:
    """Show a row per kind of file, and the names of the first that are not sound."""
    states = get_args(State)
    kinds = found.count_kinds()
    bad = found.list_bad()
    shown = [one for one in states if one == "sound" or any(row[one] for row in kinds.values())]
    rows = [(kind, *(kinds[kind][state] or "" for state in shown)) for kind in sorted(kinds)]
    of_bad = {one.kind for one in bad}
    styles = [ERROR if row[0] in of_bad else "" for row in rows]
    print_table(console, ("", *shown), rows, styles=styles)
    for one in bad[:_SHOWN]:
        say(console, f"{one.name}: {one.state}", ERROR)
    if len(bad) > _SHOWN:
        say(console, f"and {len(bad) - _SHOWN} more; --json lists all", ERROR)
    _conclude(console, found, len(bad))


def _conclude(console: Console, found: Inspection, n_bad: int) -> None:
    if (found.tree.root / LOCK).exists():
        text = f"{LOCK} says that a process works on the run; what it is writing may look missing."
        say(console, text, WARNING)
    n_unverified = sum(one.state == "unverified" for one in found.checked)
    if n_unverified:
        text = "1 file has" if n_unverified == 1 else f"{n_unverified} files have"
        say(console, f"{text} no digest, so it is unknown whether they changed.", WARNING)
    total = len(found.checked)
    if n_bad:
        of_all = f"{n_bad} of {say_number(total, 'file', 'files')}"
        text = f"{of_all} {'is not as it was' if n_bad == 1 else 'are not as they were'} written."
        them = "it" if n_bad == 1 else "them"
        then = f"Run the command that made the run again: it restores {them} or makes {them} anew."
        say(console, f"{text} {then}", ERROR)
    elif n_unverified < total:
        sound = say_number(total - n_unverified, "file is as it was", "files are as they were")
        say(console, f"{sound} written.", GOOD)
