"""Matrices behind printed figures, against brute force in fractions and strings."""

from decimal import ROUND_DOWN, ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar

from osteo_ray.check_table.matrices import (
    METRICS,
    MOST_MATRICES,
    Confusion,
    PrintedRow,
    agrees,
    check_row,
    count_possible,
    find_matrices,
    read_cell,
    recompute,
)
from osteo_ray.check_table.mcnemar_bounds import bound_by_class, bound_by_totals, mcnemar_p
from osteo_ray.check_table.table_check import describe_rounding, list_readings

counts = st.integers(0, 9)


def make_row(cells: dict[str, str], *divisions: tuple[int, int], confusion=None) -> PrintedRow:
    read = {name: read_cell(text) for name, text in cells.items()}
    return PrintedRow("net", "new", read, divisions, confusion)


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
    "text", ["", ".", "%", "a", "0.9.1", "1,000.5", "-0.5", "+0.5", "1e-1", "nan", "inf", "0.5%%"]
)
def test_cells_that_are_no_share(text: str) -> None:
    with pytest.raises(ValueError, match="Expected a share such as"):
        read_cell(text)


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
