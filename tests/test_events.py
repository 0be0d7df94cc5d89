"""The log of events, and the timeline that the report draws from it."""

import base64
import json
from pathlib import Path

import pytest

import osteo_ray.base.events
from osteo_ray.base.events import EventLog, read_events
from osteo_ray.report.style import encode_svg
from osteo_ray.report.timeline import Span, draw_timeline, make_timeline


def test_lines_are_read_as_they_were_written(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.write("training done", trial="m/seed-0/limé-ab", seconds=1.5, reason=None)
    log.write("stage ended", stage="explain")
    assert read_events(tmp_path) == []  # not yet written
    log.flush()
    ((first, second),) = read_events(tmp_path)
    assert first == {**first, "event": "training done", "trial": "m/seed-0/limé-ab", "seconds": 1.5}
    assert "reason" not in first
    assert 0 <= first["elapsed_s"] <= second["elapsed_s"]
    assert [path.name for path in tmp_path.iterdir()] == [log.path.name]


def test_lines_are_written_while_a_job_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(osteo_ray.base.events, "_INTERVAL_S", 0.0)
    log = EventLog(tmp_path)
    log.write("job started")
    assert [line["event"] for line in read_events(tmp_path)[0]] == ["job started"]


def test_storage_that_refuses_holds_up_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder can be here")
    log = EventLog(tmp_path / "file" / "logs")
    log.write("job started")
    log.flush()
    assert read_events(tmp_path / "file" / "logs") == []


def test_jobs_are_in_order_and_spoiled_lines_passed_over(tmp_path: Path) -> None:
    for number in (2, 1):
        line = json.dumps({"event": f"job {number}", "elapsed_s": 0.5})
        (tmp_path / f"events-2026010{number}T000000-a.jsonl").write_text(
            f'{line}\n{{"event": "cut o\n[1]\n{{"event": "timeless"}}\n'
        )
    assert [[line["event"] for line in job] for job in read_events(tmp_path)] == [
        ["job 1"],
        ["job 2"],
    ]
    assert read_events(tmp_path / "nowhere") == []


def test_log_with_a_bad_byte_is_read_and_one_that_cannot_be_read_is_not(tmp_path: Path) -> None:
    lines = b'{"event": "knee \xe9", "elapsed_s": 0.5}\n{"event": "b", "elapsed_s": 1}\n\xff\n'
    (tmp_path / "events-20260101T000000-a.jsonl").write_bytes(lines)
    (tmp_path / "events-20260102T000000-a.jsonl").mkdir()  # reading it fails like a bad disk
    assert [[line["event"] for line in job] for job in read_events(tmp_path)] == [
        ["knee \ufffd", "b"]
    ]


JOBS = [
    [
        {"event": "job started", "elapsed_s": 0.0},
        {
            **{"event": "training done", "elapsed_s": 10.0, "seconds": 4.0},
            **{"worker": "a/1", "stage": "train"},
        },
    ],
    [
        {
            **{"event": "training failed", "elapsed_s": 3.0, "seconds": 9.0},
            **{"worker": "b/<2>", "stage": "train"},
        },
        {
            **{"event": "images explained", "elapsed_s": 5.0, "seconds": 1.0},
            **{"worker": "b/<2>", "stage": "explain"},
        },
    ],
]


def test_timeline_lays_jobs_one_after_the_other() -> None:
    timeline = make_timeline(JOBS)
    assert timeline.spans == (
        Span("a/1", "train", 6.0, 10.0),
        Span("b/<2>", "failed", 10.0, 13.0),  # not before its job began
        Span("b/<2>", "explain", 14.0, 15.0),
    )
    assert (timeline.starts_s, timeline.end_s) == ((0.0, 10.0), 15.0)


def test_timeline_names_workers_and_stages() -> None:
    uri = encode_svg(draw_timeline(make_timeline(JOBS)))
    assert uri is not None
    svg = base64.b64decode(uri.partition(",")[2]).decode()
    for text in ("a/1", "b/&lt;2&gt;", "train", "explain", "failed", "seconds of work"):
        assert f">{text}<" in svg
    assert draw_timeline(make_timeline([])) is None


def test_timeline_stays_small_and_shows_the_busiest() -> None:
    every = {"stage": "s", "event": "e"}
    lines = [
        {**every, "elapsed_s": 0.01 * n, "seconds": 0.01, "worker": f"n/{n % 30}"}
        for n in range(1, 6000)
    ]
    lines.append({**every, "elapsed_s": 400.0, "seconds": 300.0, "worker": "busy/1"})
    uri = encode_svg(draw_timeline(make_timeline([lines])))
    assert uri is not None
    assert len(uri) < 100_000
    svg = base64.b64decode(uri.partition(",")[2]).decode()
    assert ">busy/1<" in svg
    assert svg.count(">n/") == 23
    assert ">minutes of work<" in svg
