"""Interim looks at a comparison before all seeds have run: stop where the verdict would stand."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

import pandas as pd

from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.judging import judge_predictions
from osteo_ray.experiment.trials import Experiment
from osteo_ray.experiment.verdict import SETTLED
from osteo_ray.statistics.predictions import Predictions
from osteo_ray.statistics.sequential import plan_looks
from osteo_ray.statistics.settings import StatisticsSettings


@dataclass(frozen=True)
class LookTaken:
    """The outcome of a look.

    Attributes:
        number: Number of the look, from 1.
        n_seeds: Number of seeds after which it was taken.
        alpha_share: Share of the error rate that is left for a test, or an interval, made at this
            look, in (0, 1].
        verdicts: Per model, the verdict at that error rate.
        reasons: Per model, why.
        stop: Whether every verdict is settled: further seeds would be spent for nothing.
    """

    number: int
    n_seeds: int
    alpha_share: float
    verdicts: dict[str, str]
    reasons: dict[str, str]
    stop: bool


def share_alpha_of_look(
    analysis: Analysis, statistics: StatisticsSettings, *, n_planned: int, number: int
) -> float:
    """Return the share of the error rate that is left for a look, in (0, 1].

    It is that of the strictest step of Holm's method over models, as a look may stop for any.

    Args:
        analysis: At the error rate of the whole conclusion.
        statistics: The planned looks, and how the error rate is spent on them.
        n_planned: Number of seeds of the final analysis.
        number: Number of the look, from 1; one more than there are looks is the final analysis.
    """
    strictest = analysis.alpha / max(1, len(analysis.models))
    plan = plan_looks(
        statistics.looks,
        n_planned,
        analysis.sizes,
        alpha=strictest,
        spending=statistics.spending,
    )
    return plan.looks[number - 1].nominal_p / strictest


def take_seeds(experiment: Experiment, n_seeds: int) -> Experiment:
    """Return the part of an experiment that has the first seeds only."""
    seeds = dict(islice(experiment.seeds.items(), n_seeds))
    return replace(
        experiment, seeds=seeds, splits={seed: experiment.splits[seed] for seed in seeds}
    )


def take_look(
    predictions: Predictions,
    images: pd.DataFrame,
    analysis: Analysis,
    statistics: StatisticsSettings,
    *,
    n_planned: int,
    number: int,
) -> LookTaken:
    """Judge the seeds that have run, as the final analysis would, at what a look may spend.

    It stops only if the *verdict* on every model is settled: a gain that is shown while a control
    is still open goes on.

    Args:
        predictions: Of the seeds that have run.
        images: image_id and group.
        analysis: Of these seeds.
        statistics: The planned looks, and how the error rate is spent on them.
        n_planned: Number of seeds of the final analysis.
        number: Number of the look, from 1; one more than there are looks is the final analysis.
    """
    share = share_alpha_of_look(analysis, statistics, n_planned=n_planned, number=number)
    judged = judge_predictions(predictions, images, replace(analysis, alpha=analysis.alpha * share))
    verdicts = {str(one.model): one.verdict for one in judged.verdicts}
    is_final = number > len(statistics.looks)
    return LookTaken(
        number=number,
        n_seeds=len(analysis.seeds),
        alpha_share=share,
        verdicts=verdicts,
        reasons={str(one.model): one.reason for one in judged.verdicts},
        stop=is_final or (bool(verdicts) and set(verdicts.values()) <= SETTLED),
    )


def spend_alpha(analysis: Analysis, look: LookTaken) -> Analysis:
    """Return the analysis at the error rate that is left for a look, intervals included."""
    return replace(analysis, alpha=analysis.alpha * look.alpha_share)


def describe_looks(looks: Sequence[LookTaken]) -> list[dict[str, Any]]:
    """Return looks as plain types, for `comparison.json`."""
    return [asdict(look) for look in looks]
