"""End a stage in which nothing is computed any more, and say what it waits for.

Whatever computes tells a counter so, batch by batch and from every process: a long epoch is no
stall, a worker that hangs or waits for a node that never comes is one.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util import placement_group_table
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from osteo_ray.base.errors import IncompleteError
from osteo_ray.base.interruption import end_on
from osteo_ray.base.progress import Report

_TELL_INTERVAL_S = 5.0
_LOOK_INTERVAL_S = 5.0


@ray.remote(num_cpus=0)
class _Counter:
    def __init__(self) -> None:
        self.beats = 0

    def add(self) -> None:
        self.beats += 1

    def read(self) -> int:
        return self.beats


_counters: dict[tuple[str, str], Any] = {}


class Beat:
    """Tells the watchdog, from whatever process it was sent to, that something was computed.

    Calling it costs nothing worth counting: it tells at most every few seconds.
    """

    def __init__(self, counter: Any, interval_s: float = _TELL_INTERVAL_S) -> None:
        self.counter = counter
        self.interval_s = interval_s
        self.told_at = float("-inf")

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self.told_at >= self.interval_s:
            self.told_at = now
            self.counter.add.remote()

    def with_reports(self, report: Report) -> Report:
        """Return a function that reports progress and counts that as something computed."""

        def tell(what: str, done: int, total: int) -> None:
            self()
            report(what, done, total)

        return tell

    def __reduce__(self) -> tuple[Any, ...]:
        """Forget when it told last: another machine has another clock."""
        return Beat, (self.counter, self.interval_s)


@contextlib.contextmanager
def watch(what: str, timeout_s: float) -> Iterator[Beat]:
    """Watch over the block, which runs in the main thread.

    Args:
        what: Is being done, as the user knows it.
        timeout_s: Longest time without a beat.

    Raises:
        IncompleteError: There was none for that long.
    """
    interval_s = min(_TELL_INTERVAL_S, timeout_s / 10)
    counter, ended = _find_counter(), threading.Event()

    def tell() -> IncompleteError:
        return IncompleteError(
            f"Nothing was computed for {timeout_s:g} s, during: {what}. {_describe_cluster()} What "
            "finished is kept; the same command goes on from there. If a single batch takes that "
            "long here, raise --resources.stall-timeout."
        )

    with end_on(signal.SIGUSR2, tell) as end:
        thread = threading.Thread(
            target=_wait_for_stall,
            args=(counter, timeout_s, ended, end),
            name="watchdog",
            daemon=True,
        )
        thread.start()
        try:
            yield Beat(counter, interval_s)
        finally:
            ended.set()
            thread.join()


def _find_counter() -> Any:
    """Return the counter of this driver: a process for each stage would take seconds to start."""
    context = ray.get_runtime_context()
    driver = (context.gcs_address, context.get_job_id())
    if driver not in _counters:
        _counters.clear()  # those of clusters that this process has left
        # On this very node: one that is lost must not take the counter along.
        here = NodeAffinitySchedulingStrategy(context.get_node_id(), soft=False)
        _counters[driver] = _Counter.options(scheduling_strategy=here).remote()  # type: ignore[attr-defined]
    return _counters[driver]


def _wait_for_stall(
    counter: Any, timeout_s: float, ended: threading.Event, bark: Callable[[], None]
) -> None:
    last, changed_at = 0, time.monotonic()
    while not ended.wait(min(_LOOK_INTERVAL_S, timeout_s / 10)):
        beats = last
        with contextlib.suppress(RayError, GetTimeoutError):
            beats = ray.get(counter.read.remote(), timeout=_LOOK_INTERVAL_S)
        if beats != last:
            last, changed_at = beats, time.monotonic()
        elif time.monotonic() - changed_at > timeout_s:
            bark()
            return


def _describe_cluster() -> str:
    """Say what the cluster has, what of it is free, what died, and what waits for room."""
    nodes = ray.nodes()
    alive = [node for node in nodes if node["Alive"]]
    total, free = ray.cluster_resources(), ray.available_resources()
    parts = [
        f"The cluster has {len(alive)} live node(s)"
        + (f", {len(nodes) - len(alive)} died" if len(alive) < len(nodes) else ""),
        *(
            f"{free.get(name, 0):g} of {total[name]:g} {name}s are free"
            for name in ("CPU", "GPU")
            if total.get(name)
        ),
    ]
    waiting = [
        group["bundles"]
        for group in placement_group_table().values()
        if group["state"] in ("PENDING", "RESCHEDULING")
    ]
    if waiting:
        first = ", ".join(
            f"{amount:g} {name}"
            for bundle in waiting[0].values()
            for name, amount in bundle.items()
        )
        parts.append(f"{len(waiting)} training(s) wait for room (the first for {first})")
    return "; ".join(parts) + "."
