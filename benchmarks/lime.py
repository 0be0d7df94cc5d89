"""How fast osteo_ray makes LIME masks, compared with the `lime` package."""

import cProfile
import pstats
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import isfunction
from pathlib import Path
from typing import Any

import numpy as np
import ray

from benchmarks.devices import Device, share_gpus
from benchmarks.memory import PeakMemory
from osteo_ray.base.tables import PIXELS, read_parts
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.masks import measure_overlap, pack_mask
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.explain.settings import PACKAGE_SIZE_PX, LimeSettings
from osteo_ray.models.checkpoint import describe_checkpoint
from osteo_ray.pipeline.ingest.reading import ingest_images

_BATCH_SIZES = (4, 10, 25, 50, 100)  # of the package; its own default is 10
_TRIED_SAMPLES = 100  # to find the best of them


@dataclass(frozen=True)
class LimeTiming:
    """One way of making masks.

    Attributes:
        name: Its name.
        seconds: Time per image.
        samples: Mean number of perturbed images per image.
        samples_per_s: Rate over all images.
        shares: Shares of the time for one image, by step: superpixels, forward, fit, assembly and
            rest.
        overlap: Mean intersection over union with the masks of the first way.
        memory_gib: Peak memory of all processes, in GiB.
    """

    name: str
    seconds: float
    samples: float
    samples_per_s: float
    shares: dict[str, float]
    overlap: float
    memory_gib: float


def bench_lime(
    data: str, checkpoint: Path, *, n_images: int, settings: LimeSettings, device: Device = "cpu"
) -> Iterator[LimeTiming]:
    """Time ways to explain images with one classifier: with the package and with osteo_ray.

    The package classifies with PyTorch, as its users do: first with its defaults on all CPUs, then
    with its best batch size, then in a process per CPU. osteo_ray runs in a process per CPU. All
    run in workers of Ray, which are warm before the measurement starts.

    Args:
        data: Where the images are.
        checkpoint: Of the classifier.
        n_images: How many to explain, taken evenly from the set.
        settings: Of LIME; `samples` are the package's, too.
        device: Where all of them compute; processes share a GPU.

    Yields:
        What each way took, in this order; overlap is with the masks of the first.
    """
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        size = describe_checkpoint(checkpoint).image_size
        images = read_images(data, scratch, size, n_images)
        settings = settings.scale_to(
            ImageSize.square(PACKAGE_SIZE_PX)
        )  # whatever the size, as the package does
        yield from _time_ways(checkpoint, images, scratch / "frozen", settings, device)


def read_images(data: str, scratch: Path, size: ImageSize, n_images: int) -> np.ndarray:
    """Read images, taken evenly from a set: uint8, (n, height, width)."""
    source = open_source(data, labels_needed=False)
    ingest_images(source, scratch, pixels=scratch / "pixels", image_size=size)
    table = read_parts(scratch / "pixels", PIXELS).sort_by("image_id")
    rows = np.linspace(0, len(table) - 1, min(n_images, len(table))).astype(int)
    chosen = table["pixels"].take(rows).to_pylist()
    return np.stack([np.frombuffer(cell, np.uint8).reshape(size.shape) for cell in chosen])


def _time_ways(
    checkpoint: Path, images: np.ndarray, frozen: Path, settings: LimeSettings, device: Device
) -> Iterator[LimeTiming]:
    cpus = int(ray.cluster_resources()["CPU"])
    batch_size = _find_batch_size(checkpoint, images[0], cpus, device)
    exact = settings.model_copy(update={"mode": "exact"})
    adaptive = settings.model_copy(update={"mode": "adaptive"})
    ways: list[tuple[str, type, int, tuple[Any, ...]]] = [
        ("lime, batches of 10", Package, 1, (10, settings.samples, device)),
        (f"lime, batches of {batch_size}", Package, 1, (batch_size, settings.samples, device)),
        (f"lime, {cpus} processes", Package, cpus, (batch_size, settings.samples, device)),
        ("osteo_ray, exact", _Ours, cpus, (exact, frozen, device)),
        ("osteo_ray, adaptive", _Ours, cpus, (adaptive, frozen, device)),
    ]
    reference: list[bytes] = []
    for seed, (name, kind, n_workers, options) in enumerate(ways):
        n_threads = cpus // n_workers
        workers = [
            start_worker(kind, n_threads, checkpoint, *options, gpus=share_gpus(device, n_workers))
            for _ in range(n_workers)
        ]
        ray.get([worker.warm_up.remote(images[0]) for worker in workers])
        with PeakMemory() as memory:
            started = time.perf_counter()
            parts = ray.get(
                [
                    worker.explain.remote(images[first::n_workers], seed)
                    for first, worker in enumerate(workers)
                ]
            )
            seconds = time.perf_counter() - started
        shares = ray.get(workers[0].profile.remote(images[0], seed))
        for worker in workers:
            ray.kill(worker)
        found = [parts[row % n_workers][row // n_workers] for row in range(len(images))]
        masks = [pack_mask(mask) for mask, _ in found]
        samples = float(np.mean([count for _, count in found]))
        reference = reference or masks
        yield LimeTiming(
            name,
            seconds / len(images),
            samples,
            samples * len(images) / seconds,
            shares,
            float(np.mean([measure_overlap(*pair) for pair in zip(masks, reference, strict=True)])),
            memory.total_gib,
        )


def start_worker(
    kind: type, n_threads: int, checkpoint: Path, *options: Any, gpus: float = 0.0
) -> Any:
    """Start a process for one way, with as many CPUs as threads."""
    environment = {"env_vars": {"OMP_NUM_THREADS": str(n_threads)}}
    worker: Any = ray.remote(kind).options(
        num_cpus=n_threads, num_gpus=gpus, runtime_env=environment
    )
    return worker.remote(checkpoint, n_threads, *options)


def _find_batch_size(checkpoint: Path, image: np.ndarray, cpus: int, device: Device) -> int:
    """Find the batch size at which the package is fastest on all CPUs."""
    seconds = {}
    for batch_size in _BATCH_SIZES:
        options = (batch_size, _TRIED_SAMPLES, device)
        gpus = share_gpus(device, 1)
        worker = start_worker(Package, cpus, checkpoint, *options, gpus=gpus)
        ray.get(worker.warm_up.remote(image))
        started = time.perf_counter()
        ray.get(worker.explain.remote(image[None], 0))
        seconds[batch_size] = time.perf_counter() - started
        ray.kill(worker)
    return min(seconds, key=lambda batch_size: seconds[batch_size])


class Package:
    """A process that explains with the `lime` package."""

    def __init__(
        self,
        checkpoint: Path,
        n_threads: int,
        batch_size: int,
        samples: int,
        device: Device = "cpu",
    ) -> None:
        import lime.lime_image
        import torch

        lime.lime_image.tqdm = lambda rows: rows  # its progress bars cannot be switched off
        torch.set_num_threads(n_threads)
        self._device = torch.device(device)
        self._classifier = _load(checkpoint).to(self._device, memory_format=torch.contiguous_format)
        self._options = {"batch_size": batch_size, "num_samples": samples}

    def warm_up(self, image: np.ndarray) -> None:
        self._classify([np.repeat(image[..., None], 3, axis=2)] * 2)

    def explain(self, images: np.ndarray, seed: int) -> list[tuple[np.ndarray, int]]:
        return [(self._explain(image, seed), self._options["num_samples"]) for image in images]

    def profile(self, image: np.ndarray, seed: int) -> dict[str, float]:
        from lime.lime_base import LimeBase
        from lime.wrappers.scikit_image import SegmentationAlgorithm

        steps = {
            "superpixels": SegmentationAlgorithm.__call__,
            "forward": self._classify,
            "fit": LimeBase.explain_instance_with_data,
        }
        return _measure_shares(lambda: self._explain(image, seed), steps)

    def _explain(self, image: np.ndarray, seed: int) -> np.ndarray:
        from lime.lime_image import LimeImageExplainer

        found = LimeImageExplainer(random_state=seed).explain_instance(
            image, self._classify, **self._options
        )
        label = found.top_labels[0]
        mask = found.get_image_and_mask(label, positive_only=True, num_features=5, hide_rest=True)
        return np.asarray(mask[1], bool)

    def _classify(self, images: Any) -> np.ndarray:
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(np.stack(images)[..., 0]).to(self._device)
            batch = batch[:, None].float() / 255
            return torch.softmax(self._classifier(batch).double(), 1).cpu().numpy()


class _Ours:
    """A process that explains with this package."""

    def __init__(
        self,
        checkpoint: Path,
        n_threads: int,
        settings: LimeSettings,
        frozen: Path,
        device: Device,
    ) -> None:
        import torch

        from osteo_ray.models.training import make_deterministic

        make_deterministic(n_threads)
        self._device = torch.device(device)
        self._predict = open_predict(checkpoint, n_threads, frozen, device)
        self._settings = settings

    def warm_up(self, image: np.ndarray) -> None:
        self._explain(image[None], 0, self._settings.model_copy(update={"samples": 10}))

    def explain(self, images: np.ndarray, seed: int) -> list[tuple[np.ndarray, int]]:
        return self._explain(images, seed, self._settings)

    def profile(self, image: np.ndarray, seed: int) -> dict[str, float]:
        from osteo_ray.explain.local_model import fit_local_model
        from osteo_ray.explain.superpixels import find_superpixels

        predict = self._predict
        steps = {
            "superpixels": find_superpixels,
            # PyTorch's predictor is a function, OpenVINO's an object.
            "forward": predict if isfunction(predict) else type(predict).__call__,
            "fit": fit_local_model,
        }
        return _measure_shares(lambda: self.explain(image[None], seed), steps)

    def _explain(
        self, images: np.ndarray, seed: int, settings: LimeSettings
    ) -> list[tuple[np.ndarray, int]]:
        from osteo_ray.explain.lime import LimeExplanation, explain_by_lime
        from osteo_ray.explain.superpixels import find_superpixels

        found = explain_by_lime(
            self._predict,
            list(images),
            [find_superpixels(image, settings) for image in images],
            settings,
            rngs=[np.random.default_rng((seed, number)) for number in range(len(images))],
            device=self._device,
        )
        results = []
        for one in found:
            if not isinstance(one, LimeExplanation):
                raise one
            results.append((one.keep_mask, one.n_samples))
        return results


def open_predict(
    checkpoint: Path,
    n_threads: int,
    frozen: Path,
    device: Device = "cpu",
    size: ImageSize | None = None,
) -> Any:
    """Open a checkpoint on a device, in the form that is fastest there, for images of its size."""
    import torch

    from osteo_ray.models.forward import open_classifier

    size = size or describe_checkpoint(checkpoint).image_size
    where = torch.device(device)
    return open_classifier(_load(checkpoint).to(where), size, frozen, where, n_threads)


def _load(checkpoint: Path) -> Any:
    from osteo_ray.models.classifier import load_classifier

    about = describe_checkpoint(checkpoint)
    return load_classifier(
        checkpoint, about.model, n_classes=len(about.classes), image_size=about.image_size
    )


def _measure_shares(
    work: Callable[[], Any], steps: dict[str, Any], timer: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Run some work under a profiler; return the share of its time that each step took."""
    profile = cProfile.Profile(timer)
    profile.runcall(work)
    stats: Any = pstats.Stats(profile)
    seconds = dict.fromkeys(steps, 0.0)
    for step, function in steps.items():
        code = getattr(function, "__func__", function).__code__
        key = (code.co_filename, code.co_firstlineno, code.co_name)
        if key in stats.stats:
            seconds[step] = stats.stats[key][3]
    shares = {step: taken / stats.total_tt for step, taken in seconds.items()}
    return {**shares, "assembly and rest": max(0.0, 1 - sum(shares.values()))}
