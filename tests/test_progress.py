"""What progress says, and the time left by a clock that the test turns."""

import io
from contextlib import suppress
from typing import Any

import pytest
from rich.console import Console

from osteo_ray.base import progress
from osteo_ray.base.progress import JobProgress, listening, tell_progress
from osteo_ray.base.time_left import Stage


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def strftime(self, form: str) -> str:
        return "12:00:00"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(progress, "time", fake)
    return fake


@pytest.fixture
def text() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def job(text: io.StringIO, clock: Clock) -> JobProgress:
    return JobProgress(Console(file=text, width=200))


def _make_stages(**changes: Any) -> list[Stage]:
    first = {"done": 0.0, **changes}
    return [Stage("Train", "trials", 4, 10.0, **first), Stage("Explain", "images", 100, 2.0)]


def test_stages_are_lines_where_there_is_no_terminal(
    job: JobProgress, clock: Clock, text: io.StringIO
) -> None:
    with job.showing(_make_stages()):
        with job.stage("Train"):
            for _ in range(4):
                clock.now_s += 20
                job.advance("Train", 1)
        with job.stage("Explain"):
            clock.now_s += 5
            job.advance("Explain", 100)
    lines = text.getvalue().splitlines()
    assert lines[0] == "[12:00:00] Train: 0/4 trials"
    # 14 s for a cost of 10, as 6 s are for the start; so 3 * 14 + 6 + 100 * 2 * 1.4 s.
    assert lines[1] == "[12:00:00] Train: 1/4 trials, about 5 min 28 s left in all"
    assert "[12:00:00] Train: 4/4 trials done in 1 min 20 s" in lines
    assert lines[-1] == "[12:00:00] Explain: 100/100 images done in 5 s"
    assert "\x1b" not in text.getvalue()


def test_lines_come_no_more_often_than_every_quarter_of_a_minute(
    job: JobProgress, clock: Clock, text: io.StringIO
) -> None:
    with job.showing(_make_stages()), job.stage("Explain"):
        for _ in range(100):
            clock.now_s += 1
            job.advance("Explain", 1)
    between = text.getvalue().splitlines()[1:-1]
    assert len(between) == 100 // 16
    assert "Explain: 16/100 images" in between[0]


def test_time_left_is_that_of_all_stages_by_the_clock(
    job: JobProgress, clock: Clock, text: io.StringIO
) -> None:
    with job.showing(_make_stages()), job.stage("Train"):
        assert job.left_s() is None
        clock.now_s += 12
        job.advance("Train", 1)
        # 12 - 6 s for a cost of 10; so 3 * 6 s, and 6 s to start and 100 * 2 * 0.6 s.
        assert job.left_s() == pytest.approx(18 + 126)
        clock.now_s += 2
        assert job.left_s() == pytest.approx(16 + 126)


def test_what_comes_after_the_shown_stages_counts_as_well(job: JobProgress, clock: Clock) -> None:
    job.look_ahead([Stage("Explain", "images", 100, 2.0)])
    assert job.left_s() is None
    job.expect(lambda: 0.1, starting_s=5.0)
    assert job.left_s() == pytest.approx(5 + 100 * 2 * 0.1)
    with job.showing([Stage("Train", "trials", 4, 10.0)]):
        assert job.left_s() == pytest.approx(5 + 4 * 10 * 0.1 + 25)
        with job.stage("Train"):
            for _ in range(4):
                clock.now_s += 20
                job.advance("Train", 1)
    clock.now_s += 1000  # between the stages, which is nobody's work
    # 15 s of the first count half, and half a trial for what was expected of it: 60 + 7.5 + 0.5 s
    # for a cost of 30 + 5 + 5. At that pace it took no time to start; 2.5 s are the least.
    assert job.left_s() == pytest.approx(2.5 + 200 * 68 / 40)


def test_what_an_earlier_run_did_is_neither_left_nor_timed(job: JobProgress, clock: Clock) -> None:
    with job.showing(_make_stages(done=3.0)), job.stage("Train"):
        for seconds in (16, 5):
            clock.now_s += seconds
            job.advance("Train", 0.25)
        # Of a cost of 2.5 each: 10 s, which count half, and 5 s; half a trial is left.
        pace = (5 + 5) / (2.5 + 1.25)
        late_s = max(16 - pace * 2.5, 3.0)
        assert job.left_s() == pytest.approx(0.5 * 10 * pace + late_s + 100 * 2 * pace)


def test_fractions_count_when_they_are_whole_and_never_exceed_the_total(
    job: JobProgress, clock: Clock, text: io.StringIO
) -> None:
    stages = _make_stages()
    with job.showing(stages), job.stage("Train"):
        for _ in range(10):
            clock.now_s += 20
            job.advance("Train", 0.1)  # ten tenths are a little less than one
        assert text.getvalue().splitlines()[-1].startswith("[12:00:00] Train: 1/4 trials")
        job.advance("Train", 30)
        assert stages[0].done == 4
    assert text.getvalue().splitlines()[-1].startswith("[12:00:00] Train: 4/4 trials done")


def test_stage_that_is_done_already_gets_one_line(job: JobProgress, text: io.StringIO) -> None:
    with job.showing(_make_stages(done=4.0)), job.stage("Train"):
        pass
    assert text.getvalue().splitlines() == ["[12:00:00] Train: 4/4 trials done in 0 s"]


# What is told from wherever the work is done


def test_what_is_told_without_a_listener_goes_nowhere() -> None:
    tell_progress("read images", 1, 2)


def test_innermost_listener_hears_and_the_outer_one_is_back_afterwards() -> None:
    outer: list[tuple[str, int, int]] = []
    inner: list[tuple[str, int, int]] = []
    with listening(lambda *told: outer.append(told)):
        with suppress(ZeroDivisionError), listening(lambda *told: inner.append(told)):
            tell_progress("read images", 1, 2)
            raise ZeroDivisionError
        tell_progress("read images", 2, 2)
    assert inner == [("read images", 1, 2)]
    assert outer == [("read images", 2, 2)]


def test_what_is_told_is_shown_at_its_end_and_now_and_then(
    job: JobProgress, clock: Clock, text: io.StringIO
) -> None:
    with job.following() as report:
        for done in range(40):
            clock.now_s += 1
            tell_progress("read images", done, 40)
        tell_progress("read images", 40, 40)
        report("look for copies", 7, 7)
    tell_progress("afterwards", 1, 1)
    lines = [line.removeprefix("[12:00:00] ") for line in text.getvalue().splitlines()]
    assert lines[-2:] == ["read images: 40/40", "look for copies: 7/7"]  # no time: no pace
    assert len(lines) == 5  # at once, after 16 s and 32 s, and at the two ends


def test_reading_tells_the_time_left_for_it_and_for_what_follows(
    job: JobProgress, clock: Clock, text: io.StringIO
) -> None:
    job.look_ahead([Stage("Train", "trials", 4, 10.0)])
    job.expect(lambda: 1.0, starting_s=5.0)
    with job.following() as report:
        report("read images", 0, 40)
        clock.now_s += 20
        report("read images", 10, 40)
    assert text.getvalue().splitlines() == [
        "[12:00:00] read images: 0/40, about 45 s left in all, processes are starting",
        "[12:00:00] read images: 10/40, about 1 min 45 s left in all",
    ]


def test_what_nothing_is_known_of_yet_says_what_it_waits_for(
    job: JobProgress, clock: Clock, text: io.StringIO
) -> None:
    with job.following() as report:
        report("describe images", 0, 120)
        clock.now_s += 20
        report("describe images", 8, 120)
    assert text.getvalue().splitlines() == [
        "[12:00:00] describe images: 0/120, processes are starting",
        "[12:00:00] describe images: 8/120",
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_terminal_shows_the_time_left_before_the_first_report(
    text: io.StringIO, width: int
) -> None:
    job = JobProgress(Console(file=text, width=width, force_terminal=True))
    job.expect(lambda: 1.0, starting_s=5.0)
    with job.showing(_make_stages()), job.stage("Train"):
        assert job.live is not None
        job.live.refresh()
    assert "about 4 min 10 s left in all" in text.getvalue()  # 5 + 4 * 10 and 5 + 100 * 2 s
    assert "…" not in text.getvalue()


def test_terminal_shows_what_is_told_as_a_bar(text: io.StringIO) -> None:
    with JobProgress(Console(file=text, width=120, force_terminal=True)).following():
        tell_progress("read images", 3, 5)
    assert "read images" in text.getvalue()
    assert "3/5" in text.getvalue()


def test_unknown_stage_is_an_error(job: JobProgress) -> None:
    with job.showing(_make_stages()), pytest.raises(StopIteration):
        job.advance("Trian", 1)


def test_terminal_shows_every_stage_as_a_bar(text: io.StringIO) -> None:
    job = JobProgress(Console(file=text, width=120, force_terminal=True))
    with job.showing(_make_stages()), job.stage("Train"):
        job.advance("Train", 2)
    shown = text.getvalue()
    assert "Train" in shown
    assert "Explain" in shown
    assert "2/4 trials" in shown
    assert job.live is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (90061, "25 h 01 min"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert progress._duration(seconds) == words
