"""How much memory a piece of work takes, in this process and in Ray's workers."""

import threading
from types import TracebackType

import psutil

_INTERVAL_S = 0.25


class PeakMemory:
    """Watches, while it is entered, the memory of this process and of all below it.

    Attributes:
        driver_gib: Most memory that this process had to itself.
        total_gib: Most memory that all processes together had to themselves. Shared pages are left
            out: Ray's object store, and mapped files such as that of the thumbnails.
    """

    def __init__(self) -> None:
        self.driver_gib = 0.0
        self.total_gib = 0.0
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
        process = psutil.Process()
        while True:
            own = _measure(process)
            self.driver_gib = max(self.driver_gib, own)
            others = sum(_measure(child) for child in process.children(recursive=True))
            self.total_gib = max(self.total_gib, own + others)
            if self._done.wait(_INTERVAL_S):
                return


def _measure(process: psutil.Process) -> float:
    try:
        info = process.memory_info()
    except psutil.Error:  # it has gone
        return 0.0
    return float(info.rss - info.shared) / 2**30
