"""Looks at a comparison before all seeds have run: read, decide, and keep what was decided."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from osteo_ray.arms.arm import list_primary
from osteo_ray.config.compare import CompareConfig
from osteo_ray.experiment.comparison import Analysis
from osteo_ray.statistics.pairing import TestValues
from osteo_ray.statistics.sequential import Decision, LookPlan, decide, plan_looks


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
    results: pd.DataFrame, analysis: Analysis, config: CompareConfig, number: int
) -> LookTaken:
    """Look at the primary contrast of each model.

    Args:
        results: Of the seeds that have run, as `results_table.compute_results` returns it.
        analysis: Of these seeds.
        config: With all seeds that are planned, and the looks.
        number: Of the look, from 1; one more than there are looks is the final analysis.
    """
    primary = list_primary(config.arms)
    strictest = config.statistics.alpha / max(1, len(primary) * len(config.models))
    counts = [*config.statistics.looks, config.seeds]
    declared = _lay_out(counts, analysis, config, strictest)
    share = declared.looks[number - 1].nominal_p / strictest
    decisions: dict[str, Decision | None] = {}
    tested = TestValues.of(results, config.statistics.metric)
    for model in config.models if primary else ():
        seeds, values, _ = tested.pair(model, primary[0])
        before = [count for count in counts[: number - 1] if count < len(seeds)]
        if len(seeds) < 2:
            decisions[model] = None
            continue
        # Where trainings are missing, the looks are laid out by the seeds that there are.
        left = counts[number:] if number < len(counts) else []
        plan = _lay_out([*before, len(seeds), *left], analysis, config, strictest)
        decisions[model] = decide(values[0] - values[1], len(before) + 1, plan)
    stop = bool(decisions) and all(one is not None and one.stop for one in decisions.values())
    return LookTaken(number, counts[number - 1], share, decisions, stop)


def _lay_out(
    counts: Sequence[int], analysis: Analysis, config: CompareConfig, alpha: float
) -> LookPlan:
    return plan_looks(
        counts[:-1],
        counts[-1],
        analysis.sizes,
        alpha=alpha,
        spending=config.statistics.spending,
    )


def spend_alpha(analysis: Analysis, look: LookTaken) -> Analysis:
    """Return the analysis at the error rate that is left for a look, intervals included."""
    return replace(analysis, alpha=analysis.alpha * look.alpha_share)


def describe_looks(looks: Sequence[LookTaken]) -> list[dict[str, Any]]:
    """Return looks in plain types."""
    return [asdict(look) for look in looks]
