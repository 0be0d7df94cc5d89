"""The luck of trainings and of test images: how an endpoint varies around what is expected."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy import special

from osteo_ray.experiment.simulated import Population, SimulatedArm, draw_arm, draw_images
from osteo_ray.statistics.metrics.registry import METRICS
from osteo_ray.statistics.predictions import Group
from osteo_ray.statistics.sample import Sample

_N_QUANTILES = 2000  # images per class by which a metric is computed
_N_MEASURED = 400  # simulated seeds by which the luck of images is measured
_FEWEST_DRAWN, _MOST_DRAWN = 2000, 20_000  # test images of each; more follow by the formula
_SMALL_SHARE = 1 / 16  # of the variance that trainings have over seeds
_SMALL_PART = 1 / 8  # of the margin
_FEWEST_OF_CLASS = 200


@dataclass(frozen=True)
class Assumed:
    """What is taken to be true of the images and trainings.

    Attributes:
        baseline_auc: AUC of the baseline, from .5 on.
        skill: Luck of a training: standard deviation, in units of the separation of the classes.
        population: What the images have in common.
    """

    baseline_auc: float
    skill: float
    population: Population


@lru_cache(maxsize=512)
def measure_expected(metric: str, auc: float, positive_share: float) -> float:
    """Return the metric of a simulated classifier on a great many images, without luck.

    Any metric is measured by its own formula, on images that lie at the quantiles of the scores
    that `simulated` draws.

    Args:
        metric: A name in `METRICS`.
        auc: Of the classifier.
        positive_share: Share of images of the positive class.

    Example:
        >>> round(measure_expected("auc", 0.85, 0.3), 3)
        0.85
    """
    n_positive = max(1, round(2 * _N_QUANTILES * positive_share))
    n_negative = max(1, 2 * _N_QUANTILES - n_positive)
    separation = SimulatedArm(auc).separation
    z = np.concatenate(
        [
            side * separation + special.ndtri((np.arange(n) + 0.5) / n)
            for side, n in ((-1, n_negative), (1, n_positive))
        ]
    )
    p = special.ndtr(z)
    labels = np.repeat([0, 1], [n_negative, n_positive])
    group = Group(np.arange(len(p), dtype=np.int32), labels, np.stack([1 - p, p], axis=1))
    return float(METRICS[metric].measure(Sample.of(group, 1, (0, 1))))


def measure_luck(assumed: Assumed, metric: str, n_test: int) -> float:
    """Return the standard deviation over seeds of the difference of two equal arms.

    It is simulated, each seed with test images of its own. Of many test images, some are: the luck
    of trainings does not depend on their number, and the variance that images add falls as it
    grows.

    Args:
        assumed: What is taken to be true.
        metric: A name in `METRICS`.
        n_test: Test images per seed.
    """
    n_drawn = min(n_test, _count_drawn(assumed))
    if n_drawn == n_test:
        return _simulate_luck(assumed, metric, n_test)
    both, of_images = _split_variance(assumed, metric)
    return math.sqrt(max(0.0, both - of_images) + of_images * n_drawn / n_test)


def count_telling(assumed: Assumed, metric: str, margin: float, n_seeds: int = 1) -> float:
    """Return how many test images per seed tell of a verdict what any larger number does.

    Either their luck adds a sixteenth to the variance that trainings have over seeds, which is 3 %
    of its standard deviation; or its standard deviation is an eighth of the margin, so that
    effects a margin apart are told apart for certain. And there are 200 of the rarer class.

    Args:
        assumed: What is taken to be true.
        metric: A name in `METRICS`.
        margin: In units of the metric.
        n_seeds: Seeds that test the same images: they average the luck of trainings alone.

    Returns:
        Infinity where trainings have no luck and there is no margin.
    """
    both, of_images = _split_variance(assumed, metric)
    of_trainings = max(0.0, both - of_images) if assumed.skill else 0.0
    small = max(of_trainings / n_seeds * _SMALL_SHARE, (_SMALL_PART * margin) ** 2)
    if small == 0:
        return math.inf
    enough = of_images * _count_drawn(assumed) / small
    return max(enough, _FEWEST_OF_CLASS / _share_of_rarer(assumed))


def _share_of_rarer(assumed: Assumed) -> float:
    share = assumed.population.positive_share
    return min(share, 1 - share)


def _count_drawn(assumed: Assumed) -> int:
    """Return how many test images per seed show the variance that images add."""
    wanted = _FEWEST_OF_CLASS / max(_share_of_rarer(assumed), _FEWEST_OF_CLASS / _MOST_DRAWN)
    return max(_FEWEST_DRAWN, round(wanted))


@lru_cache(maxsize=64)
def _split_variance(assumed: Assumed, metric: str) -> tuple[float, float]:
    """Return the variance over seeds of `_count_drawn` images each, and that due to images."""
    n_drawn = _count_drawn(assumed)
    both = _simulate_luck(assumed, metric, n_drawn)
    return both**2, _simulate_luck(replace(assumed, skill=0.0), metric, n_drawn) ** 2


def _simulate_luck(assumed: Assumed, metric: str, n_test: int) -> float:
    rng = np.random.default_rng(0)
    n_images = n_test * _N_MEASURED
    images = draw_images(n_images, assumed.population, rng)
    tested = np.split(np.arange(n_images), _N_MEASURED)
    arm = SimulatedArm(assumed.baseline_auc, assumed.skill)
    values = np.array(
        [
            [
                _measure(metric, images.positive[chosen], p)
                for chosen, p in zip(
                    tested, draw_arm(arm, images, tested, assumed.population, rng), strict=True
                )
            ]
            for _ in range(2)
        ]
    )
    return float(np.nanstd(values[0] - values[1], ddof=1))


def _measure(metric: str, positive: np.ndarray, p: np.ndarray) -> float:
    group = Group(np.arange(len(p)), positive.astype(np.int64), np.stack([1 - p, p], axis=1))
    return float(METRICS[metric].measure(Sample.of(group, 1, (0, 1))))
