"""Time and memory from files to masks, for sets of any size."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.copies import draw_files
from benchmarks.devices import Device, check_device, share_gpus
from benchmarks.memory import PeakMemory
from benchmarks.overhead import quiet
from benchmarks.sweep import TINY
from osteo_ray.base.tables import read_json
from osteo_ray.cluster.connection import connect
from osteo_ray.cluster.settings import SlotSettings
from osteo_ray.config.explain import ExplainConfig
from osteo_ray.data.image_size import ImageSize
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.pipeline.explain.explain_set import explain_set

_SIZE = ImageSize.square(32)
_SAMPLES, _SUPERPIXELS = 16, 16
_CLASSES = ("normal", "osteoporosis")


@dataclass(frozen=True)
class Streamed:
    """Time and memory of one set of images.

    Attributes:
        n_images: Its size.
        read_s: Time to read the files, in seconds.
        explain_s: Time to explain the images, including the start of the actors, in seconds.
        driver_gib: Peak memory of the driver.
        memory_gib: Peak memory of all processes, including those of Ray without its object store.
        store_gib: Peak memory of the object store.
    """

    n_images: int
    read_s: float
    explain_s: float
    driver_gib: float
    memory_gib: float
    store_gib: float


def bench_stream(
    sizes: Sequence[int], *, method: str, workers: int, device: Device = "cpu"
) -> Iterator[Streamed]:
    """Explain sets of phantoms with a tiny network, so that everything but the network counts.

    Args:
        sizes: Number of images of each set.
        method: The method of explanation.
        workers: Number of CPUs of the cluster, with one actor each.
        device: Where actors compute; they share a GPU.
    """
    for n_images in sizes:
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            _write_stub(root / "model.safetensors")
            with connect(cpus=workers):
                check_device(device)
                draw_files(root / "images", n_images, _SIZE.height)
            config = ExplainConfig(
                data=str(root / "images"),
                checkpoint=str(root / "model.safetensors"),
                method=method,
                lime=LimeSettings(samples=_SAMPLES, superpixels="grid", n_superpixels=_SUPERPIXELS),
                out=str(root / "explanations"),
                resources=SlotSettings(gpus_per_worker=share_gpus(device, workers)),
            )
            with PeakMemory() as memory, connect(cpus=workers):
                run, summary = explain_set(config, quiet())
            if (summary.n_images, summary.n_failed) != (n_images, 0):
                raise RuntimeError(f"Expected {n_images} masks, but got {summary}.")
            durations = read_json(run.environment)["durations_s"]
            yield Streamed(
                n_images,
                durations["read images"],
                durations["explain"],
                memory.driver_gib,
                memory.total_gib,
                memory.store_gib,
            )


def _write_stub(path: Path) -> None:
    """Write an untrained classifier."""
    # PyTorch comes with it, which a driver does without.
    from osteo_ray.models.checkpoint import Checkpoint
    from osteo_ray.models.classifier import build_classifier, save_classifier

    classifier = build_classifier(
        TINY, n_classes=len(_CLASSES), image_size=_SIZE, weights="none", seed=0
    )
    save_classifier(classifier, path, Checkpoint(TINY, _CLASSES, _SIZE))
