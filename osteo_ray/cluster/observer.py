"""What can be observed of a command from outside: metrics for Prometheus, and a log of events.

The driver counts, because it hears of everything that is done: each event counts exactly once, even
if workers die. Its metrics appear at Ray's Prometheus endpoint on the node of the driver.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ray.util.metrics import Counter

from osteo_ray.base.events import TRAINED, EventLog, Explained
from osteo_ray.base.storage import Place


class Observer:
    """Counts and logs what a command does on the connected cluster.

    Args:
        folder: Folder for the log of events.
    """

    def __init__(self, folder: Place) -> None:
        self.events = EventLog(folder)
        self._stage: str | None = None
        self._images = Counter("osteo_ray_images_explained", "Images explained", ("outcome",))
        self._samples = Counter("osteo_ray_samples", "Perturbed images classified")
        self._trainings = Counter(
            "osteo_ray_trainings", "Trainings ended", ("model", "arm", "outcome")
        )
        self._failures = Counter("osteo_ray_failures", "What failed for good", ("kind",))

    @contextmanager
    def job(self, **facts: Any) -> Iterator[None]:
        """Log the start of the command, with these facts, and how it ended."""
        self.events.write("job started", **facts)
        try:
            yield
        except BaseException as error:
            self.events.write("job failed", reason=f"{type(error).__name__}: {error}")
            raise
        else:
            self.events.write("job done")
        finally:
            self.events.flush()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Log the start and end of a stage; what is observed in the block belongs to it."""
        self._stage = name
        self.events.write("stage started", stage=name)
        try:
            yield
        finally:
            self.events.write("stage ended", stage=name)
            self.events.flush()
            self._stage = None

    def trained(
        self, trial: Mapping[str, Any], key: str, seconds: float, worker: str, reason: str | None
    ) -> None:
        """Count a training that has ended.

        Args:
            trial: Its model, seed and arm.
            key: Key of its artifacts.
            seconds: How long it took in the worker.
            worker: The worker, as the address of its node and its process id.
            reason: Why it failed; None if it did not fail.
        """
        outcome = "done" if reason is None else "failed"
        tags = {"model": trial["model"], "arm": trial["arm"], "outcome": outcome}
        self._trainings.inc(tags=tags)
        if reason is not None:
            self._failures.inc(tags={"kind": "training"})
        name = f"{trial['model']}/seed-{trial['seed']}/{trial['arm']}-{key}"
        self.events.write(
            TRAINED if reason is None else "training failed",
            stage=self._stage,
            trial=name,
            worker=worker,
            seconds=round(seconds, 3),
            reason=reason,
        )

    def explained(self, part: Explained) -> None:
        """Count images that have been explained."""
        if part.n_images > part.n_errors:
            self._images.inc(part.n_images - part.n_errors, tags={"outcome": "done"})
        if part.n_samples:
            self._samples.inc(part.n_samples)
        if part.n_errors:
            self._images.inc(part.n_errors, tags={"outcome": "failed"})
            self._failures.inc(part.n_errors, tags={"kind": "explanation"})
        if part.n_images:
            self.events.write(
                "images explained",
                stage=self._stage,
                trial=part.explainable,
                worker=part.worker,
                seconds=round(part.seconds, 3),
                images=part.n_images,
                errors=part.n_errors,
                samples=part.n_samples,
            )
