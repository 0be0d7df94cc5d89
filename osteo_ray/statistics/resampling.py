"""From predictions to a metric of every trained model on resampled test images."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from osteo_ray.base.errors import InputError
from osteo_ray.statistics.arrays import Values, Weights
from osteo_ray.statistics.bootstrap import draw_weights
from osteo_ray.statistics.metrics.registry import METRICS
from osteo_ray.statistics.predictions import Group, Key, Predictions
from osteo_ray.statistics.resampled_sample import resample_groups

N_DRAWS = 500
"""A variance is estimated, no quantile: the noise of so many draws is that of 500 degrees of
freedom, small beside that of seeds and images."""


@dataclass(frozen=True)
class Resampled:
    """A metric of trained models on bootstrap samples of the test images.

    Draw k uses the same weights of groups everywhere, so that differences of arms are paired, and
    what seeds share through common test images is seen.

    Attributes:
        metric: A name in `METRICS`.
        draws: Per model, arm and seed float64, (n_draws,); NaN where a draw lacks a class.
        tested: Per seed the numbers of the groups in its test set, distinct.
    """

    metric: str
    draws: dict[tuple[str, str, int], Values]
    tested: dict[int, npt.NDArray[np.int64]]

    def stack(
        self, model: str, arms: Sequence[str], seeds: Sequence[int]
    ) -> tuple[Values, None] | tuple[None, str]:
        """Return the draws of arms, (n_draws, n_arms, n_seeds), or None and why there are none.

        In a few draws a test set may lack a class, and the metric is NaN; more than half of them
        are too many.
        """
        keys = [[(model, arm, seed) for seed in seeds] for arm in arms]
        missing = sorted({key[2] for row in keys for key in row if key not in self.draws})
        if missing:
            return None, f"predictions of seeds {', '.join(map(str, missing))} are missing."
        draws = np.stack([np.stack([self.draws[key] for key in row], axis=1) for row in keys], 1)
        if np.isnan(draws).mean(0).max(initial=0.0) > 0.5:
            return None, (
                f"test sets are so small that most samples of them leave {self.metric} undefined."
            )
        return draws, None

    def count_shared(self, seeds: Sequence[int]) -> int:
        """Return how many groups the test sets of two of the seeds or more hold."""
        groups = np.concatenate([self.tested[seed] for seed in seeds])
        return int(np.sum(np.bincount(groups) > 1))


def resample_metric(
    predictions: Predictions,
    images: pd.DataFrame,
    *,
    metric: str,
    n_draws: int = N_DRAWS,
    seed: int = 0,
) -> Resampled:
    """Measure every trained model on bootstrap samples of the groups of test images.

    Args:
        predictions: Of all trained models that are to be compared; only those on test images
            count.
        images: image_id and group; images of one group (copies of a radiograph, one patient) are
            drawn together. One row per image that the splits deal.
        metric: The primary endpoint.
        n_draws: Bootstrap samples.
        seed: Of the samples.

    Raises:
        InputError: Trained models of one seed were tested on different images, or an image is not
            in `images`: tables of two runs are mixed.
    """
    group_of = _number_groups(images, predictions.image_ids)
    weights = draw_weights(max(1, images["group"].nunique()), n_draws, seed)
    of_groups = np.ascontiguousarray(weights.T)  # so that to look up images is to copy rows
    draws: dict[tuple[str, str, int], Values] = {}
    tested: dict[int, npt.NDArray[np.int64]] = {}
    for number, groups in _list_seeds(predictions).items():
        first = _check_seed(number, groups)
        in_seed = group_of[first.images]
        _check_known(first, in_seed, predictions.image_ids)
        tested[number] = np.unique(in_seed)
        values = measure_resampled(
            metric,
            list(groups.values()),
            of_groups[in_seed],
            predictions.positive,
            predictions.ranks,
        )
        for key, column in zip(groups, values.T, strict=True):
            draws[key.model, key.arm, number] = column
    return Resampled(metric, draws, tested)


def measure_resampled(
    metric: str,
    groups: Sequence[Group],
    weights: Weights,
    positive: int,
    ranks: Sequence[int] | None = None,
) -> Values:
    """Measure trained models on many bootstrap samples of the same images.

    Args:
        metric: A name in `METRICS`.
        groups: Of each trained model, at least one; all of the same images with the same labels.
        weights: uint8, (n_images, n_draws), C-contiguous; an image of weight 2 counts twice.
        positive: Index of the positive class.
        ranks: The place of each class in their order, if they have one.

    Returns:
        float64, (n_draws, n_groups), NaN where the metric is undefined.
    """
    measure = METRICS[metric].measure
    samples = resample_groups(groups, weights, positive, ranks)
    return np.stack([measure(one) for one in samples], axis=1)


def _list_seeds(predictions: Predictions) -> dict[int, dict[Key, Group]]:
    """Return the groups of test images by seed."""
    seeds: dict[int, dict[Key, Group]] = defaultdict(dict)
    for key, group in predictions.groups.items():
        if key.split == "test":
            seeds[key.seed][key] = group
    return seeds


def _check_seed(seed: int, groups: Mapping[Key, Group]) -> Group:
    """Return one of the groups, after all turned out to be of the same images and labels."""
    (first, expected), *_ = groups.items()
    for key, group in groups.items():
        if not group.shares_images(expected):
            raise InputError(
                f"Expected all arms of seed {seed} to be tested on the same images, but arm "
                f"{key.arm} of {key.model} ({len(group.images)} images) was tested on others than "
                f"arm {first.arm} of {first.model} ({len(expected.images)} images). Do not mix the "
                "tables of two runs."
            )
    return expected


def _number_groups(images: pd.DataFrame, image_ids: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the number of each image's group, from 0 on; -1 where the image is unknown."""
    numbers = np.unique(images["group"].to_numpy(), return_inverse=True)[1]
    number_of = dict(zip(images["image_id"].tolist(), numbers.tolist(), strict=True))
    return np.array([number_of.get(image_id, -1) for image_id in image_ids], dtype=np.int64)


def _check_known(group: Group, in_groups: np.ndarray, image_ids: Sequence[str]) -> None:
    unknown = group.images[in_groups < 0]
    if len(unknown):
        raise InputError(
            "Expected every predicted image in the table of images, but "
            f"{image_ids[unknown[0]]} is not. Do not mix the tables of two runs."
        )
