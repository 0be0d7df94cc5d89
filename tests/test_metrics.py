"""Metrics of one classifier, the table of results and its summary, against counts by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from osteo_ray.compare.metrics import (
    compute_metrics,
    compute_results,
    count_confusion,
    summarize_arms,
)
from osteo_ray.compare.printed import recompute
from osteo_ray.compare.published import PUBLISHED
from osteo_ray.config import METRIC_NAMES

BINARY = ["normal", "worn"]
THREE = ["a", "b", "c"]
PAPER = [  # tp, fp, fn, tn; accuracy, precision, recall, F1
    ((29, 9, 8, 28), (0.7703, 0.7632, 0.7838, 0.7733)),
    ((34, 2, 3, 35), (0.9324, 0.9444, 0.9189, 0.9315)),
    ((34, 14, 3, 23), (0.7703, 0.7083, 0.9189, 0.8000)),
    ((29, 5, 8, 32), (0.8243, 0.8529, 0.7838, 0.8169)),
]


def _realise(tp: int, fp: int, fn: int, tn: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and probabilities with these counts, positive class `worn`."""
    labels = np.repeat(["worn", "normal", "worn", "normal"], [tp, fp, fn, tn])
    positive = np.repeat([0.9, 0.8, 0.2, 0.1], [tp, fp, fn, tn])
    return labels, np.column_stack([1 - positive, positive])


def _certain(predicted: list[str], classes: list[str]) -> np.ndarray:
    return np.array([[float(name == one) for name in classes] for one in predicted])


@pytest.mark.parametrize(("counts", "printed"), PAPER)
def test_paper_matrices(counts: tuple[int, int, int, int], printed: tuple[float, ...]) -> None:
    metrics = compute_metrics(*_realise(*counts), BINARY, "worn")
    names = ("accuracy", "precision", "recall", "f1")
    assert [round(metrics[name], 4) for name in names] == list(printed)
    _, fp, _, tn = counts
    assert metrics["specificity"] == pytest.approx(tn / (tn + fp), abs=1e-15)


@pytest.mark.parametrize("row", PUBLISHED)
def test_agrees_with_plain_formulas(row) -> None:
    metrics = compute_metrics(*_realise(*row.confusion), BINARY, "worn")
    for name, value in recompute(row.confusion).items():
        assert metrics[name] == pytest.approx(value, abs=1e-15)


def test_names_and_types() -> None:
    metrics = compute_metrics(*_realise(3, 1, 2, 4), BINARY, "worn")
    assert tuple(metrics) == METRIC_NAMES or set(metrics) == set(METRIC_NAMES)
    assert all(type(value) is float for value in metrics.values())


def test_positive_class_swaps_recall_and_specificity() -> None:
    labels, probabilities = _realise(29, 9, 8, 28)
    worn = compute_metrics(labels, probabilities, BINARY, "worn")
    normal = compute_metrics(labels, probabilities, BINARY, "normal")
    assert (worn["recall"], worn["specificity"]) == (normal["specificity"], normal["recall"])
    assert worn["accuracy"] == normal["accuracy"]
    assert worn["auc"] == pytest.approx(normal["auc"], abs=1e-15)
    assert normal["precision"] == pytest.approx(28 / 36)


@pytest.mark.parametrize("seed", range(4))
def test_auc_counts_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(["worn"] * 13 + ["normal"] * 9)
    positive = rng.integers(0, 6, 22) / 5  # many ties
    worn, normal = positive[labels == "worn"], positive[labels == "normal"]
    pairs = [(p > n) + 0.5 * (p == n) for p in worn for n in normal]
    probabilities = np.column_stack([1 - positive, positive])
    auc = compute_metrics(labels, probabilities, BINARY, "worn")["auc"]
    assert auc == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)


def test_three_classes_are_macro_averages() -> None:
    labels = np.array(["a", "a", "a", "b", "b", "c", "c", "c", "c", "c"])
    predicted = ["a", "a", "b", "b", "c", "c", "c", "c", "a", "b"]
    metrics = compute_metrics(labels, _certain(predicted, THREE), THREE, "c")
    precision = (2 / 3, 1 / 3, 3 / 4)
    recall = (2 / 3, 1 / 2, 3 / 5)
    specificity = (6 / 7, 6 / 8, 4 / 5)
    f1 = (2 / 3, 2 / 5, 2 / 3)
    assert metrics["accuracy"] == pytest.approx(0.6)
    assert metrics["precision"] == pytest.approx(np.mean(precision))
    assert metrics["recall"] == pytest.approx(np.mean(recall))
    assert metrics["specificity"] == pytest.approx(np.mean(specificity))
    assert metrics["f1"] == pytest.approx(np.mean(f1))
    # of probabilities 0 and 1, an area is the mean of recall and specificity
    assert metrics["auc"] == pytest.approx(np.mean(np.add(recall, specificity) / 2))


def test_one_class_is_undefined_not_zero() -> None:
    labels = np.array(["worn", "worn", "worn"])
    probabilities = np.array([[0.1, 0.9], [0.2, 0.8], [0.6, 0.4]])
    metrics = compute_metrics(labels, probabilities, BINARY, "worn")
    assert math.isnan(metrics["auc"])
    assert math.isnan(metrics["specificity"])
    assert metrics["recall"] == pytest.approx(2 / 3)
    assert metrics["precision"] == 1.0


def test_nothing_predicted_positive_gives_zero() -> None:
    labels = np.array(["normal", "worn"])
    metrics = compute_metrics(labels, _certain(["normal"] * 2, BINARY), BINARY, "worn")
    assert (metrics["precision"], metrics["f1"], metrics["recall"]) == (0.0, 0.0, 0.0)
    assert metrics["specificity"] == 1.0
    assert metrics["auc"] == 0.5


def test_tied_probabilities_predict_first_class() -> None:
    metrics = compute_metrics(np.array(["normal"]), np.array([[0.5, 0.5]]), BINARY, "worn")
    assert metrics["accuracy"] == 1.0


def test_confusion_rows_are_true_classes() -> None:
    confusion = count_confusion(np.array(["a", "a", "b"]), np.array(["a", "b", "b"]), THREE)
    assert confusion.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


LABELS = np.array(["normal", "worn"])
FAIR = np.full((2, 2), 0.5)


@pytest.mark.parametrize(
    ("labels", "probabilities", "classes", "positive", "message"),
    [
        (LABELS, np.array([[0.5, 0.5], [np.nan, 0.5]]), BINARY, "worn", "nan.* in row 1"),
        (LABELS, np.array([[-0.1, 1.1], [0.5, 0.5]]), BINARY, "worn", "in row 0"),
        (LABELS, FAIR[:1], BINARY, "worn", r"shape \(2, 2\).*but got \(1, 2\)"),
        (LABELS, np.full((2, 3), 0.3), BINARY, "worn", r"but got \(2, 3\)"),
        (LABELS[:0], FAIR[:0], BINARY, "worn", "at least one"),
        (np.array(["normal", "torn"]), FAIR, BINARY, "worn", "but got .'torn'"),
        (LABELS, FAIR, BINARY, "torn", "but got `torn`"),
        (LABELS, FAIR, ["worn", "worn"], "worn", "two or more distinct classes"),
        (LABELS, FAIR[:, :1], ["worn"], "worn", "two or more distinct classes"),
    ],
)
def test_refuses_bad_input(labels, probabilities, classes, positive, message) -> None:
    with pytest.raises(ValueError, match=message):
        compute_metrics(labels, probabilities, classes, positive)


def _predictions() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for model in ("m2", "m1"):
        for seed in (10, 2):
            for arm in ("original", "lime"):
                for split in ("validation", "test"):
                    for number, label in enumerate(["worn", "normal", "worn", "normal"]):
                        p = rng.uniform()
                        rows.append((model, seed, arm, split, f"i{number}", label, 1 - p, p))
    names = ["model", "seed", "arm", "split", "image_id", "label", "p_normal", "p_worn"]
    return pd.DataFrame(rows, columns=names)


def test_results_per_trained_model() -> None:
    predictions = _predictions()
    results = compute_results(predictions, BINARY, "worn")
    assert list(results) == ["model", "seed", "arm", "split", "n_images", *METRIC_NAMES]
    assert len(results) == 16
    keys = list(zip(*(results[name] for name in ("model", "seed", "arm", "split")), strict=True))
    assert keys == sorted(keys)
    assert (results["n_images"] == 4).all()
    assert results.dtypes["seed"] == results.dtypes["n_images"] == np.int64
    assert all(results.dtypes[name] == np.float64 for name in METRIC_NAMES)
    first = predictions[
        (predictions["model"] == "m1")
        & (predictions["seed"] == 2)
        & (predictions["arm"] == "lime")
        & (predictions["split"] == "test")
    ]
    expected = compute_metrics(
        first["label"].to_numpy(), first[["p_normal", "p_worn"]].to_numpy(), BINARY, "worn"
    )
    assert results.loc[0, list(METRIC_NAMES)].to_dict() == expected


def test_results_do_not_depend_on_row_order() -> None:
    predictions = _predictions()
    shuffled = predictions.sample(frac=1, random_state=0)
    expected = compute_results(predictions, BINARY, "worn")
    pd.testing.assert_frame_equal(compute_results(shuffled, BINARY, "worn"), expected)


def test_results_of_no_predictions_keep_their_columns() -> None:
    results = compute_results(_predictions().iloc[:0], BINARY, "worn")
    assert list(results)[4:] == ["n_images", *METRIC_NAMES]
    assert results.empty
    assert summarize_arms(results, METRIC_NAMES) == []


def test_results_refuse_bad_tables() -> None:
    predictions = _predictions()
    with pytest.raises(ValueError, match=r"\['p_worn'\] are missing"):
        compute_results(predictions.drop(columns="p_worn"), BINARY, "worn")
    with pytest.raises(ValueError, match=r"second one for .*'image_id': 'i0'"):
        compute_results(pd.concat([predictions, predictions[:1]]), BINARY, "worn")
    predictions.loc[3, "p_worn"] = np.nan
    with pytest.raises(ValueError, match=r"\['p_worn'\] have gaps"):
        compute_results(predictions, BINARY, "worn")


def test_summary_uses_test_rows_and_counts_defined_seeds() -> None:
    results = pd.DataFrame(
        {
            "model": "m",
            "seed": [0, 1, 2, 0],
            "arm": "original",
            "split": ["test", "test", "test", "validation"],
            "accuracy": [0.5, 0.7, 0.9, 0.0],
            "auc": [0.6, np.nan, np.nan, 0.0],
        }
    )
    (summary,) = summarize_arms(results, ["accuracy", "auc"])
    assert (summary["model"], summary["arm"], summary["n_seeds"]) == ("m", "original", 3)
    assert summary["metrics"]["accuracy"] == pytest.approx({"mean": 0.7, "sd": 0.2, "n_seeds": 3})
    assert summary["metrics"]["auc"] == {"mean": 0.6, "sd": None, "n_seeds": 1}
