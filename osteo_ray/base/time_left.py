"""How long the rest of a job takes: arithmetic on what its stages have shown so far. Pure.

A stage starts, as processes do, and then needs so long for each of its units. What that should be
is estimated beforehand; how much slower or faster it is, the stages so far tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass

STARTING_S = 6.0
"""Seconds that the processes of a stage take to start on an idle machine, most for PyTorch."""

_HEAD_WEIGHT = 0.5
"""Weight of the time to the first units beside that of the others: part of it is the start."""
_MOST_STARTING = 0.7
"""The largest share of the time to the first units that is taken for the start."""
_TRUST = 0.05
"""Weight of what is expected of a stage beside what it shows, as a share of its units."""
_LATENESS = (0.5, 5.0)
"""How much shorter, or longer, than expected starting is believed to be."""
_STARTING_PER_START = 2.0
_LONGEST_START_S = 45.0


def guess_starting_s(ray_s: float) -> float:
    """Guess how long a stage takes to start from how long Ray took.

    Both are mostly imports and new processes, so both take longer on a machine that is busy.

    Example:
        >>> guess_starting_s(2.6), guess_starting_s(10.0)
        (6.0, 20.0)
    """
    return min(max(STARTING_S, _STARTING_PER_START * ray_s), _LONGEST_START_S)


@dataclass
class Stage:
    """A part of a job.

    Attributes:
        name: Shown to the user.
        unit: What is counted; stages with the same unit are expected to go equally fast.
        total: How many there are; 0 for what takes about as long as processes take to start.
        cost_each: Work from the end of one of them to the end of the next, by which the stages of a
            job are weighed against each other.
        done: How many are done; fractional while one is under way.
        at_once: How many are under way at the same time.
        begun_s: When it began, by the clock of whoever tells it; None before.
        ended: Whether it is over.
        first: When the first report came, in seconds since it began, and how much that reported.
        head: When each of those at once must have reported as much, and how much had been done.
        last: When the latest report came, and how much has been done since the stage began.
    """

    name: str
    unit: str
    total: int
    cost_each: float
    done: float = 0.0
    at_once: int = 1
    begun_s: float | None = None
    ended: bool = False
    first: tuple[float, float] | None = None
    head: tuple[float, float] | None = None
    last: tuple[float, float] = (0.0, 0.0)

    @property
    def left(self) -> float:
        """How many are left."""
        return 0.0 if self.ended else self.total - self.done

    def begin(self, now_s: float) -> None:
        """Begin the stage at a time."""
        self.begun_s = now_s

    def advance(self, amount: float, now_s: float) -> None:
        """Count units, or a fraction of one, as done at a time."""
        self.done = min(self.total, self.done + amount)
        self.last = (now_s - (self.begun_s or 0.0), self.last[1] + amount)
        if self.first is None:
            self.first = self.last
        if self.head is None and self.last[1] >= self.at_once * self.first[1] - 1e-9:
            self.head = self.last


@dataclass(frozen=True)
class _Measured:
    """What the units of a stage took: seconds, and their cost."""

    work_s: float
    cost: float

    @property
    def pace(self) -> float:
        """Seconds per cost."""
        return self.work_s / self.cost


def estimate_left_s(
    stages: Sequence[Stage],
    now_s: float,
    pace: float | None = None,
    starting_s: float = STARTING_S,
) -> float | None:
    """Estimate how long it takes until all stages are done.

    What a stage takes is expected from the stages with the same unit, else from all others, else
    from `pace`, in proportion to its cost. What its own units take replaces this by and by.

    Args:
        stages: All of them, in order.
        now_s: The time, by the clock by which they began.
        pace: Seconds per cost, to be expected as long as nothing is measured; None if unknown.
        starting_s: Seconds that a stage should take to start.

    Returns:
        Seconds; None if there is nothing to go by yet.
    """
    measured = [_measure(stage, starting_s) for stage in stages]
    late_s = starting_s * _measure_lateness(stages, measured, starting_s)
    steady = [_trust(stage, one, pace) for stage, one in zip(stages, measured, strict=True)]
    left_s = 0.0
    for place, (stage, own) in enumerate(zip(stages, measured, strict=True)):
        others = [one for n, one in enumerate(steady) if n != place]
        alike = [n for n, one in enumerate(stages) if one.unit == stage.unit and n != place]
        told = _pool([steady[n] for n in alike]) or _pool(others)
        expected = told.pace if told else pace
        best = _trust(stage, own, expected)
        if best is not None:
            expected = best.pace
        if expected is None:
            return None
        left_s += _estimate_stage(stage, now_s, expected, late_s)
    return left_s


def _trust(stage: Stage, found: _Measured | None, expected: float | None) -> _Measured | None:
    """Add what is expected of a stage to what it shows, which is little at first."""
    if found is None or expected is None:
        return found
    cost = max(_TRUST * stage.total, stage.at_once / 2) * stage.cost_each
    return _Measured(found.work_s + expected * cost, found.cost + cost)


def _measure(stage: Stage, starting_s: float) -> _Measured | None:
    """Tell what units took, of a stage that has reported something.

    Those that begin at the same time also end at about the same time, so the time to the first
    report is that of all of them.
    """
    if stage.first is None:
        return None
    if stage.head is None:
        head_s, head, tail_s, tail = stage.first[0], stage.at_once * stage.first[1], 0.0, 0.0
    else:
        head_s, head = stage.head
        tail_s, tail = stage.last[0] - head_s, stage.last[1] - head
    head_s -= min(starting_s, _MOST_STARTING * head_s)
    found = _Measured(
        tail_s + _HEAD_WEIGHT * head_s, (tail + _HEAD_WEIGHT * head) * stage.cost_each
    )
    return found if found.work_s > 0 and found.cost > 0 else None


def _pool(measured: Sequence[_Measured | None]) -> _Measured | None:
    found = [one for one in measured if one is not None]
    if not found:
        return None
    return _Measured(sum(one.work_s for one in found), sum(one.cost for one in found))


def _measure_lateness(
    stages: Sequence[Stage], measured: Sequence[_Measured | None], starting_s: float
) -> float:
    """Tell how many times as long as expected starting took, in stages whose pace is known."""
    found = [
        (stage.head[0] - own.pace * stage.head[1] * stage.cost_each) / starting_s
        for stage, own in zip(stages, measured, strict=True)
        if own is not None and stage.head is not None and stage.last[1] >= 2 * stage.head[1]
    ]
    low, high = _LATENESS
    return min(max(sum(found) / len(found), low), high) if found else 1.0


def _estimate_stage(stage: Stage, now_s: float, pace: float, starting_s: float) -> float:
    if not stage.left:
        return 0.0 if stage.ended or stage.total else starting_s
    each_s = stage.cost_each * pace
    idle = min(stage.left, (stage.at_once - 1) / 2)  # workers that wait for the last ones
    rest_s = each_s * (stage.left + idle)
    if stage.begun_s is None:
        return starting_s + rest_s
    passed_s = now_s - stage.begun_s
    if stage.first is not None:
        return rest_s - min(passed_s - stage.last[0], each_s * stage.at_once / 2, rest_s / 2)
    if passed_s <= starting_s:
        return starting_s - passed_s + rest_s
    due_s = starting_s + each_s * min(stage.at_once, stage.left)
    return rest_s * max(1.0, passed_s / due_s) - min(passed_s - starting_s, rest_s / 2)
