"""Measure how fast a worker of this cluster runs the networks of a comparison."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import ray
from ray.exceptions import RayError

from osteo_ray.base.errors import InputError
from osteo_ray.base.networks import is_timm_name
from osteo_ray.base.startup import importing
from osteo_ray.cluster.placement import Layout, Slot
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.image_size import ImageSize
from osteo_ray.experiment.costs import TRAINING_COST, Speed
from osteo_ray.pipeline.compare.network_code import read_networks

if TYPE_CHECKING:
    import torch

    from osteo_ray.models.classifier import Classifier

MOST_S = 12.0
"""Seconds of measuring, all models together, not counting the start of the worker."""


def calibrate(config: CompareConfig, layout: Layout) -> Speed:
    """Measure how fast a cluster is that is connected.

    Raises:
        InputError: A model cannot be built.
    """
    rates = measure_rates(
        config.models,
        layout.slot,
        codes=read_networks(config),
        image_size=config.image_size,
        batch_size=config.training.per_worker_batch_size,
    )
    return Speed(
        rates,
        trainings_at_once=layout.concurrent_trials,
        workers=layout.workers,
        explainers=layout.explaining_speed,
        layout=layout.describe(),
    )


def measure_rates(
    models: Sequence[str],
    slot: Slot,
    *,
    codes: Mapping[str, str],
    image_size: ImageSize,
    batch_size: int,
    seconds: float | None = None,
) -> dict[str, float]:
    """Measure how many images per second one worker passes through each model.

    PyTorch runs the models, as in training. Explaining runs larger networks in a form that is two
    to three times as fast on a CPU (docs/performance.md).

    Args:
        models: Names of networks.
        slot: What the worker gets.
        codes: The text of the Python file of each network that has one.
        image_size: Height and width of the images.
        batch_size: Images per forward pass.
        seconds: How long to measure, all models together; by default `MOST_S`.

    Raises:
        InputError: A model cannot be built.
    """
    task = _measure.options(num_cpus=slot.cpus, num_gpus=slot.gpus)
    each_s = (MOST_S if seconds is None else seconds) / len(models)
    rates, problems = ray.get(task.remote(models, slot, codes, image_size, batch_size, each_s))
    if problems:
        raise InputError("\n".join(problems))
    return dict(rates)


@ray.remote
def _measure(
    models: Sequence[str],
    slot: Slot,
    codes: Mapping[str, str],
    image_size: ImageSize,
    batch_size: int,
    seconds: float,
) -> tuple[dict[str, float], list[str]]:
    # Imported here: PyTorch takes seconds to import, and the driver does not need it.
    with importing("timm"):
        import numpy as np
        import torch

        from osteo_ray.models.batches import ImageSet
        from osteo_ray.models.classifier import build_classifier
        from osteo_ray.models.prediction import predict_probabilities
        from osteo_ray.models.timm_networks import check_network_size

    torch.set_num_threads(slot.cpus)
    device = torch.device(slot.device)
    shape = (batch_size, *image_size.shape)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    images = ImageSet(pixels, np.zeros(batch_size, np.int64))
    rates, problems = {}, []
    for name in models:
        try:
            if is_timm_name(name):
                check_network_size(name, image_size)
            classifier = build_classifier(
                name,
                n_classes=2,
                image_size=image_size,
                weights="none",
                seed=0,
                code=codes.get(name),
            ).to(device)
        except InputError as error:
            problems.append(str(error))
            continue
        n_batches, started = -1, time.perf_counter()
        while n_batches < 1 or time.perf_counter() - started < seconds:
            predict_probabilities(classifier, images, batch_size=batch_size, device=device)
            n_batches += 1
            if n_batches == 0:  # the first one warmed up
                started = time.perf_counter()
        rates[name] = n_batches * batch_size / (time.perf_counter() - started)
    return rates, problems


_FEW = 4
"""Images of a step that is timed first, as one of a whole batch may take long."""
_SHORT_S = 0.3
"""A step of a whole batch is timed if it should take no longer, in seconds."""


def begin_measuring(
    check: "ray.ObjectRef[list[str]]", config: CompareConfig, codes: Mapping[str, str], slot: Slot
) -> Callable[[], float | None]:
    """Have a worker time one training step of each model, beside whatever else is done.

    Args:
        check: What is wrong with the models; nothing is measured before that is known, so that the
            same worker serves, which has loaded PyTorch.
        config: The configuration of the comparison.
        codes: The text of the Python file of each network that has one.
        slot: What the worker gets.

    Returns:
        A function that returns the seconds per forward pass of an image, on average over the
        models; None as long as they are unknown.
    """
    task = _time_steps.options(num_cpus=slot.cpus, num_gpus=slot.gpus).remote(
        check, config.models, slot, codes, config.image_size, config.training.per_worker_batch_size
    )

    found: list[float | None] = []

    def find() -> float | None:
        if not found and ray.wait([task], timeout=0)[0]:
            try:
                found.append(ray.get(task))
            except RayError:  # then it stays unknown; what is wrong shows where it matters
                found.append(None)
        return found[0] if found else None

    return find


@ray.remote(max_retries=0)
def _time_steps(
    problems: list[str],
    models: Sequence[str],
    slot: Slot,
    codes: Mapping[str, str],
    image_size: ImageSize,
    batch_size: int,
) -> float | None:
    # Imported here, as above.
    with importing("timm"):
        import torch

        from osteo_ray.models.classifier import build_classifier

    if problems:
        return None
    torch.set_num_threads(slot.cpus)
    device = torch.device(slot.device)
    per_pass_s = []
    for name in models:
        classifier = build_classifier(
            name, n_classes=2, image_size=image_size, weights="none", seed=0, code=codes.get(name)
        )
        classifier.to(device).train()
        step = partial(_time_step, classifier, device=device, image_size=image_size)
        step(_FEW)  # warms up
        took_s, n_images = step(_FEW), _FEW
        if batch_size > _FEW and took_s * batch_size / _FEW < _SHORT_S:
            took_s, n_images = min(step(batch_size) for _ in range(3)), batch_size
        per_pass_s.append(took_s / n_images / TRAINING_COST)
    return sum(per_pass_s) / len(per_pass_s)


def _time_step(
    classifier: "Classifier", n_images: int, *, device: "torch.device", image_size: ImageSize
) -> float:
    """Return the seconds of a forward and a backward pass of a batch."""
    import torch

    images = torch.rand((n_images, 1, *image_size.shape)).to(device)
    started = time.perf_counter()
    classifier(images).square().sum().backward()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
