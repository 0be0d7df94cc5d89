"""Predictions drawn from a model whose truth is known, as the tables that a run leaves.

The score of image i by arm a, trained with seed j, is

    z = side[i] · (separation[a] + skill[a, j])
        + √r · u[i] + √s · w[a, i] + √(1 - r - s) · e[a, j, i]

with side = 1 for the positive class and -1 for the other, and u, w, e standard normal. u makes all
arms right about the same images, w lets an arm be better at some images whatever the seed (what
other test images would change), skill is the luck of one training (what other seeds would change),
and e is the rest. Without skill, AUC is Φ(√2 · separation) and the accuracy at a threshold of 0 is
Φ(separation). The probability of the positive class is Φ(z + shift).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import optimize, special, stats

Values = npt.NDArray[np.float64]
CLASSES = ("normal", "osteoporosis")
MODEL = "simulated"


@dataclass(frozen=True)
class SimulatedArm:
    """How well an arm does.

    Attributes:
        auc: Without the luck of trainings.
        skill: Standard deviation of that luck, in units of the separation.
        shift: Added to all scores: moves the threshold, and no AUC.
        constant: Says the same of every image: 1 for the positive class, 0 for the other; None for
            an arm that looks at them.
        seeds: On which it was trained; None for all.
    """

    auc: float
    skill: float = 0.05
    shift: float = 0.0
    constant: float | None = None
    seeds: tuple[int, ...] | None = None

    @property
    def separation(self) -> float:
        """Distance of a class's mean score from 0."""
        return float(special.ndtri(self.auc)) / math.sqrt(2)


@dataclass(frozen=True)
class Population:
    """What the images have in common.

    Attributes:
        shared: Share of the variance of scores that all arms have in common on an image (r).
        leaning: Share that an arm has in common with itself over seeds (s).
        positive_share: Of the images.
    """

    shared: float = 0.5
    leaning: float = 0.15
    positive_share: float = 0.5


@dataclass(frozen=True)
class DrawnImages:
    """Images that have been drawn.

    Attributes:
        positive: bool, (n,).
        common: float, (n,); the part of the score that all arms share.
    """

    positive: npt.NDArray[np.bool_]
    common: Values


def simulate_predictions(
    arms: Mapping[str, SimulatedArm],
    tested: Sequence[np.ndarray],
    *,
    n_images: int,
    rng: np.random.Generator,
    luck: np.random.Generator | None = None,
    population: Population = Population(),
    model: str = MODEL,
    classes: tuple[str, str] = CLASSES,
) -> pa.Table:
    """Draw the predictions of all arms on the test images of all seeds.

    Args:
        arms: By name.
        tested: Per seed the numbers of its test images.
        n_images: Of the data set.
        rng: Where chance comes from.
        luck: Where that of arms and trainings comes from; by default `rng`. Models of one data set
            share the images, drawn by equal `rng`, but no luck.
        population: What the images have in common.
        model: Its name in the table.
        classes: Negative and positive.
    """
    images = draw_images(n_images, population, rng)
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("seed", "arm", "image", "p")}
    for name, arm in arms.items():
        drawn = draw_arm(arm, images, tested, population, luck or rng)
        for seed, (tested_images, p) in enumerate(zip(tested, drawn, strict=True)):
            if arm.seeds is not None and seed not in arm.seeds:
                continue
            columns["seed"].append(np.full(len(p), seed))
            columns["arm"].append(np.full(len(p), name))
            columns["image"].append(tested_images)
            columns["p"].append(p)
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    image, p = joined["image"], joined["p"]
    return pa.table(
        {
            "model": pa.array([model] * len(image)),
            "seed": joined["seed"],
            "arm": pa.array(joined["arm"].tolist()),
            "split": pa.array(["test"] * len(image)),
            "image_id": pa.array([f"image-{number:06}" for number in image]),
            "label": pa.array([classes[int(images.positive[number])] for number in image]),
            f"p_{classes[0]}": 1 - p,
            f"p_{classes[1]}": p,
        }
    )


def draw_images(n_images: int, population: Population, rng: np.random.Generator) -> DrawnImages:
    """Draw the classes of images, and what all arms have in common on them."""
    positive = np.zeros(n_images, bool)
    positive[: round(n_images * population.positive_share)] = True
    positive = rng.permutation(positive)
    return DrawnImages(positive, math.sqrt(population.shared) * rng.normal(size=n_images))


def draw_arm(
    arm: SimulatedArm,
    images: DrawnImages,
    tested: Sequence[np.ndarray],
    population: Population,
    rng: np.random.Generator,
) -> list[Values]:
    """Draw the probabilities of the positive class that an arm gives to the images of each seed.

    Args:
        arm: How well it does; `seeds` is not looked at.
        images: All images.
        tested: Per seed the numbers of the images that are drawn.
        population: What the images have in common.
        rng: Where chance comes from.
    """
    side = np.where(images.positive, 1.0, -1.0)
    leaning = math.sqrt(population.leaning) * rng.normal(size=len(side))
    rest = math.sqrt(max(0.0, 1 - population.shared - population.leaning))
    found = []
    for chosen in tested:
        skill, noise = rng.normal() * arm.skill, rest * rng.normal(size=len(chosen))
        z = side[chosen] * (arm.separation + skill) + images.common[chosen] + leaning[chosen]
        p = special.ndtr(z + noise + arm.shift)
        found.append(p if arm.constant is None else np.full(len(chosen), arm.constant))
    return found


def draw_tested(
    n_images: int, n_test: int, n_seeds: int, rng: np.random.Generator, *, folds: int | None = None
) -> list[np.ndarray]:
    """Draw the test images of each seed: hold-outs, or the folds of a repeated cross-validation.

    Where `n_test` is `n_images`, every seed tests the same images.
    """
    if folds is None:
        return [np.sort(rng.permutation(n_images)[:n_test]) for _ in range(n_seeds)]
    tested: list[np.ndarray] = []
    while len(tested) < n_seeds:
        tested += [np.sort(part) for part in np.array_split(rng.permutation(n_images), folds)]
    return tested[:n_seeds]


def correlate_scores(auc: float, disagreement: float) -> float:
    """Return the correlation of scores at which two arms of equal AUC disagree on so many images.

    Args:
        auc: Of both.
        disagreement: Share of test images that exactly one of them gets right, in (0, 1).

    Returns:
        In [0, 0.999]; 0 where even independent scores disagree less.
    """
    separation = float(special.ndtri(auc)) / math.sqrt(2)

    def differ(correlation: float) -> float:
        both = stats.multivariate_normal.cdf(
            [separation, separation], cov=[[1, correlation], [correlation, 1]]
        )
        return float(2 * (special.ndtr(separation) - both)) - disagreement

    if differ(0.0) <= 0:
        return 0.0
    if differ(0.999) >= 0:
        return 0.999
    return float(optimize.brentq(differ, 0.0, 0.999, xtol=1e-4))
