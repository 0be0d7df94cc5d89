"""Headings that name an average, against scikit-learn: no honest table is accused."""

from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from osteo_ray.check_table.headers import read_header
from osteo_ray.check_table.row_check import (
    RowCheck,
    check_row,
    describe_convention,
    list_inconsistencies,
)
from osteo_ray.check_table.table_file import read_printed_table
from osteo_ray.commands.main import main

SCORES = {
    "Precision": metrics.precision_score,
    "Recall": metrics.recall_score,
    "F1": metrics.f1_score,
}
HEADINGS = {
    "macro": ("Macro {}", "{} (macro)", "macro avg {}", "Unweighted {}"),
    "weighted": ("Weighted {}", "{}_weighted", "{} [weighted avg]"),
    "micro": ("Micro-{}", "{} (micro, %)", "micro-averaged {}"),
}
SIZES = {
    2: "n_negative;n_positive",
    3: "n_normal;n_osteopenia;n_osteoporosis",
    4: "n_0;n_1;n_2;n_3",
}


def draw_labels(draw: np.random.Generator, sizes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return true and predicted classes of a classifier that is right more often than not."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    is_right = draw.random(len(labels)) < draw.uniform(0.6, 0.95)
    return labels, np.where(is_right, labels, draw.integers(0, len(sizes), len(labels)))


def print_mixture(draw: np.random.Generator, sizes: list[int]) -> tuple[dict[str, float], str]:
    """Score labels under headings with and without averages.

    Returns:
        The figures by heading, and one heading that names its average.
    """
    labels, predicted = draw_labels(draw, sizes)

    def score(metric: str, average: str) -> float:
        return float(SCORES[metric](labels, predicted, average=average, zero_division=0))

    # What the headings that name no average share.
    shared = draw.choice(["macro", "weighted", "micro", *(["binary"] if len(sizes) == 2 else [])])
    columns = {
        "Accuracy": metrics.accuracy_score(labels, predicted),
        "Balanced accuracy": metrics.recall_score(labels, predicted, average="macro"),
    }
    averages = {metric: draw.choice([*HEADINGS, ""]) for metric in SCORES}
    averages[draw.choice(list(SCORES))] = draw.choice(list(HEADINGS))
    named = []
    for metric, average in averages.items():
        heading = draw.choice(HEADINGS[average]).format(metric) if average else metric
        columns[heading] = score(metric, average or shared)
        named += [heading] if average else []
    return columns, draw.choice(named)


def check(
    path: Path, columns: dict[str, float], sizes: list[int], folds: int | str = 1
) -> RowCheck:
    """Check a row, which is one test if nothing else is said."""
    figures = (f"{value:.4f}" for value in columns.values())
    path.write_text(
        ";".join([*columns, SIZES[len(sizes)], "folds"])
        + "\n"
        + ";".join([*figures, *map(str, sizes), str(folds)])
    )
    (row,) = read_printed_table(path).rows
    return check_row(row)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("seed", range(15))
def test_mixtures_of_averages_are_read_as_their_headings_say(
    seed: int, n_classes: int, tmp_path: Path
) -> None:
    draw = np.random.default_rng(seed)
    sizes = draw.permutation([7, 12, 18, 25])[:n_classes].tolist()
    columns, named = print_mixture(draw, sizes)
    honest = check(tmp_path / "table.csv", columns, sizes)
    assert list_inconsistencies(honest) == [], columns
    columns[named] += -0.25 if columns[named] > 0.5 else 0.25
    wrong = check(tmp_path / "table.csv", columns, sizes)
    assert not wrong.is_consistent, (columns, named)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("folds", ["", 3])
def test_means_of_named_averages_are_possible(
    n_classes: int, folds: int | str, tmp_path: Path
) -> None:
    draw = np.random.default_rng(n_classes)
    sizes = [23, 17, 12][:n_classes]
    runs = []
    for _ in range(3):
        labels, predicted = draw_labels(draw, sizes)
        runs.append(
            {
                "Accuracy": metrics.accuracy_score(labels, predicted),
                "Precision": metrics.precision_score(labels, predicted, average="macro"),
                "Weighted F1": metrics.f1_score(labels, predicted, average="weighted"),
                "Micro Recall": metrics.recall_score(labels, predicted, average="micro"),
            }
        )
    columns = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
    honest = check(tmp_path / "table.csv", columns, sizes, folds)
    assert honest.is_consistent
    columns["Micro Recall"] -= 0.25  # it is accuracy, in each run and in the mean
    assert not check(tmp_path / "table.csv", columns, sizes, folds=3).is_consistent


@pytest.mark.parametrize(
    ("columns", "sizes", "words"),
    [  # tp 24, fp 18, fn 6, tn 72; then 40 6 4, 5 20 5, 1 4 15
        ({"Accuracy": 0.8, "Precision": 0.8352, "Macro F1": 0.7619}, [90, 30],
         "fits as a weighted average where the heading names no average."),
        ({"Accuracy": 0.8, "Macro Precision": 0.7473, "Macro F1": 0.7619}, [90, 30], ""),
        ({"Accuracy": 0.75, "Recall": 0.7389, "Weighted F1": 0.7508}, [50, 30, 20],
         "fits three classes as a macro average where the heading names no average."),
        ({"Accuracy": 0.75, "Macro Recall": 0.7389}, [50, 30, 20], "fits three classes."),
    ],
)  # fmt: skip
def test_what_is_left_open_is_named(
    columns: dict[str, float], sizes: list[int], words: str, tmp_path: Path
) -> None:
    found = check(tmp_path / "table.csv", columns, sizes)
    assert found.is_consistent
    assert describe_convention(found).removeprefix("line 2: ") == words


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_sensitivity_of_one_class_beside_averages_is_no_finding(
    average: str, tmp_path: Path
) -> None:
    labels, predicted = draw_labels(np.random.default_rng(2), [100, 40])
    columns = {
        "Accuracy": metrics.accuracy_score(labels, predicted),
        "Precision": metrics.precision_score(labels, predicted, average=average),
        "Sensitivity": metrics.recall_score(labels, predicted),
        "Specificity": metrics.recall_score(labels, predicted, pos_label=0),
        "F1": metrics.f1_score(labels, predicted, average=average),
    }
    found = check(tmp_path / "table.csv", columns, [100, 40])
    assert list_inconsistencies(found) == []
    assert f"fits as a {average} average" in describe_convention(found)
    # Under a heading that says recall, all three are averages.
    renamed = {name.replace("Sensitivity", "Recall"): value for name, value in columns.items()}
    assert not check(tmp_path / "table.csv", renamed, [100, 40]).is_consistent
    wrong = {**columns, "Sensitivity": columns["Sensitivity"] - 0.05}
    assert not check(tmp_path / "table.csv", wrong, [100, 40]).is_consistent


@pytest.mark.parametrize(("average", "other"), [("weighted", "macro"), ("macro", "weighted")])
def test_specificity_of_three_classes_may_be_averaged_otherwise(
    average: str, other: str, tmp_path: Path
) -> None:
    sizes = [50, 30, 20]
    labels, predicted = draw_labels(np.random.default_rng(3), sizes)
    matrices = metrics.multilabel_confusion_matrix(labels, predicted)
    weights = np.array(sizes) / 100 if other == "weighted" else np.full(3, 1 / 3)
    columns = {
        "Accuracy": metrics.accuracy_score(labels, predicted),
        "Precision": metrics.precision_score(labels, predicted, average=average),
        "Recall": metrics.recall_score(labels, predicted, average=average),
        "Specificity": float(weights @ (matrices[:, 0, 0] / matrices[:, 0].sum(axis=1))),
        "F1": metrics.f1_score(labels, predicted, average=average),
    }
    found = check(tmp_path / "table.csv", columns, sizes)
    assert list_inconsistencies(found) == []
    words = f"as a {average} average, but a {other} one of specificity."
    assert words in describe_convention(found)
    wrong = {**columns, "Specificity": columns["Specificity"] - 0.1}
    assert not check(tmp_path / "table.csv", wrong, sizes).is_consistent


def test_several_averages_of_one_metric_are_columns_of_their_own(tmp_path: Path) -> None:
    # tp 40, fp 13, fn 9, tn 70
    columns = {"F1": 0.7843, "Macro F1": 0.8243, "Weighted F1": 0.8345, "Micro F1": 0.8333}
    found = check(tmp_path / "table.csv", columns, [83, 49])
    assert [40, 13, 9, 70] in found.fits.matrices.tolist()
    wrong = check(tmp_path / "table.csv", columns | {"Macro F1": 0.8143}, [83, 49])
    assert "macro f1" in " ".join(list_inconsistencies(wrong))


@pytest.mark.parametrize(
    ("sizes", "counts"), [("n_positive;n_negative", "49;83"), ("n_test", "132")]
)
@pytest.mark.parametrize("prefix", ["", "Micro "])
def test_micro_averages_of_two_classes(
    prefix: str, sizes: str, counts: str, tmp_path: Path
) -> None:
    # 21 of 132 are wrong: an odd number, so that precision and recall of no class are both .8409.
    heading = ";".join(["Accuracy", *(prefix + name for name in SCORES), "folds", sizes])

    def find(f1: str) -> RowCheck:
        (tmp_path / "table.csv").write_text(f"{heading}\n.8409;.8409;.8409;{f1};1;{counts}")
        return check_row(read_printed_table(tmp_path / "table.csv").rows[0])

    assert find(".8409").is_consistent
    assert not find(".8333").is_consistent


def test_kappa_beside_micro_averages_of_three_classes(tmp_path: Path) -> None:
    # 5 3 3, 1 6 0, 9 4 20
    found = check(tmp_path / "table.csv", {"F1": 0.6078, "Kappa": 0.3569}, [11, 7, 33])
    assert describe_convention(found) == "line 2: fits three classes as a micro average."
    assert not check(tmp_path / "table.csv", {"F1": 0.6078, "Kappa": 0.75}, [11, 7, 33]).is_allowed


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_f1_of_three_classes_may_be_that_of_average_precision_and_recall(
    average: str, seed: int, tmp_path: Path
) -> None:
    sizes = [20, 12, 8]
    labels, predicted = draw_labels(np.random.default_rng(seed), sizes)
    columns = {
        f"{average} {name}": of(labels, predicted, average=average) for name, of in SCORES.items()
    }
    precision, recall, _ = columns.values()
    columns |= {
        f"{average} F1": 2 * precision * recall / (precision + recall),
        "Accuracy": metrics.accuracy_score(labels, predicted),
        "Balanced accuracy": metrics.balanced_accuracy_score(labels, predicted),
    }
    assert check(tmp_path / "table.csv", columns, sizes).is_consistent
    columns[f"{average} F1"] -= 0.1
    assert not check(tmp_path / "table.csv", columns, sizes).is_consistent


@pytest.mark.parametrize("name", ["Specificity", "NPV"])
@pytest.mark.parametrize("sizes", [[83, 49], [20, 12, 8], [15, 12, 10, 8]])
def test_micro_average_of_true_negatives(name: str, sizes: list[int], tmp_path: Path) -> None:
    labels, predicted = draw_labels(np.random.default_rng(0), sizes)
    (tn, fp), (fn, _) = metrics.multilabel_confusion_matrix(labels, predicted).sum(axis=0)
    value = {"Specificity": tn / (tn + fp), "NPV": tn / (tn + fn)}[name]
    columns = {"Accuracy": metrics.accuracy_score(labels, predicted), f"Micro {name}": value}
    assert check(tmp_path / "table.csv", columns, sizes).is_consistent
    if len(sizes) > 2:  # of two classes, these may be the scores of either
        columns[f"Micro {name}"] -= 0.05
        assert not check(tmp_path / "table.csv", columns, sizes).is_consistent


def test_given_matrix_is_held_to_the_average_of_the_heading(tmp_path: Path) -> None:
    def find(f1: str) -> list[str]:
        (tmp_path / "table.csv").write_text(
            f"Precision,Macro F1,tp,fp,fn,tn\n.7547,{f1},40,13,9,70"
        )
        return list_inconsistencies(check_row(read_printed_table(tmp_path / "table.csv").rows[0]))

    assert find(".8243") == []
    assert any("macro f1 is printed as .7843, but" in text for text in find(".7843"))


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        *((text, "macro_f1") for text in ("Macro-F1", "MacroF1", "F1 (macro)", "f1_macro")),
        *((text, "macro_f1") for text in ("Macro-averaged F1-score", "F1 [macro avg., %]")),
        *((text, "macro_recall") for text in ("Unweighted average recall", "Macro sensitivity")),
        *((text, "weighted_precision") for text in ("Precision (weighted)", "weighted avg PPV")),
        *((text, "micro_f1") for text in ("micro F1", "F1micro", "F1 (micro)", "Micro-F1 (%)")),
        # No average is named, or which one.
        *((text, "f1") for text in ("mF1", "Average F1", "Mean F1 (%)", "F1 (avg)", "F1 (binary)")),
        *((text, "f1") for text in ("F1 (weighted loss)", "Macro/weighted F1")),
        ("Precision (osteoporosis)", "precision"),
        # Of all classes.
        *((text, "accuracy") for text in ("Micro accuracy", "Mean accuracy", "Accuracy (average)")),
        *((text, "kappa") for text in ("Unweighted kappa", "Cohen's kappa (κ)", "Mean kappa")),
        # Not checked, and none of those that are.
        *((text, "") for text in ("F2-score", "F0.5 (%)", "F-beta", "Fβ", "FPR", "G-mean")),
        *((text, "") for text in ("Youden's index", "Youden's J", "Error rate (%)")),
        # Not checked: there are several such figures.
        *((text, "") for text in ("Macro accuracy", "Weighted Acc.", "Accuracy (weighted)")),
        *((text, "") for text in ("Macro MCC", "Macro AUC", "Mean average precision")),
        *((text, "") for text in ("Weighted Kappa", "Quadratic Weighted Kappa", "QWK")),
        *((text, "") for text in ("Linear weighted Cohen's kappa", "Kappa (quadratic)")),
        *((text, "") for text in ("Kappa (linear weights)", "Quadratic kappa", "κ_w", "κw")),
        *((text, "") for text in ("Quadratically weighted κ", "Weighted kappa (95% CI)")),
    ],
)
def test_average_of_a_heading(heading: str, name: str) -> None:
    header = read_header([heading, "Specificity"], 1)
    assert header.names == (name, "specificity")
    assert header.aside == (() if name else (heading.lower(),))


@pytest.mark.parametrize("heading", ["Weighted Kappa", "Quadratic Weighted Kappa", "QWK"])
def test_weighted_kappa_is_left_aside_and_named(heading: str, tmp_path: Path, capfd) -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    predicted = np.repeat([0, 1, 2] * 3, [44, 5, 1, 6, 20, 4, 2, 5, 13])
    kappa = metrics.cohen_kappa_score(labels, predicted, weights="quadratic")
    text = f"Accuracy,{heading},n_a,n_b,n_c\n0.7700,{kappa:.4f},50,30,20\n"
    (tmp_path / "table.csv").write_text(text)
    assert main(["check-table", str(tmp_path / "table.csv"), "--one-test"]) == 0
    assert f"Not checked: {heading.lower()}" in capfd.readouterr().out
    (tmp_path / "table.csv").write_text(text.replace(heading, "Kappa"))
    assert main(["check-table", str(tmp_path / "table.csv"), "--one-test"]) == 3
