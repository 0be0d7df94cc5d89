"""What was compared, how far it is off, and what that amounts to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Degree = Literal["identical", "within tolerance", "drifted", "missing"]
"""How far a rerun is off. `identical` means that all bits are equal, `drifted` that something lies
beyond the tolerances, or differs where equal bits are expected, and `missing` that something could
not be compared, while nothing has drifted."""
REPRODUCED: frozenset[str] = frozenset({"identical", "within tolerance"})


@dataclass(frozen=True)
class Compared:
    """One result of a rerun, compared with its stored counterpart.

    Attributes:
        name: Its name, in words.
        equal: Whether it is the same, bit for bit.
        beyond: What of it lies beyond the tolerances, in words; empty if nothing does.
        figures: How far it is off, by the names of `WORST`.
        missing: Why it could not be compared; None if it could.
    """

    name: str
    equal: bool
    beyond: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    missing: str | None = None


@dataclass(frozen=True)
class Drift:
    """How far all results of one kind have drifted.

    Attributes:
        kind: What was compared: images, predictions, masks …
        outcome: How far they are off as a whole.
        n_compared: Number of results that were compared.
        n_equal: How many of these are equal bit for bit.
        n_drifted: How many of these have drifted.
        n_missing: Number of results that could not be compared.
        figures: The worst figure of all results; see `WORST`.
        said: For each result that has drifted or is missing, a sentence on what differs.
    """

    kind: str
    outcome: Degree
    n_compared: int
    n_equal: int
    n_drifted: int
    n_missing: int
    figures: Mapping[str, float]
    said: tuple[str, ...]


WORST: dict[str, Literal["most", "least"]] = {
    "largest probability difference": "most",
    "mean probability difference": "most",
    "changed decisions": "most",
    "mean mask overlap": "least",
    "metric difference": "most",
    "effect shift": "most",
}
"""For each figure, whether its largest or its smallest value is the worst. Differences of
probabilities and metrics are fractions; changed decisions are a share of images; overlap is
intersection over union; the shift of an effect is in standard errors."""


def summarize_drift(kind: str, compared: Sequence[Compared], *, equal_expected: bool) -> Drift:
    """Say how far all results of one kind have drifted.

    Args:
        kind: What was compared.
        compared: The comparisons.
        equal_expected: Whether anything but equal bits counts as drift.
    """
    present = [one for one in compared if one.missing is None]
    absent = [one for one in compared if one.missing is not None]
    drifted = [one for one in present if one.beyond or (equal_expected and not one.equal)]
    n_equal = sum(one.equal for one in present)
    outcome: Degree = "within tolerance"
    if drifted:
        outcome = "drifted"
    elif absent:
        outcome = "missing"
    elif n_equal == len(present):
        outcome = "identical"
    return Drift(
        kind=kind,
        outcome=outcome,
        n_compared=len(present),
        n_equal=n_equal,
        n_drifted=len(drifted),
        n_missing=len(absent),
        figures=_find_worst(present),
        said=(
            *(f"{one.name}: {'; '.join(one.beyond) or _tell_unequal(one)}" for one in drifted),
            *(f"{one.name}: {one.missing}" for one in absent),
        ),
    )


def _find_worst(compared: Iterable[Compared]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for one in compared:
        for name, value in one.figures.items():
            found.setdefault(name, []).append(value)
    return {
        name: max(values) if WORST[name] == "most" else min(values)
        for name, values in found.items()
    }


def _tell_unequal(one: Compared) -> str:
    figures = ", ".join(f"{name} {value:.2g}" for name, value in one.figures.items())
    return "equal bits were expected, but they differ" + (f" ({figures})" if figures else "")


def judge(drifts: Sequence[Drift], *, n_failures: int) -> str:
    """Return the outcome of a whole reproduction: `failed`, or the worst outcome of any kind.

    Args:
        drifts: One for each kind of result.
        n_failures: Number of trainings of the rerun that did not finish.
    """
    if n_failures:
        return "failed"
    found = {drift.outcome for drift in drifts}
    order: tuple[Degree, ...] = ("drifted", "missing", "within tolerance")
    return next((outcome for outcome in order if outcome in found), "identical")
