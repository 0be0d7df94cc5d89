"""How much copies inflate accuracy: the same training with and without copies across the split."""

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import ray

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.base.errors import IncompleteError
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place
from osteo_ray.base.tables import read_tables
from osteo_ray.config.audit import AuditConfig
from osteo_ray.data.pixels import Pixels
from osteo_ray.data.splits.assignment import SPLIT_NAMES, assign_splits
from osteo_ray.data.splits.checks import check_class_sizes
from osteo_ray.experiment.dataset import Dataset, fingerprint_images
from osteo_ray.experiment.trials import Experiment, Trial, describe_experiment, list_arms
from osteo_ray.pipeline.compare.shared_pixels import share_pixels
from osteo_ray.pipeline.compare.sweeps import Failure, run_sweep
from osteo_ray.pipeline.compare.training_check import check_trainings
from osteo_ray.pipeline.site import Site, StageListener
from osteo_ray.statistics.metrics.registry import METRICS
from osteo_ray.statistics.predictions import encode_predictions
from osteo_ray.statistics.results_table import compute_results
from osteo_ray.statistics.significance import corrected_t_test
from osteo_ray.statistics.sizes import Sizes

SPLITS: tuple[Literal["random", "grouped"], ...] = ("random", "grouped")


@dataclass(frozen=True)
class Leak:
    """How much better a model seems if copies of test images are among its training images.

    Attributes:
        model: timm name.
        random: Mean accuracy on test images if copies are split at random.
        grouped: Mean accuracy on test images if copies stay together.
        difference: `random` - `grouped`.
        low: Lower end of the 95 % interval of the difference, corrected for overlapping splits
            (Nadeau and Bengio); None if all differences are equal.
        high: Upper end; None if all differences are equal.
        p: Two-sided p-value; None if all differences are equal.
        seeds: Number of splits of each kind.
        n_train: Training images per split, equal for both kinds.
        n_test: Test images per split, equal for both kinds.
        leaked_share: Share of the test images of a random split that have a copy, or another image
            of the same patient, among the training images.
    """

    model: str
    random: float
    grouped: float
    difference: float
    low: float | None
    high: float | None
    p: float | None
    seeds: int
    n_train: float
    n_test: float
    leaked_share: float


def pair_splits(
    labels: np.ndarray, groups: np.ndarray, ratio: tuple[int, int, int], *, seed: int
) -> dict[str, np.ndarray]:
    """Split images at random and by groups, with equally many images of each class in each part.

    Where a part has more images of a class in one split than in the other, randomly chosen images
    are left out.

    Args:
        labels: str (n,).
        groups: int (n,).
        ratio: Parts for training, validation and test.
        seed: Random seed of both splits.

    Returns:
        For `random` and for `grouped`: str (n,); a split name, or an empty string for images that
        are left out.

    Example:
        >>> labels, groups = np.repeat(["a", "b"], 20), np.arange(40) // 3
        >>> splits = pair_splits(labels, groups, (3, 1, 1), seed=0)
        >>> int(np.sum(splits["random"] == "train")) == int(np.sum(splits["grouped"] == "train"))
        True
    """
    splits = {
        "random": assign_splits(labels, np.arange(len(labels)), ratio, seed=seed),
        "grouped": assign_splits(labels, groups, ratio, seed=seed),
    }
    rng = np.random.default_rng((seed, len(labels)))
    for label in np.unique(labels):
        for part in SPLIT_NAMES:
            rows = [
                np.flatnonzero((split == part) & (labels == label)) for split in splits.values()
            ]
            least = min(map(len, rows))
            for split, of_class in zip(splits.values(), rows, strict=True):
                split[rng.permutation(of_class)[least:]] = ""
    return splits


def measure_leak(
    config: AuditConfig,
    images: pd.DataFrame,
    read: Run,
    run: Run,
    site: Site,
    listener: StageListener,
) -> tuple[list[Leak], list[Failure]]:
    """Train every model on both kinds of split, with several seeds, and compare the accuracies.

    Trainings that an earlier call finished are not repeated.

    Args:
        config: Models, seeds and training settings.
        images: Rows of the images table.
        read: Where the pixels are.
        run: Where trainings are kept.
        site: Where to train.
        listener: Told of progress.

    Raises:
        InputError: There are too few images.
        IncompleteError: Too few trainings finished to compare anything.
    """
    used = images[images["used"]].reset_index(drop=True)
    labels, groups = used["label"].to_numpy(str), used["group"].to_numpy()
    check_class_sizes(labels, groups, config.split_ratio)
    paired = {
        seed: pair_splits(labels, groups, config.split_ratio, seed=seed)
        for seed in config.seed_numbers
    }
    ids = used["image_id"].tolist()
    pixels = share_pixels(read, ids, config.image_size, site.layout.pixels_bytes)
    experiments: dict[str, Experiment] = {}
    failures: list[Failure] = []
    for kind in SPLITS:
        settings = config.to_compare(kind)
        dataset = Dataset(
            used,
            {seed: splits[kind] for seed, splits in paired.items()},
            tuple(sorted(set(labels))),
            fingerprint_images(used, settings.image_size, settings.bits),
        )
        experiments[kind] = describe_experiment(run, settings, dataset)
        check_trainings(experiments[kind])
        failures += _train(experiments[kind], pixels, kind, site, listener)
    leaked = [_share_leaked(splits["random"], groups) for splits in paired.values()]
    found = [
        _compare(model, experiments, float(np.mean(leaked)))
        for model in config.models
        if all(len(_list_done(experiment, model)) >= 2 for experiment in experiments.values())
    ]
    if not found:
        raise IncompleteError(
            f"Too few trainings finished to compare anything. The first failure: "
            f"{failures[0].trial}: {failures[0].reason}"
        )
    return found, failures


def _train(
    experiment: Experiment,
    pixels: "ray.ObjectRef[Pixels]",
    kind: str,
    site: Site,
    listener: StageListener,
) -> list[Failure]:
    trials = list_arms(experiment)
    missing = [trial for trial in trials if not experiment.is_done(trial)]
    listener.advanced(len(trials) - len(missing))
    if not missing:
        return []
    with site.observer.job(command="audit", split=kind), site.observer.stage(kind):
        return run_sweep(missing, experiment, pixels, site, listener)


def _share_leaked(split: np.ndarray, groups: np.ndarray) -> float:
    return float(np.isin(groups[split == "test"], groups[split == "train"]).mean())


def _list_done(experiment: Experiment, model: str) -> list[Place]:
    trials = [Trial(model, seed, ORIGINAL) for seed in experiment.seeds]
    return [experiment.path_of(trial) for trial in trials if experiment.is_done(trial)]


def _compare(model: str, experiments: dict[str, Experiment], leaked_share: float) -> Leak:
    both = pd.DataFrame(
        {kind: _read_accuracies(experiment, model) for kind, experiment in experiments.items()}
    ).dropna()
    splits = [experiments["grouped"].splits[int(seed)] for seed in both.index]
    sizes = Sizes(
        n_test=float(np.mean([np.sum(split == "test") for split in splits])),
        n_train=float(np.mean([np.sum(split == "train") for split in splits])),
    )
    accuracy = METRICS["accuracy"]
    test = corrected_t_test((both["random"] - both["grouped"]).to_numpy(), sizes)
    return Leak(
        model=model,
        random=float(both["random"].mean()),
        grouped=float(both["grouped"].mean()),
        difference=test.mean,
        low=_known(accuracy.cut_difference(test.low)),
        high=_known(accuracy.cut_difference(test.high)),
        p=_known(test.p),
        seeds=len(both),
        n_train=sizes.n_train,
        n_test=sizes.n_test,
        leaked_share=leaked_share,
    )


def _read_accuracies(experiment: Experiment, model: str) -> "pd.Series[float]":
    """Read the accuracy on test images by seed."""
    parts = read_tables(path / "predictions.parquet" for path in _list_done(experiment, model))
    classes = experiment.classes
    predictions = encode_predictions(pa.concat_tables(parts), classes, classes[-1])
    results = compute_results(predictions)
    return results[results["split"] == "test"].set_index("seed")["accuracy"]


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def describe_leak(leaks: list[Leak], failures: list[Failure]) -> dict[str, object]:
    """Return what was measured, as audit.json holds it."""
    return {
        "models": [asdict(leak) for leak in leaks],
        "missing": [f"{failure.trial}: {failure.reason}" for failure in failures],
    }
