"""Memory that other threads have freed goes back to the system."""

import platform
import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from osteo_ray.base import free_memory
from osteo_ray.base.free_memory import return_free_memory
from osteo_ray.pipeline.compare import sweeps

N_BLOCKS, BLOCK = 1000, 64_000  # below what the C library asks the system for one by one


def read_own_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library has no such call")
def test_what_a_thread_freed_goes_back() -> None:
    pins = []

    def work() -> None:
        blocks = [b"x" * BLOCK for _ in range(N_BLOCKS)]
        pins.append(b"x" * BLOCK)  # at the end of the arena, so that it does not shrink by itself
        blocks.clear()

    return_free_memory()  # or these threads would take what those of other tests left
    before = read_own_bytes()
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = read_own_bytes() - before
    assert held > N_BLOCKS * BLOCK / 2  # or the test would show nothing
    return_free_memory()
    assert read_own_bytes() - before < held / 4
    assert len(pins) == len(threads)


def test_another_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    free_memory._find_trim.cache_clear()
    monkeypatch.setattr(free_memory, "ctypes", SimpleNamespace(CDLL=lambda _: SimpleNamespace()))
    return_free_memory()
    assert free_memory._find_trim() is None
    free_memory._find_trim.cache_clear()


@pytest.mark.parametrize("fails", [False, True])
def test_each_trial_of_a_sweep_gives_memory_back(
    fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def run(*_: object) -> str:
        told.append("trained")
        if fails:
            raise RuntimeError("out of luck")
        return ""

    monkeypatch.setattr(sweeps, "run_here", run)
    monkeypatch.setattr(sweeps, "return_free_memory", lambda: told.append("gave back"))
    monkeypatch.setattr(sweeps.tune, "report", lambda _: told.append("reported"))
    means: Any = SimpleNamespace(layout=SimpleNamespace(workers=1))
    experiment: Any = None
    with pytest.raises(RuntimeError) if fails else nullcontext():
        sweeps._run_trial({"trial": {"model": "m", "seed": 0, "arm": "a"}}, experiment, [], means)
    assert told == ["trained", "gave back", *([] if fails else ["reported"])]
