"""One writer per run: real processes, killed and alive, on this machine and as if on others."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from urllib.parse import quote

import boto3
import pytest

from osteo_ray.base import lock
from osteo_ray.base.errors import InputError
from osteo_ray.base.lock import HeldError, Holder, LockLostError, Timing, hold
from osteo_ray.base.storage import LOCK, Place, locate
from osteo_ray.commands.main import main
from osteo_ray.config.build import build_config

QUICK = Timing(beat=0.2, patience=1.5, settle=0.4)
IMPATIENT = Timing(beat=0.1, patience=0.4, settle=0.1)
"""For a lock that nobody renews."""
HOLD = """
import sys
from osteo_ray.base.lock import Timing, hold
from osteo_ray.base.storage import locate
with hold(locate(sys.argv[1]), timing=Timing(float(sys.argv[2]), patience=1.5, settle=0.4)):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["here", "there"])
def place(request: pytest.FixtureRequest, tmp_path: Path, s3_keys: None) -> Place:
    """A folder of this machine, or a prefix in object storage."""
    if request.param == "here":
        return tmp_path / "runs" / "knees"
    server = request.getfixturevalue("s3_server")
    client = boto3.client("s3", endpoint_url=server, region_name="us-east-1")
    client.create_bucket(Bucket="locks")
    name = quote(request.node.name, safe="")
    return locate(f"s3://locks/{name}?endpoint_override={quote(server, safe='')}&scheme=http")


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process that holds a place and beats at an interval; it is killed at the end."""
    started = []

    def run(place: Place, beat: float = QUICK.beat) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", HOLD, str(place), str(beat)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def read_holder(place: Place) -> Holder:
    until = time.monotonic() + 5
    while (holder := Holder.parse((place / LOCK).read_text())) is None:
        assert time.monotonic() < until  # a beat is written in place: half of it may be read
    return holder


def make_foreign(**changes: object) -> Holder:
    """A holder on another machine."""
    return replace(Holder.describe_self(), host="elsewhere", machine="other boot", **changes)


def write_holder(place: Place, holder: Holder) -> None:
    if isinstance(place, Path):
        place.mkdir(parents=True, exist_ok=True)
    (place / LOCK).write_text(holder.write())


def test_it_says_who_beats_and_goes(place: Place) -> None:
    with hold(place, timing=QUICK):
        first = read_holder(place)
        assert first.pid == os.getpid()
        assert first.host in str(first)
        until = time.monotonic() + 30
        while read_holder(place).beats < 2:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert replace(read_holder(place), beats=0) == replace(first, beats=0)
    assert not (place / LOCK).exists()
    assert not (isinstance(place, Path) and place.parent.exists())  # it made them, and nothing came


def test_what_came_stays(tmp_path: Path) -> None:
    root = tmp_path / "runs" / "knees"
    with hold(root, timing=QUICK):
        (root / "config.yaml").write_text("x")
    assert [path.name for path in root.iterdir()] == ["config.yaml"]


def test_a_lock_that_stayed_behind_is_taken_over_by_its_own_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    with monkeypatch.context() as patch:
        with hold(tmp_path, timing=QUICK):
            with pytest.raises(HeldError), hold(tmp_path, timing=QUICK):
                pass
            patch.setattr(Path, "unlink", refuse)
        assert (tmp_path / LOCK).exists()
    with hold(tmp_path, told.append, timing=QUICK):
        assert len(told) == 1
        assert "which has ended" in told[0]
    assert not (tmp_path / LOCK).exists()


def refuse(path: Path, missing_ok: bool = False) -> None:
    raise PermissionError(13, "Permission denied", str(path))


def test_a_second_process_is_refused(place: Place, start: Start) -> None:
    process = start(place)
    pid = read_holder(place).pid
    assert pid == process.pid
    with pytest.raises(HeldError, match=rf"held by process {pid} on .*another --out") as error:
        hold(place, timing=QUICK).__enter__()
    assert str(place / LOCK) in str(error.value)
    assert issubclass(HeldError, InputError)  # exit code 2
    assert process.poll() is None
    assert read_holder(place).pid == pid  # unharmed


def test_killed_on_this_machine_is_taken_over_at_once(place: Place, start: Start) -> None:
    process = start(place)
    process.send_signal(signal.SIGKILL)  # not waited for: a zombie does not work on anything
    said: list[str] = []
    until = time.monotonic() + 30
    while lock._find_start(process.pid) is not None:
        assert time.monotonic() < until
    with hold(place, said.append, replace(QUICK, patience=10**6)):
        assert read_holder(place).pid == os.getpid()
    assert said == [f"take over from {said[0].partition('from ')[2]}"]
    assert f"process {process.pid} on" in said[0]


def test_a_process_number_that_was_given_anew_is_not_the_holder(tmp_path: Path) -> None:
    write_holder(tmp_path, replace(Holder.describe_self(), started="1", token="old"))
    with hold(tmp_path, timing=replace(QUICK, patience=10**6)):
        assert read_holder(tmp_path).token != "old"


def test_elsewhere_and_silent_is_taken_over_after_a_while(place: Place) -> None:
    write_holder(place, make_foreign(beats=7, since="2099-01-01T00:00:00+0000"))
    started = time.monotonic()
    said: list[str] = []
    with hold(place, said.append, IMPATIENT):
        assert time.monotonic() - started >= IMPATIENT.patience
        assert read_holder(place).pid == os.getpid()
    assert "on elsewhere since 2099" in said[0]


def test_elsewhere_and_beating_is_left_alone(place: Place) -> None:
    foreign = make_foreign(since="1970-01-01T00:00:00+0000")  # its clock is not looked at
    write_holder(place, foreign)
    ended = threading.Event()

    def beat() -> None:
        number = 0
        while not ended.wait(0.2):
            number += 1
            (place / LOCK).write_text(replace(foreign, beats=number).write())

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(HeldError, match="on elsewhere since 1970"):
            hold(place, timing=replace(QUICK, patience=60)).__enter__()
    finally:
        ended.set()
        thread.join()
    assert read_holder(place).token == foreign.token


def test_given_back_while_it_is_watched(tmp_path: Path) -> None:
    write_holder(tmp_path, make_foreign())
    threading.Timer(0.5, (tmp_path / LOCK).unlink).start()
    started = time.monotonic()
    with hold(tmp_path, timing=replace(QUICK, patience=60)):
        assert time.monotonic() - started < 30


@pytest.mark.parametrize("content", ["", "no lock", '{"token": 1}', "[]"])
def test_a_lock_that_cannot_be_read_counts_as_silent(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK).write_text(content)
    said: list[str] = []
    with hold(tmp_path, said.append, IMPATIENT):
        pass
    assert "a process that left an unreadable lock" in said[0]


def test_taken_over_stops_the_work(place: Place) -> None:
    thief = make_foreign(token="thief")
    worked = []

    def work() -> None:
        with hold(place, timing=QUICK):
            write_holder(place, thief)
            until = time.monotonic() + 60
            while time.monotonic() < until:
                time.sleep(0.05)
            worked.append("on")

    with pytest.raises(LockLostError, match=r"taken over by process .* on elsewhere"):
        work()
    assert worked == []
    assert read_holder(place).token == "thief"  # and leaves the other's lock


def test_a_lost_lock_is_told_even_at_the_end(tmp_path: Path) -> None:
    def work() -> None:  # in a thread, which no signal ends
        with hold(tmp_path, timing=replace(QUICK, beat=0.1)):
            heart = next(t for t in threading.enumerate() if t.name == "osteo-ray-lock")
            write_holder(tmp_path, make_foreign(token="thief"))
            heart.join(30)

    with ThreadPoolExecutor(1) as pool, pytest.raises(LockLostError):
        pool.submit(work).result()


def test_taken_over_where_ctrl_c_is_ignored(place: Place) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a script's `command &` starts it
    try:
        test_taken_over_stops_the_work(place)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_stopped_process_that_wakes_finds_its_place_taken(place: Place, start: Start) -> None:
    # A process that is stopped between reading and writing the lock takes it back when it wakes.
    process = start(place, beat=3)
    process.send_signal(signal.SIGSTOP)
    stopped = read_holder(place)
    # Seen from elsewhere: here, the process is still there.
    write_holder(place, replace(stopped, machine="other boot"))
    with hold(place, timing=IMPATIENT):
        process.send_signal(signal.SIGCONT)
        assert process.wait(60) == 1
        assert read_holder(place).pid == os.getpid()


def test_storage_that_is_away_for_a_while_is_no_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hold(tmp_path, timing=QUICK):
        os.rename(tmp_path / LOCK, tmp_path / "aside")
        (tmp_path / LOCK).mkdir()  # neither to be read nor written
        time.sleep(3 * QUICK.beat)
        (tmp_path / LOCK).rmdir()
        until = time.monotonic() + 30
        while not (tmp_path / LOCK).exists():
            assert time.monotonic() < until
            time.sleep(0.05)
    assert not (tmp_path / LOCK).exists()


def test_of_several_at_once_one_wins(place: Place) -> None:
    command = [sys.executable, "-c", HOLD, str(place), str(QUICK.beat)]
    pipe = subprocess.PIPE
    several = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(3)
    ]
    until = time.monotonic() + 60
    while sum(process.poll() is None for process in several) > 1 and time.monotonic() < until:
        time.sleep(0.05)
    # Only now may the winner end: so the others met a lock that was held all along.
    printed = [process.communicate() for process in several]
    codes = sorted(process.returncode for process in several)
    assert codes.count(0) == 1, printed
    held_or_lost = ("HeldError", "LockLostError")
    assert sum(any(name in err for name in held_or_lost) for _, err in printed) == 2, printed


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="where files can be written"):
        hold(tmp_path / "file" / "run", timing=QUICK).__enter__()


def test_the_job_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"metadata": {"job_submission_id": "raysubmit_1"}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(config))
    assert str(Holder.describe_self()).endswith("Ray job raysubmit_1")
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "nonsense")
    assert Holder.describe_self().job == ""


@pytest.mark.parametrize("command", ["compare", "variance"])
def test_commands_refuse_before_they_start_ray(
    tmp_path: Path, start: Start, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    process = start(tmp_path / "run")
    assert main([command, "--out", str(tmp_path / "run")]) == 2
    printed = " ".join("".join(capfd.readouterr()).split())
    assert f"held by process {process.pid} on" in printed
    assert "start Ray" not in printed
    assert "Traceback" not in printed
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]


def test_a_lock_alone_is_no_obstacle(tmp_path: Path) -> None:
    from osteo_ray.pipeline.compare.prepare import locate_run

    write_holder(tmp_path, make_foreign())
    assert locate_run(build_config({"out": str(tmp_path)})).root == tmp_path
    assert asdict(read_holder(tmp_path))["host"] == "elsewhere"


def test_a_lock_that_another_creates_first_is_left_alone(tmp_path: Path) -> None:
    write_holder(tmp_path, make_foreign(token="first"))
    assert lock._create(tmp_path / LOCK, Holder.describe_self(), QUICK) is False
    assert read_holder(tmp_path).token == "first"
