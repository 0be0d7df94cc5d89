"""How the images of an epoch are dealt into steps and to workers. Free of PyTorch."""

from dataclasses import dataclass

import numpy as np

from osteo_ray.base.errors import InputError
from osteo_ray.models.settings import TrainingSettings


@dataclass(frozen=True)
class StepPlan:
    """Steps of nearly equal size, none of which leaves a worker without images.

    Attributes:
        n_images: Images of an epoch.
        n_steps: Steps of an epoch.
        n_workers: Workers that share each step.
    """

    n_images: int
    n_steps: int
    n_workers: int = 1

    def deal(self, order: np.ndarray) -> list[np.ndarray]:
        """Deal images to steps, for all workers together.

        Args:
            order: int, (n_images,); rows in the order of the epoch.

        Returns:
            int, (k,), for each step.
        """
        return np.array_split(order, self.n_steps)

    def deal_to(self, rank: int, order: np.ndarray) -> list[np.ndarray]:
        """Deal images to the steps of one worker: int, (k,), for each step."""
        return [self.share(step, rank) for step in self.deal(order)]

    def share(self, step: np.ndarray, rank: int) -> np.ndarray:
        """Return the images of a step that one worker gets."""
        return np.array_split(step, self.n_workers)[rank]


def draw_order(n_images: int, seed: int, epoch: int) -> tuple[np.ndarray, int]:
    """Draw the order in which an epoch shows the training images, and a seed for its dropout.

    Whoever reads the images ahead of a training draws the same.

    Args:
        n_images: Training images.
        seed: That of the training.
        epoch: Number of the epoch, from 0.

    Returns:
        int, (n_images,), a permutation of the rows of all images; and the seed.
    """
    rng = np.random.default_rng([seed, epoch])
    return rng.permutation(n_images), int(rng.integers(2**31))


def plan_steps(n_images: int, settings: TrainingSettings, n_workers: int = 1) -> StepPlan:
    """Plan the steps of an epoch: as few as the batch size allows, and of nearly equal size.

    Batch normalization needs two images in a step, and each worker needs one, or two where it
    normalizes by itself. Where steps of the batch size would leave less, as with 11 images and a
    batch size of 2, there is a step less, and some have an image more per worker. A set that is
    smaller than a step is one step. The steps depend on the batch size of all workers together,
    not on their number, unless each of them gets a single image.

    Args:
        n_images: Training images.
        settings: Batch size, and how batches are normalized.
        n_workers: Workers that share the training.

    Raises:
        InputError: There are too few images, or a step holds a single one.
    """
    size = settings.per_worker_batch_size * n_workers
    if size < 2:
        raise InputError(
            "Expected at least 2 images per step, since batch normalization needs them, but got a "
            "batch size of 1. Raise --training.per-worker-batch-size."
        )
    alone = n_workers > 1 and not settings.network.sync_batch_norm
    if alone and settings.per_worker_batch_size < 2:
        raise InputError(
            "Expected at least 2 images per step and worker, since each worker normalizes by "
            "itself, but got a batch size of 1. Raise --training.per-worker-batch-size, or leave "
            "out --training.network.no-sync-batch-norm."
        )
    least = max(2, (2 if alone else 1) * n_workers)
    if n_images < least:
        shared = f" for {n_workers} workers" if n_workers > 1 else ""
        fewer = ", or lower --workers" if n_workers > 1 else ""
        raise InputError(
            f"Expected at least {least} training images{shared}, but there "
            f"{'is' if n_images == 1 else 'are'} {n_images}. Add images{fewer}."
        )
    n_steps = min(-(-n_images // size), n_images // least)
    return StepPlan(n_images, n_steps, n_workers)


def check_batch_size(n_images: int, settings: TrainingSettings, n_workers: int = 1) -> None:
    """Refuse a batch size above the number of training images, and what `plan_steps` refuses.

    Args:
        n_images: Training images of a seed.
        settings: The batch size.
        n_workers: Workers that share a training.

    Raises:
        InputError: As said.
    """
    plan_steps(n_images, settings, n_workers)
    size = settings.per_worker_batch_size * n_workers
    if size > n_images:
        shared = f" ({settings.per_worker_batch_size} for each of {n_workers} workers)"
        raise InputError(
            f"Expected a batch size of at most {n_images}, the number of training images, but got "
            f"{size}{shared if n_workers > 1 else ''}. Lower --training.per-worker-batch-size"
            f"{' or --workers' if n_workers > 1 else ''}."
        )
