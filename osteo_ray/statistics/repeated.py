"""Predictions that were given twice: seeds that are no trainings of their own, arms that are one.

Two trainings never agree on every image to six digits, so predictions that do are copies: a file
that was taken twice, a seed that was never used, parts of one result passed off as several. Hard
calls and saturated probabilities can agree by right, so only predictions of many values count.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np

from osteo_ray.statistics.predictions import Group, Predictions

_DIGITS = 6
_FEWEST_VALUES = 10  # distinct ones, below which equal predictions prove nothing
_AT_FIRST = 200  # images: nearly all pairs differ on these already


def find_repeated_seeds(predictions: Predictions) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return, per model and arm, the seeds whose predictions are those of an earlier seed.

    Seeds may test different images: those are compared that both of them test.
    """
    found: dict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for model, arms in _list_tests(predictions).items():
        for arm, of_seed in arms.items():
            seeds = sorted(of_seed)
            repeated = tuple(
                seed
                for place, seed in enumerate(seeds)
                if any(_are_copies(of_seed[seed], of_seed[other]) for other in seeds[:place])
            )
            if repeated:
                found[model][arm] = repeated
    return dict(found)


def find_equal_arms(predictions: Predictions) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return, per model, the pairs of arms that predict the same on every seed both have."""
    return {
        model: tuple(
            (one, other)
            for one, other in combinations(arms, 2)
            if _are_equal_arms(arms[one], arms[other])
        )
        for model, arms in _list_tests(predictions).items()
    }


def _list_tests(predictions: Predictions) -> dict[str, dict[str, dict[int, Group]]]:
    """Return the predictions on test images by model, arm and seed."""
    found: dict[str, dict[str, dict[int, Group]]] = defaultdict(lambda: defaultdict(dict))
    for key, group in predictions.groups.items():
        if key.split == "test":
            found[key.model][key.arm][key.seed] = group
    return found


def _are_equal_arms(one: Mapping[int, Group], other: Mapping[int, Group]) -> bool:
    shared = one.keys() & other.keys()
    return bool(shared) and all(_are_copies(one[seed], other[seed]) for seed in shared)


def _are_copies(one: Group, other: Group) -> bool:
    """Tell whether two trained models agree on all images that both tested, in many values."""
    values: np.ndarray | None = None
    for n_images in _list_amounts(len(one.images)):
        images = one.images[:n_images]  # ascending, as those of the other are
        there = np.minimum(np.searchsorted(other.images, images), len(other.images) - 1)
        shared = other.images[there] == images
        values = one.probabilities[:n_images][shared]
        if np.any(np.abs(values - other.probabilities[there[shared]]) > 10.0**-_DIGITS):
            return False
    return values is not None and len(np.unique(np.round(values[:, 0], _DIGITS))) >= _FEWEST_VALUES


def _list_amounts(n_images: int) -> Iterator[int]:
    if n_images > _AT_FIRST:
        yield _AT_FIRST
    yield n_images
