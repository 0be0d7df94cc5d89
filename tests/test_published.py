"""The paper's printed figures against its own confusion matrices."""

import pytest

from osteo_ray.compare.published import (
    PUBLISHED,
    Confusion,
    agrees,
    find_contradictions,
    find_matrices,
    recompute,
)


def test_contradictions_are_these_four() -> None:
    assert find_contradictions() == [
        "new MobileNet v3: accuracy is printed as 0.8648, but Fig 10b gives 0.8243.",
        "new MobileNet v3: precision is printed as 0.9354, but Fig 10b gives 0.8529.",
        "new MobileNet v3: f1 is printed as 0.8529, but Fig 10b gives 0.8169.",
        "new EfficientNetB0: accuracy is printed as 0.9189, but Fig 9b gives 0.9324.",
    ]


@pytest.mark.parametrize(
    ("data_set", "model", "matrices"),
    [
        ("original", "mobilenetv3_large_100", [(34, 14, 3, 23)]),
        ("original", "efficientnet_b0", [(29, 9, 8, 28)]),
        ("new", "mobilenetv3_large_100", [(29, 2, 8, 35)]),
        ("new", "efficientnet_b0", []),
    ],
)
def test_matrices_that_a_row_allows(data_set: str, model: str, matrices: list) -> None:
    (row,) = (row for row in PUBLISHED if (row.data_set, row.model) == (data_set, model))
    assert find_matrices(row) == matrices


@pytest.mark.parametrize("row", PUBLISHED)
def test_matrices_hold_the_test_set(row) -> None:
    assert (row.confusion.tp + row.confusion.fn, row.confusion.fp + row.confusion.tn) == (37, 37)


def test_cut_off_figures_agree_too() -> None:
    assert agrees("0.8648", 64 / 74)  # .86486, cut off
    assert agrees("0.8649", 64 / 74)
    assert not agrees("0.8650", 64 / 74)
    assert not agrees("0.8647", 64 / 74)
    assert agrees("0.8000", 0.8)


def test_recompute_without_positives() -> None:
    assert recompute(Confusion(0, 0, 0, 5)) == {
        "accuracy": 1.0,
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
    }
