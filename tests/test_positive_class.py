"""Which of two classes is positive, by their names alone; the first of each pair is healthy."""

import pytest

from osteo_ray.experiment.positive_class import find_positive_class


@pytest.mark.parametrize(
    ("healthy", "ill"),
    [
        ("Normal cases", "Malignant cases"),
        ("normal cases", "abnormal cases"),
        ("healthy cases", "diseased cases"),
        ("controls", "cases"),
        ("healthy", "unhealthy"),
        ("disease-free", "affected"),
        ("w/o OA", "OA"),
        ("OP-", "OP+"),
        ("osteoporosis (-)", "osteoporosis (+)"),
        ("test negative", "infected"),
        ("HER2 negative", "HER2 positive"),
        ("benign tumor", "malignant tumor"),
        ("lung clear", "lung opaque"),
        ("uninfected", "infected"),
        ("non-covid", "covid"),
    ],
)
def test_absence_of_disease_is_recognised(healthy: str, ill: str) -> None:
    for classes in ((healthy, ill), (ill, healthy)):
        found = find_positive_class(classes)
        assert (found.name, found.basis) == (ill, "recognised")


@pytest.mark.parametrize(
    "classes",
    [
        ("clear cell", "papillary"),
        ("triple negative", "luminal"),
        ("non-small-cell", "small-cell"),
        ("nonhodgkin", "hodgkin"),
        ("A", "A-"),
    ],
)
def test_kinds_of_disease_are_not_taken_for_health(classes: tuple[str, str]) -> None:
    assert find_positive_class(classes).basis == "assumed"
