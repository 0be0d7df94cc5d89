"""Check a printed table: each row by itself, and later rows of a model against its first. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from osteo_ray.check_table.matrices import (
    Fits,
    PrintedRow,
    RowCheck,
    check_row,
    find_matrices,
    recompute,
)
from osteo_ray.check_table.mcnemar_bounds import PRange, bound_by_class, bound_by_totals


@dataclass(frozen=True)
class Reading:
    """Matrices that a row may be based on.

    Attributes:
        basis: The cells, or the figure, that the matrices follow from.
        matrices: int64, (n, 4).
    """

    basis: str
    matrices: np.ndarray


@dataclass(frozen=True)
class PairCheck:
    """The p that McNemar's exact test may give for two rows of a model.

    Attributes:
        model: The model of both rows.
        baseline: The data set of the first row, and the basis of its reading.
        compared: The same for the second row.
        by_totals: Bounds from the numbers of errors alone.
        by_class: Bounds from the errors per class, which are narrower; None if impossible.
        note: Why bounds are missing.
    """

    model: str
    baseline: str
    compared: str
    by_totals: PRange | None
    by_class: PRange | None
    note: str | None = None


@dataclass(frozen=True)
class TableCheck:
    """The result of checking a table."""

    rows: tuple[RowCheck, ...]
    pairs: tuple[PairCheck, ...]

    @property
    def is_consistent(self) -> bool:
        """Whether no row contradicts itself or the matrix that is printed with it."""
        return all(row.is_consistent for row in self.rows)


def check_table(rows: Sequence[PrintedRow]) -> TableCheck:
    """Check each row, and compare each later row of a model with the first row of that model.

    Raises:
        ValueError: A row has more confusion matrices than can be tried.
    """
    checks = tuple(check_row(row) for row in rows)
    first: dict[str, RowCheck] = {}
    pairs: list[PairCheck] = []
    for check in checks:
        baseline = first.setdefault(check.row.model, check)
        if baseline is not check:
            pairs += _check_pair(baseline, check)
    return TableCheck(checks, tuple(pairs))


def _check_pair(baseline: RowCheck, check: RowCheck) -> list[PairCheck]:
    model, names = check.row.model, (baseline.row.data_set, check.row.data_set)
    if baseline.row.n_test != check.row.n_test:
        note = f"{baseline.row.n_test} and {check.row.n_test} test images: not the same"
        return [PairCheck(model, *names, None, None, note)]
    found = []
    for one in list_readings(baseline):
        for other in list_readings(check):
            by_class = bound_by_class(one.matrices, other.matrices)
            found.append(
                PairCheck(
                    model,
                    f"{names[0]}: {one.basis}",
                    f"{names[1]}: {other.basis}",
                    bound_by_totals(one.matrices, other.matrices),
                    by_class,
                    None if by_class else "classes differ, or too many matrices to pair",
                )
            )
    return found or [PairCheck(model, *names, None, None, "no cell fits any matrix")]


def list_readings(check: RowCheck) -> list[Reading]:
    """List the readings of a row: all its cells, or parts that agree, and its printed matrix.

    If no matrix fits all cells, each largest set of cells that agree is a reading, and so are the
    remaining cells, if they agree among themselves.
    """
    row = check.row
    readings = []
    if len(check.fits.matrices):
        readings.append(Reading("all cells", check.fits.matrices))
    for fits in check.agreeing:
        readings.append(Reading(", ".join(fits.cells), fits.matrices))
        rest = tuple(name for name in row.cells if name not in fits.cells)
        matrices = find_matrices(row, rest).matrices
        if len(matrices):
            readings.append(Reading(", ".join(rest), matrices))
    if row.confusion is not None:
        given = np.array([row.confusion])
        if not any(np.array_equal(reading.matrices, given) for reading in readings):
            readings.append(Reading(row.source, given))
    distinct = {reading.basis: reading for reading in readings}
    return list(distinct.values())


def describe_rounding(fits: Fits) -> str:
    """Say how the figures were shortened if one of the matrices is right; empty if none fits."""
    if not len(fits.matrices):
        return ""
    if (fits.rounded & fits.cut).any():
        return "rounded or cut off alike"
    either = [word for word, of in (("rounded", fits.rounded), ("cut off", fits.cut)) if of.any()]
    return " or ".join(either) or "some rounded, some cut off"


def list_inconsistencies(check: RowCheck) -> list[str]:
    """Say in sentences what is wrong with a row; return no sentence if it is consistent."""
    row = check.row
    found = []
    if not len(check.fits.matrices):
        figures = ", ".join(f"{name} {cell.text}" for name, cell in row.cells.items())
        text = f"{row.name}: no confusion matrix of {_describe_size(row)} gives {figures}."
        if len(row.cells) > 1:
            conflicts = "; ".join(" with ".join(conflict) for conflict in check.conflicts)
            text += f" In conflict: {conflicts}."
        found.append(text + "".join(f" {_describe_agreeing(row, fits)}" for fits in check.agreeing))
    found += [
        f"{row.name}: {wrong.cell} is printed as {wrong.printed}, but {row.source} gives "
        f"{wrong.value:.4f}."
        for wrong in check.contradictions
    ]
    return found


def find_mixed_rounding(rows: Sequence[RowCheck]) -> str | None:
    """Say which rows must have been rounded and which cut off; None if all are alike."""
    by_kind: dict[str, list[str]] = {"rounded": [], "cut off": []}
    for check in rows:
        by_kind.get(describe_rounding(check.fits), []).append(check.row.name)
    if not all(by_kind.values()):
        return None
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in by_kind.items())


def _describe_size(row: PrintedRow) -> str:
    if len(row.divisions) > 1:
        return f"{row.n_test} test images, in any division into classes,"
    positive, negative = row.divisions[0]
    return f"{positive} positive and {negative} negative test images"


def _describe_agreeing(row: PrintedRow, fits: Fits) -> str:
    names, count = ", ".join(fits.cells), len(fits.matrices)
    first = fits.list_first(1)[0]
    verb = "fits" if len(fits.cells) == 1 else "fit"
    if count > 1:
        return f"{names} {verb} {count} matrices, the first {tuple(first)}."
    values = recompute(first)
    others = [
        f"{name} is {values[name]:.4f}, not {cell.text}"
        for name, cell in row.cells.items()
        if name not in fits.cells
    ]
    return f"{names} {verb} {tuple(first)} only, whose {'; '.join(others)}."
