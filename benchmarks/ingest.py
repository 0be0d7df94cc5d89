"""How fast osteo_ray reads images, compared with the usual ways to read them."""

import os
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import ray
import ray.data

from benchmarks.memory import PeakMemory
from osteo_ray.base.tables import list_parts
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.pipeline.ingest.reading import ingest_images

_BATCH = 64
_SAMPLED = 50  # one image in so many is kept, to compare

Images = Iterator[tuple[str, np.ndarray]]


@dataclass(frozen=True)
class ReadTiming:
    """One way of reading.

    Attributes:
        name: Its name.
        seconds: Time from the call to the last image, including the start of its workers.
        images_per_s: Mean rate over all images.
        cpu_ms: Time of a core that an image took in all processes, Ray's own included. It tells
            more than the rate where a machine also does other work.
        memory_gib: Peak memory, including the processes of Ray.
        difference: Mean difference of gray levels, in 0..255, from the images of the first way;
            the largest over a few images.
    """

    name: str
    seconds: float
    images_per_s: float
    cpu_ms: float
    memory_gib: float
    difference: float


def bench_ingest(data: Path, *, n_images: int, image_size: int) -> list[ReadTiming]:
    """Time ways to read class folders into gray squares: ours, torchvision's, Ray Data's.

    All decode with Pillow, in a process per CPU of the cluster, and deliver uint8 (n, size, size).
    Ours also checks, digests, describes and stores every image. Ray runs already, as when a job
    begins.

    Args:
        data: Class folders; files are linked to again until there are `n_images`.
        n_images: How many to read.
        image_size: Side, in pixels.
    """
    workers = int(ray.cluster_resources()["CPU"])
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        repeat_files(data, root / "images", n_images)
        ways: dict[str, Callable[[], Images]] = {
            "osteo_ray": lambda: _read_ours(root, image_size),
            "torchvision, DataLoader": lambda: _read_torchvision(
                root / "images", image_size, workers
            ),
            "ray.data.read_images": lambda: _read_ray(root / "images", image_size),
        }
        return list(_time(ways, n_images))


def _time(ways: dict[str, Callable[[], Images]], n_images: int) -> Iterator[ReadTiming]:
    reference: dict[str, np.ndarray] = {}
    for name, read in ways.items():
        sample, count = {}, 0
        with PeakMemory() as memory:
            started, before = time.perf_counter(), _count_cpu_s()
            for path, pixels in read():
                count += 1
                if zlib.crc32(path.encode()) % _SAMPLED == 0:
                    sample[path] = pixels.astype(np.int16)
            seconds, cpu_s = time.perf_counter() - started, _count_cpu_s() - before
        if count != n_images:
            raise RuntimeError(f"Expected {n_images} images from {name}, but got {count}.")
        reference = reference or sample
        differences = [np.abs(pixels - reference[path]).mean() for path, pixels in sample.items()]
        rates = (n_images / seconds, 1000 * cpu_s / n_images)
        difference = float(max(differences, default=0))
        yield ReadTiming(name, seconds, *rates, memory.total_gib, difference)


def _count_cpu_s() -> float:
    """Sum the time of cores that this process and all below it have taken, ended ones included."""
    own = psutil.Process()
    total = 0.0
    for process in (own, *own.children(recursive=True)):
        with suppress(psutil.Error):  # it has gone, and its parent has counted it
            total += sum(process.cpu_times()[:4])
    return total


def repeat_files(data: Path, target: Path, n_images: int) -> None:
    """Link the files of class folders under new names until there are `n_images`."""
    paths = open_source(str(data)).items["path"].tolist()
    for number in range(n_images):
        source = data / paths[number % len(paths)]
        link = target / source.parent.name / f"{number:07d}{source.suffix.lower()}"
        link.parent.mkdir(parents=True, exist_ok=True)
        _link(source, link)


def _link(source: Path, link: Path) -> None:
    try:
        os.link(source, link)
    except OSError:  # another file system
        link.write_bytes(source.read_bytes())


def _read_ours(root: Path, image_size: int) -> Images:
    ingest = ingest_images(
        open_source(str(root / "images")),
        root / "scratch",
        pixels=root / "pixels",
        image_size=ImageSize.square(image_size),
    )
    paths = dict(zip(ingest.images["image_id"], ingest.images["path"], strict=True))
    for part in list_parts(root / "pixels"):
        table = pq.read_table(part, columns=["image_id", "pixels"])
        for image_id, cell in zip(table["image_id"], table["pixels"], strict=True):
            pixels = np.frombuffer(cell.as_buffer(), np.uint8)
            yield paths[image_id.as_py()], pixels.reshape(image_size, image_size)


def _read_torchvision(folder: Path, image_size: int, workers: int) -> Images:
    import torch
    from PIL import Image
    from torchvision import datasets, transforms

    def load(path: str) -> Image.Image:  # gray at once: the default goes through colours
        with Image.open(path) as image:
            return image.convert("L")

    resize = transforms.Compose(
        [transforms.Resize((image_size, image_size)), transforms.PILToTensor()]
    )
    images = datasets.ImageFolder(str(folder), transform=resize, loader=load)
    loader = torch.utils.data.DataLoader(images, batch_size=_BATCH, num_workers=workers)
    paths = [Path(path).relative_to(folder).as_posix() for path, _ in images.samples]
    at = 0
    for batch, _ in loader:
        for pixels in batch[:, 0].numpy():
            yield paths[at], pixels
            at += 1


def _read_ray(folder: Path, image_size: int) -> Images:
    dataset = ray.data.read_images(
        str(folder), size=(image_size, image_size), mode="L", include_paths=True
    )
    for batch in dataset.iter_batches(batch_size=_BATCH, batch_format="numpy"):
        for path, pixels in zip(batch["path"], batch["image"], strict=True):
            yield Path(path).relative_to(folder).as_posix(), pixels.reshape(image_size, image_size)
