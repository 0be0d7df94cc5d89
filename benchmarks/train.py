"""Training speed and memory: from memory, from disk and from Ray Data, beside a bare loop."""

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from benchmarks.devices import Device
from benchmarks.memory import PeakMemory
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import PIXELS, write_pixels
from osteo_ray.data.image_size import ImageSize

Way = Literal["synthetic batch", "bare loop", "memory", "disk", "Ray Data"]
WAYS: tuple[Way, ...] = get_args(Way)
"""The same batch again and again; a loop by hand; and the three ways of the product."""
_PER_FILE = 512  # as many as a reading task writes at most
_VALIDATION = 32


@dataclass(frozen=True)
class Trained:
    """One epoch of a training.

    Attributes:
        way: Where its pixels came from; see `WAYS`.
        n_images: Training images.
        images_per_s: Training images per second.
        process_gib: Peak memory of the training process to itself.
        total_gib: Peak memory of all processes to themselves.
        store_gib: Peak memory of Ray's object store.
    """

    way: Way
    n_images: int
    images_per_s: float
    process_gib: float
    total_gib: float
    store_gib: float


@dataclass(frozen=True)
class _Case:
    """What is trained.

    Attributes:
        root: A run with the pixels.
        n_images: Training images.
        size_px: Their side, in pixels.
        model: The network; its weights are random.
        batch_size: Images per step.
        device: Where to compute, on one thread if on a CPU.
    """

    root: str
    n_images: int
    size_px: int
    model: str
    batch_size: int
    device: Device


def bench_train(
    sizes: Sequence[int],
    *,
    model: str,
    size_px: int,
    batch_size: int,
    device: Device = "cpu",
    ways: Sequence[Way] = WAYS,
) -> Iterator[Trained]:
    """Train one epoch in each way, each in a process of its own, without augmentation.

    Args:
        sizes: Numbers of training images.
        model: A timm name; its weights are random.
        size_px: Side of the images, in pixels.
        batch_size: Images per step.
        device: Where to compute, on one thread if on a CPU.
        ways: Where the pixels come from; without "memory", no speed is related to it.
    """
    for n_images in sizes:
        with tempfile.TemporaryDirectory() as name:
            write_noise(Run(Path(name)), n_images, size_px)
            case = _Case(name, n_images, size_px, model, batch_size, device)
            for way in ways:
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    yield pool.apply(_train, (case, way))


def write_noise(run: Run, n_images: int, size_px: int) -> None:
    """Write random pixels into a run, as its reading stage would; image ids are `0`, `1`, …"""
    rng = np.random.default_rng(0)
    for start in range(0, n_images, _PER_FILE):
        numbers = range(start, min(start + _PER_FILE, n_images))
        ids = [str(number) for number in numbers]
        content = [rng.bytes(size_px**2) for _ in numbers]
        table = pa.table([ids, ids, content], schema=PIXELS)
        write_pixels(run.pixels / f"part-{start:08}.parquet", table)


def _train(case: _Case, way: Way) -> Trained:
    """Train for an epoch; to be called in a new process."""
    with PeakMemory() as memory:
        seconds = _time_bare(case, way) if way in WAYS[:2] else _time_product(case, way)
    speed = case.n_images / seconds
    gib = memory.driver_gib, memory.total_gib, memory.store_gib
    return Trained(way, case.n_images, speed, *gib)


def _make_network(case: _Case) -> tuple[Any, Any]:
    """Return an untrained classifier on its device, and the device."""
    import torch

    from osteo_ray.models.classifier import build_classifier
    from osteo_ray.models.training import make_deterministic

    make_deterministic(n_threads=1)
    device = torch.device(case.device)
    classifier = build_classifier(
        case.model, n_classes=2, image_size=ImageSize.square(case.size_px), weights="none", seed=0
    )
    return classifier.to(device), device


def _time_bare(case: _Case, way: Way) -> float:
    """Time the loop that one would write by hand, in seconds."""
    import torch

    from osteo_ray.experiment.dataset import read_pixels

    classifier, device = _make_network(case)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-4)
    ids = [str(number) for number in range(case.n_images)]
    pixels = torch.from_numpy(
        read_pixels(Run(Path(case.root)), ids, ImageSize.square(case.size_px))
    )
    order = torch.from_numpy(np.random.default_rng(0).permutation(case.n_images))
    classifier.train()

    def step(rows: "torch.Tensor") -> None:
        images = pixels[rows].to(device)[:, None].float() / 255
        loss = torch.nn.functional.cross_entropy(classifier(images), rows.to(device) % 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step(order[: case.batch_size])  # the first step prepares buffers

    def run_epoch() -> None:
        for rows in order.split(case.batch_size):
            step(order[: case.batch_size] if way == WAYS[0] else rows)

    return _time(run_epoch, case.device)


def _time(work: Callable[[], object], device: str) -> float:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _time_product(case: _Case, way: Way) -> float:
    """Time the second of two epochs of `train_classifier`, in seconds.

    It ends with the prediction of a few validation images, which a bare loop does not make.
    """
    from contextlib import ExitStack, closing

    from osteo_ray.cluster.connection import connect
    from osteo_ray.data.pixels import select_images
    from osteo_ray.experiment.stored_images import StoredImages, locate_pixels
    from osteo_ray.models.batches import Feed, ImageSet
    from osteo_ray.models.epochs import Epoch, TrainingListener
    from osteo_ray.models.settings import NO_AUGMENTATION, TrainingSettings
    from osteo_ray.models.steps import plan_steps
    from osteo_ray.models.training import Recipe, TrainingData, Worker, train_classifier
    from osteo_ray.pipeline.compare.pixel_stream import PixelReading, stream_pixels
    from osteo_ray.pipeline.compare.stream_feed import StreamedFeed

    classifier, device = _make_network(case)
    settings = TrainingSettings(
        epochs=2, per_worker_batch_size=case.batch_size, augmentation=NO_AUGMENTATION
    )
    ids = [str(number) for number in range(case.n_images)]
    stored = locate_pixels(Run(Path(case.root)), ids, ImageSize.square(case.size_px))
    pixels = stored[np.arange(case.n_images)] if way == "memory" else stored
    labels = np.arange(case.n_images) % 2
    rows = np.arange(_VALIDATION)
    validation = ImageSet(select_images(pixels, rows), labels[rows])
    ends: list[float] = []

    class Watch(TrainingListener):
        def epoch_ended(self, epoch: Epoch) -> None:
            ends.append(time.perf_counter())

    with ExitStack() as stack:
        feed: Feed | None = None
        if way == "Ray Data" and isinstance(pixels, StoredImages):
            stack.enter_context(connect(cpus=2))
            steps = plan_steps(case.n_images, settings)
            stream = stream_pixels(PixelReading(pixels, steps, 0, range(settings.epochs), 0))
            feed = stack.enter_context(closing(StreamedFeed(stream.iterator(), device)))
        train_classifier(
            classifier,
            TrainingData(ImageSet(pixels, labels), validation, feed),
            Recipe(settings, seed=0),
            Worker(device),
            listener=Watch(),
        )
    return ends[1] - ends[0]


def relate(found: Sequence[Trained]) -> dict[str, float]:
    """Return the speed of each way as a share of that from memory, among those of one size.

    Nothing if that from memory is not among them.
    """
    memory = [one.images_per_s for one in found if one.way == "memory"]
    return {one.way: one.images_per_s / memory[0] for one in found if memory}
