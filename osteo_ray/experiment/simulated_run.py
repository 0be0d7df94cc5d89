"""The predictions of a whole run, drawn: how its images are divided, and all its trainings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

from osteo_ray.experiment.costs import Parts
from osteo_ray.experiment.simulated import (
    CLASSES,
    Population,
    SimulatedArm,
    draw_arm,
    draw_images,
)
from osteo_ray.statistics.predictions import Group, Key, Predictions

FEWEST_TABLES = 20
"""Simulated runs per effect, however long one takes."""
_MOST_WORK = 40_000  # per effect, in units of about 0.4 ms


@dataclass(frozen=True)
class Scheme:
    """How a comparison divides its images.

    Attributes:
        n_seeds: Trainings per arm and model.
        parts: Images per seed.
        folds: Of a repeated cross-validation; None for hold-outs.
        fixed: All seeds test the same images.
    """

    n_seeds: int
    parts: Parts
    folds: int | None = None
    fixed: bool = False

    def shrink(self, most: float) -> "Scheme":
        """Return a scheme with at most so many test images, and all parts in their proportions."""
        factor = min(1.0, most / max(1.0, self.parts.test))
        if factor == 1:
            return self
        return replace(self, parts=Parts(*(factor * part for part in vars(self.parts).values())))

    def count_tables(self, n_trained: int, wanted: int) -> int:
        """Return how many runs are simulated: fewer than wanted where one takes long.

        Args:
            n_trained: Models × arms.
            wanted: How many, if one takes no longer than usual.
        """
        work = n_trained * self.n_seeds * (1 + self.parts.test / 300)
        return min(wanted, max(FEWEST_TABLES, round(_MOST_WORK / work)))


def draw_run(
    scheme: Scheme,
    arms: Mapping[str, SimulatedArm],
    n_models: int,
    population: Population,
    stream: tuple[int, int],
) -> Predictions:
    """Draw the predictions of all trainings of a run on validation and test images.

    Every arm of every model has randomness of its own, so that one more changes no other. Where
    training sets overlap, seeds have a part of their luck in common.

    Args:
        scheme: How the images are divided.
        arms: By name.
        n_models: How many models there are; all do equally well.
        population: What the images have in common.
        stream: Seed of the simulation, and number of the run.
    """
    train, validation, test = (round(part) for part in vars(scheme.parts).values())
    n_images = validation + test + (0 if scheme.fixed else train)
    images = draw_images(n_images, population, np.random.default_rng((*stream, 0)))
    splits = _draw_splits(
        scheme, images.positive, validation, test, np.random.default_rng((*stream, 1))
    )
    both = [np.concatenate(split) for split in splits]
    labels = images.positive.astype(np.int64)
    groups = {}
    for number in range(n_models):
        for name, arm in arms.items():
            rng = np.random.default_rng((*stream, 2, number, *name.encode()))
            lucky = arm if scheme.fixed else _share_luck(arm, scheme, rng)
            for seed, p in enumerate(draw_arm(lucky, images, both, population, rng)):
                parts = np.split(p, [len(splits[seed][0])])
                for split, chosen, scores in zip(
                    ("test", "validation"), splits[seed], parts, strict=True
                ):
                    if len(chosen):
                        groups[Key(f"model {number}", seed, name, split)] = Group(
                            chosen.astype(np.int32),
                            labels[chosen],
                            np.stack([1 - scores, scores], axis=1),
                        )
    return Predictions(
        CLASSES, 1, groups, tuple(f"{number:07}" for number in range(n_images)), ranks=(0, 1)
    )


def _share_luck(arm: SimulatedArm, scheme: Scheme, rng: np.random.Generator) -> SimulatedArm:
    """Give all seeds of an arm a part of its luck, since their training sets overlap.

    Its share of the variance is the correlation of seeds that Nadeau and Bengio (2003) assume,
    n_test / (n_test + n_train).
    """
    parts = scheme.parts
    common = parts.test / (parts.test + parts.train)
    moved = arm.separation + math.sqrt(common) * arm.skill * rng.normal()
    auc = float(special.ndtr(math.sqrt(2) * moved))
    return replace(arm, auc=auc, skill=math.sqrt(1 - common) * arm.skill)


def _draw_splits(
    scheme: Scheme,
    positive: npt.NDArray[np.bool_],
    n_validation: int,
    n_test: int,
    rng: np.random.Generator,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw the test and the validation images of each seed, each with its share of each class."""
    if scheme.fixed:
        order = _mix_classes(positive, rng)
        return [(np.sort(order[:n_test]), np.sort(order[n_test:]))] * scheme.n_seeds
    tested: list[Sequence[int] | np.ndarray] = []
    while len(tested) < scheme.n_seeds:
        order = _mix_classes(positive, rng)
        tested += [order[:n_test]] if scheme.folds is None else np.array_split(order, scheme.folds)
    splits = []
    for chosen in tested[: scheme.n_seeds]:
        is_left = np.ones(len(positive), bool)
        is_left[chosen] = False
        rest = np.flatnonzero(is_left)
        validation = rest[_mix_classes(positive[rest], rng)[:n_validation]]
        splits.append((np.sort(chosen), np.sort(validation)))
    return splits


def _mix_classes(positive: npt.NDArray[np.bool_], rng: np.random.Generator) -> np.ndarray:
    """Order images at random, such that any stretch holds both classes in their shares."""
    places = np.empty(len(positive))
    for of_class in (positive, ~positive):
        n = int(of_class.sum())
        places[of_class] = (rng.permutation(n) + rng.random()) / max(1, n)
    return np.argsort(places, kind="stable")
