"""Predictions that were given twice: seeds that are no trainings of their own, arms that are one.

Two trainings never agree on many images to six digits, so predictions that do are copies: a file
that was taken twice, a seed that was never used, parts of one result passed off as several, images
under other names. Hard calls and saturated probabilities can agree by right, so only predictions of
many values count.
"""

from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations

import numpy as np

from osteo_ray.statistics.predictions import Group, Predictions

_DIGITS = 6
_FEWEST_VALUES = 10  # distinct ones, below which equal predictions prove nothing
_MOST = 0.5  # of the images, from which on a few changed values hide no copy
_AT_FIRST = 200  # images: nearly all pairs differ on these already

_Pairs = tuple[np.ndarray, np.ndarray]
"""Probabilities of two trained models for the same images, float (n_images, n_classes) each."""


def find_repeated_seeds(predictions: Predictions) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return, per model and arm, the seeds whose predictions are those of an earlier seed.

    Seeds may test different images: those are compared that both of them test. Where there are
    none, as when the same images have other names, predictions are compared in order of their size.
    """
    found: dict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for model, arms in _list_tests(predictions).items():
        for arm, of_seed in arms.items():
            seeds = sorted(of_seed)
            repeated = tuple(
                seed
                for place, seed in enumerate(seeds)
                if any(_is_repeat(of_seed[seed], of_seed[other]) for other in seeds[:place])
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
    return bool(shared) and all(
        _agree(_share(one[seed], other[seed]), least=1.0) for seed in shared
    )


def _is_repeat(one: Group, other: Group) -> bool:
    step = len(one.images) // _AT_FIRST
    if step > 1:
        at_first = _share(one.take(slice(None, None, step)), other)
        if len(at_first[0]) >= _FEWEST_VALUES and not _are_equal(at_first).any():
            return False
    pairs = _share(one, other)
    if len(pairs[0]):
        return _agree(pairs, least=_MOST)
    return _agree(_sort_both(one, other), least=1.0)


def _share(one: Group, other: Group) -> _Pairs:
    """Return what both predict for the images that both tested."""
    there = np.minimum(np.searchsorted(other.images, one.images), len(other.images) - 1)
    shared = other.images[there] == one.images  # both ascend
    return one.probabilities[shared], other.probabilities[there[shared]]


def _sort_both(one: Group, other: Group) -> _Pairs:
    """Return what both predict, by class and size; nothing if they are not of the same images."""
    means = one.probabilities.mean(axis=0), other.probabilities.mean(axis=0)
    same = np.array_equal(np.bincount(one.labels), np.bincount(other.labels))
    if not same or not np.allclose(*means, rtol=0, atol=10.0**-_DIGITS):
        return one.probabilities[:0], other.probabilities[:0]
    first, second = (np.lexsort((each.probabilities[:, 0], each.labels)) for each in (one, other))
    return one.probabilities[first], other.probabilities[second]


def _are_equal(pairs: _Pairs) -> np.ndarray:
    """Tell which predictions are equal: bool, (n_images,)."""
    differences: np.ndarray = np.abs(pairs[0] - pairs[1]).max(axis=1)
    return differences <= 10.0**-_DIGITS


def _agree(pairs: _Pairs, *, least: float) -> bool:
    """Tell whether at least a share of the predictions is equal, in many values.

    Where not all are, saturated ones do not count, and most of the others must differ from image to
    image: shares of a few neighbours or trees, or of two decimals, agree by right.
    """
    equal, fewest = _are_equal(pairs), _FEWEST_VALUES
    if not len(equal) or equal.mean() < least:
        return False
    if not equal.all():
        is_open = np.minimum(*(each.max(axis=1) for each in pairs)) < 1 - 10.0**-_DIGITS
        pairs, equal = (pairs[0][is_open], pairs[1][is_open]), equal[is_open]
        if not len(equal) or equal.mean() < least:
            return False
        fewest = max(fewest, int(equal.sum()) // 2)
    return len(np.unique(np.round(pairs[0][equal], _DIGITS), axis=0)) >= fewest
