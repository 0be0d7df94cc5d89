"""Show how far a long job has come: live bars on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

_PLAIN_INTERVAL_S = 15.0

Report = Callable[[str, int, int], None]
"""Hears what is being done, how much of it is done, and how much there is in all."""


def ignore_progress(what: str, done: int, total: int) -> None:
    """Take a report and do nothing with it."""


_listener: ContextVar[Report] = ContextVar("listener", default=ignore_progress)


def tell_progress(what: str, done: int, total: int) -> None:
    """Tell whoever listens how much of something is done; without a listener, nothing happens.

    Code that works through many items calls this wherever it stands, so that no function on the
    way there has to pass a listener on. A thread has no listener unless it sets its own.

    Example:
        >>> with listening(print):
        ...     tell_progress("read images", 3, 10)
        read images 3 10
    """
    _listener.get()(what, done, total)


def find_listener() -> Report:
    """Return the function that hears what `tell_progress` tells now."""
    return _listener.get()


@contextmanager
def listening(listener: Report) -> Iterator[None]:
    """Have a function hear what `tell_progress` tells for as long as the block runs."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


class Clock:
    """Measures how many seconds each part of a job takes."""

    def __init__(self) -> None:
        self.durations_s: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        """Count the time since the last lap towards a part of the job."""
        now = time.monotonic()
        self.durations_s[name] = round(now - self._last, 2)
        self._last = now


@dataclass
class Stage:
    """A part of the job.

    Attributes:
        name: Shown to the user.
        unit: What is counted.
        total: How many there are.
        cost_each: Work that one of them takes, in forward passes of one image; it weighs the
            stages against each other.
        done: How many are done; fractional while one is under way.
        starting_s: How long it took until the first report: starting processes, mostly, and so no
            sign of how fast the rest will be. None before.
        timed: How many were done after the first report.
        timed_s: How long these took.
    """

    name: str
    unit: str
    total: int
    cost_each: float
    done: float = 0.0
    starting_s: float | None = None
    timed: float = 0.0
    timed_s: float = 0.0

    @property
    def speed(self) -> float | None:
        """Seconds per unit; None before there is anything to tell it by."""
        return self.timed_s / self.timed if self.timed and self.timed_s else None


class JobProgress:
    """Shows the progress of a job in stages, and the time that is left for all of it.

    Args:
        console: Where to show it.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.stages: list[Stage] = []
        self.counted_at = 0.0
        self.shown_at = 0.0
        self.live: Progress | None = None
        self.bars: dict[str, TaskID] = {}

    @contextmanager
    def showing(self, stages: list[Stage]) -> Iterator[None]:
        """Show the stages until the block ends."""
        self.stages = stages
        if not self.console.is_terminal:
            yield
            return
        with Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[counts]:<26}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as self.live:
            for stage in stages:
                self.bars[stage.name] = self.live.add_task(
                    stage.name,
                    total=stage.total,
                    completed=int(stage.done),
                    start=False,
                    counts=_count(stage),
                    left="",
                )
            yield
        self.live = None

    @contextmanager
    def following(self) -> Iterator[Report]:
        """Show what `tell_progress` tells in the block, of whose amount nobody knows beforehand.

        Yields:
            The function that shows it, for whoever wants to call it directly.
        """
        if not self.console.is_terminal:
            with listening(self._follow_plainly):
                yield self._follow_plainly
            return
        with Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as live:
            bars: dict[str, TaskID] = {}

            def follow(what: str, done: int, total: int) -> None:
                if what not in bars:
                    bars[what] = live.add_task(what, total=total)
                live.update(bars[what], completed=done, total=total)

            with listening(follow):
                yield follow

    def _follow_plainly(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done == total or now - self.shown_at > _PLAIN_INTERVAL_S:
            self.shown_at = now
            self.say(f"{what}: {done}/{total}")

    def say(self, text: str) -> None:
        """Print a line, for work in which nothing can be counted."""
        self.console.print(f"[{time.strftime('%H:%M:%S')}] {text}", highlight=False, markup=False)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Mark a stage as under way for as long as the block runs."""
        stage = self._find(name)
        if self.live:
            self.live.start_task(self.bars[name])
        elif stage.done < stage.total:
            self._print(stage)
        started = self.counted_at = time.monotonic()
        yield
        if self.live:
            self.live.stop_task(self.bars[name])
            self.live.update(self.bars[name], counts=_count(stage), left="")
        else:
            took = _duration(time.monotonic() - started)
            self.say(f"{stage.name}: {_count(stage)} done in {took}")
        self.shown_at = time.monotonic()

    def advance(self, name: str, amount: float) -> None:
        """Count units of a stage, or a fraction of one, as done."""
        stage = self._find(name)
        stage.done = min(stage.total, stage.done + amount)
        now = time.monotonic()
        if stage.starting_s is None:
            stage.starting_s = now - self.counted_at
        else:
            stage.timed += amount
            stage.timed_s += now - self.counted_at
        self.counted_at = now
        self._show(stage)

    def left_s(self) -> float | None:
        """Return the estimated time left in seconds, or None before there is anything to go by.

        A stage that is under way goes on as it went, its first report aside. For one that is to
        come, the work so far tells the speed, and the other stages how long it takes to start.
        """
        timed = [stage for stage in self.stages if stage.speed is not None]
        if not timed:
            return None
        pace = sum(one.timed_s for one in timed) / sum(one.timed * one.cost_each for one in timed)
        starts = [one.starting_s for one in self.stages if one.starting_s is not None]
        left = 0.0
        for stage in self.stages:
            n_left = stage.total - stage.done
            speed = stage.speed or stage.cost_each * pace
            left += n_left * speed
            if n_left and stage.starting_s is None:
                left += sum(starts) / len(starts)
        return left

    def _find(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    def _show(self, stage: Stage) -> None:
        if self.live:
            left = self.left_s()
            self.live.update(
                self.bars[stage.name],
                completed=stage.done,
                counts=_count(stage),
                left=f"about {_duration(left)} left" if left else "",
            )
        elif time.monotonic() - self.shown_at > _PLAIN_INTERVAL_S:
            self._print(stage)

    def _print(self, stage: Stage) -> None:
        self.shown_at = time.monotonic()
        left = self.left_s()
        ending = f", about {_duration(left)} left in all" if left else ""
        self.say(f"{stage.name}: {_count(stage)}{ending}")


def _count(stage: Stage) -> str:
    return f"{int(stage.done + 1e-6)}/{stage.total} {stage.unit}"


def _duration(seconds: float) -> str:
    """Write a duration for people.

    Example:
        >>> _duration(75), _duration(7300)
        ('1 min 15 s', '2 h 01 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
