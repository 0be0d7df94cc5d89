"""Measure how fast a worker of this cluster runs the networks of a comparison."""

import time
from collections.abc import Mapping, Sequence

import ray

from osteo_ray.base.errors import InputError
from osteo_ray.cluster.placement import Layout, Slot
from osteo_ray.config.compare import CompareConfig
from osteo_ray.experiment.costs import Speed
from osteo_ray.pipeline.compare.network_code import read_networks

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
    image_size: int,
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
        image_size: Side of the images, in pixels.
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
    image_size: int,
    batch_size: int,
    seconds: float,
) -> tuple[dict[str, float], list[str]]:
    # Imported here: PyTorch takes seconds to import, and the driver does not need it.
    import numpy as np
    import torch

    from osteo_ray.models.batches import ImageSet
    from osteo_ray.models.classifier import build_classifier
    from osteo_ray.models.prediction import predict_probabilities

    torch.set_num_threads(slot.cpus)
    device = torch.device(slot.device)
    shape = (batch_size, image_size, image_size)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    images = ImageSet(pixels, np.zeros(batch_size, np.int64))
    rates, problems = {}, []
    for name in models:
        try:
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
