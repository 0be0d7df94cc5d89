"""Benchmarks of sets of any size, as commands: their words, and what they show."""

import signal
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from benchmarks.checks import expect_positive
from benchmarks.devices import Device
from osteo_ray.base.noise import capture_noise


def run_masks(sizes: tuple[int, ...] = (1_000, 10_000), image_size: int = 224) -> None:
    """Join the files of masks of large sets, and read them as a training does.

    Args:
        sizes: Numbers of images.
        image_size: Side of the images, in pixels.
    """
    from benchmarks.masks import bench_masks
    from benchmarks.tables import show_mask_readings

    show_mask_readings(Console(), bench_masks(sizes, size_px=image_size))


def run_stream(
    sizes: tuple[int, ...] = (1000, 10_000),
    method: str = "lime",
    workers: int = 2,
    device: Device = "cpu",
) -> None:
    """Explain sets of phantoms with a tiny network, from files to masks: time and memory.

    Args:
        sizes: Number of images of each set.
        method: The method of explanation.
        workers: Number of CPUs of the cluster, with one actor each.
        device: Where to compute.
    """
    from benchmarks.stream import bench_stream
    from benchmarks.tables import show_streams

    expect_positive(sizes=sizes, workers=[workers])
    with capture_noise() as captured:
        show_streams(
            captured.out, bench_stream(sizes, method=method, workers=workers, device=device)
        )


def run_drivers(images: int = 20_000, image_size: int = 224, only: tuple[str, ...] = ()) -> None:
    """Run commands on a finished comparison of many images, whose tables are drawn: memory.

    Args:
        images: Images of the comparison.
        image_size: Side of the images, in pixels.
        only: Words of the commands to run; all by default.
    """
    from benchmarks.drivers import bench_drivers
    from benchmarks.tables import show_drivers

    expect_positive(images=[images], image_size=[image_size])
    show_drivers(Console(), bench_drivers(images, size_px=image_size, words=only))


def run_whole(
    root: Annotated[Path, tyro.conf.Positional],
    images: int = 1000,
    image_size: int = 224,
    model: str = "benchmarks/patches.py:make",
) -> None:
    """Compare, explain, audit, export and reproduce many phantoms by whole commands.

    Args:
        root: A folder for images and results. If it is there, what is missing is done.
        images: Images of the set, copies included.
        image_size: Side of the images, in pixels.
        model: As `compare --models` takes it; the network begins untrained. By default one so small
            that what surrounds it is measured.
    """
    from benchmarks.tables import show_whole
    from benchmarks.whole import bench_whole

    expect_positive(images=[images], image_size=[image_size])
    place = root.expanduser().resolve()
    # Whatever stops the benchmark has to stop the command that it runs, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with capture_noise() as captured:
        found = bench_whole(place, images, size_px=image_size, model=model)
        show_whole(captured.out, found)
