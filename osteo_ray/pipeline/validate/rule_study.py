"""How often the rule of the verdict says what is false, on simulated runs whose truth is known."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.conclusions import share_alpha
from osteo_ray.experiment.judging import Judged
from osteo_ray.experiment.looks import share_alpha_of_look
from osteo_ray.experiment.verdict import SETTLED
from osteo_ray.pipeline.validate.rates import Rate
from osteo_ray.pipeline.validate.rule_settings import RuleSetting
from osteo_ray.pipeline.validate.situation import (
    ALPHA,
    draw_situation,
    judge_table,
    plan_situation,
)
from osteo_ray.statistics.settings import StatisticsSettings

FALSE = "false "
"""What the name of a rate starts with that must be at most 5 %, before the verdict."""
COVERS = "deciding interval covers"
Conclusion = tuple[Analysis, frozenset[str]]
"""The analysis of a conclusion, and the verdicts after which a run draws no other."""
_AT_MOST_ALPHA, _COVERS_OR_MORE = (0.0, ALPHA), (0.93, 1.0)


def run_rule_experiments(
    setting: RuleSetting, numbers: Iterable[int], seed: int = 0
) -> pd.DataFrame:
    """Judge experiments of a setting.

    Returns:
        A row per experiment, bool: per verdict that is false or true in the setting, whether it was
        given, to any model and at any conclusion; and whether the interval that decides covers the
        true gain of the first model, at every conclusion that was drawn (missing where there is
        none).
    """
    conclusions = list(_list_conclusions(setting))
    return pd.DataFrame([_judge(setting, conclusions, number, seed) for number in numbers])


def rate_rule(rows: pd.DataFrame) -> dict[str, Rate]:
    """Turn the rows of `run_rule_experiments` into rates, each with its bar."""
    bars: Mapping[str, tuple[float, float]] = {COVERS: _COVERS_OR_MORE}
    return {
        name: Rate.of(rows[name], _AT_MOST_ALPHA if name.startswith(FALSE) else bars.get(name))
        for name in map(str, rows.columns)
        if rows[name].notna().any()
    }


def _judge(
    setting: RuleSetting, conclusions: Sequence[Conclusion], number: int, seed: int
) -> dict[str, Any]:
    table = draw_situation(setting.situation, number, seed)
    if setting.missing:
        table = _drop_trainings(table, setting.missing, np.random.default_rng((seed, number)))
    given: set[str] = set()
    covered: bool | None = None
    for analysis, stops in conclusions:
        judged = judge_table(_take_seeds(table, analysis.seeds), analysis)
        verdicts = {verdict.verdict for verdict in judged.verdicts}
        covers = _covers(judged, analysis, setting.true_gain)
        if covers is not None:
            covered = covers and covered is not False
        given |= verdicts
        if verdicts <= stops:
            break
    row: dict[str, Any] = {FALSE + verdict: verdict in given for verdict in setting.false}
    row |= {verdict: verdict in given for verdict in setting.told}
    return {**row, COVERS: covered}


def _list_conclusions(setting: RuleSetting) -> Iterator[Conclusion]:
    """Yield every conclusion that a run may draw, in order."""
    planned = plan_situation(setting.situation)
    if setting.extensions:
        for number, count in enumerate(setting.extensions, 1):
            yield (
                replace(planned, seeds=planned.seeds[:count], alpha=ALPHA * share_alpha(number)),
                frozenset({"real gain", "real loss"}),
            )
        return
    if setting.looks:
        statistics = StatisticsSettings(alpha=ALPHA, looks=setting.looks)
        for number, count in enumerate((*setting.looks, setting.n_seeds), 1):
            share = share_alpha_of_look(
                planned, statistics, n_planned=setting.n_seeds, number=number
            )
            yield replace(planned, seeds=planned.seeds[:count], alpha=ALPHA * share), SETTLED
        return
    yield planned, frozenset()


def _take_seeds(table: pa.Table, seeds: tuple[int, ...]) -> pa.Table:
    return table.filter(pc.less(table["seed"], len(seeds)))


def _drop_trainings(table: pa.Table, share: float, rng: np.random.Generator) -> pa.Table:
    """Drop the rows of some trainings, chosen at random."""
    arms, seeds = (table[name].to_numpy(zero_copy_only=False) for name in ("arm", "seed"))
    kept = np.ones(len(table), bool)
    for arm in np.unique(arms):
        for seed in np.unique(seeds):
            if rng.random() < share:
                kept &= ~((arms == arm) & (seeds == seed))
    return table.filter(pa.array(kept))


def _covers(judged: Judged, analysis: Analysis, truth: float) -> bool | None:
    """Return whether the interval of the first model's gain covers the truth; None without one."""
    evidence = judged.evidence.get(analysis.models[0])
    roles = judged.roles
    gain = None if evidence is None else evidence.estimate({roles.judged: 1, roles.baseline: -1})
    if gain is None:
        return None
    low, high = gain.interval(analysis.alpha)
    return low <= truth <= high
