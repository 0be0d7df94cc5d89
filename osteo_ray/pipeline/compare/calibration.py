"""Measure how fast a worker of this cluster passes images through the networks of a comparison."""

import time

import ray

from osteo_ray.base.errors import InputError
from osteo_ray.cluster.placement import Slot
from osteo_ray.config.setup import SetupConfig

MOST_S = 12.0
"""Seconds of measuring, models together; starting the worker comes on top."""


def measure_rates(
    config: SetupConfig, slot: Slot, *, seconds: float | None = None
) -> dict[str, float]:
    """Return forward passes per second of one worker, for each model, images of the size planned.

    PyTorch runs them, as in training; explaining runs larger networks in a form that is two to
    three times as fast on a CPU (docs/performance.md).

    Args:
        config: Names models, image size and batch size; weights play no role.
        slot: What the worker gets.
        seconds: Of measuring, models together; by default `MOST_S`.

    Raises:
        InputError: A model cannot be built.
    """
    task = _measure.options(num_cpus=slot.cpus, num_gpus=slot.gpus)
    each_s = (MOST_S if seconds is None else seconds) / len(config.models)
    rates, problems = ray.get(task.remote(config, slot, each_s))
    if problems:
        raise InputError("\n".join(problems))
    return dict(rates)


@ray.remote
def _measure(config: SetupConfig, slot: Slot, seconds: float) -> tuple[dict[str, float], list[str]]:
    # Imported here: PyTorch takes seconds to import, and the driver does without it.
    import numpy as np
    import torch

    from osteo_ray.models.batches import ImageSet
    from osteo_ray.models.classifier import build_classifier
    from osteo_ray.models.prediction import predict_probabilities

    torch.set_num_threads(slot.cpus)
    device = torch.device(slot.device)
    size_px, batch_size = config.image_size, config.training.per_worker_batch_size
    pixels = np.random.default_rng(0).integers(0, 256, (batch_size, size_px, size_px), np.uint8)
    images = ImageSet(pixels, np.zeros(batch_size, np.int64))
    rates, problems = {}, []
    for name in config.models:
        try:
            classifier = build_classifier(
                name, n_classes=2, image_size=size_px, weights="none", seed=0
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
