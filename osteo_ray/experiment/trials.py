"""What is to be trained and explained, and where its artifacts lie. Free of Ray and of PyTorch."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np

from osteo_ray.arms.arm import ORIGINAL, Target, TeacherName
from osteo_ray.arms.registry import ARMS
from osteo_ray.base.mappings import hash_settings
from osteo_ray.base.remote import RemotePath
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place, digest_file, locate
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.splits.assignment import assign_splits, divide_training, shuffle_labels
from osteo_ray.data.splits.checks import check_groups_whole
from osteo_ray.experiment.dataset import Dataset

LAST = "history.json"
"""Of the files of a trial the one that is uploaded last."""


@dataclass(frozen=True)
class Trial:
    """Which training: a model, a seed, and an arm or a teacher (`fold-0`, `untrained` …)."""

    model: str
    seed: int
    arm: str

    def __str__(self) -> str:
        return f"{self.model}, seed {self.seed}, {self.arm}"


@dataclass(frozen=True)
class MaskJob:
    """Explanations of images by one classifier.

    Attributes:
        teacher: The training that made the classifier.
        target: Which class of an image is explained.
    """

    teacher: Trial
    target: Target = "predicted"


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

    def take_seeds(self, n_seeds: int) -> "Experiment":
        """Return the part of the experiment that has the first seeds only."""
        config = self.config.model_copy(update={"seeds": n_seeds})
        splits = {seed: self.splits[seed] for seed in config.seed_numbers}
        return replace(self, config=config, splits=splits)

    # What a trial trains on

    def first_of(self, trial: Trial) -> Trial:
        """Return the training whose classifier the arm of a trial explains or goes on from."""
        arm = ARMS.get(trial.arm)
        teacher: TeacherName = "resplit" if self.config.protocol == "paper" else "original"
        if arm is not None and arm.shuffled:
            teacher = "shuffled"
        return Trial(trial.model, trial.seed, teacher)

    def start_of(self, trial: Trial) -> Trial | None:
        """Return the training from whose weights a trial starts; None for the backbone's."""
        arm = ARMS.get(trial.arm)
        if arm is None or arm.name == ORIGINAL:
            return None
        goes_on = arm.goes_on or self.config.second_start == "first"
        return self.first_of(trial) if goes_on else None

    def split_of(self, trial: Trial) -> np.ndarray:
        """Return the split that a trial uses: str, (n,); empty for images that it never sees."""
        split = self.splits[trial.seed]
        name, _, number = trial.arm.partition("-")
        seed = self.config.seeds_of(trial.seed).split
        if name == "fold":
            held_out = self._divide_training(trial.seed) == int(number)
            return np.where(held_out, "", split)
        if name == "resplit":
            used = split != ""
            chance = np.full(len(split), "", split.dtype)
            # Any other stream than that of the run's own split.
            chance[used] = assign_splits(
                self.labels[used],
                np.arange(used.sum()),
                self.config.split_ratio,
                seed=seed + 10**6,
            )
            return chance
        return split

    def _divide_training(self, seed: int) -> np.ndarray:
        return divide_training(
            self.labels,
            self.groups,
            self.splits[seed],
            n_parts=self.config.crossfit_folds,
            seed=self.config.seeds_of(seed).split,
        )

    def labels_of(self, trial: Trial) -> np.ndarray:
        """Return the labels that a trial takes for true: str, (n,)."""
        arm = ARMS.get(trial.arm)
        if trial.arm != "shuffled" and (arm is None or not arm.shuffled):
            return self.labels
        seed = self.config.seeds_of(trial.seed).split
        return shuffle_labels(self.labels, self.groups, self.splits[trial.seed], seed=seed)

    def epochs_of(self, trial: Trial) -> int:
        """Return the number of epochs of a trial."""
        return 0 if trial.arm == "untrained" else self.config.training.epochs

    # Whose explanations an arm needs

    def list_jobs(self, trial: Trial) -> dict[MaskJob, np.ndarray]:
        """Return the explanations from which the masks of a trial come.

        Returns:
            Per job: bool, (n,), the images for which it is asked; each image of the split stands
            in one of them.
        """
        source = ARMS[trial.arm].masks if trial.arm in ARMS else None
        if source is None:
            return {}
        used = self.splits[trial.seed] != ""
        if source.teacher == "fold":
            part = self._divide_training(trial.seed)
            jobs = {
                MaskJob(Trial(trial.model, trial.seed, f"fold-{number}")): part == number
                for number in range(self.config.crossfit_folds)
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
        """Return the trainings that must be done before a trial can begin."""
        needed = [job.teacher for job in self.list_jobs(trial)]
        start = self.start_of(trial)
        return list(dict.fromkeys([*needed, *([start] if start else [])]))

    # Where it lies

    def key_of(self, trial: Trial) -> str:
        """Return the hash of all that determines the result of a trial."""
        config = self.config
        start = self.start_of(trial)
        settings = {
            **asdict(trial),
            "seeds": config.seeds_of(trial.seed)._asdict(),
            "data": self.fingerprint,
            "weights": self.key_of(start) if start else self.weights[trial.model],
            "split": self._split_keys[trial.seed],
            "image_size": config.image_size,
            "training": config.training.model_dump(mode="json"),
            "workers": config.resources.workers,
        }
        if trial.arm.startswith("fold-"):
            settings["folds"] = config.crossfit_folds
        jobs = self.list_jobs(trial)
        if jobs:
            settings["masks"] = [self.key_of_job(job) for job in jobs]
            settings["background"] = config.background
        return hash_settings(settings)

    def key_of_job(self, job: MaskJob) -> str:
        """Return the hash of all that determines the explanations of a job."""
        lime = self.config.lime.model_dump(mode="json")
        seed = self.config.seeds_of(job.teacher.seed).lime
        content = {"teacher": self.key_of(job.teacher), "seed": seed, "lime": lime}
        return hash_settings(content | ({"target": "true"} if job.target == "true" else {}))

    def path_of(self, trial: Trial) -> Place:
        """Return the directory of a trial's artifacts; see `is_done`."""
        folder = self.run.trials / trial.model / f"seed-{trial.seed}"
        return folder / f"{trial.arm}-{self.key_of(trial)}"

    def masks_of(self, job: MaskJob) -> Place:
        """Return the directory of the masks of a job."""
        name = job.teacher.arm + ("-true" if job.target == "true" else "")
        folder = self.run.masks / job.teacher.model / f"seed-{job.teacher.seed}"
        return folder / f"{name}-{self.key_of_job(job)}"

    def list_ids(self, seed: int, split: str) -> frozenset[str]:
        """Return the images in one part of a split."""
        return frozenset(self.image_ids[self.splits[seed] == split].tolist())

    def is_done(self, trial: Trial) -> bool:
        """Tell whether the artifacts of a trial are there.

        A folder appears by a rename; in object storage, the last file tells.
        """
        path = self.path_of(trial)
        return (path / LAST).is_file() if isinstance(path, RemotePath) else path.exists()

    def list_done(self, trials: Iterable[Trial]) -> set[Trial]:
        """Return those of some trials whose artifacts are there.

        In object storage that is one listing, however many there are, and else a look at each.
        """
        if not isinstance(self.run.trials, RemotePath):
            return {trial for trial in trials if self.is_done(trial)}
        there = {path for path, _ in self.run.trials.list_files()}
        return {trial for trial in trials if self.path_of(trial) / LAST in there}


def list_arms(experiment: Experiment) -> list[Trial]:
    """List the trainings that are compared: every arm of every model and seed."""
    config = experiment.config
    return [
        Trial(model, seed, arm)
        for seed in config.seed_numbers
        for model in config.models
        for arm in config.arms
    ]


def plan_trials(
    experiment: Experiment, only: Sequence[Trial] | None = None
) -> tuple[list[Trial], list[Trial]]:
    """Return the trainings of a comparison: those that others need, and those others.

    Example of the first: `original`, and whatever else has to explain images or to be gone on
    from. Of the second: every other arm.

    Args:
        experiment: What is compared.
        only: The arms to plan for; by default all.
    """
    arms = list_arms(experiment) if only is None else list(only)
    originals = [trial for trial in arms if trial.arm == ORIGINAL]
    needed = [first for trial in arms for first in experiment.list_requirements(trial)]
    first = list(dict.fromkeys([*originals, *needed]))
    return first, [trial for trial in arms if trial.arm != ORIGINAL]


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
    return digest_file(locate(weights))
