"""The cluster that a job runs on, and where the job reports its progress."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from osteo_ray.base.events import Explained
from osteo_ray.base.progress import Clock, JobProgress
from osteo_ray.cluster.observer import Observer
from osteo_ray.cluster.placement import Layout
from osteo_ray.cluster.settings import ResourceSettings
from osteo_ray.cluster.watchdog import watch

READ = "read images"


class StageListener:
    """Hears what is done in a stage, and passes it on to the display and to the log.

    Args:
        name: Name of the stage on the display.
        progress: The display.
        observer: Counts and logs.
    """

    def __init__(self, name: str, progress: JobProgress, observer: Observer) -> None:
        self.name = name
        self.progress = progress
        self.observer = observer

    def advanced(self, amount: float) -> None:
        """Hear that so many more units of the stage are done, or a fraction of one."""
        self.progress.advance(self.name, amount)

    def explained(self, part: Explained) -> None:
        """Hear that a worker has explained some images with one classifier."""
        self.advanced(part.n_images)
        self.observer.explained(part)


@dataclass(frozen=True)
class Site:
    """A cluster that is connected, with everything a job needs to run its stages there.

    Attributes:
        layout: How the work is laid out on the cluster.
        resources: What the user asked for.
        progress: Where to show progress.
        clock: Measures how long each stage takes.
        observer: Counts and logs what is done.
    """

    layout: Layout
    resources: ResourceSettings
    progress: JobProgress
    clock: Clock
    observer: Observer

    @contextmanager
    def stage(self, name: str) -> Iterator[StageListener]:
        """Run a stage in the block: show it, log it and measure its time."""
        with self.progress.stage(name), self.observer.stage(name):
            yield StageListener(name, self.progress, self.observer)
        self.clock.lap(name)


@contextmanager
def follow_reading(progress: JobProgress, timeout_s: float) -> Iterator[None]:
    """Read images in the block: show what `tell_progress` tells, and let the watchdog hear it.

    Args:
        progress: Where to show progress.
        timeout_s: Longest time without any progress, in seconds.

    Raises:
        IncompleteError: There was no progress for that long.
    """
    with progress.following(), watch(READ, timeout_s):
        yield
