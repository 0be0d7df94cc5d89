"""Training as a plain function, on one device or as one of several workers."""

import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from osteo_ray.base.storage import Place, local_copy, write_whole
from osteo_ray.models.augmentation import draw_affine, warp_images
from osteo_ray.models.batches import ImageSet
from osteo_ray.models.classifier import Classifier
from osteo_ray.models.epochs import Epoch, TrainingListener
from osteo_ray.models.guidance import Penalty
from osteo_ray.models.prediction import predict_logits
from osteo_ray.models.settings import NO_AUGMENTATION, TrainingSettings


class DivergedError(Exception):
    """The training loss or the validation loss has become infinite or NaN."""


@dataclass(frozen=True)
class TrainingData:
    """The images that a training learns from, and those that choose its best epoch.

    Attributes:
        training: Shuffled and augmented anew in each epoch.
        validation: The training keeps the epoch with the lowest loss on these images.
    """

    training: ImageSet
    validation: ImageSet


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained.

    Attributes:
        settings: Epochs, batch size, learning rate, augmentation.
        seed: Determines the order of the images and dropout.
        augmentation_seed: Determines the augmentation; None means the same as `seed`.
        penalty: What keeps the classifier to the masks of its training images, if anything does.
    """

    settings: TrainingSettings
    seed: int
    augmentation_seed: int | None = None
    penalty: Penalty | None = None


@dataclass(frozen=True)
class Worker:
    """The process that trains, alone or as one of several that train one classifier together.

    Attributes:
        device: Where it computes.
        n_threads: CPU threads that it may use.
        rank: Its number among the workers of the training, from 0.
        n_workers: How many workers share the training. If there are several, a process group must
            exist, and each step takes `per_worker_batch_size` images on each of them.
    """

    device: torch.device
    n_threads: int = 1
    rank: int = 0
    n_workers: int = 1


def make_deterministic(n_threads: int) -> None:
    """Make PyTorch repeat itself on the same hardware, with a fixed number of CPU threads."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(n_threads)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def train_classifier(
    classifier: Classifier,
    data: TrainingData,
    recipe: Recipe,
    worker: Worker,
    *,
    checkpoint: Place | None = None,
    checkpoint_interval_s: float = 30.0,
    listener: TrainingListener = TrainingListener(),
) -> list[Epoch]:
    """Train with Adam on cross-entropy and leave the classifier at its best epoch.

    The order of the images, augmentation and dropout in an epoch depend only on the seeds and on
    the number of the epoch. A training that was interrupted and resumed therefore ends exactly as
    one that ran through.

    Args:
        classifier: Trained in place and moved to the worker's device.
        data: What it learns from.
        recipe: How it learns.
        worker: Where this process computes, and its part in a training of several workers.
        checkpoint: File to resume an interrupted training from; rank 0 writes it.
        checkpoint_interval_s: Shortest time between two writes of it, in seconds.
        listener: Told of each step and epoch.

    Returns:
        The epochs in order, including those that an interrupted training had finished.

    Raises:
        DivergedError: The loss became infinite or NaN.
    """
    classifier.to(worker.device)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=recipe.settings.learning_rate)
    epochs: list[Epoch] = []
    best = _copy_state(classifier)
    if checkpoint is not None and checkpoint.exists():
        epochs, best = _load_checkpoint(checkpoint, classifier, optimizer, worker.device)
    model = DistributedDataParallel(classifier) if worker.n_workers > 1 else classifier
    saved_at = time.monotonic()
    for number in range(len(epochs), recipe.settings.epochs):
        training_loss = _train_epoch(
            model, optimizer, data.training, recipe, number, worker, listener
        )
        validation_loss = _mean_loss(classifier, data.validation, recipe.settings, worker)
        if not np.isfinite([training_loss, validation_loss]).all():
            raise DivergedError(
                f"The loss is no longer finite in epoch {number + 1} (training {training_loss}, "
                f"validation {validation_loss}); a lower --training.learning-rate may help."
            )
        if all(validation_loss < epoch.validation_loss for epoch in epochs):
            best = _copy_state(classifier)
        epochs.append(Epoch(number, training_loss, validation_loss))
        is_due = time.monotonic() - saved_at >= checkpoint_interval_s
        if checkpoint is not None and worker.rank == 0 and is_due:
            _save_checkpoint(checkpoint, classifier, optimizer, epochs, best)
            saved_at = time.monotonic()
        listener.epoch_ended(epochs[-1])
    classifier.load_state_dict(best)
    return epochs


def _train_epoch(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    training: ImageSet,
    recipe: Recipe,
    number: int,
    worker: Worker,
    listener: TrainingListener,
) -> float:
    """Take the steps of one epoch; return the mean loss over all images of all workers."""
    settings, seed = recipe.settings, recipe.seed
    rng = np.random.default_rng([seed, number])
    order = rng.permutation(len(training))
    augmentation_seed = seed if recipe.augmentation_seed is None else recipe.augmentation_seed
    augmentation_rng = np.random.default_rng([augmentation_seed, number, 1])
    affine = draw_affine(len(training), settings.augmentation, augmentation_rng)
    torch.manual_seed(int(rng.integers(2**31)) + worker.rank)
    # Batches of nearly equal size: a last batch of one image would break batch normalization.
    n_steps = -(-len(training) // (settings.per_worker_batch_size * worker.n_workers))
    model.train()
    total = torch.zeros((), dtype=torch.float64, device=worker.device)
    for step_rows in np.array_split(order, n_steps):
        rows = np.array_split(step_rows, worker.n_workers)[worker.rank]
        images = training.make_batch(rows, worker.device, number)
        maps = None
        if settings.augmentation != NO_AUGMENTATION:
            maps = torch.from_numpy(affine[rows]).to(worker.device)
            images = warp_images(images, maps)
        labels = torch.from_numpy(training.labels[rows]).to(worker.device)
        loss = functional.cross_entropy(model(images), labels, reduction="sum")
        optimizer.zero_grad(set_to_none=True)
        if recipe.penalty is not None:
            regions = training.make_regions(rows, worker.device, number)
            if maps is not None:
                regions = warp_images(regions.float(), maps) > 0.5
            rngs = [np.random.default_rng([augmentation_seed, number, 2, int(r)]) for r in rows]
            loss = loss + recipe.penalty.measure(_unwrap(model), images, regions, rngs)
        # PyTorch averages over the workers with equal weight. With this factor, every image of the
        # step counts alike, even where the workers have different numbers of images.
        (loss * worker.n_workers / len(step_rows)).backward()
        optimizer.step()
        total += loss.detach()
        listener.step_ended()
    return _sum_over_workers(total, worker) / len(training)


def _unwrap(model: torch.nn.Module) -> Classifier:
    inner = model.module if isinstance(model, DistributedDataParallel) else model
    assert isinstance(inner, Classifier)
    return inner


def _mean_loss(
    classifier: Classifier, images: ImageSet, settings: TrainingSettings, worker: Worker
) -> float:
    rows = np.array_split(np.arange(len(images)), worker.n_workers)[worker.rank]
    total = torch.zeros((), dtype=torch.float64, device=worker.device)
    if len(rows):
        part = images.select(rows)
        logits = predict_logits(
            classifier, part, batch_size=settings.per_worker_batch_size, device=worker.device
        )
        labels = torch.from_numpy(part.labels).to(worker.device)
        total += functional.cross_entropy(logits, labels, reduction="sum")
    return _sum_over_workers(total, worker) / len(images)


def _sum_over_workers(total: torch.Tensor, worker: Worker) -> float:
    if worker.n_workers > 1:
        torch.distributed.all_reduce(total)
    return float(total)


def _copy_state(classifier: Classifier) -> dict[str, torch.Tensor]:
    return {key: value.detach().clone() for key, value in classifier.state_dict().items()}


def _save_checkpoint(
    path: Place,
    classifier: Classifier,
    optimizer: torch.optim.Optimizer,
    epochs: list[Epoch],
    best: dict[str, torch.Tensor],
) -> None:
    state: dict[str, Any] = {
        "classifier": classifier.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epochs": [vars(epoch) for epoch in epochs],
        "best": best,
    }
    with write_whole(path) as unfinished:
        torch.save(state, unfinished)


def _load_checkpoint(
    path: Place, classifier: Classifier, optimizer: torch.optim.Optimizer, device: torch.device
) -> tuple[list[Epoch], dict[str, torch.Tensor]]:
    with local_copy(path) as file:
        state = torch.load(file, map_location=device, weights_only=True)
    classifier.load_state_dict(state["classifier"])
    optimizer.load_state_dict(state["optimizer"])
    return [Epoch(**epoch) for epoch in state["epochs"]], state["best"]
