"""Metrics of one classifier, and the table of results, against counts by hand and scikit-learn."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from osteo_ray.check_table.matrices import recompute
from osteo_ray.check_table.published import PUBLISHED
from osteo_ray.statistics.metrics.registry import METRICS, list_metrics
from osteo_ray.statistics.predictions import encode_predictions
from osteo_ray.statistics.results_table import compute_metrics, compute_results
from osteo_ray.statistics.sample import count_confusion
from osteo_ray.statistics.thresholds import OPERATING_NAMES, choose_threshold, measure_operation

USUAL = list_metrics(ordinal=False)
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
    assert list(metrics) == USUAL
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


@pytest.mark.parametrize("positive", BINARY)
def test_tied_probabilities_predict_the_positive_class(positive: str) -> None:
    metrics = compute_metrics(np.array(["normal"]), np.array([[0.5, 0.5]]), BINARY, positive)
    assert metrics["accuracy"] == (positive == "normal")


def test_confusion_rows_are_true_classes() -> None:
    confusion = count_confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 3)
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


def _results(predictions: pd.DataFrame, prevalence: float | None = None) -> pd.DataFrame:
    coded = encode_predictions(pa.Table.from_pandas(predictions), BINARY, "worn")
    return compute_results(coded, prevalence)


def test_results_per_trained_model() -> None:
    predictions = _predictions()
    results = _results(predictions)
    columns = ["model", "seed", "arm", "split", "n_images", *USUAL, *OPERATING_NAMES]
    assert list(results) == columns
    assert len(results) == 16
    keys = list(zip(*(results[name] for name in ("model", "seed", "arm", "split")), strict=True))
    assert keys == sorted(keys)
    assert (results["n_images"] == 4).all()
    assert results.dtypes["seed"] == results.dtypes["n_images"] == np.int64
    assert all(results.dtypes[name] == np.float64 for name in USUAL)
    first = predictions[
        (predictions["model"] == "m1")
        & (predictions["seed"] == 2)
        & (predictions["arm"] == "lime")
        & (predictions["split"] == "test")
    ]
    expected = compute_metrics(
        first["label"].to_numpy(), first[["p_normal", "p_worn"]].to_numpy(), BINARY, "worn"
    )
    assert results.loc[0, USUAL].to_dict() == expected


def test_results_do_not_depend_on_row_order() -> None:
    predictions = _predictions()
    shuffled = predictions.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(_results(shuffled), _results(predictions))


def test_results_of_no_predictions_keep_their_columns() -> None:
    results = _results(_predictions().iloc[:0])
    assert list(results)[4:] == ["n_images", *USUAL, *OPERATING_NAMES]
    assert results.empty


def test_thresholds_of_validation_images_are_measured_on_test_images() -> None:
    predictions = _predictions()
    results = _results(predictions, prevalence=0.1)
    trained = (predictions["model"] == "m1") & (predictions["seed"] == 10)
    trained &= predictions["arm"] == "original"
    validation, test = (
        predictions[trained & (predictions["split"] == split)] for split in ("validation", "test")
    )
    threshold = choose_threshold(
        validation["p_worn"].to_numpy(), (validation["label"] == "worn").to_numpy()
    )
    expected = measure_operation(
        test["p_worn"].to_numpy(),
        (test["label"] == "worn").to_numpy(),
        threshold=threshold,
        prevalence=0.1,
    )
    row = results[
        (results["model"] == "m1") & (results["seed"] == 10) & (results["arm"] == "original")
    ]
    found = row.loc[row["split"] == "test", list(OPERATING_NAMES)].to_numpy()[0]
    np.testing.assert_array_equal(found, expected)


def test_no_threshold_without_validation_images_or_with_three_classes() -> None:
    predictions = _predictions()
    results = _results(predictions[predictions["split"] == "test"])
    assert results[list(OPERATING_NAMES)].isna().all(axis=None)
    three = predictions.assign(p_other=0.0)
    coded = encode_predictions(pa.Table.from_pandas(three), ["normal", "other", "worn"], "worn")
    results = compute_results(coded)
    assert results[list(OPERATING_NAMES)].isna().all(axis=None)
    assert results["auc"].isna().all()  # no image is of the class `other`
    assert results["brier"].notna().all()


@pytest.mark.parametrize("seed", range(5))
def test_two_classes_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(["worn"] * 23 + ["normal"] * 38)
    positive = rng.integers(0, 21, 61) / 20  # ties, and the edges of bins
    shares = np.column_stack([1 - positive, positive])
    found = compute_metrics(labels, shares, BINARY, "worn")
    truth, predicted = labels == "worn", positive >= 0.5
    expected = {
        "accuracy": reference.accuracy_score(truth, predicted),
        "precision": reference.precision_score(truth, predicted),
        "recall": reference.recall_score(truth, predicted),
        "specificity": reference.recall_score(~truth, ~predicted),
        "f1": reference.f1_score(truth, predicted),
        "auc": reference.roc_auc_score(truth, positive),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, predicted),
        "mcc": reference.matthews_corrcoef(truth, predicted),
        "pr_auc": reference.average_precision_score(truth, positive),
        "brier": reference.brier_score_loss(truth, positive),
        "calibration_error": _calibration_error(truth, positive),
        **_read_roc(truth, positive),
    }
    assert found == pytest.approx(expected, abs=1e-12)


def _read_roc(truth: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Read operating points off scikit-learn's ROC curve."""
    false, found, _ = reference.roc_curve(truth, scores, drop_intermediate=False)
    points = {}
    for percent in (90, 95):
        level = percent / 100
        points[f"sensitivity_at_specificity_{percent}"] = found[1 - false >= level - 1e-9].max()
        points[f"specificity_at_sensitivity_{percent}"] = (1 - false)[found >= level - 1e-9].max()
    return points


def _calibration_error(occurred: np.ndarray, probabilities: np.ndarray) -> float:
    """Weigh scikit-learn's calibration curve by the sizes of its bins, counted anew."""
    shares, means = calibration_curve(occurred, probabilities, n_bins=10)
    edges = np.linspace(0, 1, 11)
    inside = [(probabilities > low) & (probabilities <= high) for low, high in pairwise(edges)]
    inside[0] |= probabilities == 0
    sizes = [mask.sum() for mask in inside if mask.any()]
    return float(np.average(np.abs(shares - means), weights=sizes))


@pytest.mark.parametrize("seed", range(5))
def test_three_classes_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(THREE, [9, 14, 20]))
    shares = rng.dirichlet([1, 1, 1], 43)
    found = compute_metrics(labels, shares, THREE, "b")
    predicted = np.asarray(THREE)[shares.argmax(1)]
    macro = {"average": "macro", "zero_division": 0.0}
    one_hot = labels[:, None] == np.array(THREE)
    expected = {
        "accuracy": reference.accuracy_score(labels, predicted),
        "precision": reference.precision_score(labels, predicted, **macro),
        "recall": reference.recall_score(labels, predicted, **macro),
        "specificity": found["specificity"],  # counted by hand above
        "f1": reference.f1_score(labels, predicted, **macro),
        "auc": reference.roc_auc_score(labels, shares, multi_class="ovr"),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, predicted),
        "mcc": reference.matthews_corrcoef(labels, predicted),
        "pr_auc": reference.average_precision_score(one_hot, shares),
        "brier": np.mean(
            [reference.brier_score_loss(one_hot[:, k], shares[:, k]) for k in range(3)]
        ),
        "calibration_error": _calibration_error(labels == predicted, shares.max(1)),
    }
    of_classes = [_read_roc(one_hot[:, k], shares[:, k]) for k in range(3)]
    expected |= {name: np.mean([one[name] for one in of_classes]) for name in of_classes[0]}
    assert found == pytest.approx(expected, abs=1e-12)


def test_calibration_error_by_hand() -> None:
    # Two bins: 0.2 on average against 1 of 4, 0.9 against 1 of 2.
    positive = np.array([0.2, 0.2, 0.2, 0.2, 0.9, 0.9])
    labels = np.array(["worn", *["normal"] * 3, "worn", "normal"])
    found = compute_metrics(labels, np.column_stack([1 - positive, positive]), BINARY, "worn")
    assert found["calibration_error"] == pytest.approx((4 * 0.05 + 2 * 0.4) / 6)


def test_certain_and_right_is_best_in_every_metric() -> None:
    labels = np.array(["normal", "worn", "worn"])
    found = compute_metrics(labels, _certain(labels.tolist(), BINARY), BINARY, "worn")
    assert found == {name: float(METRICS[name].higher_is_better) for name in USUAL}
    assert not METRICS["brier"].higher_is_better
    assert not METRICS["calibration_error"].higher_is_better


def test_mcc_of_one_class_is_undefined_but_of_one_prediction_is_zero() -> None:
    labels = np.array(["worn", "worn"])
    found = compute_metrics(labels, _certain(["worn", "normal"], BINARY), BINARY, "worn")
    assert math.isnan(found["mcc"])
    assert math.isnan(found["balanced_accuracy"])
    assert math.isnan(found["pr_auc"])
    assert found["brier"] == found["calibration_error"] == 0.5
    labels = np.array(["worn", "normal"])
    assert compute_metrics(labels, _certain(["worn"] * 2, BINARY), BINARY, "worn")["mcc"] == 0
