"""Training as a plain function, on one device or as one of several workers."""

import os
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from osteo_ray.base.storage import Place
from osteo_ray.models.adjustments import adjust_network, find_dtype, freeze
from osteo_ray.models.augmentation import draw_affine, warp_images
from osteo_ray.models.batches import Feed, ImageSet, send
from osteo_ray.models.classifier import Classifier
from osteo_ray.models.epochs import DIVERGED, Epoch, TrainingListener, has_stalled
from osteo_ray.models.guidance import Penalty
from osteo_ray.models.losses import TrainingLoss
from osteo_ray.models.optimization import Optimization
from osteo_ray.models.resumption import Resumption, copy_state
from osteo_ray.models.settings import NO_AUGMENTATION, TrainingSettings
from osteo_ray.models.steps import draw_order, plan_steps
from osteo_ray.models.synchronization import (
    share_gradients,
    sum_over_workers,
    synchronize_batch_norm,
)
from osteo_ray.models.validation import validate
from osteo_ray.models.weights_fit import put_tensors


class DivergedError(Exception):
    """The training loss or the validation loss has become infinite or NaN."""


@dataclass(frozen=True)
class TrainingData:
    """The images that a training learns from, and those that choose its best epoch.

    Attributes:
        training: Shuffled and augmented anew in each epoch.
        validation: The training keeps the epoch with the lowest loss on these images.
        feed: Brings the pixels of training images; by default, they are taken from `training`.
    """

    training: ImageSet
    validation: ImageSet
    feed: Feed | None = None


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained.

    Attributes:
        settings: Epochs, batch size, optimizer, learning rates, loss, augmentation.
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
    """Make PyTorch repeat itself on the same hardware, with a fixed number of CPU threads.

    Products of 32-bit floats are computed as such. By default, convolutions on a GPU keep 10 bits
    of their factors (TF32), which moves probabilities far more than another GPU does.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(n_threads)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


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
    """Train as the recipe says, and leave the classifier at the epoch that it keeps.

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
        InputError: There are too few images for steps of this size, or none of a class that is to
            be weighted, or the network lacks what the recipe changes.
    """
    settings = recipe.settings
    classifier.to(worker.device)
    adjust_network(classifier, settings.network)
    if worker.n_workers > 1 and settings.network.sync_batch_norm:
        synchronize_batch_norm(classifier, worker.device)
    epoch = _Epochs(classifier, data, recipe, worker, listener)
    optimization = epoch.optimization
    resumption = Resumption(checkpoint, checkpoint_interval_s)
    epochs, best = resumption.go_on(classifier, optimization, worker.device)
    for number in range(len(epochs), settings.epochs):
        if has_stalled(epochs, settings.patience):
            break
        training_loss = epoch.train(number)
        found = validate(optimization.shown, data.validation, settings, worker)
        if not np.isfinite([training_loss, found.loss]).all():
            raise DivergedError(
                f"{DIVERGED} in epoch {number + 1} (training {training_loss}, "
                f"validation {found.loss}); a lower --training.learning-rate may help."
            )
        is_best = all(found.loss < one.validation_loss for one in epochs)
        if is_best or settings.keep == "last":
            best = copy_state(optimization.shown)
        rate = optimization.learning_rate
        epochs.append(
            Epoch(number, training_loss, found.loss, rate, found.auc, found.predicted_classes)
        )
        if worker.rank == 0:
            resumption.save(classifier, optimization, epochs, best)
        listener.epoch_ended(epochs[-1])
    put_tensors(classifier, best)
    classifier.eval()
    return epochs


class _Epochs:
    """Takes the steps of one epoch after the other.

    Args: those of `train_classifier`.
    """

    def __init__(
        self,
        classifier: Classifier,
        data: TrainingData,
        recipe: Recipe,
        worker: Worker,
        listener: TrainingListener,
    ) -> None:
        settings, training = recipe.settings, data.training
        self.classifier, self.training, self.recipe = classifier, training, recipe
        self.validation, self.worker, self.listener = data.validation, worker, listener
        self.feed = data.feed or Feed(training.pixels, worker.device)
        self.steps = plan_steps(len(training), settings, worker.n_workers)
        self.optimization = Optimization(classifier, settings, self.steps.n_steps)
        self.dtype = find_dtype(settings.precision, worker.device)
        self.loss = TrainingLoss(
            settings.loss, training.labels, classifier.n_classes, worker.device
        )
        seed = recipe.augmentation_seed
        self.augmentation_seed = recipe.seed if seed is None else seed
        self._model: nn.Module | None = None
        self._learns_head_only = False
        self._head, self._body = (
            [one for one in part.parameters() if one.requires_grad]  # a user may have frozen some
            for part in (classifier.head, classifier.backbone)
        )

    def train(self, number: int) -> float:
        """Take the steps of an epoch; return the mean loss over all images of all workers."""
        training, worker = self.training, self.worker
        order, dropout_seed = draw_order(len(training), self.recipe.seed, number)
        augmentation_rng = np.random.default_rng([self.augmentation_seed, number, 1])
        augmentation = self.recipe.settings.augmentation
        affine = draw_affine(len(training), augmentation, augmentation_rng)
        torch.manual_seed(dropout_seed + worker.rank)
        head_epochs = self.recipe.settings.head_epochs if self._head else 0
        model = self._wrap(number < head_epochs)
        total = torch.zeros((), dtype=torch.float64, device=worker.device)
        shares = self.steps.deal_to(worker.rank, order)
        fed = self.feed.read_epoch(number, shares)
        for step, rows, pixels in zip(self.steps.deal(order), shares, fed, strict=True):
            loss = self._measure(model, rows, pixels, affine, number)
            # PyTorch averages over the workers with equal weight. With this factor, every image of
            # the step counts alike, even where the workers have different numbers of images.
            self.optimization.take_step(loss * worker.n_workers / len(step))
            total += loss.detach()
            self.listener.step_ended()
        return float(sum_over_workers(total, worker.n_workers)) / len(training)

    def _wrap(self, head_only: bool) -> nn.Module:
        """Return the classifier in training mode, with the backbone frozen if only its head learns.

        PyTorch must be told anew what learns whenever that changes.
        """
        if self._model is None or head_only != self._learns_head_only:
            freeze(self._body, head_only)
            self._learns_head_only = head_only
            self._model = self.classifier
            if self.worker.n_workers > 1:
                rows = np.arange(2) % len(self.validation)
                images = self.validation.make_batch(rows, self.worker.device)
                self._model = share_gradients(self.classifier, images)
        self._model.train()
        if head_only:
            self.classifier.backbone.eval()
        return self._model

    def _measure(
        self,
        model: nn.Module,
        rows: np.ndarray,
        pixels: torch.Tensor,
        affine: np.ndarray,
        number: int,
    ) -> torch.Tensor:
        """Return the loss of some images, summed over them."""
        training, device = self.training, self.worker.device
        images = training.make_batch(rows, device, number, pixels)
        maps = None
        if self.recipe.settings.augmentation != NO_AUGMENTATION:
            maps = send(affine[rows], device)
            images = warp_images(images, maps)
        labels = send(training.labels[rows], device)
        with torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits = model(images)
        loss = self.loss(logits, labels)
        penalty = self.recipe.penalty
        if penalty is not None:
            regions = training.make_regions(rows, device, number)
            if maps is not None:
                regions = warp_images(regions.float(), maps) > 0.5
            seed = self.augmentation_seed
            rngs = [np.random.default_rng([seed, number, 2, int(row)]) for row in rows]
            loss = loss + penalty.measure(self.classifier, images, regions, rngs)
        return loss
