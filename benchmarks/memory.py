"""How much memory a piece of work takes, in this process and in Ray's workers."""

import shutil
import threading
from types import TracebackType

import psutil

_INTERVAL_S = 0.25
_STORE = "/dev/shm"  # where Ray keeps its objects on Linux


class PeakMemory:
    """Watches, while it is entered, the memory of a process and of all below it.

    Args:
        pid: The process; by default this one.

    Attributes:
        driver_gib: Most memory that the process had to itself.
        total_gib: Most memory that all processes together had to themselves. Shared pages are left
            out: Ray's object store, and mapped files such as that of the thumbnails.
        store_gib: Most shared memory of the machine beyond what it had at the start: Ray's object
            store. 0 where there is no such file system.
        driver_course: Memory of the process at every look, GiB, in equal steps of time.
    """

    def __init__(self, pid: int | None = None) -> None:
        self._process = psutil.Process(pid)
        self.driver_gib = 0.0
        self.total_gib = 0.0
        self.store_gib = 0.0
        self.driver_course: list[float] = []
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._watcher.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._watcher.join()

    def _watch(self) -> None:
        before = _measure_store()
        while True:
            own = _measure(self._process)
            self.driver_gib = max(self.driver_gib, own)
            self.driver_course.append(own)
            others = sum(_measure(child) for child in _list_below(self._process))
            self.total_gib = max(self.total_gib, own + others)
            self.store_gib = max(self.store_gib, _measure_store() - before)
            if self._done.wait(_INTERVAL_S):
                return


def _list_below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.Error:  # it has gone
        return []


def _measure(process: psutil.Process) -> float:
    try:
        info = process.memory_info()
    except psutil.Error:  # it has gone
        return 0.0
    return float(info.rss - info.shared) / 2**30


def _measure_store() -> float:
    try:
        return shutil.disk_usage(_STORE).used / 2**30
    except OSError:
        return 0.0
