"""Looks at a comparison before all seeds have run: read, decide, and keep what was decided."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from osteo_ray.arms.arm import list_primary
from osteo_ray.experiment.comparison import Analysis
from osteo_ray.statistics.pairing import TestValues
from osteo_ray.statistics.sequential import Decision, LookPlan, decide, plan_looks
from osteo_ray.statistics.settings import Spending


@dataclass(frozen=True)
class LookTaken:
    """What a look came to.

    Attributes:
        number: Of the look, from 1.
        n_seeds: After how many seeds.
        alpha_share: Share of the error rate that is left for a test, or an interval, made at this
            look.
        decisions: Per model, on the primary contrast; None where too few seeds are complete.
        stop: Whether all models say so.
    """

    number: int
    n_seeds: int
    alpha_share: float
    decisions: dict[str, Decision | None]
    stop: bool


def take_look(
    results: pd.DataFrame,
    analysis: Analysis,
    number: int,
    *,
    counts: Sequence[int],
    spending: Spending,
) -> LookTaken:
    """Look at the primary contrast of each model.

    Args:
        results: Of the seeds that have run, as `results_table.compute_results` returns it.
        analysis: Of these seeds.
        number: Number of the look, from 1; that of the last count is the final analysis.
        counts: After how many seeds each look is planned, the final analysis included.
        spending: How the error rate is spread over the looks.
    """
    primary = list_primary(analysis.arms)
    strictest = analysis.alpha / max(1, len(primary) * len(analysis.models))

    def lay_out(counts: Sequence[int]) -> LookPlan:
        return plan_looks(
            counts[:-1],
            counts[-1],
            analysis.sizes,
            alpha=strictest,
            spending=spending,
        )

    share = lay_out(counts).looks[number - 1].nominal_p / strictest
    decisions: dict[str, Decision | None] = {}
    tested = TestValues.of(results, analysis.metric)
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
    """Return looks in plain types."""
    return [asdict(look) for look in looks]
