"""The time that is left: by hand, and along recorded timelines of real comparisons."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from osteo_ray.base.time_left import Stage, estimate_left_s

TIMELINES = json.loads((Path(__file__).parent / "timelines.json").read_text())


def make_stage(**changes: Any) -> Stage:
    return Stage(**{"name": "train", "unit": "trainings", "total": 10, "cost_each": 2.0, **changes})


def report(stage: Stage, *times: float, amount: float = 1.0) -> Stage:
    """Begin a stage at 0 and have it report at some times."""
    if stage.begun_s is None:
        stage.begin(0.0)
    for now_s in times:
        stage.advance(amount, now_s)
    return stage


def test_nothing_is_known_without_a_pace_and_before_a_report() -> None:
    stage = make_stage()
    assert estimate_left_s([stage], 0.0) is None
    stage.begin(0.0)
    assert estimate_left_s([stage], 5.0) is None


def test_before_a_report_the_pace_that_is_expected_counts() -> None:
    stage = make_stage()
    assert estimate_left_s([stage], 0.0, pace=3.0, starting_s=8.0) == 8 + 10 * 2 * 3
    stage.begin(100.0)
    assert estimate_left_s([stage], 105.0, 3.0, 8.0) == 3 + 60  # starting for 3 s more
    assert estimate_left_s([stage], 112.0, 3.0, 8.0) == 60 - 4  # at work for 4 s
    # The first was due after 8 + 6 s, so everything takes twice as long.
    assert estimate_left_s([stage], 128.0, 3.0, 8.0) == pytest.approx(2 * 60 - 20)


def test_start_is_no_sign_of_the_pace() -> None:
    stage = report(make_stage(), 10.0, 14.0, 18.0)
    # 10 - 6 s for the first count half: (8 + 2) s for 2.5 trainings.
    assert estimate_left_s([stage], 18.0) == pytest.approx(7 * 4)
    late = report(make_stage(), 60.0, 64.0, 68.0)
    # Even if starting took longer than expected, 0.3 * 60 s at most is taken for work.
    assert estimate_left_s([late], 68.0, starting_s=50.0) == pytest.approx(7 * (8 + 9) / 2.5)


def test_those_at_work_side_by_side_are_not_taken_for_fast_ones() -> None:
    """Of two at once, the first two end together, and so on: 2 in 20 s, not 2 in 0.1 s."""
    stage = make_stage(total=40, at_once=2)
    report(stage, 26.0)
    assert estimate_left_s([stage], 26.0) == pytest.approx(39.5 * 10)
    report(stage, 26.1)
    assert estimate_left_s([stage], 26.1) == pytest.approx(38.5 * 10, rel=0.01)
    report(stage, 46.0, 46.1)
    assert estimate_left_s([stage], 46.1) == pytest.approx(36.5 * 10, rel=0.01)


def test_what_went_on_since_the_last_report_is_taken_off() -> None:
    stage = report(make_stage(), 10.0, 14.0, 18.0)
    assert estimate_left_s([stage], 19.0) == pytest.approx(7 * 4 - 1)
    assert estimate_left_s([stage], 100.0) == pytest.approx(7 * 4 - 2)  # but no more than half


def test_stage_to_come_goes_as_those_with_its_unit_and_else_as_all() -> None:
    first = report(make_stage(total=2), 10.0, 14.0)
    first.ended = True
    explain = make_stage(name="explain", unit="explanations", total=100, cost_each=0.1)
    report(explain, 9.0, amount=10)
    report(explain, 12.0, amount=10)
    explain.ended = True
    second = make_stage(name="again", total=20)
    views = make_stage(name="views", unit="classifiers", total=5, cost_each=1.0)
    trained, explained = (4 + 2) / 3, (3 + 1.5) / 1.5  # seconds per cost
    done = [first, explain]
    assert estimate_left_s([*done, second], 12.0) == pytest.approx(6 + 40 * trained)
    general = (4 + 2 + 3 + 1.5) / 4.5
    assert trained < general < explained
    assert estimate_left_s([*done, views], 12.0) == pytest.approx(6 + 5 * general)


def test_late_starts_are_expected_to_come_late_again() -> None:
    first = report(make_stage(total=4), 34.0, 38.0, 42.0, 46.0)
    first.ended = True
    # Of the first, 34 - 6 s count half: (12 + 14) s for a cost of 6 + 1.
    pace = (12 + 14) / 7
    started_s = 34 - 2 * pace
    later = make_stage(name="again", total=10)
    assert estimate_left_s([first, later], 46.0) == pytest.approx(started_s + 20 * pace)


def test_what_is_expected_counts_beside_the_little_that_a_stage_shows_at_first() -> None:
    stage = make_stage(total=40, at_once=2)  # of each two, one half counts for 1 s expected
    report(stage, 26.0, amount=0.1)  # 20 s for 0.2 of them, of which half count
    pace = (10 + 2 * 2 * 1.0) / (0.1 * 2 + 2 * 2)
    assert estimate_left_s([stage], 26.0, pace=1.0) == pytest.approx((39.9 + 0.5) * 2 * pace)
    later = make_stage(name="again", total=1)
    expected = pytest.approx((39.9 + 0.5) * 2 * pace + 6 + 2 * pace)
    assert estimate_left_s([stage, later], 26.0, pace=1.0) == expected


def test_what_cannot_be_counted_takes_a_start_and_nothing_once_it_is_over() -> None:
    end = Stage("conclude", "", 0, 0.0)
    assert estimate_left_s([end], 0.0, pace=1.0, starting_s=8.0) == 8
    end.ended = True
    assert estimate_left_s([end], 0.0, pace=1.0, starting_s=8.0) == 0


class Moment(NamedTuple):
    share: float  # of the wall time that has passed
    ratio: float  # of the time estimated to be left to what was left


def replay(timeline: dict[str, Any], pace: float) -> Iterator[Moment]:
    """Go through a recorded comparison, and estimate at each twentieth of its wall time."""
    stages = [Stage(*one) for one in timeline["stages"]]
    events = list(timeline["events"])
    whole_s = timeline["whole_s"]
    for step in range(2, 20):
        now_s = step / 20 * whole_s
        while events and events[0][0] <= now_s:
            at_s, number, what = events.pop(0)
            if what == "begin":
                stages[number].begin(at_s)
            elif what == "end":
                stages[number].ended = True
            else:
                stages[number].advance(what, at_s)
        left_s = estimate_left_s(stages, now_s, pace, timeline["starting_s"])
        assert left_s is not None
        before_s = max(0.0, timeline["read_s"] - now_s)
        yield Moment(step / 20, (left_s + before_s) / (whole_s - now_s))


@pytest.mark.parametrize("error", [0.8, 1.0, 1.25])
@pytest.mark.parametrize("name", TIMELINES)
def test_along_a_recorded_comparison_it_stays_within_a_factor(name: str, error: float) -> None:
    """Of 1.5, and of 1.7 where ten processes shared a core, whatever the pace was thought to be."""
    timeline = TIMELINES[name]
    moments = list(replay(timeline, error * timeline["pace"]))
    most = timeline["factor"]
    assert [one for one in moments if not 1 / most < one.ratio < most] == []
