"""Gather the evidence on each model from its predictions."""

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from osteo_ray.experiment.evidence import AUC, Evidence, Measured
from osteo_ray.statistics.inference import TestDesign
from osteo_ray.statistics.metrics.registry import METRICS
from osteo_ray.statistics.predictions import Group, Key, Predictions, encode_predictions
from osteo_ray.statistics.repeated import find_equal_arms, find_repeated_seeds
from osteo_ray.statistics.resampling import N_DRAWS, Resampled, resample_metric
from osteo_ray.statistics.results_table import choose_thresholds
from osteo_ray.statistics.sample import Sample

BALANCED_ACCURACY = "balanced_accuracy"


def gather_evidence(
    predictions: Predictions,
    images: pd.DataFrame,
    design: TestDesign,
    *,
    endpoint: str,
    seeds: Mapping[str, Sequence[int]],
    compared: Collection[str] | None = None,
    n_draws: int = N_DRAWS,
) -> tuple[dict[str, Evidence], Resampled]:
    """Measure the endpoint and the guard metrics of each model, on resampled test images too.

    The guard metrics are AUC and balanced accuracy at the threshold that validation images set.
    Where a training of the arms that are compared has none, the more probable class is predicted by
    all of the model, and that is no guard of an endpoint which no threshold moves: of such a one,
    those trainings are guarded that have a threshold.

    Args:
        predictions: Of all arms that can be compared: those on shuffled labels cannot.
        images: image_id and group.
        design: How the seeds relate.
        endpoint: Name of the metric that decides.
        seeds: Those planned, per model.
        compared: The arms whose guard metrics count, so that no other one decides how these are
            measured; None for all.
        n_draws: Bootstrap samples of the test images.

    Returns:
        The evidence per model, and the endpoint on resampled test images.

    Raises:
        InputError: Arms of one seed were tested on different images.
    """
    of_metric = {endpoint: predictions, AUC: predictions}
    called = _call_classes(predictions, compared, if_none=METRICS[endpoint].has_threshold)
    if called.groups and endpoint != BALANCED_ACCURACY:
        of_metric[BALANCED_ACCURACY] = called
    resampled = {
        metric: resample_metric(part, images, metric=metric, n_draws=n_draws)
        for metric, part in of_metric.items()
    }
    measured = {metric: _measure(part, resampled[metric]) for metric, part in of_metric.items()}
    collapsed, repeated = _find_collapsed(predictions), find_repeated_seeds(predictions)
    equal, group = find_equal_arms(predictions), _number_groups(predictions, images)
    fewest = _count_fewest_groups(predictions, group)
    chance_errors = _measure_chance_errors(predictions, group)
    evidence = {
        model: Evidence(
            model=model,
            endpoint=endpoint,
            metrics={metric: found[model] for metric, found in measured.items() if model in found},
            design=design,
            seeds=tuple(of_model),
            groups=resampled[endpoint].tested,
            collapsed=collapsed.get(model, {}),
            repeated=repeated.get(model, {}),
            equal=equal.get(model, ()),
            fewest_groups=fewest.get(model),
            chance_errors=chance_errors.get(model, {}),
        )
        for model, of_model in seeds.items()
        if model in measured[endpoint]
    }
    return evidence, resampled[endpoint]


def encode_judged(predictions: pa.Table, comparison: Mapping[str, Any]) -> Predictions:
    """Encode predictions with the classes, and their order, that a comparison was judged with.

    Args:
        predictions: Rows of the table of predictions.
        comparison: What comparison.json holds.
    """
    classes, ordinal = comparison["classes"], comparison.get("ordinal") or ()
    return encode_predictions(predictions, classes, comparison["positive_class"], ordinal)


def is_fixed(predictions: Predictions) -> bool:
    """Tell whether all of two or more seeds test the same images."""
    of_seed = {
        key.seed: group.images for key, group in predictions.groups.items() if key.split == "test"
    }
    first, *others = of_seed.values() or [np.zeros(0)]
    return bool(others) and all(np.array_equal(images, first) for images in others)


def _measure(predictions: Predictions, resampled: Resampled) -> dict[str, Measured]:
    metric = METRICS[resampled.metric]
    values: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    draws: dict[str, dict[str, dict[int, npt.NDArray[np.float64]]]]
    draws = defaultdict(lambda: defaultdict(dict))
    for key, group in predictions.groups.items():
        if key.split != "test":
            continue
        value = float(metric.measure(Sample.of(group, predictions.positive, predictions.ranks)))
        if np.isfinite(value):
            values[key.model][key.arm][key.seed] = value
        draws[key.model][key.arm][key.seed] = resampled.draws[key.model, key.arm, key.seed]
    bounds = (metric.lowest, metric.highest)
    return {
        model: Measured(values[model], draws[model], metric.higher_is_better, bounds)
        for model in draws
    }


def _call_classes(
    predictions: Predictions, compared: Collection[str] | None, *, if_none: bool
) -> Predictions:
    """Return hard calls on test images by the threshold of each training.

    Args:
        predictions: Of all arms.
        compared: The arms whose trainings are looked at; None for all.
        if_none: Leave a model as it is if a training that is looked at has no threshold; else
            only such trainings are left out.
    """
    thresholds = choose_thresholds(predictions)
    tested = {key: group for key, group in predictions.groups.items() if key.split == "test"}
    lacking = {key for key in tested if np.isnan(thresholds.get(key[:3], np.nan))}
    is_left = {key.model for key in lacking if compared is None or key.arm in compared}
    groups = dict[Key, Group]()
    for key, group in tested.items():
        if if_none and key.model in is_left:
            groups[key] = group
        elif key not in lacking:
            groups[key] = _call(group, thresholds[key[:3]], predictions.positive)
    return replace(predictions, groups=groups)


def _call(group: Group, threshold: float, positive: int) -> Group:
    called = (group.probabilities[:, positive] >= threshold).astype(np.float64)
    columns = (1 - called, called) if positive == 1 else (called, 1 - called)
    return replace(group, probabilities=np.stack(columns, axis=1))


def _find_collapsed(predictions: Predictions) -> dict[str, dict[str, float]]:
    """Return, per model and arm, the share of seeds with one class predicted throughout."""
    found: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for key, group in predictions.groups.items():
        if key.split == "test":
            found[key.model][key.arm].append(len(np.unique(group.predicted)) == 1)
    return {
        model: {arm: float(np.mean(seeds)) for arm, seeds in arms.items()}
        for model, arms in found.items()
    }


def _number_groups(predictions: Predictions, images: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return the number of the group of each image, by the number of the image."""
    group_of = images.drop_duplicates("image_id").set_index("image_id")["group"]
    numbers: npt.NDArray[np.int64]
    numbers, _ = pd.factorize(group_of.reindex(list(predictions.image_ids)))
    return numbers


def _count_fewest_groups(predictions: Predictions, group: npt.NDArray[np.int64]) -> dict[str, int]:
    """Return, per model, how many groups of test images the class has that has fewest."""
    fewest = {}
    for model, of_seed in _list_tested(predictions).items():
        parts = [np.stack([part.labels, part.images]) for part in of_seed.values()]
        labels, tested = np.unique(np.concatenate(parts, axis=1), axis=1)
        told = min(
            _count_equal_groups(group[tested[labels == label]])
            for label in range(len(predictions.classes))
        )
        fewest[model] = math.ceil(told - 1e-9)
    return fewest


def _measure_chance_errors(
    predictions: Predictions, group: npt.NDArray[np.int64]
) -> dict[str, dict[int, float]]:
    """Return, per model and seed, the standard error of AUC at chance (Mann and Whitney 1947).

    With several classes it is the mean of those of each against the rest: that of their mean is no
    larger. Seeds whose test images lack a class are left out.
    """
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for model, of_seed in _list_tested(predictions).items():
        for seed, part in of_seed.items():
            errors = []
            for label in range(len(predictions.classes)):
                own = part.labels == label
                n, m = (_count_equal_groups(group[part.images[rows]]) for rows in (own, ~own))
                errors.append(math.sqrt((n + m + 1) / (12 * n * m)) if n and m else math.nan)
            if not np.isnan(errors).any():
                found[model][seed] = float(np.mean(errors))
    return found


def _list_tested(predictions: Predictions) -> dict[str, dict[int, Group]]:
    """Return, per model and seed, the test images, which all arms of a seed share."""
    found: dict[str, dict[int, Group]] = defaultdict(dict)
    for key, part in predictions.groups.items():
        if key.split == "test":
            found[key.model].setdefault(key.seed, part)
    return found


def _count_equal_groups(groups: npt.NDArray[np.int64]) -> float:
    """Return as how many groups of equal size those of some images count; 0 without images.

    That is as many as tell as much of the mean (Kish 1965): one patient with most of the images is
    hardly more than one patient.
    """
    n = np.unique(groups, return_counts=True)[1]
    return float(n.sum() ** 2 / max(1, (n**2).sum()))
