"""Metrics of weighted test predictions: many trained models and many sets of weights at once.

A weight of 2 counts an image twice. `labels` is int64, (n_images,), indices of classes;
`probabilities` is float, (n_runs, n_images, n_classes), a run being one trained model and all runs
being tested on the same images; `weights` is float32, (n_draws, n_images), whole numbers.

With weights of 1 each metric is that of `metrics.compute_metrics`, whose rules for two and for more
classes hold here too.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
CountMetric = Callable[[Values, slice], Values]
ScoreMetric = Callable[[np.ndarray, np.ndarray, npt.NDArray[np.float32]], Values]


def measure_weighted(
    metric: str,
    labels: np.ndarray,
    probabilities: np.ndarray,
    weights: npt.NDArray[np.float32],
    positive: int,
) -> Values | None:
    """Measure runs under each set of weights.

    Args:
        metric: A name in `METRIC_NAMES`.
        labels: As in the module's text.
        probabilities: Likewise.
        weights: Likewise.
        positive: Index of the positive class; counts where there are two classes.

    Returns:
        float64, (n_draws, n_runs), NaN where the metric is undefined; None if it has no weighted
        form here.
    """
    n_classes = probabilities.shape[2]
    chosen = slice(positive, positive + 1) if n_classes == 2 else slice(None)
    if metric in COUNT_METRICS:
        confusion = count_weighted(labels, probabilities, weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            return COUNT_METRICS[metric](confusion, chosen)
    if metric in SCORE_METRICS:
        measure = SCORE_METRICS[metric]
        columns = range(n_classes)[chosen]
        values = np.empty((len(weights), len(probabilities)))
        with np.errstate(divide="ignore", invalid="ignore"):
            for run, scores in enumerate(probabilities):
                parts = [
                    measure(labels == column, scores[:, column], weights) for column in columns
                ]
                values[:, run] = np.mean(parts, axis=0)
        return values
    return None


def count_weighted(
    labels: np.ndarray, probabilities: np.ndarray, weights: npt.NDArray[np.float32]
) -> Values:
    """Count the weight of each true and predicted class, the most probable being predicted.

    Returns:
        float64, (n_draws, n_runs, n_classes, n_classes); a row per true class.
    """
    n_runs, n_images, n_classes = probabilities.shape
    cells = labels * n_classes + probabilities.argmax(2)  # (n_runs, n_images)
    n_cells = n_classes**2
    places = cells.T + n_cells * np.arange(n_runs)
    ones = np.zeros((n_images, n_runs * n_cells), np.float32)
    np.put_along_axis(ones, places, np.float32(1), axis=1)
    counts = weights @ ones  # whole numbers below 2^24: exact
    return counts.reshape(len(weights), n_runs, n_classes, n_classes).astype(np.float64)


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


def _auc(is_class: np.ndarray, scores: np.ndarray, weights: npt.NDArray[np.float32]) -> Values:
    """Return the share of weighted pairs in the right order, ties counting half."""
    order = np.argsort(scores, kind="stable")
    ranked, is_positive = scores[order], is_class[order]
    positives, negatives = ranked[is_positive], ranked[~is_positive]
    of_positives = weights[:, order[is_positive]]
    below = np.zeros((len(weights), len(negatives) + 1), np.float32)  # exact, as counts are
    np.cumsum(weights[:, order[~is_positive]], axis=1, out=below[:, 1:])
    first, last = (np.searchsorted(negatives, positives, side) for side in ("left", "right"))
    won = np.einsum("dp,dp->d", of_positives, below[:, first], dtype=np.float64)
    if np.any(first != last):
        won += np.einsum("dp,dp->d", of_positives, below[:, last], dtype=np.float64)
        won /= 2
    return np.asarray(won / (of_positives.sum(1, dtype=np.float64) * below[:, -1]))


def _pr_auc(is_class: np.ndarray, scores: np.ndarray, weights: npt.NDArray[np.float32]) -> Values:
    """Return average precision: precision at each threshold, weighted by the recall it adds."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # of equal scores
    in_order = weights[:, order]
    found = np.cumsum(in_order * is_class[order], axis=1, dtype=np.float64)[:, ends]
    called = np.cumsum(in_order, axis=1, dtype=np.float64)[:, ends]
    precision = np.where(called > 0, found / called, 0.0)
    added = np.diff(found, axis=1, prepend=0.0)
    return np.asarray((precision * added).sum(1) / found[:, -1])


SCORE_METRICS: dict[str, ScoreMetric] = {"auc": _auc, "pr_auc": _pr_auc}
"""Metrics of one class against the rest: bool (n_images,), scores (n_images,), weights."""
