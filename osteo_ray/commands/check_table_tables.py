"""What was found in a printed table, on a terminal."""

from collections.abc import Sequence

from rich.console import Console

from osteo_ray.check_table.matrices import RowCheck
from osteo_ray.check_table.mcnemar_bounds import PRange
from osteo_ray.check_table.table_check import (
    PairCheck,
    TableCheck,
    describe_rounding,
    find_mixed_rounding,
    list_inconsistencies,
)
from osteo_ray.commands.terminal import GOOD, WARNING, print_table

_MOST_SHOWN = 5
_ALPHA = 0.05


def show_table_check(console: Console, check: TableCheck, *, ignored: Sequence[str] = ()) -> None:
    """Show which matrices fit each row, what contradicts what, and how McNemar's p is bounded.

    Args:
        console: Where to print.
        check: Of the table.
        ignored: Columns that were not checked.
    """
    print_table(
        console,
        ("row", "tp, fp, fn, tn", "figures are"),
        [_describe_row(row) for row in check.rows],
        title="Confusion matrices that give the printed figures",
        prose=(0, 2),
    )
    for name in ignored:
        _wrap(console, f"Not checked: {name}, which does not follow from a confusion matrix.")
    mixed = find_mixed_rounding(check.rows)
    if mixed is not None:
        _wrap(console, f"The table shortens its figures in two ways. {mixed}.")
    for row in check.rows:
        for finding in list_inconsistencies(row):
            _wrap(console, f"Finding: {finding}", WARNING)
    for model in dict.fromkeys(pair.model for pair in check.pairs):
        _show_pairs(console, model, [pair for pair in check.pairs if pair.model == model])
    if check.pairs:
        _wrap(
            console,
            "p ranges from its smallest to its largest value over all ways in which the errors of "
            "two rows may overlap: by totals, given only the numbers of errors; by class, given "
            "also the class of each error. Both assume that the rows were tested on the same "
            "images.",
        )
    if check.is_consistent:
        _wrap(console, "Every row is consistent.", GOOD)


def _describe_row(check: RowCheck) -> tuple[str, str, str]:
    matrices = check.fits.list_first(_MOST_SHOWN)
    more = len(check.fits.matrices) - len(matrices)
    lines = [", ".join(map(str, matrix)) for matrix in matrices]
    lines += [f"and {more} more"] if more else []
    return check.row.name, "\n".join(lines) or "none", describe_rounding(check.fits) or "–"


def _show_pairs(console: Console, model: str, pairs: Sequence[PairCheck]) -> None:
    print_table(
        console,
        (
            *("first row, read from", "second row, read from", "by totals", "by class"),
            f"p < {_ALPHA:g} for",
        ),
        [
            (
                pair.baseline,
                pair.compared,
                _show_range(pair.by_totals),
                _show_range(pair.by_class),
                pair.by_class.name_overlaps(_ALPHA) if pair.by_class else pair.note or "",
            )
            for pair in pairs
        ],
        title=f"McNemar's exact p between rows of {model}",
        prose=(0, 1, 4),
    )


def _show_range(found: PRange | None) -> str:
    return "–" if found is None else f"{found.low:.3g} … {found.high:.3g}"


def _wrap(console: Console, text: str, style: str = "") -> None:
    """Print sentences, wrapped at the width of the terminal."""
    console.print(text, style=style, highlight=False, markup=False)
