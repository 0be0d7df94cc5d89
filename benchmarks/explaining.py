"""Benchmarks of explanations, as `python -m benchmarks` runs them."""

from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.devices import Device, check_device
from osteo_ray.base.errors import InputError
from osteo_ray.base.noise import capture_noise
from osteo_ray.base.paths import locate_data
from osteo_ray.config.build import build
from osteo_ray.data.image_size import ImageSize
from osteo_ray.explain.settings import LimeSettings

_LIME = LimeSettings()


def run_lime(
    data: Annotated[str, tyro.conf.Positional],
    checkpoint: str,
    images: int = 8,
    samples: int = 1000,
    device: Device = "cpu",
) -> None:
    """Explain images with the `lime` package and with osteo_ray: time, overlap, memory.

    Then a single explaining actor does all that `osteo-ray explain` does, and its CPU seconds per
    image are listed by step.

    Args:
        data: Path or URI of the images.
        checkpoint: The classifier: a file model.safetensors that a training wrote.
        images: Number of images to explain.
        samples: Perturbed images per explanation; in adaptive mode, the maximum.
        device: Where to compute.
    """
    from benchmarks.lime import bench_lime
    from benchmarks.steps import bench_steps
    from benchmarks.tables import show_masks, show_steps
    from osteo_ray.cluster.connection import connect

    with capture_noise() as captured, connect():
        check_device(device)
        file = Path(checkpoint).expanduser().resolve()
        settings = build(LimeSettings, {"samples": samples})
        found = locate_data(data)
        timings = bench_lime(found, file, n_images=images, settings=settings, device=device)
        show_masks(captured.out, timings)
        steps = bench_steps(found, file, n_images=images, settings=settings, device=device)
        show_steps(captured.out, steps)


def run_exactness(
    data: Annotated[str, tyro.conf.Positional],
    checkpoint: str,
    images: int = 50,
    samples: int = 200,
    device: Device = "cpu",
) -> None:
    """Explain images with the `lime` package, and again with osteo_ray from the same samples.

    Args:
        data: Path or URI of the images.
        checkpoint: The classifier: a file model.safetensors that a training wrote.
        images: Number of images to explain.
        samples: Perturbed images per explanation.
        device: Where to compute.
    """
    from benchmarks.exactness import compare_with_package
    from benchmarks.tables import show_exactness
    from osteo_ray.cluster.connection import connect

    with capture_noise() as captured, connect():
        check_device(device)
        file = Path(checkpoint).expanduser().resolve()
        found = compare_with_package(
            locate_data(data), file, n_images=images, n_samples=samples, device=device
        )
        show_exactness(captured.out, found)


def run_fidelity(
    data: Annotated[str, tyro.conf.Positional],
    checkpoint: str,
    images: int = 100,
    samples: int = 1000,
    stabilities: tuple[float, ...] = (0.88, 0.9, 0.92, 0.94, 0.96, 1.0),
    device: Device = "cpu",
) -> None:
    """Explain images exactly, twice, and adaptively, to see what the adaptive mode loses.

    Args:
        data: Path or URI of the images.
        checkpoint: The classifier: a file model.safetensors that a training wrote.
        images: Number of images to explain.
        samples: Perturbed images per explanation; in adaptive mode, the maximum.
        stabilities: Values of --lime.stability at which the adaptive mode stops.
        device: Where to compute.
    """
    from benchmarks.fidelity import bench_fidelity
    from benchmarks.tables import show_fidelity
    from osteo_ray.cluster.connection import connect

    if images < 2:
        raise InputError(f"Expected at least 2 --images, but got {images}.")
    settings = build(LimeSettings, {"samples": samples})
    for stability in stabilities:
        build(LimeSettings, {"stability": stability})
    with capture_noise() as captured, connect():
        check_device(device)
        file = Path(checkpoint).expanduser().resolve()
        found = bench_fidelity(
            locate_data(data), file, stabilities, n_images=images, settings=settings, device=device
        )
        show_fidelity(captured.out, found, stabilities, images)


def run_stability(
    data: Annotated[str, tyro.conf.Positional],
    checkpoint: str,
    images: int = 100,
    image_size: str | None = None,
    sharpness: float = 1.0,
    lime: LimeSettings = _LIME,
) -> None:
    """Explain images twice more, and compare the overlaps of their masks with their stability.

    Args:
        data: Path or URI of the images.
        checkpoint: The classifier: a file model.safetensors that a training wrote.
        images: Number of images to explain.
        image_size: Their size, as `osteo-ray compare` takes it; by default that of the classifier.
        sharpness: What the logits are multiplied by: 20 makes most classifiers all too certain.
        lime: How LIME explains.
    """
    from benchmarks.stability import bench_stability
    from benchmarks.tables import show_calibration
    from osteo_ray.cluster.connection import connect

    if images < 2:
        raise InputError(f"Expected at least 2 --images, but got {images}.")
    if not sharpness > 0:
        raise InputError(f"Expected a --sharpness above 0, but got {sharpness}.")
    try:
        size = None if image_size is None else ImageSize.read(image_size)
    except ValueError as error:
        raise InputError(f"--image-size: {error}") from None
    with capture_noise() as captured, connect():
        found = bench_stability(
            locate_data(data),
            Path(checkpoint).expanduser().resolve(),
            n_images=images,
            image_size=size,
            sharpness=sharpness,
            settings=lime,
        )
        show_calibration(captured.out, found)
