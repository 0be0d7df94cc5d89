"""Matrices behind printed figures, against brute force in fractions and strings."""

import math
import re
from decimal import ROUND_DOWN, ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import linprog
from sklearn import metrics
from sklearn.model_selection import KFold, StratifiedKFold
from statsmodels.stats.contingency_tables import mcnemar

from osteo_ray.check_table import scores
from osteo_ray.check_table.cells import Cell, is_empty, read_cell, read_count
from osteo_ray.check_table.claims import find_false_claim
from osteo_ray.check_table.hull import Block, can_meet
from osteo_ray.check_table.matrices import (
    MOST_MATRICES,
    Confusion,
    PrintedRow,
    agrees,
    count_possible,
    find_matrices,
    recompute,
)
from osteo_ray.check_table.mcnemar_bounds import (
    bound_by_class,
    bound_by_totals,
    bound_differing,
    mcnemar_p,
)
from osteo_ray.check_table.row_check import (
    check_row,
    describe_convention,
    describe_rounding,
    list_inconsistencies,
)
from osteo_ray.check_table.scores import Scoring
from osteo_ray.check_table.several_classes import fit_classes
from osteo_ray.check_table.table_check import list_readings
from osteo_ray.check_table.three_classes import search_three

METRICS = ("accuracy", "precision", "recall", "specificity", "f1")
counts = st.integers(0, 9)


def make_row(
    cells: dict[str, str],
    *divisions: tuple[int, int],
    confusion=None,
    n_averaged: int | None = 1,
    class_counts: tuple[int, ...] = (),
) -> PrintedRow:
    read = {name: read_cell(text, signed=True) for name, text in cells.items()}
    return PrintedRow(
        "net", "new", read, divisions, confusion, n_averaged=n_averaged, class_counts=class_counts
    )


def write_figure(value: Fraction, decimals: int, rounding: str) -> str:
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    return str(exact.quantize(Decimal(1).scaleb(-decimals), rounding=rounding))


# Cells


@pytest.mark.parametrize(
    ("text", "units", "decimals"),
    [
        ("0.9324", 9324, 4), ("0,9324", 9324, 4), (".93", 93, 2), ("1", 1, 0), ("1.", 1, 0),
        ("0", 0, 0), ("93.24%", 9324, 4), ("93,24 %", 9324, 4), ("5%", 5, 2), ("100%", 100, 2),
        ("0.5%", 5, 3), ("0.800", 800, 3), ("0.12345678901234", 1234567890, 10),
    ],
)  # fmt: skip
def test_cells_are_read(text: str, units: int, decimals: int) -> None:
    cell = read_cell(text)
    assert (cell.units, cell.decimals) == (units, decimals)


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "%", "a", "0.9.1", "1,000.5", "-0.5", "+0.5", "1e-1", "nan", "inf", "0.5%%"),
        *("0.9 ±", "± 0.1", "0.9 (n.s.)", "0.9 0.8", "(0.8-0.9)", "0.9 (0.8"),
    ],
)
def test_cells_that_are_no_share(text: str) -> None:
    with pytest.raises(ValueError, match="Expected a share such as"):
        read_cell(text)


@pytest.mark.parametrize(
    "text",
    [
        *("0.91 ± 0.02", "0.91±0.02", "0.91 +/- 0.02", "0.91 (0.85-0.95)", "0.91 [0.85, 0.95]"),
        *("0.91 (0.85–0.95)", "0.91 (95% CI: 0.85 to 0.95)", "0.91(2)", "0.91*", "**0.91**"),
        *("91% ± 2%", "91 ± 2%", "91.% [85, 95]", "0,91 ± 0,02 (0,85; 0,95)", "91 (85-95)%"),
    ],
)
def test_spread_and_marks_are_left_aside(text: str) -> None:
    cell = read_cell(text)
    assert (cell.text, cell.units, cell.decimals) == (text, 91, 2)


def test_percentages_without_their_sign() -> None:
    assert read_cell("93.24", percent=True).units == 9324
    assert read_cell("5", percent=True) == Cell("5", 5, 2)
    assert read_cell("91(2)", percent=True) == Cell("91(2)", 91, 2)
    with pytest.raises(ValueError, match="from 0 to 1"):
        read_cell("100.1", percent=True)


@pytest.mark.parametrize("text", ["-0.05", "\N{MINUS SIGN}0.05", "-5%", "-0.05 ± 0.1"])
def test_kappa_below_zero(text: str) -> None:
    assert (read_cell(text, signed=True).units, read_cell(text, signed=True).decimals) == (-5, 2)
    low, high = read_cell(text, signed=True).bounds
    assert (low, high) == pytest.approx((-0.06, -0.045))


@pytest.mark.parametrize("text", ["", " ", "-", "–", "—", "n/a", "N/A", "n.a.", "NR"])
def test_empty_marks(text: str) -> None:
    assert is_empty(text)
    assert not is_empty("0")


@pytest.mark.parametrize(
    ("text", "count"),
    [("74", 74), ("74.0", 74), ("1,024", 1024), ("1.024", 1024), ("1 024", 1024), ("1'024", 1024),
     ("1,000", 1000), ("10,000", 10000), ("1 000", 1000), ("1,000.0", 1000), ("1.000.000", 1000000),
     ("12,345,678", 12345678), ("1,024.0", 1024), ("0", 0)],
)  # fmt: skip
def test_counts_are_read(text: str, count: int) -> None:
    assert read_count(text) == count


@pytest.mark.parametrize("text", ["", "5.5", "-5", "1,02", "1e3", "1,0244", "74.01", "n"])
def test_counts_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="Expected a whole number of images"):
        read_count(text)


@pytest.mark.parametrize("text", ["1.000", "74.000", "500.000"])
def test_counts_that_may_be_one_of_two(text: str) -> None:
    with pytest.raises(ValueError, match=r"may be (1 or 1|74 or 74|500 or 500)000\. Write one"):
        read_count(text)


@pytest.mark.parametrize("decimals", [6, 7, 8, 10, 16])
def test_figures_of_32_bits(decimals: int) -> None:
    for right, total in ((69, 74), (1, 3), (2, 3), (1, 2), (617, 5000)):
        printed = read_cell(f"{np.float32(right / total):.{decimals}f}")
        for value in (scores.Ratio(right, total), right / total):
            assert any(map(bool, scores.match(printed, value)))
            wrong = read_cell(f"{right / total + 3e-6:.{decimals}f}")
            assert not any(map(bool, scores.match(wrong, value)))


@pytest.mark.parametrize("text", ["1.01", "93.24", "100.1%"])
def test_cells_above_one(text: str) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        read_cell(text)


# Agreement


@given(counts, counts, counts, counts, st.integers(0, 5), st.sampled_from(METRICS))
def test_shortened_figures_agree_and_neighbours_do_not(tp, fp, fn, tn, decimals, metric) -> None:
    matrix = Confusion(tp, fp, fn, tn)
    value = Fraction(recompute(matrix)[metric]).limit_denominator(100)
    fits = {
        write_figure(value, decimals, rounding)
        for rounding in (ROUND_DOWN, ROUND_HALF_UP, ROUND_HALF_DOWN)
    }
    unit = Decimal(1).scaleb(-decimals)
    near = {str(Decimal(text) + step * unit) for text in fits for step in range(-2, 3)}
    for text in near:
        if 0 <= Decimal(text) <= 1:
            assert agrees(read_cell(text), metric, matrix) == (text in fits), text


def test_metrics_by_hand() -> None:
    assert recompute(Confusion(tp=29, fp=9, fn=8, tn=28)) == {
        "accuracy": 57 / 74,
        "precision": 29 / 38,
        "recall": 29 / 37,
        "specificity": 28 / 37,
        "f1": 58 / 75,
    }
    assert recompute(Confusion(0, 0, 0, 5)) == {
        "accuracy": 1.0,
        "precision": 0.0,
        "recall": 0.0,
        "specificity": 1.0,
        "f1": 0.0,
    }


# Matrices


@pytest.mark.parametrize(
    ("cells", "divisions"),
    [
        ({"accuracy": "0.85"}, ((9, 11),)),
        ({"accuracy": "0.8", "precision": "0.83"}, ((9, 11), (10, 10))),
        ({"recall": "0.7", "specificity": "0.9"}, tuple((n, 20 - n) for n in range(21))),
        ({"precision": "0.0"}, ((3, 2),)),
        ({"f1": "1"}, ((3, 0), (0, 3))),
    ],
)  # fmt: skip
def test_matrices_are_those_of_brute_force(cells, divisions) -> None:
    row = make_row(cells, *divisions)
    expected = [
        (tp, fp, positive - tp, negative - fp)
        for positive, negative in divisions
        for tp, fp in product(range(positive + 1), range(negative + 1))
        if all(
            agrees(cell, name, Confusion(tp, fp, positive - tp, negative - fp))
            for name, cell in row.cells.items()
        )
    ]
    found = find_matrices(row)
    assert [tuple(matrix) for matrix in found.matrices.tolist()] == sorted(expected)
    assert len(found.rounded) == len(found.cut) == len(expected)
    assert count_possible(row) == sum((p + 1) * (n + 1) for p, n in divisions)


def test_blocks_do_not_lose_a_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    row = make_row({"accuracy": "0.80"}, (23, 17), (20, 20))
    whole = find_matrices(row)
    monkeypatch.setattr("osteo_ray.check_table.matrices._BLOCK", 50)
    np.testing.assert_array_equal(find_matrices(row).matrices, whole.matrices)


@pytest.mark.parametrize(
    ("cells", "how"),
    [
        ({"recall": "0.67"}, "rounded"),  # 2/3
        ({"recall": "0.66"}, "cut off"),
        ({"recall": "0.33"}, "rounded or cut off alike"),
        ({"recall": "0.67", "accuracy": "0.66"}, "some rounded, some cut off"),
        ({"recall": "0.5"}, ""),
    ],
)
def test_how_figures_were_shortened(cells: dict[str, str], how: str) -> None:
    assert describe_rounding(find_matrices(make_row(cells, (3, 3)))) == how


def test_more_matrices_than_can_be_tried() -> None:
    row = make_row({"recall": "0.5"}, (20_000, 20_000))
    assert count_possible(row) > MOST_MATRICES
    with pytest.raises(ValueError, match="40000 test images allow"):
        find_matrices(row)


# Contradictions


def test_conflicts_are_minimal_and_agreeing_sets_largest() -> None:
    # recall 3/4 and specificity 1/4 make accuracy 1/2; precision is 3/6 then
    cells = {"accuracy": "0.75", "precision": "0.50", "recall": "0.75", "specificity": "0.25"}
    check = check_row(make_row(cells, (4, 4)))
    assert not check.is_consistent
    assert [fits.cells for fits in check.agreeing] == [("precision", "recall", "specificity")]
    assert [fits.list_first(5) for fits in check.agreeing] == [[(3, 3, 1, 1)]]
    # accuracy 6/8 with precision 1/2: tp = fp and tp + 4 - fp = 6 is impossible
    assert ("accuracy", "precision") in check.conflicts
    for conflict in check.conflicts:
        assert not len(find_matrices(check.row, conflict).matrices)
        for left_out in conflict:
            rest = [name for name in conflict if name != left_out]
            assert len(find_matrices(check.row, rest).matrices)


def test_figure_that_no_matrix_gives_by_itself() -> None:
    check = check_row(make_row({"accuracy": "0.7"}, (1, 1)))
    assert check.conflicts == (("accuracy",),)
    assert check.agreeing == ()
    assert list_readings(check) == []


def test_matrix_given_is_a_reading_of_its_own_if_it_is_not_the_only_one() -> None:
    given_matrix = Confusion(2, 1, 1, 2)
    check = check_row(make_row({"recall": "0.67"}, (3, 3), confusion=given_matrix))
    assert check.is_consistent
    assert [len(reading.matrices) for reading in list_readings(check)] == [4, 1]


# McNemar


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_that_of_statsmodels(b: int, c: int) -> None:
    reference = mcnemar([[0, b], [c, 0]], exact=True).pvalue
    assert mcnemar_p(np.array([b]), np.array([c]))[0] == pytest.approx(reference, abs=1e-12)


def _p_of_every_table(first: Confusion, second: Confusion, *, by_class: bool) -> list[float]:
    """Go through every number of images that both get wrong, and ask statsmodels."""
    groups = [
        (first.fn, second.fn, first.tp + first.fn),
        (first.fp, second.fp, first.fp + first.tn),
    ]
    if not by_class:
        groups = [tuple(map(sum, zip(*groups, strict=True)))]
    overlaps = [
        [both for both in range(one + 1) if both <= other and one + other - both <= size]
        for one, other, size in groups
    ]
    one, other = first.fp + first.fn, second.fp + second.fn
    return [
        mcnemar([[0, one - sum(both)], [other - sum(both), 0]], exact=True).pvalue
        for both in product(*overlaps)
    ]


@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 8), st.integers(0, 8))
def test_bounds_are_those_of_every_overlap(tp: int, fp: int, other_tp: int, other_fp: int) -> None:
    first, second = (Confusion(a, b, 8 - a, 8 - b) for a, b in ((tp, fp), (other_tp, other_fp)))
    arrays = np.array([first]), np.array([second])
    for found, by_class in ((bound_by_totals(*arrays), False), (bound_by_class(*arrays), True)):
        every = _p_of_every_table(first, second, by_class=by_class)
        assert found is not None
        assert (found.low, found.high) == pytest.approx((min(every), max(every)), abs=1e-12)


def test_bounds_over_several_matrices_are_the_widest() -> None:
    first = np.array([(5, 1, 3, 7), (6, 3, 2, 5)])
    second = np.array([(8, 1, 0, 7)])
    each = [bound_by_class(first[[k]], second) for k in range(2)]
    both = bound_by_class(first, second)
    assert both is not None
    assert both.low == min(one.low for one in each if one)
    assert both.high == max(one.high for one in each if one)


def test_matrices_that_cannot_share_their_images() -> None:
    first, second = np.array([(1, 1, 1, 1)]), np.array([(1, 1, 0, 2)])
    assert bound_by_class(first, second) is None
    assert bound_by_totals(first, second).high == 1.0
    with pytest.raises(ValueError, match="same test images"):
        bound_by_totals(first, np.array([(1, 1, 1, 2)]))


def test_too_many_pairs_are_left_out() -> None:
    many = np.tile([(1, 1, 1, 1)], (1001, 1))
    assert bound_by_class(many, many) is None
    assert bound_differing(many, many) is None


# Other conventions. Honest tables are made with scikit-learn from labels, not with our formulas.


def realise(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and predictions with this confusion matrix, rows being true classes."""
    classes = np.arange(len(matrix))
    labels = np.repeat(np.repeat(classes, len(matrix)), matrix.ravel())
    return labels, np.repeat(np.tile(classes, len(matrix)), matrix.ravel())


def measure(matrix: np.ndarray, how: str) -> dict[str, float]:
    """Measure precision, recall, F1 and the rest with scikit-learn; class 1 is positive."""
    labels, predicted = realise(matrix)
    kwargs: dict = {"average": how} if how in ("macro", "weighted") else {"pos_label": int(how)}
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels,
        predicted,
        zero_division=0,
        labels=np.arange(len(matrix)) if "average" in kwargs else None,
        **({"average": "binary"} | kwargs),
    )
    return {
        "accuracy": metrics.accuracy_score(labels, predicted),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, predicted),
        "kappa": metrics.cohen_kappa_score(labels, predicted),
    }


def shorten(value: float, decimals: int, cut: bool) -> str:
    exact = Decimal(repr(round(value, 13)))
    return str(
        exact.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_DOWN if cut else ROUND_HALF_UP)
    )


def print_row(values: dict[str, float], draw: np.random.Generator) -> dict[str, str]:
    """Print some of the figures, all rounded or all cut off."""
    decimals, cut = int(draw.integers(2, 5)), bool(draw.integers(2))
    some = draw.permutation(list(values))[: draw.integers(2, len(values) + 1)]
    return {name: shorten(values[name], decimals, cut) for name in sorted(some)}


def draw_matrix(draw: np.random.Generator, *sizes: int) -> np.ndarray:
    skill = draw.uniform(0.2, 0.95)
    rows = []
    for number, size in enumerate(sizes):
        chances = np.full(len(sizes), (1 - skill) / (len(sizes) - 1))
        chances[number] = skill
        rows.append(draw.multinomial(size, chances))
    return np.array(rows)


@pytest.mark.parametrize("how", ["0", "1", "weighted", "macro"])
@pytest.mark.parametrize("seed", range(25))
def test_honest_row_is_never_accused(seed: int, how: str) -> None:
    draw = np.random.default_rng(seed)
    negative, positive = draw.integers(3, 80, 2).tolist()
    matrix = draw_matrix(draw, negative, positive)
    cells = print_row(measure(matrix, how), draw)
    (tn, fp), (fn, tp) = matrix.tolist()
    total = positive + negative
    for divisions in ([(positive, negative)], [(n, total - n) for n in range(total + 1)]):
        row = make_row(cells, *divisions)
        scoring = dict(
            zip(["0", "1", "weighted", "macro"],
                [Scoring.OTHER, Scoring.POSITIVE, Scoring.WEIGHTED, Scoring.MACRO], strict=True)
        )[how]  # fmt: skip
        assert [tp, fp, fn, tn] in find_matrices(row, scoring=scoring).matrices.tolist()
        check = check_row(row)
        assert check.is_consistent, cells
        found = [one for one in check.conventions if one.words == scoring.value]
        assert len(check.fits.matrices) or (found and found[0].is_certain)


def test_each_convention_is_named() -> None:
    # 30 and 90 images; tp 24, fp 18, fn 6, tn 72
    matrix = np.array([[72, 18], [6, 24]])
    for how, words in (
        ("weighted", "fits as a weighted average"),
        ("macro", "fits as a macro average"),
        ("0", "fits as the scores of the other class"),
    ):
        cells = {name: f"{value:.4f}" for name, value in measure(matrix, how).items()}
        check = check_row(make_row(cells, (30, 90)))
        assert [str(one) for one in check.conventions] == [words]
        assert describe_convention(check) == f"new net: {words}."
        assert [reading.matrices.tolist() for reading in list_readings(check)] == [
            [[24, 18, 6, 72]]
        ]
    own = check_row(make_row({k: f"{v:.4f}" for k, v in measure(matrix, "1").items()}, (30, 90)))
    assert own.conventions == ()
    assert own.fits.matrices.tolist() == [[24, 18, 6, 72]]


def test_f1_of_average_precision_and_recall_is_an_average_too() -> None:
    values = measure(np.array([[72, 18], [6, 24]]), "macro")
    harmonic = 2 * values["precision"] * values["recall"] / (values["precision"] + values["recall"])
    assert f"{harmonic:.4f}" != f"{values['f1']:.4f}"
    cells = {name: f"{value:.4f}" for name, value in (values | {"f1": harmonic}).items()}
    assert [str(one) for one in check_row(make_row(cells, (30, 90))).conventions] == [
        "fits as a macro average"
    ]


@pytest.mark.parametrize("metric", ["balanced_accuracy", "kappa", "mcc", "npv"])
def test_other_metrics_are_checked(metric: str) -> None:
    labels, predicted = realise(np.array([[72, 18], [6, 24]]))
    value = {
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, predicted),
        "kappa": metrics.cohen_kappa_score(labels, predicted),
        "mcc": metrics.matthews_corrcoef(labels, predicted),
        "npv": 72 / 78,
    }[metric]
    cells = {"accuracy": "0.8000", "recall": "0.8000", "precision": "0.5714"}
    row = make_row(cells | {metric: f"{value:.4f}"}, (30, 90))
    assert check_row(row).fits.matrices.tolist() == [[24, 18, 6, 72]]
    wrong = check_row(make_row(cells | {metric: f"{value + 0.02:.4f}"}, (30, 90)))
    assert not wrong.is_consistent
    assert metric.replace("_", " ") in list_inconsistencies(wrong)[0]


@given(counts, counts, counts, counts, st.sampled_from(list(Scoring)), st.integers(1, 3))
def test_values_rise_with_tp_and_fall_with_fp(tp, fp, fn, tn, scoring, step) -> None:
    # What `means` rests on where it joins matrices into ranges.
    for metric in scores.FIGURES:

        def of(tp, fp, fn, tn, metric=metric):
            return [
                value.value if isinstance(value, scores.Ratio) else value
                for value in scores.list_values(metric, scoring, tp, fp, fn, tn)
            ]

        base = of(tp, fp, fn, tn)
        if fn >= step:
            assert all(
                a >= b - 1e-12 for a, b in zip(of(tp + step, fp, fn - step, tn), base, strict=True)
            )
        if tn >= step:
            assert all(
                a <= b + 1e-12 for a, b in zip(of(tp, fp + step, fn, tn - step), base, strict=True)
            )


# Means


def average_rows(matrices: list[np.ndarray], how: str) -> dict[str, float]:
    each = [measure(matrix, how) for matrix in matrices]
    return {name: float(np.mean([one[name] for one in each])) for name in each[0]}


@pytest.mark.parametrize("how", ["0", "1", "weighted", "macro"])
@pytest.mark.parametrize("seed", range(3))
def test_honest_means_are_never_accused(seed: int, how: str) -> None:
    draw = np.random.default_rng(seed)
    negative, positive = draw.integers(15, 40, 2).tolist()
    n_folds = int(draw.integers(2, 9))
    runs = [draw_matrix(draw, negative, positive) for _ in range(n_folds)]
    folds = []
    labels = draw.permutation(np.repeat([0, 1], [negative, positive]))
    cut = StratifiedKFold if seed % 2 else KFold
    for _, test in cut(n_folds).split(labels, labels):
        folds.append(draw_matrix(draw, *np.bincount(labels[test], minlength=2)))
    for matrices in (runs, folds):
        values = average_rows(matrices, how)
        if not np.isfinite(list(values.values())).all():
            continue
        cells = print_row(values, draw)
        for stated in (None, n_folds):
            check = check_row(make_row(cells, (positive, negative), n_averaged=stated))
            assert check.is_consistent, (cells, stated)


def test_means_are_only_possible_and_one_test_rules_them_out() -> None:
    runs = [np.array([[70, 20], [2, 28]]), np.array([[88, 2], [12, 18]])]
    cells = {name: f"{value:.4f}" for name, value in average_rows(runs, "1").items()}
    check = check_row(make_row(cells, (30, 90), n_averaged=2))
    assert check.is_consistent
    assert "possible as the mean over 2 runs on these test images" in describe_convention(check)
    assert "cannot be confirmed" in describe_convention(check)
    assert "If the row reports one test: no confusion matrix of" in describe_convention(check)
    assert list_readings(check) == []
    assert not check_row(make_row(cells, (30, 90), n_averaged=1)).is_consistent


@pytest.mark.parametrize(
    "cells",
    [
        # The mean of F1 is at most the harmonic mean of mean precision and mean recall.
        {"accuracy": "0.80", "precision": "0.70", "recall": "0.80", "f1": "0.83"},
        # Balanced accuracy is half the sum, in each test and in the mean.
        {"recall": "0.80", "specificity": "0.80", "balanced_accuracy": "0.95"},
        {"recall": "0.80", "specificity": "0.70", "accuracy": "0.95"},
        {"accuracy": "0.95", "kappa": "0.20", "balanced_accuracy": "0.94"},
    ],
)
@pytest.mark.parametrize("n_averaged", [None, 5, 1])
def test_what_no_reading_allows_is_found(cells: dict[str, str], n_averaged: int | None) -> None:
    check = check_row(make_row(cells, (300, 300), n_averaged=n_averaged))
    assert not check.is_consistent
    assert list_inconsistencies(check)


def test_spread_that_a_mean_needs() -> None:
    # Recall and specificity of .9 at 200 and 200 images give precision .9, unless runs differ.
    cells = {"accuracy": "0.9000", "recall": "0.9000", "precision": "0.9200"}
    words = describe_convention(check_row(make_row(cells, (200, 200), n_averaged=5)))
    spread = float(re.findall(r"standard deviation above ([\d.]+)", words)[0])
    assert 0.05 <= spread <= 0.3


# The relaxation


@pytest.mark.parametrize("seed", range(40))
def test_hull_is_that_of_a_whole_linear_program(seed: int) -> None:
    draw = np.random.default_rng(seed)
    points = [draw.normal(size=(draw.integers(1, 60), 3)) for _ in range(draw.integers(1, 4))]
    center = draw.normal(size=3) * len(points) * 0.6
    low, high = center - 0.1, center + 0.1
    columns = np.concatenate(points).T
    of = np.repeat(np.arange(len(points)), [len(some) for some in points])
    found = linprog(
        np.zeros(columns.shape[1]),
        A_ub=np.concatenate([columns, -columns]),
        b_ub=np.concatenate([high, -low]),
        A_eq=(np.arange(len(points))[:, None] == of).astype(float),
        b_eq=np.ones(len(points)),
    )
    assert can_meet([Block(some, some) for some in points], low, high) == (found.status == 0)


@pytest.mark.parametrize("seed", range(40))
def test_hull_holds_its_own_means(seed: int) -> None:
    draw = np.random.default_rng(seed)
    blocks = [draw.normal(size=(80, 4)) for _ in range(1 + seed % 3)]
    mean = sum(draw.dirichlet(np.full(80, 0.05)) @ points for points in blocks)
    width = 10.0 ** -draw.integers(0, 5)
    boxes = [Block(points, points) for points in blocks]
    assert can_meet(boxes, mean - width * draw.uniform(0, 1, 4), mean + width * 0.5)


# Three classes and more


@pytest.mark.parametrize("how", ["weighted", "macro"])
@pytest.mark.parametrize("seed", range(12))
def test_honest_row_of_several_classes_is_never_accused(seed: int, how: str) -> None:
    draw = np.random.default_rng(seed)
    sizes = draw.integers(5, 40, draw.integers(3, 5)).tolist()
    runs = [draw_matrix(draw, *sizes) for _ in range(3)]
    cells = print_row(measure(runs[0], how), draw)
    check = check_row(make_row(cells, class_counts=tuple(sizes)))
    assert check.is_consistent, cells
    mean = print_row(average_rows(runs, how), draw)
    for stated in (None, 3):
        row = make_row(mean, class_counts=tuple(sizes), n_averaged=stated)
        assert check_row(row).is_consistent, mean


@pytest.mark.parametrize("seed", range(4))
def test_honest_mean_over_folds_of_three_classes(seed: int) -> None:
    draw = np.random.default_rng(seed)
    sizes = (31, 22, 17)
    labels = draw.permutation(np.repeat([0, 1, 2], sizes))
    cut = StratifiedKFold if seed % 2 else KFold
    folds = [
        draw_matrix(draw, *np.bincount(labels[test], minlength=3))
        for _, test in cut(4).split(labels, labels)
    ]
    cells = print_row(average_rows(folds, ("macro", "weighted")[seed // 2]), draw)
    for stated in (None, 4):
        assert check_row(make_row(cells, class_counts=sizes, n_averaged=stated)).is_consistent


def test_three_classes_are_named_and_wrong_ones_found() -> None:
    matrix = np.array([[40, 6, 4], [5, 20, 5], [1, 4, 15]])
    values = measure(matrix, "macro")
    cells = {name: f"{value:.3f}" for name, value in values.items()}
    check = check_row(make_row(cells, class_counts=(50, 30, 20)))
    assert "fits three classes as a macro average" in describe_convention(check)
    for wrong in (
        {"recall": "0.900"},  # another number than balanced accuracy
        {"kappa": "0.300"},  # kappa of accuracy .75 is above (.75 - .5) / .5
        {"accuracy": "0.400"},  # with a mean recall of .739
    ):
        bad = check_row(make_row(cells | wrong, class_counts=(50, 30, 20)))
        assert not bad.is_consistent, wrong
        assert "50, 30 and 20 test images of 3 classes" in list_inconsistencies(bad)[0]


@pytest.mark.parametrize("seed", range(3))
def test_proofs_about_three_classes_are_those_of_brute_force(seed: int) -> None:
    # All matrices of 3, 2 and 2 images: what one of them gives may not be refused; and what no
    # mixture of them gives must be, here: recall above every recall with that accuracy.
    every = [
        np.array([a, b, c])
        for a in compositions(3) for b in compositions(2) for c in compositions(2)
    ]  # fmt: skip
    draw = np.random.default_rng(seed)
    for matrix in draw.permutation(np.array(every))[:15]:
        cells = {k: f"{v:.3f}" for k, v in measure(matrix, "macro").items() if v == v}
        assert check_row(make_row(cells, class_counts=(3, 2, 2))).is_consistent
    row = make_row({"accuracy": "0.714", "recall": "0.800"}, class_counts=(3, 2, 2))
    # 5 of 7 right: mean recall is 13/18 = .722 (2, 1 missed), .667 or .778: (3, 1, 1) .667
    assert not check_row(row).is_consistent


def test_no_class_takes_its_own_images() -> None:
    # Found: 4, 3, 0. Only if class 3 took the 2 images that it misses itself, mean precision could
    # be (1 + 1 + 0) / 3.
    cells = {"accuracy": "0.778", "recall": "0.667", "precision": "0.667"}
    row = make_row(cells, class_counts=(4, 3, 2))
    assert fit_classes(row, Scoring.MACRO) is False
    assert search_three(row, Scoring.MACRO, 0) is False
    cells["precision"] = "0.556"  # both taken for class 1
    assert fit_classes(make_row(cells, class_counts=(4, 3, 2)), Scoring.MACRO) is True
    # Found: 4, 3, 0, 3. The two images missed cannot be taken for class 3, whose own they are.
    cells = {"accuracy": "0.833", "recall": "0.000", "specificity": "0.800"}
    assert not check_row(make_row(cells, class_counts=(4, 3, 2, 3))).is_consistent
    cells["specificity"] = "1.000"
    assert check_row(make_row(cells, class_counts=(4, 3, 2, 3))).is_consistent


def compositions(n: int) -> list[tuple[int, int, int]]:
    return [(a, b, n - a - b) for a in range(n + 1) for b in range(n + 1 - a)]


# What a claim is worth


def test_false_claim_by_exact_enumeration_and_by_monte_carlo() -> None:
    n, one, other, agreement = 12, 10, 7, (0.5, 0.8)
    # Exact: integrate the Dirichlet posterior of each possible table.
    expected = []
    for both in range(n + 1):
        b, c = one - both, other - both
        neither = n - both - b - c
        share = (both + neither) / n
        if min(b, c, neither) < 0 or not agreement[0] <= share <= agreement[1]:
            continue
        # P(theta_b <= theta_c): b of b + c + 1 order statistics, with whole numbers
        total = b + c + 1
        expected.append(sum(math.comb(total, k) for k in range(b + 1, total + 1)) / 2**total)
    claim = find_false_claim([one], [other], n, agreement)
    assert claim.mean == pytest.approx(np.mean(expected), abs=1e-12)
    assert (claim.low, claim.high) == pytest.approx((min(expected), max(expected)))
    # Monte Carlo of the whole model: draw probabilities, draw tables, keep those as observed.
    draw = np.random.default_rng(0)
    chances = draw.dirichlet(np.ones(4), 1_500_000)  # both, only one, only other, neither
    tables = draw.multinomial(n, chances)
    kept = (tables[:, 0] + tables[:, 1] == one) & (tables[:, 0] + tables[:, 2] == other)
    agreeing = (tables[:, 0] + tables[:, 3]) / n
    kept &= (agreeing >= agreement[0]) & (agreeing <= agreement[1])
    assert kept.sum() > 3000
    false = (chances[kept, 1] <= chances[kept, 2]).mean()
    assert claim.mean == pytest.approx(false, abs=4 * math.sqrt(0.25 / kept.sum()))


def test_false_claim_by_hand() -> None:
    assert find_false_claim([90], [80], 100, (0.9, 0.9)).mean == pytest.approx(2.0**-11)
    assert find_false_claim([80], [90], 100, (0.9, 0.9)).mean == pytest.approx(2.0**-11)
    assert find_false_claim([80], [80], 100, (0.5, 1.0)).mean == pytest.approx(0.5)
    # Ten more are right: at most 90 % agreement is possible.
    forced = find_false_claim([90], [80], 100, (0.95, 0.99))
    assert forced.agreement == (0.9, 0.9)
    assert find_false_claim([90], [80], 100, (0.0, 0.2)).agreement == (0.7, 0.7)
    # It is known that at least 20 images differ: b = 15, c = 5.
    known = find_false_claim([90], [80], 100, (0.8, 0.95), (20, 30))
    assert known.mean == pytest.approx(stats.beta.cdf(0.5, 16, 6))
    # More agreement makes a difference more credible.
    close, far = (find_false_claim([90], [85], 100, (a, a)).mean for a in (0.95, 0.75))
    assert close < far


@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 8), st.integers(0, 8))
def test_differing_images_are_those_of_every_overlap(tp, fp, other_tp, other_fp) -> None:
    first, second = (Confusion(a, b, 8 - a, 8 - b) for a, b in ((tp, fp), (other_tp, other_fp)))
    every = [
        first.fn + first.fp + second.fn + second.fp - 2 * (both_fn + both_fp)
        for both_fn in range(9)
        for both_fp in range(9)
        if max(0, first.fn + second.fn - 8) <= both_fn <= min(first.fn, second.fn)
        and max(0, first.fp + second.fp - 8) <= both_fp <= min(first.fp, second.fp)
    ]
    found = bound_differing(np.array([first]), np.array([second]))
    assert found == (min(every), max(every))
