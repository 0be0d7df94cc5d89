"""Metrics of a classifier on labelled images, per trained model: pure, and the table of results.

What depends on counts alone is computed from the confusion matrix, for any number of matrices at
once, and what depends on the order of scores from one sort: scikit-learn counts and sorts anew for
each metric, and a comparison has thousands of trained models.
Tests hold every metric to scikit-learn's.
"""

import math
from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd

from osteo_ray.statistics.predictions import (
    Group,
    Key,
    Predictions,
    check_classes,
    check_labels,
    check_probabilities,
)
from osteo_ray.statistics.ranking import Ranking
from osteo_ray.statistics.settings import METRIC_NAMES
from osteo_ray.statistics.thresholds import OPERATING_NAMES, choose_threshold, measure_operation

KEYS = list(Key._fields)
N_BINS = 10
"""Of the calibration error and of reliability diagrams, of equal width."""
_EDGES = np.linspace(0, 1, N_BINS + 1)[1:-1]


def compute_metrics(
    labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], positive_class: str
) -> dict[str, float]:
    """Measure the predictions of one classifier on one set of images.

    With two classes the metrics are those of the positive class, recall being sensitivity; with
    more they are macro averages, each class against the rest. Accuracy and MCC are of all classes
    at once (Gorodkin 2004). Balanced accuracy is the mean recall over classes. `pr_auc` is average
    precision. `brier` is the mean squared error of a class's probability, in [0, 1].

    `calibration_error` is the expected calibration error over ten bins of equal width: with two
    classes, of the positive class's probability against its share (Naeini, Cooper and Hauskrecht,
    "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015); with more, of the
    top class's probability against the share of correct predictions (Guo et al., "On calibration
    of modern neural networks", ICML 2017).

    Args:
        labels: str, (n_images,); the true classes.
        probabilities: float, (n_images, n_classes), in [0, 1], columns in the order of `classes`.
            The most probable class is predicted, the first of them on a tie.
        classes: All classes, sorted.
        positive_class: One of them.

    Returns:
        A value per name in `METRIC_NAMES`. Where a denominator is 0 because a class, or all but
        one, is never predicted, precision, F1 and MCC are 0, as in scikit-learn. Recall,
        specificity, balanced accuracy, MCC and both areas are NaN where the images lack a class
        that they are about.

    Raises:
        ValueError: Lengths differ, a probability is not in [0, 1], or a class is unknown.

    Example:
        >>> probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]])
        >>> labels = np.array(["normal", "normal", "worn", "worn"])
        >>> metrics = compute_metrics(labels, probabilities, ["normal", "worn"], "worn")
        >>> metrics["accuracy"], metrics["recall"], metrics["auc"]
        (0.5, 0.5, 0.75)
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    check_classes(classes, positive_class)
    if len(labels) == 0 or probabilities.shape != (len(labels), len(classes)):
        raise ValueError(
            f"Expected `probabilities` of shape ({len(labels)}, {len(classes)}), a row per label "
            f"and at least one, but got {probabilities.shape}."
        )
    check_probabilities(probabilities)
    check_labels(list(set(labels.tolist()) - set(classes)), classes)
    codes = np.array([classes.index(label) for label in labels.tolist()])
    group = Group(np.arange(len(codes)), codes, probabilities)
    return _measure(group, classes.index(positive_class))


def count_confusion(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Count the images of each true and predicted class.

    Args:
        labels: int, (n_images,); indices of the true classes.
        predicted: int, (n_images,).
        n_classes: How many classes there are.

    Returns:
        int64, (n_classes, n_classes); a row per true class, a column per predicted class.

    Example:
        >>> count_confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    counts = np.bincount(labels * n_classes + predicted, minlength=n_classes**2)
    matrix: np.ndarray = counts.reshape(n_classes, n_classes)
    return matrix


def find_bins(probabilities: np.ndarray) -> np.ndarray:
    """Return the number of each probability's bin, int64; bins are those of `bin_probabilities`."""
    return np.searchsorted(_EDGES, probabilities)


def bin_probabilities(
    probabilities: np.ndarray, occurred: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum probabilities and what happened in `N_BINS` bins of equal width, closed on the right.

    Args:
        probabilities: float, (n,), in [0, 1]; 0 falls into the first bin.
        occurred: bool, (n,); whether that happened of which it is the probability.

    Returns:
        Three arrays of shape (N_BINS,): counts, int64; sums of probabilities, float64; counts of
        what occurred, float64.
    """
    bins = find_bins(probabilities)
    counts = np.bincount(bins, minlength=N_BINS)
    expected = np.bincount(bins, weights=probabilities, minlength=N_BINS)
    observed = np.bincount(bins, weights=occurred, minlength=N_BINS)
    return counts, expected, observed


def judge_calibration(group: Group, positive: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability whose calibration is measured, and whether it came true.

    Returns:
        float, (n_images,), and bool, (n_images,): of the positive class with two classes, of the
        predicted class with more.
    """
    if group.probabilities.shape[1] == 2:
        return group.probabilities[:, positive], group.labels == positive
    return group.probabilities.max(1), group.labels == group.predicted


def compute_results(predictions: Predictions, prevalence: float | None = None) -> pd.DataFrame:
    """Turn predictions into the table of results.

    Args:
        predictions: Of all trained models.
        prevalence: Share of the positive class where PPV and NPV shall hold; by default that of
            the images measured.

    Returns:
        model, seed, arm, split, n_images, a column per metric, and a column per name in
        `OPERATING_NAMES`, what `thresholds.measure_operation` finds at the threshold that the
        validation images of the same trained model set. These are NaN with more than two classes,
        and where the validation images lack a class. Of validation images they are too good: they
        set the threshold. Sorted by the first four.
    """
    positive, thresholds = predictions.positive, choose_thresholds(predictions)
    rows = []
    for key, group in predictions.groups.items():
        row = {**key._asdict(), "n_images": len(group.labels), **_measure(group, positive)}
        if key[:3] in thresholds:
            found = measure_operation(
                group.probabilities[:, positive],
                group.labels == positive,
                threshold=thresholds[key[:3]],
                prevalence=prevalence,
            )
            row.update(zip(OPERATING_NAMES, found, strict=True))
        rows.append(row)
    types: dict[Hashable, str] = {
        "seed": "int64",
        "n_images": "int64",
        **dict.fromkeys((*METRIC_NAMES, *OPERATING_NAMES), "float64"),
    }
    columns = [*KEYS, "n_images", *METRIC_NAMES, *OPERATING_NAMES]
    return pd.DataFrame(rows, columns=columns).astype(types)


def choose_thresholds(predictions: Predictions) -> dict[tuple[str, int, str], float]:
    """Choose a threshold on the validation images of each model, seed and arm; see `thresholds`.

    Returns:
        Empty with more than two classes; no entry where there are no validation images.
    """
    if len(predictions.classes) > 2:
        return {}
    positive = predictions.positive
    return {
        key[:3]: choose_threshold(group.probabilities[:, positive], group.labels == positive)
        for key, group in predictions.groups.items()
        if key.split == "validation"
    }


def _measure(group: Group, positive: int) -> dict[str, float]:
    n_classes = group.probabilities.shape[1]
    confusion = count_confusion(group.labels, group.predicted, n_classes)
    right, given, chosen = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    recall = _divide(right, given)
    false_positives, negatives = chosen - right, len(group.labels) - given
    per_class = {
        "precision": _divide(right, chosen, 0.0),
        "recall": recall,
        "specificity": _divide(negatives - false_positives, negatives),
        "f1": _divide(2 * right, given + chosen, 0.0),
    }
    averaged = [positive] if n_classes == 2 else list(range(n_classes))
    averages = {name: float(np.mean(values[averaged])) for name, values in per_class.items()}
    of_scores = np.mean([_measure_scores(group, index) for index in averaged], axis=0)
    counts, expected, observed = bin_probabilities(*judge_calibration(group, positive))
    found = {
        "accuracy": float(right.sum() / counts.sum()),
        **averages,
        **dict(zip(("auc", "pr_auc", "brier"), of_scores.tolist(), strict=True)),
        "balanced_accuracy": float(recall.mean()),
        "mcc": _compute_mcc(confusion),
        "calibration_error": float(np.abs(expected - observed).sum() / counts.sum()),
    }
    return {name: found[name] for name in METRIC_NAMES}


def _divide(counts: np.ndarray, totals: np.ndarray, otherwise: float = np.nan) -> np.ndarray:
    shares = np.full(len(counts), otherwise)
    np.divide(counts, totals, out=shares, where=totals > 0)
    return shares


def _compute_mcc(confusion: np.ndarray) -> float:
    """Return Matthews' correlation coefficient of all classes, R_K of Gorodkin (2004)."""
    given, chosen, n = confusion.sum(1), confusion.sum(0), int(confusion.sum())
    spread_given, spread_chosen = n**2 - int(given @ given), n**2 - int(chosen @ chosen)
    if spread_given == 0:
        return math.nan
    if spread_chosen == 0:
        return 0.0
    covariance = n * int(confusion.trace()) - int(given @ chosen)
    return covariance / (math.sqrt(spread_given) * math.sqrt(spread_chosen))


def _measure_scores(group: Group, index: int) -> tuple[float, float, float]:
    """Return AUC, average precision and Brier score of one class against the rest."""
    is_class, scores = group.labels == index, group.probabilities[:, index]
    ranking = Ranking.of(scores, is_class)
    brier = float(np.mean((scores - is_class) ** 2))
    return ranking.measure_auc(), ranking.measure_average_precision(), brier
