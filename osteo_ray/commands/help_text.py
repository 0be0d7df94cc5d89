"""The help of a command: on one screen, and in full."""

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from osteo_ray.base.settings import Settings
from osteo_ray.config.build import fit_demo
from osteo_ray.config.demos import DEFAULT_DEMO, DEMOS, find_demo
from osteo_ray.config.flags import Flag

HELP_ALL = "--help-all"
DEMO, JSON, DRY_RUN = "--demo", "--json", "--dry-run"
SWITCHES = {
    DEMO: "Use synthetic knees and settings that end with a verdict in minutes.",
    JSON: "Print the result as JSON.",
    DRY_RUN: "Check everything that needs no pixels, say what would be done, do nothing.",
}
"""Flags that are no settings, and what they do."""

_SHORT: dict[str, tuple[str, ...]] = {
    "Images": (
        *("data", "run", "regions", "test_data", "image_size", "split", "folds"),
        *("positive_class", "images"),
    ),
    "Networks and training": (
        *("models", "weights", "training.recipe", "training.epochs", "training.learning_rate"),
        *("checkpoint", "tuning.trials"),
    ),
    "Masks and arms": (*("arms", "protocol", "method", "area", "lime.samples", "lime.top_k"),),
    "Design and analysis": (
        *("seeds", "repeats", "sample", "share", "measure_leak", "statistics.metric"),
        *("statistics.margin", "statistics.looks", "pilot", "hours", "baseline_auc"),
    ),
    "Where it runs, and what it leaves": (
        *("out", "ledger", "resources.workers", "resources.gpus_per_worker"),
        *("cpus_per_worker", "gpus_per_worker", "mlflow"),
    ),
}
"""By group, the settings that the help on one screen has; other settings are in the full help."""

_NARROWEST, _WIDEST = 60, 110
_FLAG_WIDTH = 31
_SHORTEST = 16  # clause that says something
_ALWAYS = (
    ("--config FILE.yaml", "A file of settings by name, whose groups nest; flags win."),
    ("-h, --help, --help-all", "The usual options, or all of them."),
)


def show_help(
    kind: type[Settings],
    flags: Sequence[Flag],
    command: str,
    description: str,
    positional: str,
    *,
    switches: Sequence[str],
    in_full: bool,
) -> None:
    """Print the help of a command.

    Args:
        kind: Its settings.
        flags: Its flags.
        command: `osteo-ray` and its name.
        description: What it does. The help on one screen has its first paragraph.
        positional: The setting that a word without a flag gives.
        switches: What it also takes, among `SWITCHES`.
        in_full: Whether to describe every option.
    """
    width = min(max(shutil.get_terminal_size((100, 24)).columns, _NARROWEST), _WIDEST)
    print(f"usage: {command} [{positional.upper()}] [OPTIONS]\n")
    paragraphs = description.strip().split("\n\n")
    for paragraph in paragraphs if in_full else paragraphs[:1]:
        print(textwrap.fill(" ".join(paragraph.split()), width) + "\n")
    demo = {}
    if "phantom" in kind.model_fields:
        demo = fit_demo(kind, find_demo({"demo": DEFAULT_DEMO})[0])
    also = dict(_ALWAYS) | {name: SWITCHES[name] for name in switches}
    if demo:
        also[f"{DEMO} {'|'.join(DEMOS)}"] = SWITCHES[DEMO]
    lines = _list_in_full(flags, demo, width) if in_full else _list_short(flags, demo, width)
    print("\n".join([*lines, *_list_also(also, width)]))
    if demo:
        what = f"[N; demo M]: by default N with images of one's own, M with {DEMO} {DEFAULT_DEMO}."
        print("\n" + textwrap.fill(what, width))


def _list_short(flags: Sequence[Flag], demo: dict[str, Any], width: int) -> Iterator[str]:
    known = {flag.name: flag for flag in flags}
    for title, names in _SHORT.items():
        chosen = [known[name] for name in names if name in known]
        if chosen:
            yield f"{title}:"
        for flag in chosen:
            shortest = flag.names[-1]
            # The values of a choice are long; the full help has them.
            value = flag.metavar if len(flag.metavar) <= 12 else "CHOICE"
            default = _tell_default(flag, demo, longest=26)
            text = _shorten(flag.description, width - _FLAG_WIDTH - len(default) - 3)
            yield f"  {_pad(f'{shortest} {value}')}{text} {default}".rstrip()


def _list_also(also: dict[str, str], width: int) -> Iterator[str]:
    yield "Also:"
    yield from (f"  {_pad(name)}{_shorten(text, width - _FLAG_WIDTH - 2)}"
                for name, text in also.items())  # fmt: skip


def _pad(text: str) -> str:
    return f"{text:<{_FLAG_WIDTH - 1}} "


def _shorten(description: str, width: int) -> str:
    """Return the beginning of a description: a clause, or as many words as fit."""
    clause = description
    for end in ("; ", ": ", ". ", ", by default", ", a path or"):
        shorter = clause.partition(end)[0]
        clause = shorter if len(shorter) >= _SHORTEST else clause
    return textwrap.shorten(clause.rstrip("."), max(width, 12), placeholder=" …")


def _list_in_full(flags: Sequence[Flag], demo: dict[str, Any], width: int) -> Iterator[str]:
    for groups, members in groupby(flags, key=lambda flag: flag.path[:-1]):
        yield f"{' › '.join(groups) or 'general'}:"
        for flag in members:
            names = ", ".join(flag.names)
            head = f"{names} | {flag.negative}" if flag.values == 0 else f"{names} {flag.metavar}"
            text = f"{flag.description} {_tell_default(flag, demo)}"
            if len(head) > width - 2:
                head = f"{names} CHOICE"
                text = f"{text} One of {flag.metavar.replace('|', ', ')}."
            yield f"  {head}"
            yield textwrap.fill(text, width, initial_indent=" " * 6, subsequent_indent=" " * 6)


def _tell_default(flag: Flag, demo: dict[str, Any], longest: int | None = None) -> str:
    """Return both defaults, that of the demo only if it is another; empty if there is none."""
    value: Any = demo
    for part in flag.path:
        value = value.get(part) if isinstance(value, dict) else None
    own = _write(flag.default)
    found = [own] if own else []
    if value is not None and _write(value) != own:
        found.append(f"demo {_write(value)}")
    if not found:
        return ""
    text = "; ".join(found)
    return f"[{text if longest is None else textwrap.shorten(text, longest, placeholder='…')}]"


def _write(value: Any) -> str:
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
