"""Thresholds set on validation images, by trying all, and predictive values by counting."""

import math

import numpy as np
import pytest

from osteo_ray.statistics.thresholds import (
    OPERATING_NAMES,
    Operation,
    choose_threshold,
    measure_operation,
    predict_values,
)


def _balanced(scores: np.ndarray, positive: np.ndarray, threshold: float) -> float:
    reached = scores >= threshold
    return float((reached[positive].mean() + (~reached[~positive]).mean()) / 2)


@pytest.mark.parametrize("seed", range(20))
def test_no_other_threshold_is_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    positive = rng.permutation(np.arange(25) < 9)
    scores = np.clip(rng.integers(0, 12, 25) / 11 + 0.1 * positive * (seed % 3 - 1), 0, 1)
    threshold = choose_threshold(scores, positive)
    assert 0 <= threshold <= 1
    tried = [_balanced(scores, positive, value) for value in (*np.unique(scores), 0.0, 2.0)]
    assert _balanced(scores, positive, threshold) == pytest.approx(max(tried), abs=1e-12)


def test_it_lies_halfway_between_scores() -> None:
    scores, positive = np.array([0.1, 0.2, 0.6, 0.9]), np.array([False, False, True, True])
    assert choose_threshold(scores, positive) == pytest.approx(0.4)


def test_of_equals_the_nearest_to_a_half_then_the_lower() -> None:
    # Between 0.1 and 0.3 as good as between 0.3 and 0.8: 0.2 and 0.55.
    scores, positive = np.array([0.1, 0.3, 0.3, 0.8]), np.array([False, False, True, True])
    assert choose_threshold(scores, positive) == pytest.approx(0.55)
    # 0.25 and 0.75 are as good, and as near.
    scores, positive = np.array([0.125, 0.375, 0.625, 0.875]), np.array([0, 1, 0, 1], bool)
    assert choose_threshold(scores, positive) == 0.25


def test_scores_without_skill_call_all_positive() -> None:
    assert choose_threshold(np.full(4, 0.7), np.array([True, False, True, False])) == 0.0
    assert choose_threshold(np.array([0.9, 0.1]), np.array([False, True])) == 0.0  # upside down


def test_neighbouring_floats_are_kept_apart() -> None:
    low = 0.5
    scores = np.array([low, np.nextafter(low, 1)])
    threshold = choose_threshold(scores, np.array([False, True]))
    assert (scores >= threshold).tolist() == [False, True]


@pytest.mark.parametrize("positive", [np.ones(3, bool), np.zeros(3, bool)])
def test_one_class_sets_no_threshold(positive: np.ndarray) -> None:
    assert math.isnan(choose_threshold(np.array([0.1, 0.5, 0.9]), positive))


def test_predictive_values_at_their_own_prevalence_are_counts() -> None:
    rng = np.random.default_rng(0)
    positive, scores = rng.random(200) < 0.3, rng.random(200)
    found = measure_operation(scores, positive, threshold=0.4)
    reached = scores >= 0.4
    assert found.sensitivity == pytest.approx(reached[positive].mean())
    assert found.specificity == pytest.approx((~reached)[~positive].mean())
    assert found.ppv == pytest.approx(positive[reached].mean())
    assert found.npv == pytest.approx((~positive)[~reached].mean())


def test_prevalence_by_bayes_rule() -> None:
    # Of 1000: 50 ill, 45 found; 950 well, 760 said to be.
    ppv, npv = predict_values(0.9, 0.8, 0.05)
    assert ppv == pytest.approx(45 / (45 + 190))
    assert npv == pytest.approx(760 / (760 + 5))


def test_undefined_values_are_nan() -> None:
    all_called = measure_operation(np.array([0.6, 0.7]), np.array([True, False]), threshold=0.5)
    assert all_called.ppv == 0.5
    assert math.isnan(all_called.npv)
    one_class = measure_operation(np.array([0.6]), np.array([True]), threshold=0.5, prevalence=0.2)
    assert one_class.sensitivity == 1
    assert all(math.isnan(value) for value in one_class[2:])
    without = measure_operation(np.array([0.6]), np.array([True]), threshold=math.nan)
    assert all(math.isnan(value) for value in without)


def test_names_of_columns_follow_the_fields() -> None:
    assert [name.removesuffix("_at_threshold") for name in OPERATING_NAMES] == list(
        Operation._fields
    )
