"""Interim looks at a comparison before all seeds have run: examine, decide, keep the decision."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from osteo_ray.arms.pairs import list_primary
from osteo_ray.experiment.comparison import Analysis
from osteo_ray.statistics.pairing import TestValues
from osteo_ray.statistics.sequential import Decision, LookPlan, decide, plan_looks
from osteo_ray.statistics.settings import StatisticsSettings


@dataclass(frozen=True)
class LookTaken:
    """The outcome of a look.

    Attributes:
        number: Number of the look, from 1.
        n_seeds: Number of seeds after which it was taken.
        alpha_share: Share of the error rate that is left for a test, or an interval, made at this
            look, in (0, 1].
        decisions: Per model, the decision on the primary contrast; None if too few seeds are
            complete.
        stop: Whether the decisions on all models are to stop.
    """

    number: int
    n_seeds: int
    alpha_share: float
    decisions: dict[str, Decision | None]
    stop: bool


def take_look(
    results: pd.DataFrame,
    analysis: Analysis,
    statistics: StatisticsSettings,
    *,
    n_planned: int,
    number: int,
) -> LookTaken:
    """Look at the primary contrast of each model.

    A look may stop a run for a gain in any model, so it is held to the error rate of Holm's
    strictest step: alpha divided by the number of primary contrasts of all models.

    Args:
        results: Of the seeds that have run, as `results_table.compute_results` returns it.
        analysis: Of these seeds.
        statistics: The planned looks, and how the error rate is spent on them.
        n_planned: Number of seeds of the final analysis.
        number: Number of the look, from 1; one more than there are looks is the final analysis.
    """
    primary = list_primary(analysis.arms)
    strictest = statistics.alpha / max(1, len(primary) * len(analysis.models))
    counts = [*statistics.looks, n_planned]

    def lay_out(counts: Sequence[int]) -> LookPlan:
        return plan_looks(
            counts[:-1],
            counts[-1],
            analysis.sizes,
            alpha=strictest,
            spending=statistics.spending,
        )

    share = lay_out(counts).looks[number - 1].nominal_p / strictest
    decisions: dict[str, Decision | None] = {}
    tested = TestValues.of(results, statistics.metric)
    for model in analysis.models if primary else ():
        seeds, values, _ = tested.pair(model, primary[0])
        before = [count for count in counts[: number - 1] if count < len(seeds)]
        if len(seeds) < 2:
            decisions[model] = None
            continue
        # Where trainings are missing, the looks are laid out by the seeds that there are.
        left = counts[number:] if number < len(counts) else []
        plan = lay_out([*before, len(seeds), *left])
        decisions[model] = decide(values[0] - values[1], len(before) + 1, plan)
    stop = bool(decisions) and all(one is not None and one.stop for one in decisions.values())
    return LookTaken(number, counts[number - 1], share, decisions, stop)


def spend_alpha(analysis: Analysis, look: LookTaken) -> Analysis:
    """Return the analysis at the error rate that is left for a look, intervals included."""
    return replace(analysis, alpha=analysis.alpha * look.alpha_share)


def describe_looks(looks: Sequence[LookTaken]) -> list[dict[str, Any]]:
    """Return looks as plain types, for `comparison.json`."""
    return [asdict(look) for look in looks]
