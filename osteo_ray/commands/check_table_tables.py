"""What was found in a printed table, on a terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from osteo_ray.check_table.matrices import RowCheck
from osteo_ray.check_table.mcnemar_bounds import PRange
from osteo_ray.check_table.table_check import (
    PairCheck,
    TableCheck,
    describe_rounding,
    find_mixed_rounding,
    list_findings,
)

_MOST_SHOWN = 5
_ALPHA = 0.05


def show_table_check(console: Console, check: TableCheck, *, ignored: Sequence[str] = ()) -> None:
    """Show which matrices fit each row, what contradicts what, and what McNemar's test may say.

    Args:
        console: Where.
        check: Of the table.
        ignored: Columns that were not looked at.
    """
    console.print(_tabulate_matrices(check.rows))
    for name in ignored:
        console.print(f"Not looked at: {name}, which no confusion matrix gives.", highlight=False)
    mixed = find_mixed_rounding(check.rows)
    if mixed is not None:
        _say(console, f"The table shortens its figures in two ways. {mixed}.")
    for row in check.rows:
        for finding in list_findings(row):
            _say(console, f"Finding: {finding}", style="yellow")
    for model in dict.fromkeys(pair.model for pair in check.pairs):
        pairs = [pair for pair in check.pairs if pair.model == model]
        console.print(_tabulate_pairs(model, pairs))
    if check.pairs:
        _say(
            console,
            "Smallest and largest p over every overlap of errors: by the numbers of errors alone, "
            "and class by class, which is what matrices on the same test images allow. If the rows "
            "were tested on different images, neither holds.",
        )
    if check.is_consistent:
        console.print("Every row is consistent.", style="green")


def _tabulate_matrices(rows: Sequence[RowCheck]) -> Table:
    table = _table("Confusion matrices that give the printed figures")
    table.add_column("row")
    table.add_column("tp, fp, fn, tn", justify="right", no_wrap=True)
    table.add_column("figures are", no_wrap=True)
    for check in rows:
        matrices = check.fits.list_first(_MOST_SHOWN)
        more = len(check.fits.matrices) - len(matrices)
        lines = [", ".join(map(str, matrix)) for matrix in matrices]
        lines += [f"and {more} more"] if more else []
        table.add_row(
            escape(check.row.name), "\n".join(lines) or "none", describe_rounding(check.fits) or "–"
        )
    return table


def _tabulate_pairs(model: str, pairs: Sequence[PairCheck]) -> Table:
    table = _table(f"McNemar's exact p between rows of {escape(model)}")
    table.add_column("first row, read from")
    table.add_column("second row, read from")
    for heading in ("by totals", "by class"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(f"p < {_ALPHA:g} for")
    for pair in pairs:
        table.add_row(
            escape(pair.baseline),
            escape(pair.compared),
            _show_range(pair.by_totals),
            _show_range(pair.by_class),
            pair.by_class.name_overlaps(_ALPHA) if pair.by_class else pair.note,
        )
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE)


def _show_range(found: PRange | None) -> str:
    return "–" if found is None else f"{found.low:.3g} … {found.high:.3g}"


def _say(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, highlight=False, markup=False)
