"""Ray heads with token authentication, in processes of their own, for tests that submit jobs."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Head:
    """A running head node.

    Attributes:
        url: Of its dashboard.
        environment: Of commands that talk to it, with the token.
        process: The one that all others of the head are below.
    """

    url: str
    environment: dict[str, str]
    process: "subprocess.Popen[bytes]"

    @property
    def secrets(self) -> list[str]:
        """What no log and no artifact may hold: the token, and a key to storage."""
        token = Path(self.environment["RAY_AUTH_TOKEN_PATH"]).read_text()
        return [token, self.environment["AWS_SECRET_ACCESS_KEY"]]

    def find_drivers(self, run: Path) -> list[int]:
        """Return the ids of the processes that drive a job with this --out, not their shells."""
        found = []
        for pid in _list_descendants(self.process.pid):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                if "osteo_ray.commands.entrypoint" in words and str(run) in words:
                    found.append(pid)
        return found

    def kill(self) -> None:
        """Kill the head and every process below it, and nothing else: others run Ray here too."""
        stop_process(self.process)

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


def copy_environment_without(*prefixes: str) -> dict[str, str]:
    """Return the environment without variables that begin so, for a cluster of its own.

    Under `uv run pytest`, Ray would start each worker by way of uv, which first makes a virtual
    environment for it; the variable that prevents this stays.
    """
    stays = {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    return {k: v for k, v in os.environ.items() if not k.startswith(prefixes)} | stays


@contextlib.contextmanager
def start_head() -> Iterator[Head]:
    """Start a head of two CPUs that wants a token; stop it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="rayjob", dir="/tmp"))  # short: Ray puts sockets in it
    token = secrets.token_hex(32)
    (folder / "token").write_text(token)
    # The last would hide what a job was sent.
    environment = copy_environment_without("RAY_", "PYTEST_", "PYTHONPATH")
    environment |= {
        "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
        "PATH": f"{BIN}{os.pathsep}{environment['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
    }
    names = ("port", "dashboard-port", "dashboard-agent-listen-port", "ray-client-server-port")
    ports = dict(zip(names, find_free_ports(len(names)), strict=True))
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
        yield Head(url, environment, start)
    finally:
        stop_process(start)
        shutil.rmtree(folder, ignore_errors=True)


def find_free_ports(n: int) -> list[int]:
    """Return ports that nobody listens at now."""
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


def stop_process(start: "subprocess.Popen[bytes]") -> None:
    """Kill a process and all those below it."""
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


class Proxy(socketserver.ThreadingTCPServer):
    """A way to the dashboard of a head whose connections can be cut.

    Args:
        url: Of the dashboard.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, url: str) -> None:
        self.target = ("127.0.0.1", int(url.rpartition(":")[2]))
        self.open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Relay)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.cut()
        self.server_close()

    def cut(self) -> int:
        """Break the connections there are; return how many. New ones work."""
        broken = list(self.open)
        for each in broken:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        return len(broken)


class _Relay(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        with socket.create_connection(self.server.target) as there:
            self.server.open.add(there)
            back = threading.Thread(target=_pump, args=(there, self.request), daemon=True)
            back.start()
            _pump(self.request, there)
            back.join()
            self.server.open.discard(there)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(65536):
            sink.sendall(content)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
