"""Refuse trainings that cannot be what their settings say, before any of them starts."""

import math

import numpy as np

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.arms.registry import ARMS
from osteo_ray.base.errors import InputError
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.demos import PHANTOM_DEFAULTS
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.listing import Source
from osteo_ray.experiment.costs import count_parts
from osteo_ray.experiment.trials import Experiment, Trial, plan_trials
from osteo_ray.models.class_weights import balance_classes
from osteo_ray.models.settings import TrainingSettings
from osteo_ray.models.steps import check_batch_size, plan_steps

_PRESET_SIZES = {
    TrainingSettings().per_worker_batch_size,
    PHANTOM_DEFAULTS["training"]["per_worker_batch_size"],
}
"""Batch sizes that nobody chose: a smaller set is one step, as if they were upper limits."""


def check_listed(config: CompareConfig, source: Source | PhantomSettings) -> None:
    """Refuse a batch size that is too large even if every listed image is used.

    Raises:
        InputError: It is above the number of training images, or there are too few.
    """
    n_images, n_classes = source.n_images, source.n_classes
    if config.split == "given" and not isinstance(source, PhantomSettings):
        most = int((source.items["split"] == "train").sum())
    elif config.split == "site":  # all sites but one, of which some images are for validation
        most = n_images
    else:  # at most rounded up in each class; the message shall name the likely number
        parts = count_parts(n_images, config.split_ratio, config.folds)
        likely = math.ceil(parts.train)
        size = config.training.per_worker_batch_size * config.resources.workers
        most = likely if size > likely + n_classes else likely + n_classes
    _check_size(most, config.training, config.resources.workers)


def check_trainings(experiment: Experiment) -> None:
    """Refuse trainings with too few images for their steps, parts or weights of their classes.

    Raises:
        InputError: A batch is larger than the training images of a seed, a training has fewer
            images than workers, or it lacks a class that is to be weighted; or there is no image
            for a part of the training images that out-of-fold masks are to explain.
    """
    training, n_workers = experiment.settings.training, experiment.settings.workers
    for split in experiment.splits.values():
        _check_size(int(np.sum(split == "train")), training, n_workers)
    for arm in experiment.arms:
        if ARMS[arm].is_clean_only:
            _check_folds(arm, experiment)
    model = experiment.models[0]
    first, second = plan_trials(experiment)
    for trial in dict.fromkeys([*first, *second]):
        if trial.model == model and experiment.epochs_of(trial):
            _check_trial(trial, experiment)


def _check_size(n_images: int, training: TrainingSettings, n_workers: int) -> None:
    is_preset = training.per_worker_batch_size in _PRESET_SIZES
    (plan_steps if is_preset else check_batch_size)(n_images, training, n_workers)


def _check_folds(arm: str, experiment: Experiment) -> None:
    n_parts = experiment.settings.crossfit_folds
    for seed, split in experiment.splits.items():
        n_found = len(np.unique(experiment.groups[split == "train"]))
        if n_found >= n_parts:  # else dividing them would take long
            jobs = experiment.list_jobs(Trial(experiment.models[0], seed, arm))
            parts = [rows for job, rows in jobs.items() if job.teacher.arm != ORIGINAL]
            n_found = sum(bool(rows.any()) for rows in parts)
        if n_found < n_parts:
            raise InputError(
                f"Expected training images for each of the {n_parts} parts of --crossfit-folds, "
                f"but those of seed {seed} fill {n_found} at most, as images that belong together "
                "stay together. Lower --crossfit-folds."
            )


def _check_trial(trial: Trial, experiment: Experiment) -> None:
    training = experiment.settings.training
    rows = experiment.split_of(trial) == "train"
    try:
        plan_steps(int(rows.sum()), training, experiment.settings.workers)
        if training.loss.class_weights == "balanced":
            labels = experiment.labels_of(trial)[rows]
            balance_classes(np.searchsorted(experiment.classes, labels), experiment.classes)
    except InputError as error:
        raise InputError(f"Seed {trial.seed}, {trial.arm}: {error}") from None
