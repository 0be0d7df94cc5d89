"""Benchmarks of speed and quality: `python -m benchmarks NAME`, from a clone of the repository."""

import tempfile
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from benchmarks.checks import expect_positive
from benchmarks.devices import Device
from benchmarks.explaining import run_exactness, run_fidelity, run_lime, run_stability
from benchmarks.large_sets import run_drivers, run_masks, run_stream, run_whole
from benchmarks.train import WAYS, Way
from osteo_ray.base.errors import InputError
from osteo_ray.base.noise import capture_noise
from osteo_ray.commands.parsing import DONE
from osteo_ray.config.build import build, read_yaml
from osteo_ray.config.compare import CompareConfig
from osteo_ray.explain.settings import LimeSettings
from osteo_ray.statistics.metrics.registry import check_endpoint

_LIME = LimeSettings()


def run_benchmark(arguments: list[str]) -> int:
    """Run `python -m benchmarks` with these words; return the exit code."""
    tyro.extras.subcommand_cli_from_dict(
        {
            "ingest": _ingest,
            "copies": _copies,
            "lime": run_lime,
            "exactness": run_exactness,
            "fidelity": run_fidelity,
            "stability": run_stability,
            "statistics": _statistics,
            "actors": _actors,
            "sweep": _sweep,
            "stream": run_stream,
            "train": _train,
            "masks": run_masks,
            "drivers": run_drivers,
            "whole": run_whole,
            "overhead": _overhead,
            "arms": _arms,
            "keep": _keep,
            "study": _study,
        },
        prog="python -m benchmarks",
        description="Measure osteo_ray, and compare it with other ways to do the same.",
        args=arguments,
    )
    return DONE


def _ingest(
    data: Annotated[str, tyro.conf.Positional], images: int = 20_000, image_size: int = 224
) -> None:
    """Read class folders with osteo_ray, torchvision and Ray Data, each as fast as it can.

    Args:
        data: A folder with a subfolder per class.
        images: Number of images to read; files are read repeatedly to reach it.
        image_size: Side of the images that are delivered, in pixels.
    """
    from benchmarks.ingest import bench_ingest
    from benchmarks.tables import show_reading
    from osteo_ray.cluster.connection import connect

    with capture_noise() as captured, connect():
        folder = Path(data).expanduser().resolve()
        show_reading(captured.out, bench_ingest(folder, n_images=images, image_size=image_size))


def _keep(run: Annotated[str, tyro.conf.Positional], out: Path) -> None:
    """Keep the tables of a finished run for docs/study, without pixels and names of files.

    Args:
        run: The run directory.
        out: The folder to write, such as docs/study/clean-0.
    """
    from benchmarks.study import keep_run

    keep_run(run, out)


def _study(
    root: Annotated[Path, tyro.conf.Positional] = Path("docs/study"),
) -> None:
    """Say in Markdown what all kept runs show: the results of docs/study.md.

    Args:
        root: The folder of the kept runs.
    """
    from benchmarks.study import tell_study

    print(tell_study(root), end="")


def _arms(run: Annotated[str, tyro.conf.Positional], out: Path = Path("docs/arms.png")) -> None:
    """Draw what each arm of a finished run shows of two images: the picture of docs/arms.md.

    Args:
        run: The run directory.
        out: The file to write.
    """
    from benchmarks.arm_pictures import draw_arms
    from osteo_ray.base.runs import open_run

    draw_arms(open_run(run), out)


def _copies(
    data: str | None = None,
    copies: int = 100,
    rival: tuple[str, str] | None = None,
    sizes: tuple[int, ...] = (1000, 10_000),
    size_px: int = 96,
) -> None:
    """Search phantoms, or with --data real radiographs, for planted copies.

    Args:
        data: Radiographs, among which copies of every kind are planted, one kind at a time.
        copies: Most radiographs that are copied, with --data.
        rival: A timm name and a file of its ImageNet weights, by which imagededup searches the
            same files, with --data.
        sizes: Number of images of each set of phantoms, without --data.
        size_px: Side of the phantoms, in pixels.
    """
    from benchmarks.copies import bench_copies
    from benchmarks.copy_kinds import bench_kinds
    from benchmarks.rival_copies import Rival
    from benchmarks.tables import show_copies, show_kinds
    from osteo_ray.cluster.connection import connect

    with capture_noise() as captured, connect():
        if data is not None:
            with tempfile.TemporaryDirectory() as scratch:
                other = Rival(*rival) if rival else None
                found = bench_kinds(data, Path(scratch), copies=copies, rival=other)
                show_kinds(captured.out, found)
            return
        for of_size in bench_copies(list(sizes), size_px=size_px):
            show_copies(captured.out, of_size)


def _statistics(
    seeds: int = 50,
    models: int = 2,
    arms: int = 12,
    test: int = 10_000,
    metric: str = "accuracy",
) -> None:
    """Time the statistics of a large comparison, part by part, on a synthetic table.

    Args:
        seeds: Number of trainings per model and arm.
        models: Number of networks.
        arms: Number of arms, at least three.
        test: Number of test images per seed; the set has ten times as many images.
        metric: The primary endpoint.
    """
    from benchmarks.statistics import bench_statistics
    from benchmarks.tables import show_parts

    if seeds < 2 or models < 1 or arms < 3 or test < 10:
        raise InputError(
            "Expected at least 2 seeds, 1 model, 3 arms and 10 test images, but got "
            f"{seeds}, {models}, {arms} and {test}."
        )
    try:
        check_endpoint(metric)
    except ValueError as error:
        raise InputError(str(error)) from None
    parts = bench_statistics(
        n_seeds=seeds, n_models=models, n_arms=arms, n_test=test, metric=metric
    )
    show_parts(Console(), parts)


def _actors(
    data: Annotated[str, tyro.conf.Positional],
    checkpoint: str,
    actors: tuple[int, ...] = (1, 2, 4),
    images: int = 32,
    samples: int = 200,
    device: Device = "cpu",
) -> None:
    """Explain the same images with one, two, four … actors of one thread each.

    Args:
        data: A folder with a subfolder per class.
        checkpoint: The classifier: a file model.safetensors that a training wrote.
        actors: Numbers of actors, measured one after the other.
        images: Number of images to explain; files are read repeatedly to reach it.
        samples: Perturbed images per explanation; the exact mode draws all of them.
        device: Where to compute.
    """
    from benchmarks.actors import bench_actors
    from benchmarks.tables import show_speeds

    expect_positive(actors=actors, images=[images])
    folder, file = (Path(path).expanduser().resolve() for path in (data, checkpoint))
    settings = build(LimeSettings, {"samples": samples, "mode": "exact"})
    with capture_noise() as captured:
        speeds = bench_actors(
            folder, file, actors, n_images=images, settings=settings, device=device
        )
        show_speeds(captured.out, speeds)


def _sweep(trainings: int = 200, device: Device = "cpu") -> None:
    """Train many tiny networks, delete one training, and measure how soon it is there again.

    Args:
        trainings: Number of trainings, even.
        device: Where to compute.
    """
    from benchmarks.sweep import bench_sweep
    from benchmarks.tables import show_sweep

    if trainings < 4 or trainings % 2:
        raise InputError(f"Expected --trainings to be even and at least 4, but got {trainings}.")
    with capture_noise() as captured:
        show_sweep(captured.out, bench_sweep(trainings, device))


def _train(
    sizes: tuple[int, ...] = (1000, 10_000),
    model: str = "mobilenetv3_large_100",
    image_size: int = 224,
    batch_size: int = 32,
    device: Device = "cpu",
    ways: tuple[Way, ...] = WAYS,
) -> None:
    """Train for an epoch from memory, from disk and from Ray Data, beside a loop by hand.

    Args:
        sizes: Numbers of training images; their pixels are noise.
        model: A timm name; its weights are random.
        image_size: Side of the images, in pixels.
        batch_size: Images per step.
        device: Where to compute, on one thread if on a CPU.
        ways: Where the pixels come from.
    """
    from benchmarks.tables import show_trained
    from benchmarks.train import bench_train

    expect_positive(sizes=sizes, image_size=[image_size], batch_size=[batch_size - 1])
    with capture_noise() as captured:
        found = bench_train(
            sizes,
            model=model,
            size_px=image_size,
            batch_size=batch_size,
            device=device,
            ways=ways,
        )
        show_trained(captured.out, found)


def _overhead(
    config: Annotated[str, tyro.conf.Positional],
    seeds: tuple[int, ...] = (1, 2, 4),
    workers: int = 2,
) -> None:
    """Run a comparison on a cluster, from the start, and again in plain loops in one process.

    Args:
        config: YAML file of the comparison, as for `osteo-ray compare --config`.
        seeds: Numbers of seeds, measured one after the other.
        workers: Number of CPUs of the cluster, with one worker each.
    """
    from benchmarks.overhead import bench_overhead
    from benchmarks.tables import show_overheads

    expect_positive(seeds=seeds, workers=[workers])
    comparison = build(CompareConfig, read_yaml(Path(config)))
    with capture_noise() as captured:
        show_overheads(captured.out, bench_overhead(comparison, seeds, workers=workers))
