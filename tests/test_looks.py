"""Looks at results before all seeds have run: when to stop, and at what error rate."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from osteo_ray.base.errors import InputError
from osteo_ray.config.build import build_config
from osteo_ray.config.compare import CompareConfig
from osteo_ray.experiment.comparison import Analysis
from osteo_ray.experiment.looks import describe_looks, spend_alpha, take_look
from osteo_ray.statistics.sizes import Sizes


def make_config(**statistics: Any) -> CompareConfig:
    settings = {"looks": (4, 7), **statistics}
    arms = ["original", "lime"]
    return build_config(
        {"data": "/d", "seeds": 10, "arms": arms, "models": ["m"], "statistics": settings}
    )


def make_results(gain: float, n_seeds: int, sd: float = 0.01) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        [
            {
                "model": "m",
                "seed": seed,
                "arm": arm,
                "split": "test",
                "n_images": 9,
                "accuracy": value,
            }
            for seed in range(n_seeds)
            for arm, value in (("original", 0.7), ("lime", 0.7 + gain + sd * rng.normal()))
        ]
    )


ANALYSIS = Analysis(
    models=("m",), arms=("original", "lime"), seeds=tuple(range(4)), metric="accuracy", alpha=0.05,
    margin=0.03, sizes=Sizes(n_test=10.0, n_train=70.0), classes=("n", "w"), positive_class="w",
)  # fmt: skip


def test_a_large_gain_stops_at_the_first_look_and_pays_for_it() -> None:
    look = take_look(make_results(0.2, 4), ANALYSIS, make_config(), 1)
    decision = look.decisions["m"]
    assert decision is not None
    assert (look.stop, decision.kind, look.n_seeds) == (True, "efficacy", 4)
    assert 0 < look.alpha_share < 0.5
    assert spend_alpha(ANALYSIS, look).alpha == pytest.approx(0.05 * look.alpha_share)
    later = take_look(make_results(0.2, 10), ANALYSIS, make_config(), 3)
    assert look.alpha_share < later.alpha_share < 1
    assert describe_looks([look])[0]["decisions"]["m"]["kind"] == "efficacy"


def test_a_middling_gain_goes_on_and_none_is_futile() -> None:
    on = take_look(make_results(0.02, 4, sd=0.02), ANALYSIS, make_config(), 1)
    assert on.stop is False
    none = take_look(make_results(0.0, 7, sd=0.05), ANALYSIS, make_config(), 2)
    decision = none.decisions["m"]
    assert decision is not None
    assert (none.stop, decision.kind) == (True, "futility")


def test_without_looks_the_whole_error_rate_is_left() -> None:
    only = take_look(make_results(0.2, 10), ANALYSIS, make_config(looks=()), 1)
    assert only.alpha_share == pytest.approx(1)


def test_missing_trainings_do_not_stop_a_look() -> None:
    few = take_look(make_results(0.2, 3), ANALYSIS, make_config(), 1)  # of 4
    assert few.decisions["m"] is not None
    one = take_look(make_results(0.2, 1), ANALYSIS, make_config(), 1)
    assert (one.decisions, one.stop) == ({"m": None}, False)


def test_looks_come_before_the_last_seed() -> None:
    with pytest.raises(InputError, match="looks"):
        make_config(looks=(4, 10))
    with pytest.raises(InputError, match="increasing"):
        make_config(looks=(4, 4))
