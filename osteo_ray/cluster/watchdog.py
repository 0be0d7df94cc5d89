"""End a stage that no longer computes anything, and say what it is waiting for.

Every process that computes adds to a counter, batch by batch. A long epoch is therefore not a
stall, but a worker that hangs, or that waits for a node that never comes, is one.
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
from osteo_ray.base.progress import Report, find_listener, listening

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
    """Tells the watchdog that something was computed; works in any process that it is sent to.

    It may be called after every batch: it sends a message only every few seconds.
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
        """Return a function that passes reports of progress on and takes each as a beat."""

        def tell(what: str, done: int, total: int) -> None:
            self()
            report(what, done, total)

        return tell

    def __reduce__(self) -> tuple[Any, ...]:
        """Forget when it last sent a message: another machine has another clock."""
        return Beat, (self.counter, self.interval_s)


@contextlib.contextmanager
def watch(what: str, timeout_s: float) -> Iterator[Beat]:
    """Watch over the block, which must run in the main thread.

    What the block tells by `tell_progress` counts as a beat, too.

    Args:
        what: What the block does, in words for the user.
        timeout_s: Longest time without a beat.

    Raises:
        IncompleteError: There was no beat for that long.
    """
    interval_s = min(_TELL_INTERVAL_S, timeout_s / 10)
    counter, ended = _find_counter(), threading.Event()

    def make_error() -> IncompleteError:
        return IncompleteError(
            f"Nothing was computed for {timeout_s:g} s, during: {what}. {_describe_cluster()} What "
            "finished is kept; run the same command again to resume. If a single batch takes that "
            "long here, raise --resources.stall-timeout."
        )

    with end_on(signal.SIGUSR2, make_error) as end:
        thread = threading.Thread(
            target=_wait_for_stall,
            args=(counter, timeout_s, ended, end),
            name="watchdog",
            daemon=True,
        )
        thread.start()
        beat = Beat(counter, interval_s)
        try:
            with listening(beat.with_reports(find_listener())):
                yield beat
        finally:
            ended.set()
            thread.join()


def _find_counter() -> Any:
    """Return the counter of this driver; a new process for each stage would take seconds."""
    context = ray.get_runtime_context()
    driver = (context.gcs_address, context.get_job_id())
    if driver not in _counters:
        _counters.clear()  # counters of clusters that this process has left
        # On the node of the driver, so that no lost node takes the counter with it.
        here = NodeAffinitySchedulingStrategy(context.get_node_id(), soft=False)
        actor: Any = _Counter  # Ray's hints show the class that it decorates
        _counters[driver] = actor.options(scheduling_strategy=here).remote()
    return _counters[driver]


def _wait_for_stall(
    counter: Any, timeout_s: float, ended: threading.Event, bark: Callable[[], None]
) -> None:
    last, changed_at = 0, time.monotonic()
    while not ended.wait(min(_LOOK_INTERVAL_S, timeout_s / 10)):
        beats = last
        # A thread that ended here would watch no longer, and nobody would know.
        with contextlib.suppress(RayError, GetTimeoutError, OSError):
            beats = ray.get(counter.read.remote(), timeout=_LOOK_INTERVAL_S)
        if beats != last:
            last, changed_at = beats, time.monotonic()
        elif time.monotonic() - changed_at > timeout_s:
            bark()
            return


def _describe_cluster() -> str:
    """Describe what the cluster has, what is free, what died, and what waits for room."""
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
