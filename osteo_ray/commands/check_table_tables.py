"""What was found in a printed table, on a terminal."""

from collections.abc import Sequence

from rich.console import Console

from osteo_ray.check_table.claims import FalseClaim
from osteo_ray.check_table.mcnemar_bounds import PRange
from osteo_ray.check_table.row_check import (
    RowCheck,
    describe_convention,
    describe_rounding,
    list_inconsistencies,
)
from osteo_ray.check_table.table_check import PairCheck, TableCheck, find_mixed_rounding
from osteo_ray.commands.terminal import GOOD, WARNING, print_table

_MOST_SHOWN = 5
_ALPHA = 0.05


def show_table_check(
    console: Console,
    check: TableCheck,
    *,
    agreement: tuple[float, float],
    ignored: Sequence[str] = (),
) -> None:
    """Show which matrices fit each row, what contradicts what, and what differences are worth.

    Args:
        console: Where to print.
        check: Of the table.
        agreement: The share of images on which two models are taken to agree.
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
        _wrap(console, f"Not checked: {name}.")
    mixed = find_mixed_rounding(check.rows)
    if mixed is not None:
        _wrap(console, f"The table shortens its figures in two ways. {mixed}.")
    for row in check.rows:
        if row.conventions:
            _wrap(console, f"Note: {describe_convention(row)}")
    for row in check.rows:
        for finding in list_inconsistencies(row):
            _wrap(console, f"Finding: {finding}", WARNING)
    if not all(row.is_allowed for row in check.rows):
        _wrap(console, _describe_tried(check))
    for model in dict.fromkeys(pair.model for pair in check.pairs):
        _show_pairs(console, model, [pair for pair in check.pairs if pair.model == model])
    if check.pairs:
        _explain_pairs(console, agreement)
    if check.is_consistent:
        _conclude(console, check)


def _conclude(console: Console, check: TableCheck) -> None:
    unconfirmed = [
        row
        for row in check.rows
        if row.conventions and not any(one.is_certain for one in row.conventions)
    ]
    if not unconfirmed:
        _wrap(console, "Every row is consistent.", GOOD)
        return
    count = f"{len(unconfirmed)} of {len(check.rows)}"
    if all(row.row.divisions for row in unconfirmed):
        rest = "is consistent only if it is a mean" if len(unconfirmed) == 1 else ""
        rest = rest or "are consistent only if they are means"
        hint = ""
        if any(row.row.n_averaged is None for row in unconfirmed):
            hint = " If the table reports one test per row, check it again with --one-test."
        _wrap(console, f"No row is proven wrong. {count} {rest}.{hint}", WARNING)
    else:
        _wrap(console, f"No row is proven wrong. {count} could not be confirmed.", WARNING)


def _describe_row(check: RowCheck) -> tuple[str, str, str]:
    certain = [one for one in check.conventions if one.is_certain]
    if check.conventions and not certain:
        return check.row.name, "–", "possible as a mean" if check.row.divisions else "possible"
    fits = certain[0].fits if certain else check.fits
    if fits is None:
        return check.row.name, "–", f"fits {certain[0].words}"
    matrices = fits.list_first(_MOST_SHOWN)
    more = len(fits.matrices) - len(matrices)
    lines = [", ".join(map(str, matrix)) for matrix in matrices]
    lines += [f"and {more} more"] if more else []
    shortened = [describe_rounding(fits)] if len(fits.matrices) else []
    words = ["; ".join(f"fits {one.words}" for one in certain)] if certain else []
    return check.row.name, "\n".join(lines) or "none", "; ".join(words + shortened) or "–"


def _describe_tried(check: TableCheck) -> str:
    wrong = [row.row for row in check.rows if not row.is_allowed]
    tried = "weighted, macro and micro averages, and the scores of the other class"
    if any(row.confusion is None and row.n_averaged != 1 for row in wrong):
        tried += "; where no matrix is printed, also means over runs and over folds"
    return f"Before a row was called wrong, these readings were tried: {tried}. None of them fits."


def _show_pairs(console: Console, model: str, pairs: Sequence[PairCheck]) -> None:
    print_table(
        console,
        (
            *("first row, read from", "second row, read from", "by totals", "by class"),
            *(f"p < {_ALPHA:g} for", "claim is false"),
        ),
        [
            (
                pair.baseline,
                pair.compared,
                _show_range(pair.by_totals),
                _show_range(pair.by_class),
                pair.by_class.name_overlaps(_ALPHA) if pair.by_class else pair.note or "",
                _show_claim(pair.claim),
            )
            for pair in pairs
        ],
        title=(
            f"McNemar's exact p between rows of {model}"
            if model
            else "McNemar's exact p between the row of the highest accuracy and the others"
        ),
        prose=(0, 1, 4),
    )


def _explain_pairs(console: Console, agreement: tuple[float, float]) -> None:
    _wrap(
        console,
        "p ranges from its smallest to its largest value over all ways in which the errors of two "
        "rows may overlap: by totals, given only the numbers of errors; by class, given also the "
        "class of each error. Both assume that the rows were tested on the same images.",
    )
    low, high = (f"{100 * share:g}" for share in agreement)
    _wrap(
        console,
        "Last column: the probability that the row of the higher accuracy is not the better one on "
        "other images of the same kind, and its range. "
        f"It assumes that two models are both right or both wrong on {low} to {high}% of the "
        "images (--agreement), or on the nearest share that the figures allow.",
    )


def _show_range(found: PRange | None) -> str:
    return "–" if found is None else f"{found.low:.3g} … {found.high:.3g}"


def _show_claim(found: FalseClaim | None) -> str:
    if found is None:
        return "–"
    mean, low, high = (_show_percent(p) for p in (found.mean, found.low, found.high))
    return mean if low == high else f"{mean} ({low} … {high})"


def _show_percent(p: float) -> str:
    return "< 0.1%" if p < 0.001 else f"{100 * p:.1f}%" if p < 0.1 else f"{100 * p:.0f}%"


def _wrap(console: Console, text: str, style: str = "") -> None:
    """Print sentences, wrapped at the width of the terminal."""
    console.print(text, style=style, highlight=False, markup=False)
