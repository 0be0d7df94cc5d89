"""Looks at results before all seeds have run: when to stop, and at what error rate."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from osteo_ray.base.errors import InputError
from osteo_ray.config.build import build_config
from osteo_ray.experiment.comparison import Analysis
from osteo_ray.experiment.looks import LookTaken, describe_looks, spend_alpha, take_look
from osteo_ray.statistics.settings import StatisticsSettings
from osteo_ray.statistics.sizes import Sizes


def look_at(
    results: pd.DataFrame, number: int, analysis: Analysis | None = None, **statistics: Any
) -> LookTaken:
    """Take a look at a comparison of 10 seeds, by default with looks after 4 and 7."""
    settings = StatisticsSettings(**{"looks": (4, 7), **statistics})
    return take_look(results, analysis or ANALYSIS, settings, n_planned=10, number=number)


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
    look = look_at(make_results(0.2, 4), 1)
    decision = look.decisions["m"]
    assert decision is not None
    assert (look.stop, decision.kind, look.n_seeds) == (True, "efficacy", 4)
    assert 0 < look.alpha_share < 0.5
    assert spend_alpha(ANALYSIS, look).alpha == pytest.approx(0.05 * look.alpha_share)
    later = look_at(make_results(0.2, 10), 3)
    assert look.alpha_share < later.alpha_share < 1
    assert describe_looks([look])[0]["decisions"]["m"]["kind"] == "efficacy"


def test_a_middling_gain_goes_on_and_none_is_futile() -> None:
    on = look_at(make_results(0.02, 4, sd=0.02), 1)
    assert on.stop is False
    none = look_at(make_results(0.0, 7, sd=0.05), 2)
    decision = none.decisions["m"]
    assert decision is not None
    assert (none.stop, decision.kind) == (True, "futility")


def test_without_looks_the_whole_error_rate_is_left() -> None:
    only = look_at(make_results(0.2, 10), 1, looks=())
    assert only.alpha_share == pytest.approx(1)


def test_missing_trainings_do_not_stop_a_look() -> None:
    few = look_at(make_results(0.2, 3), 1)  # of 4
    assert few.decisions["m"] is not None
    one = look_at(make_results(0.2, 1), 1)
    assert (one.decisions, one.stop) == ({"m": None}, False)


def make_exact_results(p: float) -> pd.DataFrame:
    """Make 10 differences whose corrected t-test (10 test images per 70) gives exactly this p."""
    spread = np.arange(10) - 4.5
    spread /= spread.std(ddof=1)
    gain = stats.t.isf(p / 2, 9) * math.sqrt(1 / 10 + 10 / 70)  # in standard deviations
    results = make_results(0.0, 10, sd=0.0)
    lime = results["arm"] == "lime"
    results.loc[lime, "accuracy"] += 0.01 * (gain + spread)
    return results


@pytest.mark.parametrize(
    ("p", "arms", "models", "kind"),
    [
        (0.049, ("original", "lime"), ("m",), "efficacy"),
        (0.051, ("original", "lime"), ("m",), "final"),
        # two models: 0.05 / 2
        (0.026, ("original", "lime"), ("m", "k"), "final"),
        (0.024, ("original", "lime"), ("m", "k"), "efficacy"),
        # lime - original, silhouette - original, lime - silhouette, lime - random_mask: 0.05 / 4
        (0.0126, ("original", "lime", "random_mask", "silhouette"), ("m",), "final"),
        (0.0124, ("original", "lime", "random_mask", "silhouette"), ("m",), "efficacy"),
        # and both: 0.05 / 8 = 0.00625
        (0.0063, ("original", "lime", "random_mask", "silhouette"), ("m", "k"), "final"),
        (0.0062, ("original", "lime", "random_mask", "silhouette"), ("m", "k"), "efficacy"),
    ],
)
def test_error_rate_is_divided_by_contrasts_and_models(
    p: float, arms: tuple[str, ...], models: tuple[str, ...], kind: str
) -> None:
    analysis = replace(ANALYSIS, arms=arms, models=models)
    look = look_at(make_exact_results(p), 1, analysis, looks=())
    decision = look.decisions["m"]
    assert decision is not None
    assert decision.kind == kind
    assert decision.low is not None
    # At a single look, the repeated interval leaves out zero if and only if the test rejects.
    assert (decision.low > 0) is (kind == "efficacy")
    assert look.alpha_share == pytest.approx(1)


def test_a_look_stops_only_if_all_models_say_so() -> None:
    analysis = replace(ANALYSIS, models=("m", "k"))
    good, poor = make_results(0.2, 4), make_results(0.02, 4, sd=0.02).assign(model="k")
    both = look_at(pd.concat([good, good.assign(model="k")]), 1, analysis)
    assert both.stop is True
    mixed = look_at(pd.concat([good, poor]), 1, analysis)
    kinds = {name: decision and decision.kind for name, decision in mixed.decisions.items()}
    assert (kinds, mixed.stop) == ({"m": "efficacy", "k": "continue"}, False)


def test_looks_come_before_the_last_seed() -> None:
    settings: dict[str, Any] = {"data": "/d", "seeds": 10, "arms": ["paper"], "models": ["m"]}
    assert build_config({**settings, "statistics": {"looks": (4, 7)}}).statistics.looks == (4, 7)
    with pytest.raises(InputError, match="before the last of 10 seeds, but got one after 10"):
        build_config({**settings, "statistics": {"looks": (4, 10)}})
    with pytest.raises(InputError, match="increasing"):
        build_config({**settings, "statistics": {"looks": (4, 4)}})
