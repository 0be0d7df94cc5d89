"""Check a row of a printed table by itself, and say in sentences what was found. Pure."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from osteo_ray.check_table.conventions import (
    Convention,
    is_given_by,
    list_conventions,
    list_single_tests,
)
from osteo_ray.check_table.matrices import (
    Fits,
    PrintedRow,
    agrees,
    find_matrices,
    find_possible_sets,
    recompute,
)
from osteo_ray.check_table.scores import Ratio, Scoring, match


@dataclass(frozen=True)
class Contradiction:
    """A cell that a confusion matrix does not give: its name, as printed, and the right value."""

    cell: str
    printed: str
    value: float


@dataclass(frozen=True)
class RowCheck:
    """What there is to say about a row.

    Attributes:
        row: The row itself.
        fits: The matrices that agree with all its cells, as scores of the positive class.
        conventions: If there are none: other conventions that allow the row.
        conflicts: If no one test allows the row: the smallest sets of cells that no matrix agrees
            with.
        agreeing: In the same case: the largest sets of cells that some matrix agrees with.
        contradictions: Cells that the matrix given beside them does not give.
    """

    row: PrintedRow
    fits: Fits
    conventions: tuple[Convention, ...]
    conflicts: tuple[tuple[str, ...], ...]
    agreeing: tuple[Fits, ...]
    contradictions: tuple[Contradiction, ...]

    @property
    def is_allowed(self) -> bool:
        """Whether some convention allows the figures of the row."""
        return len(self.fits.matrices) > 0 or len(self.conventions) > 0

    @property
    def is_consistent(self) -> bool:
        """Whether some convention allows the row, and the matrix given, if any, agrees."""
        return self.is_allowed and not self.contradictions


def check_row(row: PrintedRow) -> RowCheck:
    """Find the matrices behind a row, or another convention, or what keeps it from having one.

    Raises:
        ValueError: There are more matrices than can be tried.
    """
    fits = find_matrices(row)
    for scoring, words in list_single_tests(row):
        if not is_given_by(row, Scoring.POSITIVE) and is_given_by(row, scoring):
            own = find_matrices(row, scoring=scoring)
            return RowCheck(row, fits, (Convention(words, True, own),), (), (), ())
    conventions = () if len(fits.matrices) else list_conventions(row)
    conflicts: list[tuple[str, ...]] = []
    agreeing: tuple[Fits, ...] = ()
    if row.divisions and not len(fits.matrices) and not any(one.fits for one in conventions):
        possible = find_possible_sets(row)
        names = tuple(row.cells)
        subsets = [c for size in range(1, len(names) + 1) for c in combinations(names, size)]
        for subset in subsets:
            if subset not in possible and not any(set(c) <= set(subset) for c in conflicts):
                conflicts.append(subset)
        largest = max((len(subset) for subset in possible), default=0)
        best = [subset for subset in subsets if subset in possible and len(subset) == largest]
        agreeing = tuple(find_matrices(row, subset) for subset in best)
    return RowCheck(row, fits, conventions, tuple(conflicts), agreeing, _contradict(row))


def _contradict(row: PrintedRow) -> tuple[Contradiction, ...]:
    if row.confusion is None:
        return ()
    values = recompute(row.confusion, row.cells)
    return tuple(
        Contradiction(name, cell.text, values[name])
        for name, cell in row.cells.items()
        if not agrees(cell, name, row.confusion)
    )


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
    found = [] if check.is_allowed else [f"{row.name}: {_describe_conflict(check)}"]
    found += [
        f"{row.name}: {_name(wrong.cell)} is printed as {wrong.printed}, but {row.source} gives "
        f"{wrong.value:.4f}."
        for wrong in check.contradictions
    ]
    return found


def describe_convention(check: RowCheck) -> str:
    """Say in sentences by which other convention a row is consistent; empty if by none.

    Example:
        `x ResNet: fits as a weighted average.`
    """
    if not check.conventions:
        return ""
    certain = [one for one in check.conventions if one.is_certain]
    shown = certain or check.conventions
    words = ", or ".join(one.words for one in shown)
    text = f"{check.row.name}: {'fits' if certain else 'possible'} {words}."
    if certain:
        return text
    if not check.row.divisions:
        return f"{text} No confusion matrix was found, nor was it proven that there is none."
    return (
        f"{text} This cannot be confirmed, because the results of each run or fold are not "
        f"printed. If the row reports one test: {_describe_conflict(check)}"
    )


def _describe_conflict(check: RowCheck) -> str:
    row = check.row
    figures = ", ".join(f"{_name(name)} {cell.text}" for name, cell in row.cells.items())
    text = f"no confusion matrix of {_describe_size(row)} gives {figures}."
    if len(row.cells) > 1 and check.conflicts:
        conflicts = "; ".join(" with ".join(map(_name, names)) for names in check.conflicts)
        text += f" In conflict: {conflicts}."
    return text + "".join(f" {_describe_agreeing(row, fits)}" for fits in check.agreeing)


def _name(metric: str) -> str:
    return metric.replace("_", " ")


def _describe_size(row: PrintedRow) -> str:
    if row.class_counts:
        *some, last = map(str, row.class_counts)
        return f"{', '.join(some)} and {last} test images of {len(row.class_counts)} classes"
    if len(row.divisions) > 1:
        return f"{row.n_test} test images, in any division into classes,"
    positive, negative = row.divisions[0]
    return f"{positive} positive and {negative} negative test images"


def _describe_agreeing(row: PrintedRow, fits: Fits) -> str:
    names, count = ", ".join(map(_name, fits.cells)), len(fits.matrices)
    first = fits.list_first(1)[0]
    verb = "fits" if len(fits.cells) == 1 else "fit"
    if count > 1:
        return f"{names} {verb} {count} matrices, the first {tuple(first)}."
    values = recompute(first, row.cells)
    others = [
        f"{_name(name)} is {values[name]:.4f}, not {cell.text}"
        for name, cell in row.cells.items()
        if name not in fits.cells
    ]
    return f"{names} {verb} {tuple(first)} only, whose {'; '.join(others)}."


def count_right(row: PrintedRow, matrices: np.ndarray | None = None) -> list[int]:
    """List how many test images a row may have got right.

    Args:
        row: Of the table.
        matrices: Its possible matrices. Without them, the numbers that its accuracy stands for, or
            the nearest number if it stands for none, as a mean may.
    """
    if matrices is not None:
        return sorted({int(n) for n in matrices[:, 0] + matrices[:, 3]})
    if "accuracy" not in row.cells:
        return []
    counts = np.arange(row.n_test + 1)
    rounded, cut = match(row.cells["accuracy"], Ratio(counts, row.n_test))
    middle = round(sum(row.cells["accuracy"].bounds) / 2 * row.n_test)
    return counts[rounded | cut].tolist() or [min(row.n_test, middle)]
