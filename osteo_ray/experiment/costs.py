"""How much there is to compute for a comparison, and how long that takes. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from osteo_ray.arms.arm import TEACHERS, MaskSource, Target, TeacherName
from osteo_ray.arms.registry import ARMS
from osteo_ray.data.settings import Guidance

TRAINING_COST = 3
"""The cost of a forward and a backward pass of one image, in forward passes."""

EXPLAINING_SHARE = 0.7
"""What an explanation of a comparison is expected to take of its passes at the pace of trainings.

Fewer samples than allowed are drawn, and networks are frozen, but superpixels have to be found.
Measured on two cores: .85 with a network of 0.3 million parameters and grids at 64 px, .49 with
MobileNetV3-large and quickshift at 128 px.
"""

DIVISION_COST = 20
"""The cost of the superpixels of one image, in forward passes, about."""


GUIDANCE_COST: dict[Guidance | None, int] = {None: 0, "activations": 7, "gradients": 16}
"""The cost of a penalty on one image, beside that of its training step, in forward passes.

Measured on one core, 96 px, batches of 8: steps of EfficientNet-B0 and MobileNetV3-large took 3.0
and 2.8 times as long with a penalty on activations, 5.7 and 5.2 times with one on gradients.
"""

LEADING = "lime"
"""The kind of mask that every teacher is asked for, as it leads the others."""


@dataclass(frozen=True)
class Parts:
    """Number of images per seed: an average, and therefore not always a whole number."""

    train: float
    validation: float
    test: float


@dataclass(frozen=True)
class Work:
    """What is to be computed; passes are forward passes of one image.

    Attributes:
        n_models: Number of models.
        n_trainings: Number of trainings of each model.
        training_passes: Passes of all trainings of a model; a step counts as `TRAINING_COST`, and
            what a penalty adds to it as `GUIDANCE_COST`.
        longest_training: Passes of the longest training.
        n_explanations: Number of images explained by each model.
        explaining_passes: Passes of all explanations by a model, at most.
    """

    n_models: int
    n_trainings: int
    training_passes: float
    longest_training: float
    n_explanations: int
    explaining_passes: float

    @property
    def passes(self) -> float:
        """Forward passes of all models together."""
        return self.n_models * (self.training_passes + self.explaining_passes)

    def __sub__(self, other: "Work") -> "Work":
        """Return what this has beyond other work on the same models."""
        return replace(
            self,
            n_trainings=self.n_trainings - other.n_trainings,
            training_passes=self.training_passes - other.training_passes,
            n_explanations=self.n_explanations - other.n_explanations,
            explaining_passes=self.explaining_passes - other.explaining_passes,
        )


@dataclass(frozen=True)
class Hours:
    """Hours on a cluster, at most."""

    training: float
    explaining: float

    @property
    def total(self) -> float:
        """Hours of both, one after the other."""
        return self.training + self.explaining


@dataclass(frozen=True)
class Speed:
    """How fast a cluster is.

    Attributes:
        rates: Per model, the forward passes per second of one worker.
        trainings_at_once: Number of trainings that run at the same time.
        workers: Workers per training.
        explainers: Workers that explain at the same time; four that share a GPU count as one.
        layout: In words, what runs where.
    """

    rates: Mapping[str, float]
    trainings_at_once: int
    workers: int
    explainers: float
    layout: str = ""

    def estimate_hours(self, work: Work) -> Hours:
        """Return the hours that work takes, at most; see `estimate_hours`."""
        return estimate_hours(
            work,
            self.rates,
            trainings_at_once=self.trainings_at_once,
            workers=self.workers,
            explainers=self.explainers,
        )


def count_parts(n_images: int, ratio: tuple[int, int, int], folds: int | None) -> Parts:
    """Divide a number of images as `data.splits` does, ignoring rounding and groups.

    Example:
        >>> count_parts(744, (7, 2, 1), None)
        Parts(train=520.8, validation=148.8, test=74.4)
        >>> count_parts(90, (7, 2, 1), 5)
        Parts(train=56.0, validation=16.0, test=18.0)
    """
    test = n_images * ratio[2] / sum(ratio) if folds is None else n_images / folds
    train = (n_images - test) * ratio[0] / (ratio[0] + ratio[1])
    return Parts(round(train, 6), round(n_images - test - train, 6), round(test, 6))


def count_work(
    *,
    n_models: int,
    n_seeds: int,
    arms: Sequence[str],
    parts: Parts,
    epochs: int,
    passes_of: Callable[[str], int],
    crossfit_folds: int,
    protocol: str,
) -> Work:
    """Count trainings, explanations and their forward passes, at most.

    A training passes its training images forward and backward once per epoch, its validation images
    once per epoch and once more at the end, and its test images at the end. Besides the arms
    themselves, their teachers are trained. Arms with the same teacher share its explanations.
    Trainings without one part of the training images count as whole ones.

    Args:
        n_models: Number of models.
        n_seeds: Number of seeds.
        arms: The planned arms.
        parts: Images per seed.
        epochs: Epochs per training.
        passes_of: Returns the forward passes of an explanation, at most, by kind of mask.
        crossfit_folds: Parts of the training images for out-of-fold explanations.
        protocol: `clean` or `paper`.
    """
    plain = epochs * (TRAINING_COST * parts.train + parts.validation)
    plain += parts.validation + parts.test
    n_all = round(parts.train + parts.validation + parts.test)
    n_train = round(parts.train)
    first: TeacherName = "resplit" if protocol == "paper" else "original"
    explaining = [arm for arm in arms if not ARMS[arm].shows_regions]
    sources = [source for arm in explaining if (source := ARMS[arm].masks)]
    kinds: dict[_Explained, set[str]] = {}
    for source in sources:
        for one in _list_explained(source, first):
            kinds.setdefault(one, {LEADING}).add(source.kind)
    n_images = {one: n_train if one.of_training else n_all - n_train for one in kinds}
    passes = sum(n_images[one] * passes_of(kind) for one in kinds for kind in kinds[one])
    teachers = {explained.teacher for explained in kinds}
    teachers |= {first for arm in arms if ARMS[arm].goes_on}
    per_teacher = {"none": 0, "one": 1, "one per fold": crossfit_folds}
    n_trainings = len(arms) + sum(per_teacher[TEACHERS[name].trainings] for name in teachers)
    penalties = [epochs * parts.train * GUIDANCE_COST[ARMS[arm].guidance] for arm in arms]
    return Work(
        n_models=n_models,
        n_trainings=n_seeds * n_trainings,
        training_passes=n_seeds * (n_trainings * plain + sum(penalties)),
        longest_training=plain + max(penalties, default=0),
        n_explanations=n_seeds * sum(n_images.values()),
        explaining_passes=n_seeds * passes,
    )


class _Explained(NamedTuple):
    """One class of one part of the images, explained by one teacher."""

    teacher: TeacherName
    target: Target
    of_training: bool


def _list_explained(source: MaskSource, first: TeacherName) -> list[_Explained]:
    """List whose explanations an arm needs, of training images and of the others.

    Args:
        source: Where its masks come from.
        first: The teacher that takes the part of `original`.
    """
    teacher = first if source.teacher == "original" else source.teacher
    others = first if teacher == "fold" else teacher
    return [
        _Explained(teacher, source.target, of_training=True),
        _Explained(others, source.target, of_training=False),
    ]


def estimate_hours(
    work: Work,
    rates: Mapping[str, float],
    *,
    trainings_at_once: int,
    workers: int,
    explainers: float,
) -> Hours:
    """Turn work into hours, at most, as if only forward passes took time.

    Args:
        work: What is to be computed.
        rates: Per model, the forward passes per second of one worker.
        trainings_at_once: Number of trainings that the cluster runs at the same time.
        workers: Workers per training; n workers count as n times as fast as one.
        explainers: Workers that explain at the same time.

    Raises:
        ValueError: A rate is missing or not positive.
    """
    if len(rates) != work.n_models or not all(rate > 0 for rate in rates.values()):
        raise ValueError(f"Expected {work.n_models} positive rates, but got {dict(rates)}.")
    per_pass_s = [1 / rate for rate in rates.values()]
    training_s = max(
        sum(per_pass_s) * work.training_passes / trainings_at_once,
        max(per_pass_s) * work.longest_training,  # however large the cluster, it takes its time
    )
    training_s /= workers
    explaining_s = sum(per_pass_s) * work.explaining_passes / explainers
    return Hours(training_s / 3600, explaining_s / 3600)
