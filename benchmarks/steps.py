"""Where the time of an explaining actor goes: CPU seconds per image, by step."""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import ray

from benchmarks.devices import Device, share_gpus
from benchmarks.lime import read_images, start_worker
from osteo_ray.base.tables import PIXELS, write_table
from osteo_ray.explain.jobs import Explainable, list_kinds, plan_job
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.models.checkpoint import describe_checkpoint

FORWARD, REST = "forward", "rest"


@dataclass(frozen=True)
class StepTimes:
    """How one actor explained some images, as `osteo-ray explain` does, with everything it writes.

    Attributes:
        images_per_s: Rate, once the classifier is loaded.
        cpu_s: CPU seconds per image, by step. Steps do not overlap, so they add up.
        busy: Share of the time in which the GPU computed; None without one.
    """

    images_per_s: float
    cpu_s: dict[str, float]
    busy: float | None

    @property
    def beside_s(self) -> float:
        """CPU seconds per image beside the forward passes."""
        return sum(taken for step, taken in self.cpu_s.items() if step != FORWARD)


def bench_steps(
    data: str, checkpoint: Path, *, n_images: int, settings: LimeSettings, device: Device
) -> Iterator[tuple[str, StepTimes]]:
    """Have one explaining actor explain images, in the exact and in the adaptive mode.

    Args:
        data: Where the images are.
        checkpoint: Of the classifier.
        n_images: How many to explain, after a first one, taken evenly from the set.
        settings: Of LIME.
        device: Where to compute.
    """
    with tempfile.TemporaryDirectory() as name:
        size = describe_checkpoint(checkpoint).image_size
        images = read_images(data, Path(name), size, n_images + 1)
    for mode in ("exact", "adaptive"):
        options = (settings.model_copy(update={"mode": mode}), device)
        worker = start_worker(StepWorker, 1, checkpoint, *options, gpus=share_gpus(device, 1))
        yield mode, ray.get(worker.measure.remote(images))
        ray.kill(worker)


class StepClock:
    """Adds up the CPU time of this process by the innermost step that is being done."""

    def __init__(self, timer: Callable[[], float] = time.process_time) -> None:
        self._timer = timer
        self._steps = [REST]
        self._since = timer()
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def doing(self, step: str) -> Iterator[None]:
        """Charge the time of a block to a step, but for that of steps inside it."""
        self._charge()
        self._steps.append(step)
        try:
            yield
        finally:
            self._charge()
            self._steps.pop()

    def stop(self) -> dict[str, float]:
        """Return the seconds of each step."""
        self._charge()
        return dict(self.seconds)

    def watch(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that is charged to a step."""

        def watched(*positional: Any, **named: Any) -> Any:
            with self.doing(step):
                return function(*positional, **named)

        return watched

    def _charge(self) -> None:
        now = self._timer()
        self.seconds[self._steps[-1]] += now - self._since
        self._since = now


class StepWorker:
    """A process that explains images as an explaining actor does, and takes the time of its steps.

    Args:
        checkpoint: File of the classifier.
        n_threads: CPU threads.
        settings: Of LIME.
        device: Where to compute.
    """

    def __init__(
        self, checkpoint: Path, n_threads: int, settings: LimeSettings, device: Device
    ) -> None:
        self._checkpoint, self._n_threads = checkpoint, n_threads
        self._settings, self._device = settings, device

    def measure(self, images: np.ndarray) -> StepTimes:
        """Explain images, uint8 (n, height, width), after a first one that loads everything."""
        import torch

        from osteo_ray.pipeline.explain.actor import ExplainingActor

        about = describe_checkpoint(self._checkpoint)
        ids = [str(number) for number in range(len(images))]
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            pixels = root / "pixels.parquet"
            rows = [
                {"image_id": one, "digest": one, "pixels": image.tobytes()}
                for one, image in zip(ids, images, strict=True)
            ]
            write_table(pixels, pa.Table.from_pylist(rows, schema=PIXELS))
            explainable = Explainable(
                model=about.model,
                seed=0,
                fingerprint="benchmark",
                lime_seed=0,
                checkpoint=self._checkpoint,
                frozen=root / "frozen",
                masks=root / "masks",
                faithfulness=root / "faithfulness",
                heatmaps=root / "heatmaps",
                wanted=frozenset(ids),
                kinds=list_kinds("lime"),
                faithfulness_ids=frozenset(ids),
            )
            job = plan_job(
                [explainable],
                self._settings,
                n_classes=len(about.classes),
                image_size=about.image_size,
            )
            clock = StepClock()
            gpu = _GpuClock() if self._device != "cpu" else None
            with _watching(clock, gpu):
                actor = ExplainingActor(job, device=self._device, n_threads=self._n_threads)
                _explain(actor, pixels, 0, 1)
                clock.stop()
                clock.seconds.clear()
                if gpu is not None:
                    gpu.stop()
                started = time.perf_counter()
                _explain(actor, pixels, 1, len(images))
                if gpu is not None:
                    torch.cuda.synchronize()
                wall_s = time.perf_counter() - started
        n_images = len(images) - 1
        return StepTimes(
            images_per_s=n_images / wall_s,
            cpu_s={step: seconds / n_images for step, seconds in clock.stop().items()},
            busy=None if gpu is None else gpu.stop() / wall_s,
        )


class _GpuClock:
    """Adds up the time in which the GPU computes forward passes, without making it wait."""

    def __init__(self) -> None:
        self._pairs: list[tuple[Any, Any]] = []

    def watch(self, predict: Callable[..., Any]) -> Callable[..., Any]:
        import torch

        def watched(*arguments: Any) -> Any:
            pair = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            pair[0].record()
            found = predict(*arguments)
            pair[1].record()
            self._pairs.append(pair)
            return found

        return watched

    def stop(self) -> float:
        """Return the seconds since the last call."""
        import torch

        torch.cuda.synchronize()
        milliseconds: float = sum(begun.elapsed_time(ended) for begun, ended in self._pairs)
        self._pairs.clear()
        return milliseconds / 1000


@contextmanager
def _watching(clock: StepClock, gpu: _GpuClock | None) -> Iterator[None]:
    """Have the clock watch the functions of each step, one after the other on one thread."""
    from osteo_ray.explain import gradcam, lime, superpixels
    from osteo_ray.explain.perturbation import Perturbable
    from osteo_ray.pipeline.explain import actor

    open_classifier = vars(actor)["open_classifier"]

    def open_watched(*arguments: Any, **named: Any) -> Any:
        predict = open_classifier(*arguments, **named)
        return clock.watch(FORWARD, predict if gpu is None else gpu.watch(predict))

    @contextmanager
    def prepare_nothing(self: Any, pictures: Sequence[Any]) -> Iterator[None]:
        yield  # so that superpixels are found where they are asked for, on this thread

    watched: list[tuple[Any, str, str]] = [
        (superpixels, "find_superpixels", "superpixels"),
        (Perturbable, "render", "rendering"),
        (lime, "fit_local_model", "fit"),
        (lime, "measure_stability", "stability"),
        (gradcam, "compute_heatmaps", "Grad-CAM"),
        (actor, "measure_faithfulness", "faithfulness"),
        (actor, "write_table", "writing"),
    ]
    patches = [
        mock.patch.object(place, name, clock.watch(step, getattr(place, name)))
        for place, name, step in watched
    ]
    patches += [
        mock.patch.object(actor, "open_classifier", open_watched),
        mock.patch.object(actor.ExplainingActor, "_prepare", prepare_nothing),
    ]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def _explain(actor: Any, pixels: Path, start: int, stop: int) -> None:
    batch = {"file": [str(pixels)], "start": [start], "stop": [stop]}
    list(actor({name: np.array(value) for name, value in batch.items()}))
