"""Memory that other threads have freed goes back to the system."""

import platform
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from osteo_ray.base import free_memory
from osteo_ray.base.free_memory import return_free_memory

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

    before = read_own_bytes()
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = read_own_bytes() - before
    assert held > N_BLOCKS * BLOCK  # or the test would show nothing
    return_free_memory()
    assert read_own_bytes() - before < held / 4
    assert len(pins) == len(threads)


def test_another_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    free_memory._find_trim.cache_clear()
    monkeypatch.setattr(free_memory, "ctypes", SimpleNamespace(CDLL=lambda _: SimpleNamespace()))
    return_free_memory()
    assert free_memory._find_trim() is None
    free_memory._find_trim.cache_clear()
