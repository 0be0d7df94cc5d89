"""Posterior probabilities against baycomp where both say the same, and shares of seeds."""

import baycomp
import numpy as np
import pytest

from osteo_ray.statistics.posterior import correlated_posterior, improvement_share
from osteo_ray.statistics.sizes import Sizes


@pytest.mark.parametrize(("folds", "runs"), [(5, 1), (10, 1), (5, 4), (10, 3)])
@pytest.mark.parametrize("margin", [0.005, 0.03])
def test_cross_validation_is_baycomp(folds: int, runs: int, margin: float) -> None:
    rng = np.random.default_rng(folds * runs)
    baseline, arm = rng.normal(0.80, 0.03, folds * runs), rng.normal(0.82, 0.03, folds * runs)
    worse, equivalent, better = baycomp.two_on_single(baseline, arm, rope=margin, runs=runs)
    found = correlated_posterior(
        arm - baseline, margin=margin, sizes=Sizes(n_test=1, n_train=folds - 1)
    )
    assert found is not None
    assert (found.worse, found.equivalent, found.better) == pytest.approx(
        (worse, equivalent, better), abs=1e-12
    )


def test_sign_swaps_worse_and_better() -> None:
    differences = np.array([0.02, 0.01, 0.05, -0.01])
    gain = correlated_posterior(differences, margin=0.01, sizes=Sizes(n_test=1, n_train=7))
    loss = correlated_posterior(-differences, margin=0.01, sizes=Sizes(n_test=1, n_train=7))
    assert gain is not None
    assert loss is not None
    assert (gain.worse, gain.better) == pytest.approx((loss.better, loss.worse))
    assert gain.worse + gain.equivalent + gain.better == pytest.approx(1)


@pytest.mark.parametrize("value", [0.0, 0.02])
def test_no_spread_is_no_certainty(value: float) -> None:
    assert (
        correlated_posterior(np.full(6, value), margin=0.01, sizes=Sizes(n_test=1, n_train=7))
        is None
    )


@pytest.mark.parametrize("margin", [0.0, -0.1, float("nan")])
def test_refuses_margin(margin: float) -> None:
    with pytest.raises(ValueError, match="positive `margin`"):
        correlated_posterior(np.array([0.1, 0.2]), margin=margin, sizes=Sizes(n_test=1, n_train=7))


@pytest.mark.parametrize(
    ("differences", "share"),
    [([0.1], 1.0), ([-0.1, 0.1], 0.5), ([0.0, 0.0], 0.5), ([1e-15, 0.1, 0.2, -0.3], 0.625)],
)
def test_improvement_by_hand(differences: list[float], share: float) -> None:
    assert improvement_share(np.array(differences)) == share


@pytest.mark.parametrize("differences", [[], [float("nan")], [[0.1]]])
def test_improvement_refuses(differences: list[float]) -> None:
    with pytest.raises(ValueError, match="finite differences, one at least"):
        improvement_share(np.array(differences))
