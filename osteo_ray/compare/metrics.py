"""Metrics of a classifier on labelled images: per trained model, then summarised over seeds."""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score

from osteo_ray.config import METRIC_NAMES

KEYS = ["model", "seed", "arm", "split"]


def compute_metrics(
    labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], positive_class: str
) -> dict[str, float]:
    """Measure the predictions of one classifier on one set of images.

    With two classes the metrics are those of the positive class, recall being sensitivity; with
    more they are macro averages, each class against the rest.

    Args:
        labels: str, (n_images,); the true classes.
        probabilities: float, (n_images, n_classes), in [0, 1], columns in the order of `classes`.
            The most probable class is predicted, the first of them on a tie.
        classes: All classes, sorted.
        positive_class: One of them.

    Returns:
        A value per name in `METRIC_NAMES`. Where a denominator is 0, precision and F1 are 0, as in
        scikit-learn; recall, specificity and AUC are NaN, because the images lack a class that
        they are about.

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
    _check_input(labels, probabilities, classes, positive_class)
    predicted = np.asarray(classes)[probabilities.argmax(1)]
    confusion = count_confusion(labels, predicted, classes)
    precision, _, f1, _ = precision_recall_fscore_support(
        labels, predicted, labels=list(classes), zero_division=0.0
    )
    columns = {
        "precision": precision,
        "recall": _divide(confusion.diagonal(), confusion.sum(1)),
        "specificity": _compute_specificity(confusion),
        "f1": f1,
        "auc": _compute_auc(labels, probabilities, classes),
    }
    chosen = [classes.index(positive_class)] if len(classes) == 2 else slice(None)
    averages = {name: float(np.mean(column[chosen])) for name, column in columns.items()}
    return {"accuracy": float(confusion.trace() / len(labels)), **averages}


def count_confusion(
    labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str]
) -> np.ndarray:
    """Count the images of each true and predicted class.

    Args:
        labels: str, (n_images,); the true classes.
        predicted: str, (n_images,).
        classes: The order of rows and columns.

    Returns:
        int64, (n_classes, n_classes); a row per true class, a column per predicted class.
    """
    counts: np.ndarray = confusion_matrix(labels, predicted, labels=list(classes))
    return counts


def compute_results(
    predictions: pd.DataFrame, classes: Sequence[str], positive_class: str
) -> pd.DataFrame:
    """Turn the table of predictions into the table of results.

    Args:
        predictions: model, seed, arm, split, image_id, label, and `p_<class>` per class.
        classes: All classes, sorted.
        positive_class: One of them.

    Returns:
        model, seed, arm, split, n_images, and a column per metric; sorted by the first four.

    Raises:
        ValueError: A column or value is missing, an image is predicted twice by one trained model,
            or `compute_metrics` refuses the values.
    """
    scores = [f"p_{name}" for name in classes]
    _check_predictions(predictions, [*KEYS, "image_id", "label", *scores])
    rows = []
    for key, group in predictions.groupby(KEYS, sort=True, observed=True):
        labels, probabilities = group["label"].to_numpy(), group[scores].to_numpy(np.float64)
        metrics = compute_metrics(labels, probabilities, classes, positive_class)
        rows.append({**dict(zip(KEYS, key, strict=True)), "n_images": len(group), **metrics})
    types: dict[Hashable, str] = {
        "seed": "int64",
        "n_images": "int64",
        **dict.fromkeys(METRIC_NAMES, "float64"),
    }
    return pd.DataFrame(rows, columns=[*KEYS, "n_images", *METRIC_NAMES]).astype(types)


def summarize_arms(results: pd.DataFrame, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Give mean and standard deviation over seeds, on test images, per model and arm.

    Args:
        results: As `compute_results` returns it.
        metrics: Which columns to summarise.

    Returns:
        A mapping per model and arm, in the order of the table: model, arm, n_seeds, and metrics,
        which holds mean, sd and n_seeds per metric. Seeds where the metric is undefined do not
        count; mean and sd are None where too few are left.
    """
    test = results[results["split"] == "test"]
    return [
        {
            "model": model,
            "arm": arm,
            "n_seeds": int(group["seed"].nunique()),
            "metrics": {name: _summarize(group[name].dropna()) for name in metrics},
        }
        for (model, arm), group in test.groupby(["model", "arm"], sort=False, observed=True)
    ]


def _summarize(values: pd.Series) -> dict[str, float | int | None]:
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    return {
        "mean": None if math.isnan(mean) else mean,
        "sd": None if math.isnan(sd) else sd,
        "n_seeds": len(values),
    }


def _divide(counts: np.ndarray, totals: np.ndarray) -> np.ndarray:
    shares = np.full(len(counts), np.nan)
    np.divide(counts, totals, out=shares, where=totals > 0)
    return shares


def _compute_specificity(confusion: np.ndarray) -> np.ndarray:
    false_positives = confusion.sum(0) - confusion.diagonal()
    negatives = np.asarray(confusion.sum() - confusion.sum(1))
    return _divide(negatives - false_positives, negatives)


def _compute_auc(
    labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> np.ndarray:
    areas = np.full(len(classes), np.nan)
    for column, name in enumerate(classes):
        is_class = labels == name
        if is_class.any() and not is_class.all():  # otherwise scikit-learn warns
            areas[column] = roc_auc_score(is_class, probabilities[:, column])
    return areas


def _check_input(
    labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], positive_class: str
) -> None:
    if len(set(classes)) < max(2, len(classes)):
        raise ValueError(f"Expected two or more distinct classes, but got {list(classes)}.")
    if positive_class not in classes:
        raise ValueError(
            f"Expected `positive_class` among {list(classes)}, but got `{positive_class}`."
        )
    if len(labels) == 0 or probabilities.shape != (len(labels), len(classes)):
        raise ValueError(
            f"Expected `probabilities` of shape ({len(labels)}, {len(classes)}), a row per label "
            f"and at least one, but got {probabilities.shape}."
        )
    if not np.all((probabilities >= 0) & (probabilities <= 1)):  # NaN fails both
        row = int(np.argmin(((probabilities >= 0) & (probabilities <= 1)).all(1)))
        raise ValueError(
            f"Expected probabilities in [0, 1], but got {probabilities[row].tolist()} in row {row}."
        )
    unknown = sorted(set(labels.tolist()) - set(classes))
    if unknown:
        raise ValueError(f"Expected labels among {list(classes)}, but got {unknown}.")


def _check_predictions(predictions: pd.DataFrame, columns: list[str]) -> None:
    absent = [name for name in columns if name not in predictions.columns]
    if absent:
        raise ValueError(f"Expected predictions with columns {columns}, but {absent} are missing.")
    empty = [name for name in columns if predictions[name].isna().any()]
    if empty:
        raise ValueError(f"Expected a value in every prediction, but columns {empty} have gaps.")
    repeated = predictions.duplicated([*KEYS, "image_id"])
    if repeated.any():
        first = predictions.loc[repeated, [*KEYS, "image_id"]].iloc[0].to_dict()
        raise ValueError(f"Expected one prediction per image, but got a second one for {first}.")
