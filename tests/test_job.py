"""`ray job submit` against a real head with token authentication, in processes of its own."""

import contextlib
import importlib.util
import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
SMALLEST = (
    *("--models", "test_byobnet", "--arms", "original", "lime"),
    *("--epochs", "1", "--lime-samples", "8", "--phantom.n-images", "40"),
)


@dataclass(frozen=True)
class Head:
    """A running head node.

    Attributes:
        url: Of its dashboard.
        environment: Of commands that talk to it, with the token.
    """

    url: str
    environment: dict[str, str]

    def submit(self, *flags: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Submit jobs/compare.py and wait for its end; standard error is in stdout."""
        command = [str(BIN / "ray"), "job", "submit", "--address", self.url]
        command += ["--working-dir", str(ROOT), "--", "python", "jobs/compare.py", *flags]
        return subprocess.run(
            command,
            env=self.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    folder = Path(tempfile.mkdtemp(prefix="rayjob", dir="/tmp"))  # short: Ray puts sockets in it
    token = secrets.token_hex(32)
    (folder / "token").write_text(token)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTEST_"))}
    environment |= {
        "PATH": f"{BIN}{os.pathsep}{environment['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
    }
    names = ("port", "dashboard-port", "dashboard-agent-listen-port", "ray-client-server-port")
    ports = dict(zip(names, _find_free_ports(len(names)), strict=True))
    command = [str(BIN / "ray"), "start", "--head", "--block", "--disable-usage-stats"]
    command += ["--num-cpus=2", "--num-gpus=0", "--object-store-memory=200000000"]
    command += ["--dashboard-host=127.0.0.1", "--node-ip-address=127.0.0.1"]
    command += [f"--temp-dir={folder / 'ray'}"]
    command += [f"--{name}={port}" for name, port in ports.items()]
    url = f"http://127.0.0.1:{ports['dashboard-port']}"
    with (folder / "start.log").open("wb") as log:
        start = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_until_ready(url, token, start, folder / "start.log")
        yield Head(url, environment)
    finally:
        _stop(start)
        shutil.rmtree(folder, ignore_errors=True)


def _find_free_ports(n: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_until_ready(url: str, token: str, start: "subprocess.Popen[bytes]", log: Path) -> None:
    request = urllib.request.Request(
        f"{url}/api/version", headers={"Authorization": f"Bearer {token}"}
    )
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and start.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5):
            return
        time.sleep(0.5)
    pytest.fail(f"Ray did not start:\n{log.read_text()}")


def _stop(start: "subprocess.Popen[bytes]") -> None:
    """Stop a head and every process below it, and nothing else: others run Ray here too."""
    for pid in (start.pid, *_list_descendants(start.pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    start.wait(timeout=15)


def _list_descendants(pid: int) -> list[int]:
    table = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    children: dict[int, list[int]] = {}
    for line in table.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found[1:]


@pytest.mark.ray
def test_job_finishes_and_holds_every_planned_trial(head: Head, tmp_path: Path) -> None:
    run = tmp_path / "run"
    job = head.submit("--out", str(run), "--seeds", "2", *SMALLEST)
    assert job.returncode == 0, job.stdout
    assert f"Report: {run / 'report.html'}" in job.stdout.replace("\n", "")
    assert (run / "report.html").stat().st_size > 0
    assert json.loads((run / "comparison.json").read_text())["verdict"]["verdict"]
    table = pq.read_table(run / "predictions.parquet", columns=["model", "seed", "arm"])
    trials = {tuple(row.values()) for row in table.to_pylist()}
    assert trials == set(itertools.product(["test_byobnet"], [0, 1], ["original", "lime"]))


@pytest.mark.ray
def test_job_is_refused_without_the_token(head: Head, tmp_path: Path) -> None:
    job = head.submit("--out", str(tmp_path / "run"), RAY_AUTH_MODE="disabled")
    assert job.returncode != 0
    assert "Authentication required" in job.stdout
    (tmp_path / "token").write_text(secrets.token_hex(32))
    job = head.submit("--out", str(tmp_path / "run"), RAY_AUTH_TOKEN_PATH=str(tmp_path / "token"))
    assert job.returncode != 0
    assert "submitted successfully" not in job.stdout
    assert not (tmp_path / "run").exists()


@pytest.mark.ray
def test_job_with_an_unknown_arm_fails_and_says_so(head: Head, tmp_path: Path) -> None:
    job = head.submit("--out", str(tmp_path / "run"), "--arms", "original", "lmie")
    assert job.returncode == 1
    assert "failed with exit code 2" in job.stdout
    said = " ".join(job.stdout.replace("│", " ").split())  # out of the box that the parser draws
    assert "got `lmie`" in said
    assert "Did you mean `lime`?" in said
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def compare_job() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare_job", ROOT / "jobs" / "compare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], "Expected an absolute --out"),
        (["--out", "runs/knees"], "got `runs/knees`"),
        (["--out", "/shared/run", "--data", "knees"], "Expected an absolute --data"),
        (
            ["--out", "/shared/run", "--weights", "test_byobnet=a.safetensors"],
            "Expected an absolute --weights",
        ),
        (["--out", "/shared/run", "--seed", "2"], "--seeds"),
    ],
)
def test_job_refuses_paths_in_its_own_folder(
    compare_job: ModuleType, flags: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare_job.run_job(flags) == 2
    assert expected in capsys.readouterr().err


def test_job_shows_its_help(compare_job: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_job.run_job(["--help"]) == 0
    assert "--lime-samples" in capsys.readouterr().out
