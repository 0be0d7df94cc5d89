"""Check a printed table: each row by itself, and rows against each other. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from osteo_ray.check_table.claims import USUAL_AGREEMENT, FalseClaim, find_false_claim
from osteo_ray.check_table.matrices import PrintedRow, find_matrices
from osteo_ray.check_table.mcnemar_bounds import (
    PRange,
    bound_by_class,
    bound_by_totals,
    bound_differing,
)
from osteo_ray.check_table.row_check import RowCheck, check_row, count_right, describe_rounding


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
    """What can be said of the difference of two rows.

    Attributes:
        model: The model of both rows; empty if the rows are different models.
        baseline: The name of the first row, and the basis of its reading.
        compared: The same for the second row.
        by_totals: Bounds of McNemar's exact p from the numbers of errors alone.
        by_class: Bounds from the errors per class, which are narrower; None if impossible.
        note: Why bounds are missing.
        claim: How probable it is that the row with more right answers is not the better one.
    """

    model: str
    baseline: str
    compared: str
    by_totals: PRange | None
    by_class: PRange | None
    note: str | None = None
    claim: FalseClaim | None = None


@dataclass(frozen=True)
class TableCheck:
    """The result of checking a table."""

    rows: tuple[RowCheck, ...]
    pairs: tuple[PairCheck, ...]

    @property
    def is_consistent(self) -> bool:
        """Whether no row contradicts itself or the matrix that is printed with it."""
        return all(row.is_consistent for row in self.rows)


def check_table(
    rows: Sequence[PrintedRow], agreement: tuple[float, float] = USUAL_AGREEMENT
) -> TableCheck:
    """Check each row, and compare rows.

    Each later row of a model is compared with the first row of that model. In a table without data
    sets, every row is compared with the one of the highest accuracy.

    Args:
        rows: Of the table.
        agreement: See `claims.find_false_claim`.

    Raises:
        ValueError: A row has more confusion matrices than can be tried.
    """
    checks = tuple(check_row(row) for row in rows)
    pairs = [
        pair
        for model, baseline, compared in _choose_pairs(checks)
        for pair in _check_pair(model, baseline, compared, agreement)
    ]
    return TableCheck(checks, tuple(pairs))


def _choose_pairs(checks: Sequence[RowCheck]) -> Iterator[tuple[str, RowCheck, RowCheck]]:
    if not any(check.row.data_set for check in checks):
        rated = [check for check in checks if "accuracy" in check.row.cells]
        best = max(rated, key=lambda check: sum(check.row.cells["accuracy"].bounds), default=None)
        yield from (("", check, best) for check in rated if best and check is not best)
        return
    first: dict[str, RowCheck] = {}
    for check in checks:
        baseline = first.setdefault(check.row.model, check)
        if baseline is not check:
            yield check.row.model, baseline, check


def _check_pair(
    model: str, baseline: RowCheck, check: RowCheck, agreement: tuple[float, float]
) -> list[PairCheck]:
    rows = (baseline.row, check.row)
    one_name, other_name = (row.data_set if model else row.name for row in rows)
    sizes = [row.n_test for row in rows]
    if sizes[0] != sizes[1]:
        note = f"{sizes[0]} and {sizes[1]} test images: not the same"
        return [PairCheck(model, one_name, other_name, None, None, note)]

    def claim(one: np.ndarray | None, other: np.ndarray | None) -> FalseClaim | None:
        right = count_right(baseline.row, one), count_right(check.row, other)
        if not all(right):
            return None
        limits = None if one is None or other is None else bound_differing(one, other)
        return find_false_claim(*right, sizes[0], agreement, limits)

    found = []
    for one in list_readings(baseline):
        for other in list_readings(check):
            by_class = bound_by_class(one.matrices, other.matrices)
            found.append(
                PairCheck(
                    model,
                    f"{one_name}: {one.basis}",
                    f"{other_name}: {other.basis}",
                    bound_by_totals(one.matrices, other.matrices),
                    by_class,
                    None if by_class else "classes differ, or too many matrices to pair",
                    claim(one.matrices, other.matrices),
                )
            )
    if found:
        return found
    if baseline.is_allowed and check.is_allowed:
        note = "means, or more classes than two: the errors of one test are not known"
        return [PairCheck(model, one_name, other_name, None, None, note, claim(None, None))]
    return [PairCheck(model, one_name, other_name, None, None, "no cell fits any matrix")]


def list_readings(check: RowCheck) -> list[Reading]:
    """List the readings of a row: all its cells, or parts that agree, and its printed matrix.

    If no matrix fits all cells, each largest set of cells that agree is a reading, and so are the
    remaining cells, if they agree among themselves. A row that can only be a mean has no reading.
    """
    row = check.row
    readings = []
    if len(check.fits.matrices) and not check.conventions:
        readings.append(Reading("all cells", check.fits.matrices))
    readings += [
        Reading(f"all cells, {convention.words}", convention.fits.matrices)
        for convention in check.conventions
        if convention.fits is not None
    ]
    for fits in () if check.is_allowed else check.agreeing:
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


def find_mixed_rounding(rows: Sequence[RowCheck]) -> str | None:
    """Say which rows must have been rounded and which cut off; None if all are alike."""
    by_kind: dict[str, list[str]] = {"rounded": [], "cut off": []}
    for check in rows:
        by_kind.get(describe_rounding(check.fits), []).append(check.row.name)
    if not all(by_kind.values()):
        return None
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in by_kind.items())
