"""What is to be trained, and where its artifacts lie. Free of Ray and of PyTorch."""

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from osteo_ray.compare.arms import ARMS
from osteo_ray.compare.dataset import Dataset
from osteo_ray.config import CompareConfig, hash_settings
from osteo_ray.data.groups import check_groups_whole
from osteo_ray.runs import Run


@dataclass(frozen=True)
class Trial:
    """Which training: a model, a seed and an arm."""

    model: str
    seed: int
    arm: str

    def __str__(self) -> str:
        return f"{self.model}, seed {self.seed}, {self.arm}"


@dataclass(frozen=True)
class Experiment:
    """Everything that trials share, small enough to send to each worker.

    Attributes:
        config: Of the comparison.
        run: Where artifacts lie.
        image_ids: Of all accepted images, in the order of the pixels array.
        labels: str, (n,).
        classes: In sorted order.
        groups: int, (n,); images of equal number belong together.
        paths: str, (n,); the names by which the user knows the images.
        splits: Per seed: str, (n,); a split name, or empty for images that are set aside.
        fingerprint: Of the data.
        weights: Per model, a fingerprint of its first weights.
    """

    config: CompareConfig
    run: Run
    image_ids: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    paths: np.ndarray
    classes: tuple[str, ...]
    splits: dict[int, np.ndarray]
    fingerprint: str
    weights: dict[str, str]

    @cached_property
    def _split_keys(self) -> dict[int, str]:
        return {seed: hash_settings(split.tolist()) for seed, split in self.splits.items()}

    def check_split(self, seed: int) -> None:
        """Refuse to train on a split that tears a group apart, whatever made the split.

        Only `--split random` asks for such a split, and its report says what that means.

        Raises:
            LeakError: A group has images in more than one part.
        """
        if self.config.split != "random":
            check_groups_whole(self.groups, self.splits[seed], self.paths.tolist())

    def key_of(self, trial: Trial) -> str:
        """Return the hash of all that determines the result of a trial."""
        config = self.config
        settings = {
            **asdict(trial),
            "data": self.fingerprint,
            "weights": self.weights[trial.model],
            "split": self._split_keys[trial.seed],
            "image_size": config.image_size,
            "training": config.training.model_dump(mode="json"),
            "workers": config.resources.workers,
        }
        if ARMS[trial.arm].mask_kind:
            settings["lime"] = config.lime.model_dump(mode="json")
        return hash_settings(settings)

    def path_of(self, trial: Trial) -> Path:
        """Return the directory of a trial's artifacts; it exists if, and only if, it is done."""
        folder = self.run.trials / trial.model / f"seed-{trial.seed}"
        return folder / f"{trial.arm}-{self.key_of(trial)}"

    def masks_of(self, trial: Trial) -> Path:
        """Return the directory of the masks that the first model of a trial makes."""
        first = Trial(trial.model, trial.seed, "original")
        lime = self.config.lime.model_dump(mode="json")
        key = hash_settings({"first": self.key_of(first), "lime": lime})
        return self.run.masks / trial.model / f"seed-{trial.seed}-{key}"

    def list_ids(self, seed: int, split: str) -> frozenset[str]:
        """Return the images in one part of a split."""
        return frozenset(self.image_ids[self.splits[seed] == split].tolist())

    def is_done(self, trial: Trial) -> bool:
        """Tell whether the artifacts of a trial are there."""
        return self.path_of(trial).exists()


def describe_experiment(run: Run, config: CompareConfig, dataset: Dataset) -> Experiment:
    """Gather what the trials of a run share.

    Raises:
        OSError: A file of first weights cannot be read.
    """
    return Experiment(
        config=config,
        run=run,
        image_ids=dataset.images["image_id"].to_numpy(str),
        labels=dataset.images["label"].to_numpy(str),
        groups=dataset.images["group"].to_numpy(),
        paths=dataset.images["path"].to_numpy(str),
        classes=dataset.classes,
        splits=dataset.splits,
        fingerprint=dataset.fingerprint,
        weights={name: _fingerprint_weights(config.weights_of(name)) for name in config.models},
    )


def _fingerprint_weights(weights: str | None) -> str:
    if weights is None:
        return "hub"
    if weights == "none":
        return "none"
    with Path(weights).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
