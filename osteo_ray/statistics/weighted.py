"""Metrics of weighted test predictions: many trained models and many sets of weights at once.

A weight of 2 counts an image twice. `groups` has the predictions of each trained model, all on the
same images with the same labels; `weights` is uint8, (n_images, n_draws), C-contiguous: to put them
in the order of a score is then to copy rows, where to pick from columns takes far longer.

With weights of 1 each metric is that of `metrics.compute_metrics`, whose rules for two and for more
classes hold here too.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from osteo_ray.statistics.metrics import N_BINS, find_bins, judge_calibration
from osteo_ray.statistics.predictions import Group

Values = npt.NDArray[np.float64]
Weights = npt.NDArray[np.uint8]
CountMetric = Callable[[Values, slice], Values]
ScoreMetric = Callable[[np.ndarray, np.ndarray, Weights], Values]

_BAND, _BLOCK = 2048, 32  # rows


def measure_weighted(
    metric: str,
    groups: Sequence[Group],
    weights: Weights,
    positive: int,
) -> Values:
    """Measure trained models under each set of weights.

    Args:
        metric: A name in `METRIC_NAMES`.
        groups: As in the module's text, at least one.
        weights: Likewise.
        positive: Index of the positive class; counts where there are two classes.

    Returns:
        float64, (n_draws, n_groups), NaN where the metric is undefined.

    Raises:
        ValueError: There is no such metric.
    """
    if metric not in COUNT_METRICS | SCORE_METRICS:
        raise ValueError(f"Expected a metric with a weighted form, but got {metric}.")
    n_classes = groups[0].probabilities.shape[1]
    chosen = slice(positive, positive + 1) if n_classes == 2 else slice(None)
    with np.errstate(divide="ignore", invalid="ignore"):
        if metric in COUNT_METRICS:
            return COUNT_METRICS[metric](count_weighted(groups, weights), chosen)
        measured = [_measure_scores(metric, group, weights, positive) for group in groups]
        return np.stack(measured, axis=1)


def _measure_scores(metric: str, group: Group, weights: Weights, positive: int) -> Values:
    measure, n_classes = SCORE_METRICS[metric], group.probabilities.shape[1]
    if metric == "calibration_error":
        probabilities, occurred = judge_calibration(group, positive)
        return measure(occurred, probabilities, weights)
    columns = [positive] if n_classes == 2 else range(n_classes)
    parts = [measure(group.labels == k, group.probabilities[:, k], weights) for k in columns]
    return np.asarray(np.mean(parts, axis=0))


def count_weighted(groups: Sequence[Group], weights: Weights) -> Values:
    """Count the weight of each true and predicted class, the most probable being predicted.

    Returns:
        float64, (n_draws, n_groups, n_classes, n_classes); a row per true class.
    """
    n_images, n_classes = groups[0].probabilities.shape
    n_cells = n_classes**2
    ones = np.zeros((len(groups) * n_cells, n_images), np.float32)
    for number, group in enumerate(groups):
        cells = group.labels * n_classes + group.predicted
        ones[number * n_cells + cells, np.arange(n_images)] = 1
    counts = ones @ weights.astype(np.float32)  # whole numbers below 2^24: exact
    shape = (weights.shape[1], len(groups), n_classes, n_classes)
    return counts.T.reshape(shape).astype(np.float64)


def _average(values: Values, chosen: slice) -> Values:
    return np.asarray(values[..., chosen].mean(-1))


def _hits(confusion: Values) -> Values:
    return np.asarray(confusion.diagonal(axis1=-2, axis2=-1))


def _accuracy(confusion: Values, chosen: slice) -> Values:
    return np.asarray(_hits(confusion).sum(-1) / confusion.sum((-2, -1)))


def _precision(confusion: Values, chosen: slice) -> Values:
    predicted = confusion.sum(-2)
    return _average(np.where(predicted > 0, _hits(confusion) / predicted, 0.0), chosen)


def _recall(confusion: Values, chosen: slice) -> Values:
    return _average(_hits(confusion) / confusion.sum(-1), chosen)


def _specificity(confusion: Values, chosen: slice) -> Values:
    negatives = confusion.sum((-2, -1))[..., None] - confusion.sum(-1)
    false_positives = confusion.sum(-2) - _hits(confusion)
    return _average((negatives - false_positives) / negatives, chosen)


def _f1(confusion: Values, chosen: slice) -> Values:
    both = confusion.sum(-1) + confusion.sum(-2)
    return _average(np.where(both > 0, 2 * _hits(confusion) / both, 0.0), chosen)


def _balanced_accuracy(confusion: Values, chosen: slice) -> Values:
    return _recall(confusion, slice(None))


def _mcc(confusion: Values, chosen: slice) -> Values:
    """Return Matthews' coefficient, for any number of classes; 0 where a side has one class."""
    total, true, predicted = confusion.sum((-2, -1)), confusion.sum(-1), confusion.sum(-2)
    joint = _hits(confusion).sum(-1) * total - (true * predicted).sum(-1)
    spread = (total**2 - (true**2).sum(-1)) * (total**2 - (predicted**2).sum(-1))
    return np.asarray(np.where(spread > 0, joint / np.sqrt(spread), 0.0))


COUNT_METRICS: dict[str, CountMetric] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "precision": _precision,
    "recall": _recall,
    "specificity": _specificity,
    "f1": _f1,
    "mcc": _mcc,
}
"""Metrics of weighted confusion matrices (..., n_classes, n_classes) and the classes averaged."""


def _auc(is_class: np.ndarray, scores: np.ndarray, weights: Weights) -> Values:
    """Return the share of weighted pairs in the right order, ties counting half."""
    won, positives, negatives = np.zeros((3, weights.shape[1]))
    for band in _cut_bands(scores):
        hits = is_class[band]
        positive, negative = band[hits], band[~hits]
        of_positives, below = weights[positive], _accumulate(weights[negative])
        n_positive = _add_up(of_positives)
        won += n_positive * negatives
        won += _win_pairs(scores[positive], scores[negative], of_positives, below)
        positives += n_positive
        negatives += below[-1]
    return np.asarray(won / (positives * negatives))


def _cut_bands(scores: np.ndarray) -> list[np.ndarray]:
    """Return the images by ascending score, in bands of about `_BAND`; equal scores are in one.

    What is made of a band stays in the processor's cache, whatever the number of images.
    """
    order = np.argsort(scores)
    ranked = scores[order]
    ends = np.flatnonzero(ranked[1:] != ranked[:-1]) + 1  # of equal scores, but the last
    wanted = np.searchsorted(ends, np.arange(_BAND, len(scores), _BAND))
    return np.split(order, np.unique(ends[wanted[wanted < len(ends)]]))


def _win_pairs(
    positives: np.ndarray, negatives: np.ndarray, weights: Weights, below: npt.NDArray[np.uint32]
) -> Values:
    """Return the weight of the pairs in the right order.

    Args:
        positives: Scores, (n_positives,), ascending.
        negatives: Likewise, (n_negatives,).
        weights: uint8, (n_positives, n_draws).
        below: uint32, (n_negatives + 1, n_draws); weights of the negatives, accumulated.
    """
    first, last = (np.searchsorted(negatives, positives, side) for side in ("left", "right"))
    # Whole numbers: twice the pairs won, in as many bits as they may need.
    most = 2 * 255 * len(weights) * int(below[-1].max(initial=0))
    fitting = np.promote_types(np.min_scalar_type(most), np.uint32)
    won = 2 * _sum_products(below[first], weights, fitting)
    tied = last > first
    if tied.any():
        won += _sum_products(below[last[tied]] - below[first[tied]], weights[tied], fitting)
    return won / 2


def _pr_auc(is_class: np.ndarray, scores: np.ndarray, weights: Weights) -> Values:
    """Return average precision: precision at each threshold, weighted by the recall it adds."""
    order = np.argsort(-scores)
    ranked, hits = scores[order], is_class[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) + 1  # of equal scores
    n_found = np.cumsum(hits)[ends - 1]
    adds = np.diff(n_found, prepend=0) > 0  # thresholds without another positive add no recall
    found = _accumulate(weights[order[hits]])[n_found[adds]].astype(np.float64)
    called = _accumulate(weights[order])[ends[adds]]
    precision = np.where(called > 0, found / called, 0.0)
    added = np.diff(found, axis=0, prepend=0.0)
    total = found[-1] if len(found) else np.zeros(weights.shape[1])
    return np.asarray(np.einsum("kd,kd->d", precision, added) / total)


def _brier(is_class: np.ndarray, scores: np.ndarray, weights: Weights) -> Values:
    """Return the mean squared error of a class's probability."""
    return np.asarray((scores - is_class) ** 2 @ weights / _add_up(weights))


def _calibration_error(occurred: np.ndarray, probabilities: np.ndarray, weights: Weights) -> Values:
    """Return the expected calibration error; see `metrics.compute_metrics`."""
    excess = np.zeros((N_BINS, len(probabilities)))
    excess[find_bins(probabilities), np.arange(len(probabilities))] = probabilities - occurred
    return np.asarray(np.abs(excess @ weights).sum(0) / _add_up(weights))


SCORE_METRICS: dict[str, ScoreMetric] = {
    "auc": _auc,
    "pr_auc": _pr_auc,
    "brier": _brier,
    "calibration_error": _calibration_error,
}
"""Metrics of one class against the rest: bool (n_images,), scores (n_images,), weights. The
calibration error is of the probability that `metrics.judge_calibration` picks."""


def _add_up(weights: Weights) -> Values:
    return np.asarray(weights.sum(0, dtype=np.uint32), dtype=np.float64)


def _sum_products(sums: np.ndarray, weights: Weights, fitting: np.dtype[Any]) -> Values:
    products = np.multiply(sums, weights, dtype=fitting)
    return np.asarray(products.sum(0, dtype=fitting), dtype=np.float64)


def _accumulate(weights: Weights) -> npt.NDArray[np.uint32]:
    """Sum rows from the first on.

    Args:
        weights: uint8, (n_rows, n_draws).

    Returns:
        uint32, (n_rows + 1, n_draws); row k is the sum of the k rows before it.
    """
    # In blocks, whose rows are added side by side: `np.cumsum` goes down one column after the
    # other, which takes three times as long.
    n_rows, n_draws = weights.shape
    n_blocks = -(-n_rows // _BLOCK)
    sums = np.zeros((n_blocks * _BLOCK + 1, n_draws), np.uint32)
    sums[1 : n_rows + 1] = weights
    blocks = sums[1:].reshape(n_blocks, _BLOCK, n_draws)
    for row in range(1, _BLOCK):
        blocks[:, row] += blocks[:, row - 1]
    blocks[1:] += np.cumsum(blocks[:-1, -1], axis=0, dtype=np.uint32)[:, None]
    return sums[: n_rows + 1]
