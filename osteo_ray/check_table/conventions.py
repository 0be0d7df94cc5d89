"""By which convention can a row of a printed table be reported? Pure.

A row that no confusion matrix fits as the scores of the positive class may be honest all the same:
it may report averages over classes, the scores of the other class, or means over runs or folds.
Each is tried before a row is said to be wrong.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from osteo_ray.check_table.matrices import Fits, PrintedRow, agrees, find_matrices
from osteo_ray.check_table.means import (
    USUAL_FOLDS,
    can_be_mean_over_folds,
    can_be_mean_over_runs,
    find_least_spread,
)
from osteo_ray.check_table.scores import AVERAGES, OF_CLASS, SELDOM_AVERAGED, Scoring
from osteo_ray.check_table.several_classes import can_be_mean_of_classes, fit_classes

_NUMBERS = {3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine"}
_OF_MEAN = {
    Scoring.POSITIVE: "",
    Scoring.OTHER: " of the scores of the other class",
    Scoring.WEIGHTED: " of weighted averages",
    Scoring.MACRO: " of macro averages",
    Scoring.MICRO: " of micro averages",
}


@dataclass(frozen=True)
class Convention:
    """A way to read a row that does not contradict its figures.

    Attributes:
        words: Complete "fits" or "possible", for example `as a weighted average`.
        is_certain: Whether a confusion matrix was found that gives the figures; else it is only
            not proven that there is none.
        fits: The confusion matrices, if all were tried.
    """

    words: str
    is_certain: bool
    fits: Fits | None = None

    def __str__(self) -> str:
        return f"{'fits' if self.is_certain else 'possible'} {self.words}"


def list_single_tests(row: PrintedRow) -> Iterator[tuple[Scoring, str]]:
    """Yield the conventions for one test, other than the scores of the positive class, in words.

    They are about the figures whose headings name no average; without such, there are none.
    """
    if _is_open(row):
        for scoring in (Scoring.WEIGHTED, Scoring.MACRO, Scoring.MICRO, Scoring.OTHER):
            yield scoring, scoring.value + _limit(row)


def _is_open(row: PrintedRow) -> bool:
    """Say whether some heading leaves open of which class, or which average, its figure is."""
    return any(name in OF_CLASS for name in row.cells)


def _limit(row: PrintedRow) -> str:
    """Say which figures of a row a convention is about, if it is not about all."""
    named = any(name.partition("_")[0] in AVERAGES for name in row.cells)
    return " where the heading names no average" if named else ""


def list_conventions(row: PrintedRow) -> tuple[Convention, ...]:
    """List the conventions, other than the scores of the positive class, that allow a row.

    Means over runs or folds are tried only if no one test allows it. They are not tried for a row
    that is printed with its confusion matrix, or that says it is one test.

    Raises:
        ValueError: There are more matrices than can be tried.
    """
    if row.class_counts:
        return tuple(_list_of_classes(row))
    found = []
    for scoring, words in list_single_tests(row):
        fits = find_matrices(row, scoring=scoring)
        if len(fits.matrices):
            found.append(Convention(words, True, fits))
    if found or not _may_be_mean(row):
        return tuple(found)
    return tuple(_list_means(row))


def is_given_by(row: PrintedRow, scoring: Scoring) -> bool:
    """Say whether the matrix that is printed with a row gives all its figures."""
    given = row.confusion
    return given is not None and all(
        agrees(cell, name, given, scoring) for name, cell in row.cells.items()
    )


def _may_be_mean(row: PrintedRow) -> bool:
    return row.confusion is None and row.n_averaged != 1


def _name_runs(row: PrintedRow) -> str:
    return "several runs" if row.n_averaged is None else f"{row.n_averaged} runs"


def _list_means(row: PrintedRow) -> Iterator[Convention]:
    """Find the first scoring under which a row may be a mean, over runs and over folds."""
    known, runs = row.n_averaged, _name_runs(row)
    for scoring, of in _OF_MEAN.items() if _is_open(row) else [(Scoring.POSITIVE, "")]:
        of += of and _limit(row)
        ways: list[tuple[str, Callable[[float], bool]]] = []
        over_runs = partial(can_be_mean_over_runs, row, scoring)
        if over_runs():
            ways.append((f"as the mean over {runs} on these test images{of}", over_runs))
        for n_folds in USUAL_FOLDS if known is None else (known,):
            over_folds = partial(can_be_mean_over_folds, row, scoring, n_folds)
            if over_folds():
                ways.append((f"as the mean over {n_folds} folds of these images{of}", over_folds))
                break
        for words, can_be in ways:
            spread = find_least_spread(can_be)
            unlike = f" if some figure varies by a standard deviation above {spread:g}"
            yield Convention(words + (unlike if spread else ""), False)
        if ways:
            return


def _list_of_classes(row: PrintedRow) -> Iterator[Convention]:
    number = len(row.class_counts)
    classes = f"{_NUMBERS.get(number, str(number))} classes"
    found = False
    for read, scoring, position, words in _list_ways(row):
        fitting = fit_classes(read, scoring, position)
        if fitting is not False:
            found = True
            yield Convention(classes + (words and f" as {words}"), bool(fitting))
            if fitting:
                return
    if found or not _may_be_mean(row):
        return
    known, runs = row.n_averaged, _name_runs(row)
    for read, scoring, position, words in _list_ways(row):
        of = words and f" of {words}"
        if can_be_mean_of_classes(read, scoring, 1, position):
            yield Convention(f"{classes} as the mean over {runs}{of}", False)
            return
        for n_folds in USUAL_FOLDS if known is None else (known,):
            if can_be_mean_of_classes(read, scoring, n_folds, position):
                yield Convention(f"{classes} as the mean over {n_folds} folds{of}", False)
                return


def _list_ways(row: PrintedRow) -> Iterator[tuple[PrintedRow, Scoring, int, str]]:
    """Yield what the open figures of several classes may be: averages, or the scores of one.

    The row is as it is printed, or with the averages that some of its figures are taken for.
    """
    if not _is_open(row):
        yield row, Scoring.POSITIVE, 0, ""
        return
    for scoring in (Scoring.MACRO, Scoring.WEIGHTED, Scoring.MICRO):
        yield row, scoring, 0, scoring.value.removeprefix("as ") + _limit(row)
    for k in range(len(row.class_counts)):
        yield row, Scoring.POSITIVE, k, f"the scores of class {k + 1}{_limit(row)}"
    for scoring, other in ((Scoring.WEIGHTED, "macro"), (Scoring.MACRO, "weighted")):
        named = {f"{other}_{name}": name for name in SELDOM_AVERAGED if name in row.cells}
        if named and not named.keys() & row.cells.keys():
            written = {name: one for one, name in named.items()}
            cells = {written.get(name, name): cell for name, cell in row.cells.items()}
            average, few = scoring.value.removeprefix("as "), " and ".join(named.values())
            words = f"{average}, but a {other} one of {few}"
            yield replace(row, cells=cells), scoring, 0, words + _limit(row)
