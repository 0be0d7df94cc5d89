"""Training as a plain function: in place on one device, or as one rank of several."""

import os
import time
from collections.abc import Callable
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
from osteo_ray.models.prediction import predict_logits
from osteo_ray.models.settings import NO_AUGMENTATION, TrainingSettings


class DivergedError(Exception):
    """The loss is no longer a finite number."""


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is; with more than one, a process group must be up."""

    rank: int = 0
    size: int = 1


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training images came to; losses in nats per image."""

    number: int
    training_loss: float
    validation_loss: float


def make_deterministic(n_threads: int) -> None:
    """Make PyTorch repeat itself on the same hardware, with a stated number of CPU threads."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(n_threads)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def train_classifier(
    classifier: Classifier,
    training: ImageSet,
    validation: ImageSet,
    settings: TrainingSettings,
    *,
    seed: int,
    augmentation_seed: int | None = None,
    device: torch.device,
    ranks: Ranks = Ranks(),
    checkpoint: Place | None = None,
    checkpoint_interval_s: float = 30.0,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_step: Callable[[], None] = lambda: None,
) -> list[Epoch]:
    """Train with Adam on cross-entropy and leave the classifier at its best epoch.

    Order, augmentation and dropout of an epoch derive from the seeds and its number alone, so a
    training that is cut off and taken up again ends as if it had never stopped.

    Args:
        classifier: Trained in place, on `device`.
        training: Shuffled and augmented each epoch.
        validation: The epoch with the lowest loss here is kept.
        settings: Epochs, batch size, learning rate, augmentation.
        seed: Of the order of the images and of dropout.
        augmentation_seed: Of augmentation; by default `seed`.
        device: Where to compute.
        ranks: A step takes `per_worker_batch_size` images on each rank.
        checkpoint: File from which a cut-off training is taken up; rank 0 writes it.
        checkpoint_interval_s: Least time between two writes of it, in seconds.
        on_epoch: Called on every rank after each epoch.
        on_step: Called on every rank after each batch.

    Returns:
        The epochs in order.

    Raises:
        DivergedError: The loss became infinite or NaN.
    """
    classifier.to(device)
    seeds = (seed, seed if augmentation_seed is None else augmentation_seed)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=settings.learning_rate)
    epochs: list[Epoch] = []
    best = _copy_state(classifier)
    if checkpoint is not None and checkpoint.exists():
        epochs, best = _load_checkpoint(checkpoint, classifier, optimizer, device)
    model = DistributedDataParallel(classifier) if ranks.size > 1 else classifier
    saved_at = time.monotonic()
    for number in range(len(epochs), settings.epochs):
        training_loss = _train_epoch(
            model, optimizer, training, settings, seeds, number, device, ranks, on_step
        )
        validation_loss = _mean_loss(classifier, validation, settings, device, ranks)
        if not np.isfinite([training_loss, validation_loss]).all():
            raise DivergedError(
                f"The loss is no longer finite in epoch {number + 1} (training {training_loss}, "
                f"validation {validation_loss}); a lower --training.learning-rate may help."
            )
        if all(validation_loss < epoch.validation_loss for epoch in epochs):
            best = _copy_state(classifier)
        epochs.append(Epoch(number, training_loss, validation_loss))
        due = time.monotonic() - saved_at >= checkpoint_interval_s
        if checkpoint is not None and ranks.rank == 0 and due:
            _save_checkpoint(checkpoint, classifier, optimizer, epochs, best)
            saved_at = time.monotonic()
        on_epoch(epochs[-1])
    classifier.load_state_dict(best)
    return epochs


def _train_epoch(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    training: ImageSet,
    settings: TrainingSettings,
    seeds: tuple[int, int],
    number: int,
    device: torch.device,
    ranks: Ranks,
    on_step: Callable[[], None],
) -> float:
    rng = np.random.default_rng([seeds[0], number])
    order = rng.permutation(len(training))
    augmentation_rng = np.random.default_rng([seeds[1], number, 1])
    affine = draw_affine(len(training), settings.augmentation, augmentation_rng)
    torch.manual_seed(int(rng.integers(2**31)) + ranks.rank)
    # Batches of nearly equal size: a last batch of one image would break batch normalisation.
    n_steps = -(-len(training) // (settings.per_worker_batch_size * ranks.size))
    model.train()
    total = torch.zeros((), dtype=torch.float64, device=device)
    for step_rows in np.array_split(order, n_steps):
        rows = np.array_split(step_rows, ranks.size)[ranks.rank]
        images = training.make_batch(rows, device)
        if settings.augmentation != NO_AUGMENTATION:
            images = warp_images(images, torch.from_numpy(affine[rows]).to(device))
        labels = torch.from_numpy(training.labels[rows]).to(device)
        loss = functional.cross_entropy(model(images), labels, reduction="sum")
        optimizer.zero_grad(set_to_none=True)
        # Ranks are averaged with equal weight; this weights every image of the step alike.
        (loss * ranks.size / len(step_rows)).backward()
        optimizer.step()
        total += loss.detach()
        on_step()
    return _sum_over_ranks(total, ranks) / len(training)


def _mean_loss(
    classifier: Classifier,
    images: ImageSet,
    settings: TrainingSettings,
    device: torch.device,
    ranks: Ranks,
) -> float:
    rows = np.array_split(np.arange(len(images)), ranks.size)[ranks.rank]
    total = torch.zeros((), dtype=torch.float64, device=device)
    if len(rows):
        part = images.select(rows)
        logits = predict_logits(
            classifier, part, batch_size=settings.per_worker_batch_size, device=device
        )
        labels = torch.from_numpy(part.labels).to(device)
        total += functional.cross_entropy(logits, labels, reduction="sum")
    return _sum_over_ranks(total, ranks) / len(images)


def _sum_over_ranks(total: torch.Tensor, ranks: Ranks) -> float:
    if ranks.size > 1:
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
