"""All metrics of trained models: the table of results.

scikit-learn would count and sort the images anew for each metric, and a comparison has thousands of
trained models; a `Sample` counts and sorts them once. Tests compare every metric with
scikit-learn's.
"""

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd

from osteo_ray.statistics.metrics.registry import METRICS, list_metrics
from osteo_ray.statistics.predictions import (
    Group,
    Key,
    Predictions,
    check_classes,
    check_labels,
    check_probabilities,
    rank_classes,
)
from osteo_ray.statistics.sample import Sample
from osteo_ray.statistics.thresholds import OPERATING_NAMES, choose_threshold, measure_operation

KEYS = list(Key._fields)


def compute_metrics(
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    positive_class: str,
    ordinal: Sequence[str] = (),
) -> dict[str, float]:
    """Measure the predictions of one classifier on one set of images.

    With two classes the metrics are those of the positive class, so recall is sensitivity; with
    more they are macro averages, each class against the rest. Accuracy, balanced accuracy, MCC and
    the calibration error are of all classes at once. The files of `metrics/` define each.

    Args:
        labels: str, (n_images,); the true classes.
        probabilities: float, (n_images, n_classes), in [0, 1], columns in the order of `classes`.
            The most probable class is predicted, the first of them on a tie.
        classes: All classes, sorted.
        positive_class: One of them.
        ordinal: All of them in their order, if they have one.

    Returns:
        A value per name in `METRICS`, but for metrics of grades if there is no order. Where a
        denominator is 0 because a class, or all but one, is never predicted, precision, F1, MCC and
        quadratic kappa are 0, as in scikit-learn. Recall, specificity, balanced accuracy, MCC,
        quadratic kappa and both areas are NaN where the images lack a class that they are about.

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
    positive = classes.index(positive_class)
    group = Group(np.arange(len(codes)), codes, probabilities, positive)
    return _measure(group, positive, rank_classes(classes, ordinal))


def compute_results(predictions: Predictions, prevalence: float | None = None) -> pd.DataFrame:
    """Turn predictions into the table of results.

    Args:
        predictions: Of all trained models.
        prevalence: Share of the positive class for which PPV and NPV are given; by default that
            of the images measured.

    Returns:
        model, seed, arm, split, n_images, a column per metric (of grades only if there is an order
        of the classes), and a column per name in
        `OPERATING_NAMES`: what `thresholds.measure_operation` finds at the threshold that was
        chosen on the validation images of the same trained model. These are NaN with more than two
        classes, and where the validation images lack a class. On the validation images themselves
        they are too good, since the threshold was chosen there. Sorted by the first four.
    """
    positive, thresholds = predictions.positive, choose_thresholds(predictions)
    rows = []
    names = list_metrics(ordinal=predictions.ranks is not None)
    for key, group in predictions.groups.items():
        measured = _measure(group, positive, predictions.ranks)
        row = {**key._asdict(), "n_images": len(group.labels), **measured}
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
        **dict.fromkeys((*names, *OPERATING_NAMES), "float64"),
    }
    columns = [*KEYS, "n_images", *names, *OPERATING_NAMES]
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


def _measure(group: Group, positive: int, ranks: Sequence[int] | None) -> dict[str, float]:
    sample = Sample.of(group, positive, ranks)
    names = list_metrics(ordinal=ranks is not None)
    return {name: float(METRICS[name].measure(sample)) for name in names}
