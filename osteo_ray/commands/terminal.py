"""What commands print: sentences, and tables that no terminal cuts off."""

import textwrap
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from osteo_ray.base.formatting import count_missing
from osteo_ray.base.interruption import noticing_interrupts
from osteo_ray.base.noise import Capture, capture_noise
from osteo_ray.commands.parsing import BAD_INPUT, DONE, FAILED
from osteo_ray.config.build import Config

if TYPE_CHECKING:
    from osteo_ray.base.storage import Place
    from osteo_ray.pipeline.compare.sweeps import Failure

WARNING, ERROR, GOOD = "yellow", "red", "green"
"""Styles of sentences and rows."""
RESUMABLE = "What finished is kept. Run the same command again to resume."
_WIDE = 10_000  # columns: no table is wider


def say(console: Console, text: str, style: str = "") -> None:
    """Print a sentence as it is; paths and long lines are not broken."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def print_table(
    console: Console,
    headings: Sequence[str],
    rows: Iterable[Sequence[str | int]],
    *,
    title: str = "",
    prose: Collection[int] = (),
    styles: Sequence[str] = (),
) -> None:
    """Print a table in full: where the terminal is too narrow, lines run beyond its edge.

    A table without rows is not printed.

    Args:
        console: Where to print.
        headings: Of the columns. Without any text in them, the table has no header.
        rows: Cells, whose text is shown as it is. An empty row leaves a blank line.
        title: Printed above the table.
        prose: Numbers of the columns, from 0, that are aligned left and may be wrapped. The others
            stay on one line, and all but the first are aligned right.
        styles: One per row; by default none.
    """
    cells = [tuple(map(str, row)) for row in rows]
    if not cells:
        return
    table = _make_table(headings, cells, prose, styles)
    if _measure_least(console, table) > console.width:
        widths = [_measure_column(number, cells) for number in range(len(headings))]
        narrow = [
            heading if number in prose else _break_heading(heading, width)
            for number, (heading, width) in enumerate(zip(headings, widths, strict=True))
        ]
        table = _make_table(narrow, cells, prose, styles)
    least = _measure_least(console, table)
    if least > console.width:
        table.width = least
    if title:
        say(console, title, "bold")
    console.print(table, crop=False)


def _make_table(
    headings: Sequence[str],
    cells: Sequence[Sequence[str]],
    prose: Collection[int],
    styles: Sequence[str],
) -> Table:
    table = Table(box=box.SIMPLE, show_header=any(headings))
    for number, heading in enumerate(headings):
        if number in prose:
            # Without this, rich may break a word of one column while another has room to spare.
            texts = [row[number] for row in [*cells, headings] if number < len(row)]
            longest = max((cell_len(word) for text in texts for word in text.split()), default=0)
            table.add_column(Text(heading), min_width=longest)
        else:
            table.add_column(
                Text(heading),
                justify="right" if number else "left",
                no_wrap=True,
                min_width=_measure_column(number, [*cells, headings]),
            )
    for row, style in zip(cells, styles or [""] * len(cells), strict=True):
        if row:
            table.add_row(*map(Text, row), style=style)
        else:
            table.add_section()
    return table


def _measure_column(number: int, rows: Sequence[Sequence[str]]) -> int:
    """Return the width of a column's longest line."""
    lines = [line for row in rows if number < len(row) for line in row[number].splitlines()]
    return max(map(cell_len, lines), default=0)


def _measure_least(console: Console, table: Table) -> int:
    """Return the width in which nothing but prose is wrapped, and that between words only."""
    return Measurement.get(console, console.options.update_width(_WIDE), table).minimum


def _break_heading(heading: str, width: int) -> str:
    """Break a heading between words, to the width of its column's figures where it can be."""
    words = heading.split()
    return "\n".join(textwrap.wrap(heading, max([width, *map(len, words)]))) if words else ""


def run_captured(
    run: Callable[[Config, Capture], int], config: Config, *, kept: str = RESUMABLE
) -> int:
    """Run a command while everything but its own words goes to a log; return its exit code.

    Args:
        run: The command.
        config: Its configuration.
        kept: Said after Ctrl-C: what is kept, and how to resume.
    """
    with capture_noise() as captured, noticing_interrupts() as was_interrupted:
        try:
            code = run(config, captured)
        except (KeyboardInterrupt, Exception) as error:
            if not was_interrupted() and not isinstance(error, KeyboardInterrupt):
                raise
        else:
            # Trainings that Ctrl-C ended may have been counted as failures.
            if code == DONE or not was_interrupted():
                return code
        say(captured.err, f"\nInterrupted. {kept}", WARNING)
        return BAD_INPUT


def tell_failures(
    failures: "Sequence[Failure]", captured: Capture, details: "Place | None" = None
) -> int:
    """Name the trainings that are missing; return the exit code.

    Args:
        failures: One per training.
        captured: Where to print.
        details: The log that has the details, if any.
    """
    for failure in failures:
        say(captured.err, f"Failed: {failure.trial}: {failure.reason}", ERROR)
    if not failures:
        return DONE
    where = "" if details is None else f" Details: {details}"
    say(
        captured.err, f"{count_missing(len(failures))}. Run the same command again to retry.{where}"
    )
    return FAILED
