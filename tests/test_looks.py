"""Looks at results before all seeds have run: when to stop, and at what error rate."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from osteo_ray.base.errors import InputError
from osteo_ray.config.build import build_config
from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.judging import judge_predictions
from osteo_ray.experiment.looks import (
    LookTaken,
    describe_looks,
    share_alpha_of_look,
    spend_alpha,
    take_look,
)
from osteo_ray.experiment.simulated import (
    CLASSES,
    MODEL,
    SimulatedArm,
    draw_tested,
    simulate_predictions,
)
from osteo_ray.statistics.predictions import Predictions, encode_predictions
from osteo_ray.statistics.sequential import plan_looks
from osteo_ray.statistics.settings import StatisticsSettings
from osteo_ray.statistics.sizes import Sizes

N_IMAGES, N_TEST, N_PLANNED = 2000, 300, 10
GAIN = {"original": 0.8, "lime": 0.92, "random_mask": 0.75, "silhouette": 0.55}
OPEN = {**GAIN, "random_mask": 0.87}  # a gain is shown at once, but not that no control makes it
ANALYSIS = Analysis(
    models=(MODEL,), arms=tuple(GAIN), seeds=tuple(range(4)), metric="auc", alpha=0.05,
    margin=None, sizes=Sizes(n_test=N_TEST, n_train=1400), classes=CLASSES,
    positive_class="osteoporosis",
)  # fmt: skip
IMAGES = pd.DataFrame(
    {"image_id": [f"image-{n:06}" for n in range(N_IMAGES)], "group": np.arange(N_IMAGES)}
)


def draw(aucs: Mapping[str, float], n_seeds: int) -> Predictions:
    rng = np.random.default_rng(1)
    tested = draw_tested(N_IMAGES, N_TEST, n_seeds, rng)
    arms = {name: SimulatedArm(auc) for name, auc in aucs.items()}
    table = simulate_predictions(arms, tested, n_images=N_IMAGES, rng=rng)
    return encode_predictions(table, CLASSES, "osteoporosis")


def look_at(
    aucs: Mapping[str, float], number: int, analysis: Analysis = ANALYSIS, **statistics: Any
) -> LookTaken:
    """Take a look at a comparison of 10 seeds, with looks after 4 and 7 unless told otherwise."""
    settings = StatisticsSettings(**{"looks": (4, 7), "spending": "pocock", **statistics})
    n_seeds = [*settings.looks, N_PLANNED][number - 1]
    of_seeds = replace(analysis, seeds=tuple(range(n_seeds)), arms=tuple(aucs))
    return take_look(
        draw(aucs, n_seeds), IMAGES, of_seeds, settings, n_planned=N_PLANNED, number=number
    )


def test_a_settled_verdict_stops_and_pays_for_the_look() -> None:
    look = look_at(GAIN, 1)
    assert (look.stop, look.verdicts, look.n_seeds) == (True, {MODEL: "real gain"}, 4)
    assert 0 < look.alpha_share < 1
    spent = spend_alpha(ANALYSIS, look)
    assert spent.alpha == pytest.approx(0.05 * look.alpha_share)
    # at the look, as it would be at the end: the same rule, at what is left of the error rate
    judged = judge_predictions(draw(GAIN, 4), IMAGES, replace(spent, seeds=(0, 1, 2, 3)))
    assert judged.verdicts[0].reason == look.reasons[MODEL]


def test_a_gain_whose_controls_are_open_goes_on() -> None:
    look = look_at(OPEN, 1)
    assert "There is a gain, but it is open whether random_mask" in look.reasons[MODEL]
    assert (look.stop, look.verdicts) == (False, {MODEL: "inconclusive"})
    assert look_at(OPEN, 3).stop  # the final analysis ends it, whatever it says


def test_all_models_must_be_settled() -> None:
    both = replace(ANALYSIS, models=(MODEL, "without results"))
    look = look_at(GAIN, 1, both)
    assert look.verdicts["without results"] == "inconclusive"
    assert not look.stop


@pytest.mark.parametrize(("n_models", "number"), [(1, 1), (1, 2), (2, 1), (3, 2), (2, 3)])
def test_error_rate_is_that_of_the_strictest_model(n_models: int, number: int) -> None:
    settings = StatisticsSettings(looks=(4, 7))
    analysis = replace(ANALYSIS, models=tuple(f"m{n}" for n in range(n_models)))
    plan = plan_looks(
        (4, 7), N_PLANNED, ANALYSIS.sizes, alpha=0.05 / n_models, spending="obrien_fleming"
    )
    share = share_alpha_of_look(analysis, settings, n_planned=N_PLANNED, number=number)
    assert share == pytest.approx(plan.looks[number - 1].nominal_p / (0.05 / n_models))


def test_looks_leave_less_the_earlier_they_are() -> None:
    shares = [
        share_alpha_of_look(
            ANALYSIS, StatisticsSettings(looks=(4, 7)), n_planned=N_PLANNED, number=number
        )
        for number in (1, 2, 3)
    ]
    assert shares == sorted(shares)
    assert shares[-1] < 1
    alone = share_alpha_of_look(ANALYSIS, StatisticsSettings(), n_planned=N_PLANNED, number=1)
    assert alone == pytest.approx(1)


def test_looks_are_plain_for_the_record() -> None:
    (found,) = describe_looks([look_at(GAIN, 1)])
    assert found["verdicts"] == {MODEL: "real gain"}
    assert math.isfinite(found["alpha_share"])


def test_looks_come_before_the_last_seed() -> None:
    with pytest.raises(InputError, match="looks"):
        build_config({"seeds": 5, "statistics": {"looks": [5]}})
