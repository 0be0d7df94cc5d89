"""What was compared, how far it is off, and what that amounts to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["identical", "within tolerance", "drifted", "missing"]


@dataclass(frozen=True)
class Compared:
    """Something that was held against its stored counterpart.

    Attributes:
        name: What, in words.
        equal: Whether it is the same, bit for bit.
        beyond: What of it lies beyond the tolerances, in words; empty where nothing does.
        figures: How far it is off.
        missing: Why it could not be compared; None where it could.
    """

    name: str
    equal: bool
    beyond: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    missing: str | None = None


@dataclass(frozen=True)
class Drift:
    """What came of comparing all things of one kind.

    Attributes:
        kind: Which.
        outcome: `identical`, all bits equal; `within tolerance`; `drifted`, beyond the tolerances,
            or not equal where equal bits are expected; `missing`, where something could not be
            compared and nothing has drifted.
        n_compared: Things compared.
        n_equal: Of these, those equal bit for bit.
        n_drifted: Of these, those that drifted.
        n_missing: Things that could not be compared.
        figures: How far things are off, the worst of all; see `WORST`.
        said: Of each that drifted or is missing: what, and how far.
    """

    kind: str
    outcome: Outcome
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
"""Figures, and whether the most or the least of them is the worst. Differences of probabilities and
metrics are fractions; changed decisions a share of images; overlap is intersection over union; the
shift of an effect is in its standard errors."""


def summarize(kind: str, compared: Sequence[Compared], *, equal_expected: bool) -> Drift:
    """Say what the things of one kind amount to.

    Args:
        kind: Which.
        compared: What was compared.
        equal_expected: Whether anything but equal bits is drift.
    """
    present = [one for one in compared if one.missing is None]
    absent = [one for one in compared if one.missing is not None]
    drifted = [one for one in present if one.beyond or (equal_expected and not one.equal)]
    n_equal = sum(one.equal for one in present)
    outcome: Outcome = "within tolerance"
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
    return "equal bits were expected, but it differs" + (f" ({figures})" if figures else "")


def judge(drifts: Sequence[Drift], *, n_failures: int) -> str:
    """Say what a whole reproduction came to: `failed`, or the worst outcome of any kind.

    Args:
        drifts: Of each kind.
        n_failures: Trainings of the rerun that did not finish.
    """
    if n_failures:
        return "failed"
    found = {drift.outcome for drift in drifts}
    order: tuple[Outcome, ...] = ("drifted", "missing", "within tolerance")
    return next((outcome for outcome in order if outcome in found), "identical")
