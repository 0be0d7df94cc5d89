"""The metrics of confusion matrices, under each convention by which tables report them. Pure.

Arguments `tp, fp, fn, tn` are numbers, or int64 arrays of equal length. A metric is a ratio of two
whole numbers, which is compared with a printed figure exactly, or a float. 0/0 counts as 0, as in
scikit-learn.
"""

from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from osteo_ray.check_table.cells import Cell

METRICS = (
    "accuracy",
    "precision",
    "recall",
    "sensitivity",
    "specificity",
    "npv",
    "f1",
    "balanced_accuracy",
    "kappa",
    "mcc",
)
"""`sensitivity` is recall under the name that is usual for one class: see `list_values`."""
OF_CLASS = ("precision", "recall", "sensitivity", "specificity", "npv", "f1")
"""Metrics of one class, which tables average over classes."""
SELDOM_AVERAGED = ("sensitivity", "specificity", "npv")
"""Metrics of one class that few libraries average: beside averages, these may be others."""
SIGNED = ("kappa", "mcc")
"""Metrics that may be below 0."""
_FLOAT32 = 6e-8  # by how much a 32-bit float may be off, below 1
_FLOAT_DECIMALS = 6  # for a float, decimals beyond these are left aside: see `match`


class Ratio(NamedTuple):
    """A metric that is a ratio of whole numbers."""

    part: Any
    whole: Any

    @property
    def value(self) -> Any:
        """As a float; 0 for 0/0."""
        return self.part / np.maximum(1, self.whole)


class Scoring(Enum):
    """Of which class a row's precision, recall and so on are; the value completes a sentence."""

    POSITIVE = "as the scores of the positive class"
    OTHER = "as the scores of the other class"
    WEIGHTED = "as a weighted average"
    MACRO = "as a macro average"
    MICRO = "as a micro average"


AVERAGES = {"macro": Scoring.MACRO, "weighted": Scoring.WEIGHTED, "micro": Scoring.MICRO}
FIGURES = tuple(
    name
    for metric in METRICS
    for name in (metric, *(f"{average}_{metric}" for average in AVERAGES if metric in OF_CLASS))
)
"""Names of figures: a metric, or one whose heading names the average, such as `macro_f1`."""


def read_figure(name: str, scoring: Scoring) -> tuple[str, Scoring]:
    """Return the metric of a figure, and the average that its name begins with, else `scoring`.

    Example:
        >>> read_figure("macro_f1", Scoring.POSITIVE)
        ('f1', <Scoring.MACRO: 'as a macro average'>)
    """
    average, _, metric = name.partition("_")
    return (metric, AVERAGES[average]) if average in AVERAGES else (name, scoring)


def list_values(
    name: str, scoring: Scoring, tp: Any, fp: Any, fn: Any, tn: Any
) -> list[Ratio | Any]:
    """Return the values that a table may mean by a figure: usually one.

    An average of specificities, sensitivities and negative predictive values is unusual, so that
    beside averages, these may be of either class. F1 may be the average of the F1 of the classes,
    or the harmonic mean of average precision and average recall.

    Each value rises with tp and falls with fp, at given numbers of images per class.

    Args:
        name: One of `FIGURES`.
        scoring: Of a figure whose name has no average.
        tp: True positives; likewise false positives, false negatives, true negatives.
    """
    metric, scoring = read_figure(name, scoring)
    right = Ratio(tp + tn, tp + fp + fn + tn)
    if metric == "accuracy":
        return [right]
    if metric in ("balanced_accuracy", "kappa", "mcc"):
        return [_AGREEMENT[metric](tp, fp, fn, tn)]
    of_positive = _score_class(metric, tp, fp, fn, tn)
    of_other = _score_class(metric, tn, fn, fp, tp)
    if scoring is Scoring.POSITIVE:
        return [of_positive]
    if scoring is Scoring.OTHER:
        return [of_other]

    def average(of: str) -> Any:
        if scoring is Scoring.MICRO:  # each image missed by one of two classes the other one takes
            return right.value
        positive, other = _score_class(of, tp, fp, fn, tn), _score_class(of, tn, fn, fp, tp)
        if scoring is Scoring.MACRO:
            return (positive.value + other.value) / 2
        n_positive, n_negative = tp + fn, fp + tn
        total = np.maximum(1, n_positive + n_negative)
        return (n_positive * positive.value + n_negative * other.value) / total

    if metric == "f1":
        precision, recall = average("precision"), average("recall")
        total = precision + recall
        harmonic = 2 * precision * recall / (total + (total == 0))
        return [average("f1"), harmonic]
    if metric in ("precision", "recall"):
        return [average(metric)]
    return [average(metric), of_positive, of_other]


def write_as_sum(name: str, scoring: Scoring) -> tuple[str, Scoring]:
    """Return the metric of one class, and the weighting, whose sum over classes a figure is.

    Kappa and MCC are no such sums, and stay what they are. Where each image has one class, micro
    averages of precision, recall and F1 are accuracy; and those of specificity and negative
    predictive value are equal.

    Example:
        >>> write_as_sum("accuracy", Scoring.POSITIVE)
        ('recall', <Scoring.WEIGHTED: 'as a weighted average'>)
    """
    metric, scoring = read_figure(name, scoring)
    if metric == "balanced_accuracy":
        return "recall", Scoring.MACRO
    if scoring is Scoring.MICRO and metric in ("specificity", "npv"):
        return "specificity", scoring
    if metric == "accuracy" or (scoring is Scoring.MICRO and metric in OF_CLASS):
        return "recall", Scoring.WEIGHTED
    return metric, scoring


def weigh_class(scoring: Scoring, n: int, total: int, n_classes: int, *, is_scored: bool) -> float:
    """Return the weight of a class in a sum over classes.

    Args:
        scoring: As `write_as_sum` returns it.
        n: Images of the class.
        total: Images of all classes.
        n_classes: Number of classes.
        is_scored: Whether the class is the one whose scores are reported, if one is.
    """
    if scoring is Scoring.MACRO:
        return 1 / n_classes
    if scoring is Scoring.WEIGHTED:
        return n / max(1, total)
    if scoring is Scoring.MICRO:
        return (total - n) / max(1, (n_classes - 1) * total)
    return float(is_scored)


def match(cell: Cell, value: Ratio | Any) -> tuple[Any, Any]:
    """Say whether a metric gives a figure by rounding (halves up or down), and by cutting off.

    Ratios are compared exactly. A float is right to 1e-14; if it is that near to a half or a whole
    unit it is taken to be that. Up to the sixth decimal this is exact for test sets of thousands of
    images; further decimals of the figure are cut off, which never loses a match. A figure of more
    than six decimals may be a 32-bit float, which is right to 6e-8.
    """
    if cell.decimals > _FLOAT_DECIMALS:
        share = value.value if isinstance(value, Ratio) else value
        near = abs(share * (-1 if cell.units < 0 else 1) - abs(cell.units) / cell.scale) <= _FLOAT32
        fits, cut = _match(cell, value)
        return fits | near, cut
    return _match(cell, value)


def _match(cell: Cell, value: Ratio | Any) -> tuple[Any, Any]:
    if isinstance(value, Ratio):
        whole = value.whole + (value.whole == 0)  # 0/0 is 0/1
        excess = value.part * cell.scale - cell.units * whole  # in 1/whole of a unit
        return abs(2 * excess) <= whole, (excess >= 0) & (excess < whole)
    decimals = min(cell.decimals, _FLOAT_DECIMALS)
    units = abs(cell.units) // 10 ** (cell.decimals - decimals)
    doubled = value * (2.0 * 10**decimals) * (-1 if cell.units < 0 else 1)
    near = np.rint(doubled)
    doubled = np.where(abs(doubled - near) <= 2e-14 * 10**decimals, near, doubled)
    excess = doubled - 2 * units
    cut = (excess >= 0) & (excess < 2) if units else abs(doubled) < 2
    return abs(excess) <= 1, cut


def _score_class(metric: str, tp: Any, fp: Any, fn: Any, tn: Any) -> Ratio:
    """Return a metric of the class whose images are tp + fn."""
    if metric == "precision":
        return Ratio(tp, tp + fp)
    if metric in ("recall", "sensitivity"):
        return Ratio(tp, tp + fn)
    if metric == "specificity":
        return Ratio(tn, tn + fp)
    if metric == "npv":
        return Ratio(tn, tn + fn)
    return Ratio(2 * tp, 2 * tp + fp + fn)


def _balanced_accuracy(tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    return (Ratio(tp, tp + fn).value + Ratio(tn, tn + fp).value) / 2


def _kappa(tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    whole = (tp + fp) * (fp + tn) + (tp + fn) * (fn + tn)
    return Ratio(2 * (tp * tn - fp * fn), whole).value


def _mcc(tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    square = 1.0 * (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / np.sqrt(square + (square == 0))


_AGREEMENT = {"balanced_accuracy": _balanced_accuracy, "kappa": _kappa, "mcc": _mcc}
