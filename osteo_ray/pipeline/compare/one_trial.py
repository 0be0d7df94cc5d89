"""One trial: train one model on one arm with one seed, predict, store. Does not use Ray."""

import json
from contextlib import suppress
from dataclasses import asdict

import numpy as np
import pyarrow as pa

from osteo_ray.arms.registry import ARMS
from osteo_ray.base.digests import seal_folder
from osteo_ray.base.storage import Place, remove_tree, write_whole
from osteo_ray.base.tables import write_table
from osteo_ray.data.fresh_masks import FreshMasks
from osteo_ray.data.packed_masks import PackedMasks
from osteo_ray.data.pixels import Pixels, select_images
from osteo_ray.data.splits.assignment import SPLIT_NAMES
from osteo_ray.experiment.keep_masks import (
    UNEXPLAINED,
    KeepMasks,
    describe_unexplained,
    read_keep_masks,
)
from osteo_ray.experiment.trials import LAST, WEIGHTS, Experiment, Trial
from osteo_ray.models.batches import Feed, ImageSet
from osteo_ray.models.checkpoint import Checkpoint
from osteo_ray.models.classifier import (
    Classifier,
    build_classifier,
    load_classifier,
    save_classifier,
)
from osteo_ray.models.epochs import TrainingListener
from osteo_ray.models.guidance import Penalty
from osteo_ray.models.prediction import predict_probabilities
from osteo_ray.models.settings import TrainingSettings
from osteo_ray.models.training import (
    DivergedError,
    Recipe,
    TrainingData,
    Worker,
    make_deterministic,
    train_classifier,
)


def run_trial(
    trial: Trial,
    experiment: Experiment,
    pixels: Pixels,
    worker: Worker,
    listener: TrainingListener = TrainingListener(),
    feed: Feed | None = None,
) -> None:
    """Train, predict the validation and test images, and store all results at once.

    Args:
        trial: The trial to run; if its results exist, nothing happens.
        experiment: What the trial shares with the others.
        pixels: Those of all images, in the order of `experiment.image_ids`.
        worker: Where to compute. If the training has several workers, each of them calls this, and
            rank 0 stores the results.
        listener: Told of each step and epoch.
        feed: Brings the training images, from the epoch on that `count_epochs` gives; by default
            they are taken from `pixels`.

    Raises:
        LeakError: The split separates images that belong together.
        DivergedError: The loss became infinite or NaN, or a prediction is.
    """
    if experiment.is_done(trial):
        return
    path = experiment.path_of(trial)
    shared = experiment.settings
    experiment.check_split(trial.seed)
    make_deterministic(worker.n_threads)
    keep_masks = read_keep_masks(experiment, trial)
    unexplained = () if keep_masks is None else keep_masks.unexplained
    sets = {split: make_set(trial, experiment, pixels, keep_masks, split) for split in SPLIT_NAMES}
    del keep_masks  # each part has its own, and those of all images would be as many again
    seeds = experiment.seeds[trial.seed]
    classifier = _build(trial, experiment)
    settings = experiment.training_of(trial)
    settings = settings.model_copy(update={"epochs": experiment.epochs_of(trial)})
    epochs = train_classifier(
        classifier,
        TrainingData(sets["train"][1], sets["validation"][1], feed),
        Recipe(
            settings,
            seed=seeds.order,
            augmentation_seed=seeds.augmentation,
            penalty=_find_penalty(trial, experiment),
        ),
        worker,
        checkpoint=locate_checkpoint(trial, experiment),
        listener=listener,
    )
    if worker.rank > 0:
        return
    tables = []
    for split in ("validation", "test"):
        rows, images = sets[split]
        found = predict_probabilities(
            classifier,
            images,
            batch_size=shared.training.per_worker_batch_size,
            device=worker.device,
        )
        _check_finite(found, experiment.paths[rows], split)
        tables.append(tabulate_predictions(trial, experiment, split, rows, found))
    with write_whole(path, last=LAST) as unfinished:
        unfinished.mkdir(parents=True)
        code = experiment.weights[trial.model].code
        checkpoint = Checkpoint(
            trial.model, experiment.classes, shared.image_size, code, shared.bits
        )
        save_classifier(classifier, unfinished / WEIGHTS, checkpoint)
        write_table(unfinished / "predictions.parquet", pa.concat_tables(tables))
        if unexplained:
            text = json.dumps(describe_unexplained(experiment, unexplained), indent=1)
            (unfinished / UNEXPLAINED).write_text(text + "\n")
        history = json.dumps([asdict(epoch) for epoch in epochs], indent=1)
        (unfinished / LAST).write_text(history + "\n")
        seal_folder(unfinished)
    with suppress(OSError):  # no longer of use, but harmless
        remove_tree(locate_checkpoint(trial, experiment).parent)


def _check_finite(found: np.ndarray, paths: np.ndarray, split: str) -> None:
    """Refuse to store what no comparison could read, as a network may give for a blank image."""
    wrong = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(wrong):
        raise DivergedError(
            f"Expected finite logits for every image, but the classifier gives NaN or an infinite "
            f"number for {len(wrong)} of {len(found)} {split} images; the first is "
            f"{paths[wrong[0]]}. Correct the network, or leave such images out"
        )


def locate_checkpoint(trial: Trial, experiment: Experiment) -> Place:
    """Return the file from which the training of a trial goes on if it was interrupted."""
    path = experiment.path_of(trial)
    return path.with_name(f".{path.name}.partial") / "training.pt"


def try_settings(
    trial: Trial,
    experiment: Experiment,
    training: TrainingSettings,
    pixels: Pixels,
    worker: Worker,
    listener: TrainingListener,
) -> None:
    """Train with some settings, and tell the listener of each epoch; nothing is stored.

    Args:
        trial: The training.
        experiment: What it shares with others.
        training: The settings to train with.
        pixels: Those of all images, in the order of `experiment.image_ids`.
        worker: Where to compute, alone.
        listener: Told of each step and epoch.

    Raises:
        DivergedError: The loss became infinite or NaN.
    """
    make_deterministic(worker.n_threads)
    keep_masks = read_keep_masks(experiment, trial)
    learned, validation = (
        make_set(trial, experiment, pixels, keep_masks, split)[1] for split in SPLIT_NAMES[:2]
    )
    del keep_masks
    seeds = experiment.seeds[trial.seed]
    recipe = Recipe(training, seeds.order, seeds.augmentation, _find_penalty(trial, experiment))
    train_classifier(
        _build(trial, experiment),
        TrainingData(learned, validation),
        recipe,
        worker,
        listener=listener,
    )


def _find_penalty(trial: Trial, experiment: Experiment) -> Penalty | None:
    guidance = ARMS[trial.arm].guidance if trial.arm in ARMS else None
    return Penalty(guidance, experiment.settings.guidance_weight) if guidance else None


def _build(trial: Trial, experiment: Experiment) -> Classifier:
    start = experiment.start_of(trial)
    if start is not None:
        return load_trained(start, experiment)
    return build_classifier(
        trial.model,
        n_classes=len(experiment.classes),
        image_size=experiment.settings.image_size,
        weights=experiment.weights[trial.model].file,
        seed=experiment.seeds[trial.seed].initialisation,
        code=experiment.weights[trial.model].code,
    )


def load_trained(trial: Trial, experiment: Experiment) -> Classifier:
    """Load the classifier that a trial has trained."""
    return load_classifier(
        experiment.path_of(trial) / WEIGHTS,
        trial.model,
        n_classes=len(experiment.classes),
        image_size=experiment.settings.image_size,
        code=experiment.weights[trial.model].code,
    )


def make_set(
    trial: Trial,
    experiment: Experiment,
    pixels: Pixels,
    keep_masks: KeepMasks | None,
    split: str,
) -> tuple[np.ndarray, ImageSet]:
    """Gather the images of one part of the split as the arm of a trial shows them.

    Returns:
        int, (k,), the rows of the images in `pixels`; and the images.
    """
    view = ARMS[trial.arm].view if trial.arm in ARMS else "image"
    rows = np.flatnonzero(experiment.split_of(trial) == split)
    numbers = np.searchsorted(experiment.classes, experiment.labels_of(trial)[rows])
    masks: PackedMasks | FreshMasks | None = None
    if keep_masks is not None:
        masks = keep_masks.masks.select(rows)
        if split == "train" and keep_masks.fresh is not None:
            masks = keep_masks.fresh.select(rows)
    background = experiment.settings.background
    return rows, ImageSet(select_images(pixels, rows), numbers, masks, view, background)


def tabulate_predictions(
    trial: Trial, experiment: Experiment, split: str, rows: np.ndarray, found: np.ndarray
) -> pa.Table:
    """Make the rows of the predictions table of one part of the split.

    Args:
        trial: The training that made the classifier.
        experiment: What the trials share.
        split: The part of the split.
        rows: int, (k,); rows of the images in `experiment.image_ids`.
        found: float64, (k, n_classes); the probabilities.
    """
    columns: dict[str, object] = {
        "model": [trial.model] * len(rows),
        "seed": [trial.seed] * len(rows),
        "arm": [trial.arm] * len(rows),
        "split": [split] * len(rows),
        "image_id": experiment.image_ids[rows],
        "label": experiment.labels_of(trial)[rows],
    }
    for number, name in enumerate(experiment.classes):
        columns[f"p_{name}"] = found[:, number]
    return pa.table(columns)
