"""Agreement by chance, by hand and against Cohen's kappa; who is above it."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from osteo_ray.statistics.chance import compare_with_chance, measure_chance
from osteo_ray.statistics.predictions import Predictions, encode_predictions
from osteo_ray.statistics.sizes import Sizes


def test_chance_is_that_of_kappa() -> None:
    rng = np.random.default_rng(0)
    labels, predicted = rng.choice(["a", "b", "c"], (2, 60), p=[0.5, 0.3, 0.2])
    chance, hit = measure_chance(labels, predicted), float(np.mean(labels == predicted))
    assert (hit - chance) / (1 - chance) == pytest.approx(cohen_kappa_score(labels, predicted))


def _predict(hits: list[list[bool]]) -> Predictions:
    """Predictions of half positive images, of which some are hit, seed by seed."""
    rows = []
    for seed, of_seed in enumerate(hits):
        for number, hit in enumerate(of_seed):
            label = number % 2
            p = 0.9 if label == hit else 0.1
            named = {"model": "m", "arm": "a", "split": "test", "seed": seed}
            shown = {"image_id": str(number), "label": "nw"[label], "p_n": 1 - p, "p_w": p}
            rows.append({**named, **shown})
            # other models and splits play no role
            rows.append({**named, **shown, "p_n": p, "p_w": 1 - p, "split": "validation"})
            rows.append({**named, **shown, "p_n": p, "p_w": 1 - p, "model": "k"})
    return encode_predictions(pa.Table.from_pylist(rows), ["n", "w"], "w")


def test_arm_is_held_against_chance_seed_by_seed() -> None:
    hits = [[True] * 8, [True] * 6 + [False] * 2, [True] * 4 + [False] * 4]
    found = compare_with_chance(_predict(hits), "m", "a", sizes=Sizes(n_test=0, n_train=1))
    assert found.excess == pytest.approx(np.mean([0.5, 0.25, 0.0]))
    expected = stats.ttest_1samp([0.5, 0.25, 0.0], 0, alternative="greater")
    assert found.p == pytest.approx(expected.pvalue)
    assert found.is_above(0.2) is True
    assert found.is_above(0.01) is False
    worse = [[not hit for hit in of_seed] for of_seed in hits]
    below = compare_with_chance(_predict(worse), "m", "a", sizes=Sizes(n_test=0, n_train=1))
    assert below.p is not None
    assert below.p > 0.5


def test_seeds_that_are_alike_are_told_by_their_signs() -> None:
    found = compare_with_chance(
        _predict([[True] * 4] * 3), "m", "a", sizes=Sizes(n_test=1, n_train=9)
    )
    assert (found.excess, found.p) == (0.5, 1 / 8)
    never = compare_with_chance(
        _predict([[False] * 4] * 3), "m", "a", sizes=Sizes(n_test=1, n_train=9)
    )
    assert never.p == 1.0


def test_what_cannot_be_told_is_said() -> None:
    one = compare_with_chance(_predict([[True] * 4]), "m", "a", sizes=Sizes(n_test=1, n_train=9))
    assert (one.excess, one.p, one.note) == (0.5, None, "A test needs 2 seeds; a has 1.")
    assert one.is_above(0.05) is None
    none = compare_with_chance(
        _predict([[True] * 4]), "m", "other", sizes=Sizes(n_test=1, n_train=9)
    )
    assert (none.excess, none.p) == (None, None)
