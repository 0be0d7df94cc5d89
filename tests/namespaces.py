"""Machines with network addresses of their own, on this machine: Linux network namespaces."""

import contextlib
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_RAY = str(Path(sys.executable).parent / "ray")


@dataclass(frozen=True)
class Machines:
    """A head and a worker, each with a CPU, joined by a bridge.

    Attributes:
        address: Of the head's Ray.
        inside: Words before a command that shall run on the head.
        cable: Of the worker: the end of it that can be pulled.
    """

    address: str
    inside: list[str]
    cable: str

    def pull(self) -> None:
        """Cut the worker off."""
        _ip("link", "set", self.cable, "down")

    def plug(self) -> None:
        """Heal the network."""
        _ip("link", "set", self.cable, "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextlib.contextmanager
def separate_machines(environment: dict[str, str]) -> Iterator[Machines]:
    """Make two machines and start Ray on both; skip the test where that is not allowed."""
    tag = secrets.token_hex(2)
    third = 1 + int(tag, 16) % 250
    names = [f"osteo-{tag}-{number}" for number in range(2)]
    cables = [f"ov{tag}{number}" for number in range(2)]
    hosts = [f"10.213.{third}.{number + 2}" for number in range(2)]
    rays: list[subprocess.Popen[bytes]] = []
    with contextlib.ExitStack() as undo, tempfile.TemporaryDirectory(dir="/tmp") as folder:
        try:
            _ip("link", "add", f"ob{tag}", "type", "bridge")
            undo.callback(_ip, "link", "del", f"ob{tag}")
            _ip("link", "set", f"ob{tag}", "up")
            for name, cable, host in zip(names, cables, hosts, strict=True):
                _ip("netns", "add", name)
                undo.callback(_ip, "netns", "del", name)
                _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
                _ip("link", "set", cable, "master", f"ob{tag}", "up")
                _ip("-n", name, "addr", "add", f"{host}/24", "dev", "eth0")
                _ip("-n", name, "link", "set", "eth0", "up")
                _ip("-n", name, "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, "stderr", None) or error
            pytest.skip(f"no network namespaces here: {reason}")
        common = ["--num-cpus=1", "--num-gpus=0", "--block", "--disable-usage-stats"]
        common += ["--object-store-memory=200000000"]
        head = ["--head", "--port=6379", "--include-dashboard=false", f"--temp-dir={folder}"]
        for name, host, words in zip(
            names, hosts, (head, [f"--address={hosts[0]}:6379"]), strict=True
        ):
            command = ["ip", "netns", "exec", name, _RAY, "start", *words, *common]
            with (Path(folder) / f"{name}.log").open("wb") as log:
                rays.append(
                    subprocess.Popen(
                        [*command, f"--node-ip-address={host}"],
                        env=environment,
                        stdout=log,
                        stderr=log,
                    )
                )
            undo.callback(_end, rays[-1], name)
            _wait_until_started(Path(folder) / f"{name}.log", rays[-1])
        yield Machines(f"{hosts[0]}:6379", ["ip", "netns", "exec", names[0]], cables[1])


def _wait_until_started(log: Path, ray: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 120
    while "Ray runtime started" not in log.read_text():
        assert ray.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.2)


def _end(ray: "subprocess.Popen[bytes]", name: str) -> None:
    """End all processes of a namespace, and no others."""
    found = subprocess.run(
        ["ip", "netns", "pids", name], capture_output=True, text=True, check=True
    )
    for pid in found.stdout.split():
        subprocess.run(["kill", "-9", pid], check=False, capture_output=True)
    ray.wait(timeout=30)
