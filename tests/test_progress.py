"""What progress says, and the time left by a clock that the test turns."""

import io
from contextlib import suppress
from typing import Any

import pytest
from rich.console import Console

from osteo_ray.base import progress
from osteo_ray.base.progress import JobProgress, Stage, listening, tell_progress


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
    # After the first one, 20 s for each of 2 left; then 100 images of cost 2 at the pace of 20 s
    # for a cost of 10, and 20 s to start.
    assert lines[1] == "[12:00:00] Train: 1/4 trials"
    assert lines[2] == "[12:00:00] Train: 2/4 trials, about 7 min 40 s left in all"
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


def test_nothing_is_estimated_before_anything_is_done(job: JobProgress, clock: Clock) -> None:
    with job.showing(_make_stages()), job.stage("Train"):
        assert job.left_s() is None
        clock.now_s += 5
        assert job.left_s() is None


def test_time_left_by_hand(job: JobProgress, clock: Clock) -> None:
    with job.showing(_make_stages()), job.stage("Train"):
        clock.now_s += 30
        job.advance("Train", 1)
        assert job.left_s() is None  # what came first tells how long it takes to start
        clock.now_s += 10
        job.advance("Train", 0.5)
        # 20 s for each of 2.5; then 100 of cost 2 at 10 s for a cost of 5, and 30 s to start.
        assert job.left_s() == pytest.approx(2.5 * 20 + 100 * 2 * 2 + 30)
        clock.now_s += 10
        job.advance("Train", 1.5)
        # 20 s for 2, so 10 s for each of 1; a cost of 20 took 20 s.
        assert job.left_s() == pytest.approx(1 * 10 + 100 * 2 * 1 + 30)


def test_stage_goes_on_as_it_went_whatever_the_others_took(job: JobProgress, clock: Clock) -> None:
    with job.showing(_make_stages()):
        with job.stage("Train"):
            for _ in range(4):
                clock.now_s += 100
                job.advance("Train", 1)
        with job.stage("Explain"):
            for _ in range(11):
                clock.now_s += 1
                job.advance("Explain", 1)
            assert job.left_s() == pytest.approx(89 * 1)


def test_slow_start_is_no_sign_of_a_slow_job(job: JobProgress, clock: Clock) -> None:
    """From the first tenth on, the estimate is within a factor of 1.5 of what comes."""
    whole_s = 120 + 40 * 7
    with job.showing([Stage("Train", "trials", 40, 10.0)]), job.stage("Train"):
        begun = clock.now_s
        clock.now_s += 120
        for number in range(1, 40):
            clock.now_s += 7
            job.advance("Train", 1)
            if number >= 4:
                right = begun + whole_s - clock.now_s
                assert right / 1.5 < (job.left_s() or 0) < right * 1.5


def test_what_an_earlier_run_did_is_neither_left_nor_timed(job: JobProgress, clock: Clock) -> None:
    with job.showing(_make_stages(done=3.0)), job.stage("Train"):
        for seconds in (30, 5):
            clock.now_s += seconds
            job.advance("Train", 0.25)
        assert job.left_s() == pytest.approx(0.5 * 20 + 100 * 2 * 2 + 30)


def test_time_between_stages_is_not_counted_as_work(job: JobProgress, clock: Clock) -> None:
    with job.showing(_make_stages()):
        with job.stage("Train"):
            for _ in range(4):
                clock.now_s += 10
                job.advance("Train", 1)
        clock.now_s += 1000
        with job.stage("Explain"):
            clock.now_s += 10
            job.advance("Explain", 5)
            assert job.left_s() == pytest.approx(95 * 2 * 1)


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
    assert lines[-2:] == ["read images: 40/40", "look for copies: 7/7"]
    assert len(lines) == 5  # at once, after 16 s and 32 s, and at the two ends


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
