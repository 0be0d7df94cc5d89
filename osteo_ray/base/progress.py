"""Show how far a long job has come: live bars on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from osteo_ray.base.time_left import STARTING_S, Stage, estimate_left_s

_PLAIN_INTERVAL_S = 15.0
_WIDE = 120  # columns of a terminal on which everything has room
_AWAITED = "processes are starting"

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


def no_pace() -> None:
    """Say that nobody knows how fast work should be."""


class JobProgress:
    """Shows the progress of a job in stages, and the time that is left for all of it.

    Args:
        console: Where to show it.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.stages: list[Stage] = []
        self.past: list[Stage] = []
        self.ahead: Sequence[Stage] = ()
        self.find_pace: Callable[[], float | None] = no_pace
        self.starting_s = STARTING_S
        self.followed = ("", 0.0)
        self.shown_at = 0.0
        self.live: Progress | None = None
        self.bars: dict[str, TaskID] = {}

    def look_ahead(self, stages: Sequence[Stage]) -> None:
        """Tell what comes after the stages that are shown, so that it counts as time left."""
        self.ahead = stages

    def expect(self, find_pace: Callable[[], float | None], starting_s: float) -> None:
        """Tell how fast work should be before any is measured.

        Args:
            find_pace: Returns the seconds per cost of a stage, or None if nobody knows yet.
            starting_s: How long stages should take to start.
        """
        self.find_pace, self.starting_s = find_pace, starting_s

    @contextmanager
    def showing(self, stages: list[Stage]) -> Iterator[None]:
        """Show the stages until the block ends."""
        self.stages = stages
        with self._showing(stages):
            yield
        for stage in stages:
            stage.ended = True
        self.stages = []
        self.past += stages

    @contextmanager
    def _showing(self, stages: list[Stage]) -> Iterator[None]:
        if not self.console.is_terminal:
            yield
            return
        with self._make_bars(TextColumn("{task.fields[counts]}")) as self.live:
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

    def _make_bars(self, counts: ProgressColumn) -> Progress:
        """Make bars that leave room for the time left, which is cut off first."""
        wide = self.console.width >= _WIDE
        return Progress(
            TextColumn("{task.description:<24}" if wide else "{task.description}"),
            BarColumn(bar_width=30 if wide else 5),
            counts,
            *([TimeElapsedColumn()] if wide else []),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            redirect_stdout=False,
            redirect_stderr=False,
        )

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
        with self._make_bars(MofNCompleteColumn()) as live:
            bars: dict[str, TaskID] = {}

            def follow(what: str, done: int, total: int) -> None:
                if what not in bars:
                    bars[what] = live.add_task(what, total=total, left="")
                left = self._describe_following(what, done, total)
                live.update(bars[what], completed=done, total=total, left=left)

            with listening(follow):
                yield follow

    def _follow_plainly(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        left = self._describe_following(what, done, total)
        if done == total or now - self.shown_at > _PLAIN_INTERVAL_S:
            self.shown_at = now
            self.say(f"{what}: {done}/{total}" + (f", {left}" if left else ""))

    def _describe_following(self, what: str, done: int, total: int) -> str:
        """Say how much time is left: for this at the speed so far, and for all that comes.

        Before anything is done, say what that waits for.
        """
        now = time.monotonic()
        if self.followed[0] != what:
            self.followed = (what, now)
        own = (now - self.followed[1]) * (total - done) / done if done else 0.0
        left = _describe_left(self.left_s(), own)
        return ", ".join(filter(None, [left, "" if done else _AWAITED]))

    def say(self, text: str) -> None:
        """Print a line, for work in which nothing can be counted."""
        self.console.print(f"[{time.strftime('%H:%M:%S')}] {text}", highlight=False, markup=False)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Mark a stage as under way for as long as the block runs."""
        stage = self._find(name)
        started = time.monotonic()
        stage.begin(started)
        if self.live:
            self.live.start_task(self.bars[name])
            self._show(stage)
        elif stage.done < stage.total:
            self._print(stage)
        yield
        stage.ended = True
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
        stage.advance(amount, time.monotonic())
        self._show(stage)

    def left_s(self) -> float | None:
        """Return the estimated time left in seconds, or None before there is anything to go by.

        For all stages that are shown, and for those that come after them.
        """
        stages = [*self.past, *self.stages, *self.ahead]
        return estimate_left_s(stages, time.monotonic(), self.find_pace(), self.starting_s)

    def _find(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    def _show(self, stage: Stage) -> None:
        if self.live:
            self.live.update(
                self.bars[stage.name],
                completed=stage.done,
                counts=_count(stage),
                left=_describe_left(self.left_s()),
            )
        elif time.monotonic() - self.shown_at > _PLAIN_INTERVAL_S:
            self._print(stage)

    def _print(self, stage: Stage) -> None:
        self.shown_at = time.monotonic()
        left = _describe_left(self.left_s())
        self.say(f"{stage.name}: {_count(stage)}" + (f", {left}" if left else ""))


def _count(stage: Stage) -> str:
    return f"{int(stage.done + 1e-6)}/{stage.total} {stage.unit}"


def _describe_left(left_s: float | None, more_s: float = 0.0) -> str:
    return "" if not left_s else f"about {_duration(left_s + more_s)} left in all"


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
