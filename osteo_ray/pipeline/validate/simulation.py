"""Experiments drawn from a model whose truth is known, as tables like those of a run.

On the probit scale, arm a trained with seed j is right about image i where

    mean[a] + difficulty[i] + leaning[a, i] + skill[a, j] + common[a] + noise[a, j, i] > 0,

all terms but the first normal with mean 0. `difficulty` makes arms right about the same images,
`leaning` lets an arm be better at some images whatever the seed (what other test images would
change), `skill` is the luck of one training (what other seeds would change), and `common` is what
all trainings share because their training sets overlap (what another data set would change). Copies
of a radiograph share difficulty and leaning. From this follows the expected accuracy of an arm, the
mean over new images, splits, seeds and data sets: the truth with which intervals are compared.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import stats

from osteo_ray.data.splits.assignment import assign_fold_splits, assign_splits
from osteo_ray.statistics.sizes import Sizes

CLASSES = ("normal", "worn")
MODEL = "simulated"
RATIO = (7, 2, 1)
N_SPLITS = 60
"""Hold-out splits made per setting. Each experiment uses some of them: all images of a class are
drawn in the same way, so one split serves many experiments."""


@dataclass(frozen=True)
class Setting:
    """How experiments are drawn.

    Attributes:
        name: Its name in tables.
        gains: Per arm, its true accuracy minus that of the first.
        n_seeds: Trainings per arm.
        n_images: Images in the data set, half of each class.
        n_folds: Folds of a repeated cross-validation; None for hold-out splits.
        copies: Images per radiograph.
        accuracy: True accuracy of the first arm.
        difficulty: Standard deviation of that term, where that of `noise` is 1.
        leaning: Standard deviation of that term.
        skill: Standard deviation of that term.
        common: Standard deviation of that term.
        bootstrap_covers: Whether the bootstrap's interval must meet its bar.
        plan_holds: Whether seeds are as correlated as the corrected t-test assumes, so that its
            power must be as planned.
    """

    name: str
    gains: tuple[tuple[str, float], ...] = (("original", 0.0), ("lime", 0.0))
    n_seeds: int = 10
    n_images: int = 1200
    n_folds: int | None = None
    copies: int = 1
    accuracy: float = 0.8
    difficulty: float = 1.5
    leaning: float = 0.5
    skill: float = 0.1
    common: float = 0.0
    bootstrap_covers: bool = True
    plan_holds: bool = False

    @property
    def scale(self) -> float:
        """Standard deviation of an arm's sum."""
        terms = (self.difficulty, self.leaning, self.skill, self.common, 1.0)
        return math.hypot(*terms)

    @property
    def groups(self) -> np.ndarray:
        """Radiograph of each image, int (n_images,)."""
        return np.arange(self.n_images) // self.copies

    @property
    def labels(self) -> np.ndarray:
        """Class of each image, int (n_images,)."""
        return self.groups % 2


@dataclass(frozen=True)
class SimulatedExperiment:
    """The tables of one experiment.

    Attributes:
        predictions: As `predictions.parquet` has them, test images only.
        results: model, seed, arm, split, n_images and accuracy, as in `results.parquet`.
        images: image_id and group.
        sizes: Images per seed, on average.
    """

    predictions: pa.Table
    results: pd.DataFrame
    images: pd.DataFrame
    sizes: Sizes


def draw_experiment(setting: Setting, number: int, seed: int = 0) -> SimulatedExperiment:
    """Draw one experiment of a setting; the same number and seed give the same experiment."""
    rng = np.random.default_rng((seed, number, *setting.name.encode()))
    splits = list_splits(setting)
    if setting.n_folds is None:
        chosen = rng.choice(len(splits), setting.n_seeds, replace=False)
    else:  # repeats are whole, from the first on
        chosen = np.arange(setting.n_seeds)
    tested = [np.flatnonzero(splits[at] == "test") for at in chosen]
    arms = [arm for arm, _ in setting.gains]
    margins = _draw_margins(setting, tested, rng)
    predictions = _tabulate(setting, arms, tested, margins)
    results = pd.DataFrame(
        {
            "model": MODEL,
            "seed": np.tile(np.arange(len(tested)), len(arms)),
            "arm": np.repeat(arms, len(tested)),
            "split": "test",
            "n_images": np.tile([len(images) for images in tested], len(arms)),
            "accuracy": [(part > 0).mean() for of_arm in margins for part in of_arm],
        }
    )
    sizes = Sizes(
        n_test=float(np.mean([len(part) for part in tested])),
        n_train=float(np.mean([np.sum(splits[at] == "train") for at in chosen])),
    )
    return SimulatedExperiment(predictions, results, _list_images(setting), sizes)


@lru_cache(maxsize=2)
def list_splits(setting: Setting) -> list[np.ndarray]:
    """Return the splits of a setting, made as for real data; str, (n_images,) each."""
    labels, groups = np.array(CLASSES)[setting.labels], setting.groups
    if setting.n_folds is None:
        return [assign_splits(labels, groups, RATIO, seed=seed) for seed in range(N_SPLITS)]
    return [
        assign_fold_splits(labels, groups, RATIO, n_folds=setting.n_folds, number=number)
        for number in range(setting.n_seeds)
    ]


def _draw_margins(
    setting: Setting, tested: list[np.ndarray], rng: np.random.Generator
) -> list[list[np.ndarray]]:
    """Draw the sum of the module's text, (n_test,), per arm and seed."""
    n_groups = int(setting.groups[-1]) + 1
    difficulty = rng.normal(0, setting.difficulty, n_groups)
    margins = []
    for _, gain in setting.gains:
        mean = setting.scale * float(stats.norm.ppf(setting.accuracy + gain))
        level = mean + rng.normal(0, setting.common)
        of_group = difficulty + rng.normal(0, setting.leaning, n_groups)
        of_image = of_group[setting.groups]
        margins.append(
            [
                level + rng.normal(0, setting.skill) + of_image[part] + rng.normal(size=len(part))
                for part in tested
            ]
        )
    return margins


def _tabulate(
    setting: Setting, arms: list[str], tested: list[np.ndarray], margins: list[list[np.ndarray]]
) -> pa.Table:
    """Return predictions whose most probable class is the true one where the margin is positive."""
    sizes = [len(part) for part in tested]
    image = np.tile(np.concatenate(tested), len(arms))
    label = setting.labels[image]
    of_truth = stats.norm.cdf(np.concatenate([part for of_arm in margins for part in of_arm]))
    worn = np.where(label == 1, of_truth, 1 - of_truth)
    return pa.table(
        {
            "model": _name(np.zeros(len(image), np.int32), [MODEL]),
            "seed": np.tile(np.repeat(np.arange(len(tested)), sizes), len(arms)),
            "arm": _name(np.repeat(np.arange(len(arms), dtype=np.int32), sum(sizes)), arms),
            "split": _name(np.zeros(len(image), np.int32), ["test"]),
            "image_id": _name(image.astype(np.int32), _name_images(setting.n_images)),
            "label": _name(label.astype(np.int32), list(CLASSES)),
            "p_normal": 1 - worn,
            "p_worn": worn,
        }
    )


def _name(codes: np.ndarray, names: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(names))


@lru_cache(maxsize=2)
def _list_images(setting: Setting) -> pd.DataFrame:
    return pd.DataFrame({"image_id": _name_images(setting.n_images), "group": setting.groups})


@lru_cache(maxsize=4)
def _name_images(n_images: int) -> list[str]:
    return [f"{number:06d}" for number in range(n_images)]
