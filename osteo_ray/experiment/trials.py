"""What is to be trained and explained, and where its artifacts lie. Free of Ray and of PyTorch."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from osteo_ray.arms.arm import ORIGINAL, Target, TeacherName
from osteo_ray.arms.registry import ARMS
from osteo_ray.base.mappings import hash_settings
from osteo_ray.base.networks import name_repeat
from osteo_ray.base.remote import RemotePath
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place
from osteo_ray.config.compare import CompareConfig, Seeds
from osteo_ray.config.parts import TrainingSettings, TrialSettings
from osteo_ray.data.splits.assignment import assign_splits, divide_training, shuffle_labels
from osteo_ray.data.splits.checks import check_groups_whole
from osteo_ray.experiment.dataset import Dataset
from osteo_ray.experiment.first_weights import FirstWeights, describe_first_weights
from osteo_ray.experiment.positive_class import find_positive_class
from osteo_ray.experiment.searches import read_choices
from osteo_ray.statistics.settings import StatisticsSettings

LAST = "history.json"
"""The file of a trial that is uploaded last: if it exists, the trial is complete."""
WEIGHTS = "model.safetensors"
"""The file of a trial that holds its classifier."""


@dataclass(frozen=True)
class Trial:
    """One training: a model, a seed, and an arm or a teacher (`fold-0`, `untrained` …)."""

    model: str
    seed: int
    arm: str

    def __str__(self) -> str:
        return f"{self.model}, seed {self.seed}, {self.arm}"


@dataclass(frozen=True)
class MaskJob:
    """Explanations of images by one classifier.

    Attributes:
        teacher: The training that produced the classifier.
        target: Whether the predicted or the true class of an image is explained.
    """

    teacher: Trial
    target: Target = "predicted"


@dataclass(frozen=True)
class Experiment:
    """What the trials of a comparison share; small enough to send to each worker.

    Attributes:
        run: Where artifacts lie.
        models: Names of the networks that are compared.
        arms: Names of the arms that are compared.
        seeds: The random seeds of each repeat, by its number.
        settings: What else determines the result of a trial.
        statistics: How the results are judged.
        plan_hash: Hash of everything that was planned.
        image_ids: str, (n,); ids of all accepted images, in the order of the pixels array.
        labels: str, (n,).
        groups: int, (n,); images with the same number belong together.
        paths: str, (n,); the names by which the user knows the images.
        classes: All classes, sorted.
        positive_class: The class that counts as positive.
        splits: For each seed: str, (n,); the name of a split, or an empty string for images that
            are set aside.
        fingerprint: Hash of the images, their labels and their groups.
        weights: The first weights of each model, and its code.
        grid: Whether each classifier predicts the other views of the test images.
        regions: Hash of the regions that were given with the images; empty if there are none.
    """

    run: Run
    models: tuple[str, ...]
    arms: tuple[str, ...]
    seeds: dict[int, Seeds]
    settings: TrialSettings
    statistics: StatisticsSettings
    plan_hash: str
    image_ids: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    paths: np.ndarray
    classes: tuple[str, ...]
    positive_class: str
    splits: dict[int, np.ndarray]
    fingerprint: str
    weights: dict[str, FirstWeights]
    grid: bool = True
    regions: str = ""

    @property
    def first_seed(self) -> int:
        """Return the number of the first repeat."""
        return next(iter(self.seeds))

    @cached_property
    def _split_keys(self) -> dict[int, str]:
        return {seed: hash_settings(split.tolist()) for seed, split in self.splits.items()}

    def check_split(self, seed: int) -> None:
        """Refuse to train on a split that separates a group, unless it was asked to be random.

        Raises:
            LeakError: A group has images in more than one part.
        """
        if self.settings.split != "random":
            check_groups_whole(self.groups, self.splits[seed], self.paths.tolist())

    # What a trial trains on

    def first_of(self, trial: Trial) -> Trial:
        """Return the training whose classifier the arm of a trial explains or continues from."""
        arm = ARMS.get(trial.arm)
        teacher: TeacherName = "resplit" if self.settings.protocol == "paper" else "original"
        if arm is not None and arm.shuffled:
            teacher = "shuffled"
        return Trial(trial.model, trial.seed, teacher)

    def start_of(self, trial: Trial) -> Trial | None:
        """Return the training from whose weights a trial starts; None if from the backbone's."""
        arm = ARMS.get(trial.arm)
        if arm is None or arm.name == ORIGINAL:
            return None
        goes_on = arm.goes_on or self.settings.second_start == "first"
        return self.first_of(trial) if goes_on else None

    def split_of(self, trial: Trial) -> np.ndarray:
        """Return the split of a trial: str, (n,); empty for images that the trial never sees."""
        split = self.splits[trial.seed]
        name, _, number = trial.arm.partition("-")
        seed = self.seeds[trial.seed].split
        if name == "fold":
            held_out = self._divide_training(trial.seed) == int(number)
            return np.where(held_out, "", split)
        if name == "resplit":
            used = split != ""
            chance = np.full(len(split), "", split.dtype)
            # Any stream other than that of the split of the run itself.
            chance[used] = assign_splits(
                self.labels[used],
                np.arange(used.sum()),
                self.settings.split_ratio,
                seed=seed + 10**6,
            )
            return chance
        return split

    def _divide_training(self, seed: int) -> np.ndarray:
        return divide_training(
            self.labels,
            self.groups,
            self.splits[seed],
            n_parts=self.settings.crossfit_folds,
            seed=self.seeds[seed].split,
        )

    def labels_of(self, trial: Trial) -> np.ndarray:
        """Return the labels that a trial is trained and tested on: str, (n,)."""
        arm = ARMS.get(trial.arm)
        if trial.arm != "shuffled" and (arm is None or not arm.shuffled):
            return self.labels
        seed = self.seeds[trial.seed].split
        return shuffle_labels(self.labels, self.groups, self.splits[trial.seed], seed=seed)

    def training_of(self, trial: Trial) -> TrainingSettings:
        """Return the settings with which a trial is trained; a teacher has those of `original`."""
        arm = trial.arm if trial.arm in ARMS else ORIGINAL
        return self.settings.training_of(trial.model, arm)

    def epochs_of(self, trial: Trial) -> int:
        """Return the number of epochs of a trial."""
        return 0 if trial.arm == "untrained" else self.training_of(trial).epochs

    # Whose explanations an arm needs

    def list_jobs(self, trial: Trial) -> dict[MaskJob, np.ndarray]:
        """Return the explanations that provide the masks of a trial.

        Returns:
            For each job: bool, (n,), the images whose masks it provides. Each image of the split
            belongs to exactly one job, unless the arm shows no masks or given regions.
        """
        source = ARMS[trial.arm].masks if trial.arm in ARMS else None
        if source is None or source.teacher == "given":
            return {}
        used = self.splits[trial.seed] != ""
        if source.teacher == "fold":
            part = self._divide_training(trial.seed)
            jobs = {
                MaskJob(Trial(trial.model, trial.seed, f"fold-{number}")): part == number
                for number in range(self.settings.crossfit_folds)
            }
            return {**jobs, MaskJob(self.first_of(trial)): used & (part < 0)}
        if source.teacher == "untrained":
            return {MaskJob(Trial(trial.model, trial.seed, "untrained")): used}
        return {MaskJob(self.first_of(trial), source.target): used}

    def kind_of(self, trial: Trial) -> str:
        """Return the kind of mask that a trial shows, or an empty string if it shows none."""
        source = ARMS[trial.arm].masks if trial.arm in ARMS else None
        return source.kind if source else ""

    def list_requirements(self, trial: Trial) -> list[Trial]:
        """Return the trainings that must finish before a trial can begin."""
        needed = [job.teacher for job in self.list_jobs(trial)]
        start = self.start_of(trial)
        return list(dict.fromkeys([*needed, *([start] if start else [])]))

    # Where it lies

    def key_of(self, trial: Trial) -> str:
        """Return the hash of everything that determines the result of a trial."""
        shared = self.settings
        start = self.start_of(trial)
        settings = {
            **asdict(trial),
            "seeds": self.seeds[trial.seed]._asdict(),
            "data": self.fingerprint,
            "weights": self.key_of(start) if start else self.weights[trial.model].fingerprint,
            "split": self._split_keys[trial.seed],
            **shared.describe_images(),
            "training": self.training_of(trial).describe(),
            **shared.describe_workers(),
        }
        if trial.arm.startswith("fold-"):
            settings["folds"] = shared.crossfit_folds
        masks = [self.key_of_job(job) for job in self.list_jobs(trial)]
        if trial.arm in ARMS and ARMS[trial.arm].shows_regions:
            masks = [self.regions]
        if masks:
            settings["masks"] = masks
            settings["background"] = shared.background
            arm = ARMS[trial.arm]
            if arm.training_masks != "own":
                settings["training_masks"] = arm.training_masks
            if arm.needs_superpixels:
                settings["superpixels"] = shared.lime.describe_superpixels()
            if arm.guidance:
                settings["guidance"] = [arm.guidance, shared.guidance_weight]
            settings |= {"tested_whole": True} if arm.tested_whole else {}
            settings |= {"unexplained": shared.unexplained} if shared.unexplained != "whole" else {}
        return hash_settings(settings)

    def key_of_job(self, job: MaskJob) -> str:
        """Return the hash of everything that determines the explanations of a job."""
        seed = self.seeds[job.teacher.seed].lime
        content = {"teacher": self.key_of(job.teacher), "seed": seed}
        content |= self.settings.describe_explaining()
        return hash_settings(content | ({"target": "true"} if job.target == "true" else {}))

    def path_of(self, trial: Trial) -> Place:
        """Return the directory of a trial's artifacts; see `is_done`."""
        folder = name_repeat(trial.model, trial.seed)
        return self.run.trials / folder / f"{trial.arm}-{self.key_of(trial)}"

    def masks_of(self, job: MaskJob) -> Place:
        """Return the directory of the masks of a job."""
        name = f"{job.teacher.arm}{'-true' if job.target == 'true' else ''}-{self.key_of_job(job)}"
        return self.run.masks / name_repeat(job.teacher.model, job.teacher.seed) / name

    def list_ids(self, seed: int, split: str) -> frozenset[str]:
        """Return the images in one part of a split."""
        return frozenset(self.image_ids[self.splits[seed] == split].tolist())

    def is_done(self, trial: Trial) -> bool:
        """Tell whether all artifacts of a trial exist; a folder appears as a whole, by a rename."""
        path = self.path_of(trial)
        return (path / LAST).is_file() if isinstance(path, RemotePath) else path.exists()

    def list_done(self, trials: Iterable[Trial]) -> set[Trial]:
        """Return the trials whose artifacts exist.

        In object storage this takes a single listing, however many trials there are.
        """
        if not isinstance(self.run.trials, RemotePath):
            return {trial for trial in trials if self.is_done(trial)}
        there = {path for path, _ in self.run.trials.list_files()}
        return {trial for trial in trials if self.path_of(trial) / LAST in there}


def list_arms(experiment: Experiment) -> list[Trial]:
    """List the trainings that are compared: every arm for every model and seed."""
    return [
        Trial(model, seed, arm)
        for seed in experiment.seeds
        for model in experiment.models
        for arm in experiment.arms
    ]


def plan_trials(
    experiment: Experiment, only: Sequence[Trial] | None = None
) -> tuple[list[Trial], list[Trial]]:
    """Divide the trainings of a comparison into those that others depend on, and the rest.

    The first, `original` among them, explain images or give their weights to another training.

    Args:
        experiment: What is compared.
        only: The trials to plan for; by default all.
    """
    arms = list_arms(experiment) if only is None else list(only)
    originals = [trial for trial in arms if trial.arm == ORIGINAL]
    needed = [first for trial in arms for first in experiment.list_requirements(trial)]
    first = list(dict.fromkeys([*originals, *needed]))
    return first, [trial for trial in arms if trial.arm != ORIGINAL]


def describe_experiment(run: Run, config: CompareConfig, dataset: Dataset) -> Experiment:
    """Gather what the trials of a run share.

    Args:
        run: Where their artifacts lie.
        config: The configuration of the comparison, of which trials see no more than this keeps.
        dataset: The images of the run.

    Raises:
        OSError: A file of first weights cannot be read.
    """
    return Experiment(
        run=run,
        models=config.models,
        arms=config.arms,
        seeds={number: config.seeds_of(number) for number in config.seed_numbers},
        settings=TrialSettings.of(config, dataset.devices, read_choices(run, config)),
        statistics=config.statistics,
        plan_hash=config.plan_hash(),
        image_ids=dataset.images["image_id"].to_numpy(str),
        labels=dataset.images["label"].to_numpy(str),
        groups=dataset.images["group"].to_numpy(),
        paths=dataset.images["path"].to_numpy(str),
        classes=dataset.classes,
        positive_class=find_positive_class(dataset.classes, config.positive_class).name,
        splits=dataset.splits,
        fingerprint=dataset.fingerprint,
        weights=describe_first_weights(run, config),
        grid=config.grid,
        regions=dataset.regions,
    )
