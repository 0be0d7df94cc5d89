"""How often tests and intervals are right, on simulated experiments whose truth is known.

Each experiment is a set of tables, analysed by the functions that judge a run. Nothing is trained.
Two kinds of settings are run: those of this module, for single tests and intervals, and those of
`rule_settings`, for the whole rule of the verdict.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import ray

from osteo_ray.cluster.connection import connect, plan_resources
from osteo_ray.cluster.settings import ResourceSettings
from osteo_ray.pipeline.validate.rates import Rate
from osteo_ray.pipeline.validate.rule_settings import RULE_SETTINGS, RuleSetting
from osteo_ray.pipeline.validate.rule_study import rate_rule, run_rule_experiments
from osteo_ray.pipeline.validate.simulation import (
    CLASSES,
    MODEL,
    Setting,
    SimulatedExperiment,
    draw_experiment,
)
from osteo_ray.statistics.contrasts import Contrast, ContrastPlan, compare_arms
from osteo_ray.statistics.power import detection_power
from osteo_ray.statistics.predictions import encode_predictions
from osteo_ray.statistics.resampling import resample_metric
from osteo_ray.statistics.share import share_explained
from osteo_ray.statistics.sizes import Sizes

ALPHA, MARGIN, METRIC = 0.05, 0.03, "accuracy"
_CHUNK = 125  # experiments of one task: some seconds of work

_FAMILY = (("original", 0.0), ("lime", 0.0), ("random_mask", 0.0), ("silhouette", 0.0))
SETTINGS = (
    Setting("no difference", gains=_FAMILY),
    Setting("images alone vary", leaning=0.8, skill=0.0),
    Setting("seeds alone vary", leaning=0.0, skill=0.3),
    Setting("few seeds", n_seeds=5),
    Setting("few seeds, images alone", leaning=0.8, skill=0.0, n_seeds=5),
    Setting("many seeds", n_seeds=30),
    Setting("many seeds, images alone", leaning=0.8, skill=0.0, n_seeds=30),
    Setting("74 test images", n_images=744),
    Setting("copies", copies=3),
    Setting("5 folds, twice", n_folds=5),
    Setting(
        "a gain, half by chance",
        gains=(("original", 0.0), ("lime", 0.06), ("random_mask", 0.03)),
    ),
    Setting("a loss of the margin", gains=(("original", 0.0), ("lime", -MARGIN))),
    Setting(
        "a gain, seeds alike as assumed",
        gains=(("original", 0.0), ("lime", 0.08)),
        skill=0.2,
        common=0.105,  # var(mean)/E[s²] is 1/J + n_test/n_train then
        bootstrap_covers=False,
        plan_holds=True,
    ),
    Setting("the data set's luck", skill=0.2, common=0.08, bootstrap_covers=False),
)
"""Accuracies are .8, and arms are mostly right about the same images, as in real comparisons."""


@dataclass(frozen=True)
class SettingFinding:
    """What was found in one setting.

    Attributes:
        setting: The setting.
        rates: By name, as in `BARS`; those of the rule as `rate_rule` names them.
        planned_power: What `power.detection_power` predicts; None without a true difference.
        n_test: Test images per seed.
    """

    setting: Setting | RuleSetting
    rates: dict[str, Rate] = field(default_factory=dict)
    planned_power: float | None = None
    n_test: float = 0.0


_POWER_OFF = 0.03
_AT_MOST_ALPHA, _COVERS, _COVERS_OR_MORE = (0.0, ALPHA), (0.93, 0.97), (0.93, 1.0)
BARS: dict[str, tuple[float, float] | None] = {
    "false alarms": _AT_MOST_ALPHA,
    "false alarms, Holm": _AT_MOST_ALPHA,
    "false alarms, sign flips": None,
    "corrected t covers": _COVERS_OR_MORE,
    "bootstrap covers": _COVERS,
    "power": None,
    "wrongly non-inferior": _AT_MOST_ALPHA,
    "wrongly equivalent": _AT_MOST_ALPHA,
    "share covers": _COVERS_OR_MORE,
}
"""The rates that are measured, with the range in which each must lie."""


ALL_SETTINGS: tuple[Setting | RuleSetting, ...] = (*SETTINGS, *RULE_SETTINGS)
"""Of single tests and intervals, then of the whole rule."""


def validate_tables(
    n_experiments: int,
    seed: int,
    *,
    settings: Sequence[Setting | RuleSetting] = ALL_SETTINGS,
    on_finding: Callable[[SettingFinding], None] = lambda finding: None,
) -> list[SettingFinding]:
    """Simulate experiments on a cluster and count, setting by setting.

    Args:
        n_experiments: Experiments per setting.
        seed: Seed of all random numbers.
        settings: The settings to simulate.
        on_finding: Called with each finding as soon as it is complete, in the order of settings.
    """
    task = ray.remote(num_cpus=1)(run_experiments)
    chunks = [range(at, min(at + _CHUNK, n_experiments)) for at in range(0, n_experiments, _CHUNK)]
    findings = []
    with connect():
        plan_resources(ResourceSettings(gpus_per_worker=0))
        pending = [[task.remote(setting, chunk, seed) for chunk in chunks] for setting in settings]
        for setting, parts in zip(settings, pending, strict=True):
            finding = summarize_setting(setting, pd.concat(ray.get(parts), ignore_index=True))
            on_finding(finding)
            findings.append(finding)
    return findings


def run_experiments(
    setting: Setting | RuleSetting, numbers: Iterable[int], seed: int
) -> pd.DataFrame:
    """Judge experiments of a setting.

    Returns:
        A row per experiment: a column per name in `BARS`, bool, missing where it does not apply;
        `variance` of the differences over seeds; `n_train` and `n_test`. Of a setting of the rule,
        the rows of `run_rule_experiments`.
    """
    if isinstance(setting, RuleSetting):
        return run_rule_experiments(setting, numbers, seed)
    return pd.DataFrame(
        [_judge(setting, draw_experiment(setting, number, seed)) for number in numbers]
    )


def _judge(setting: Setting, experiment: SimulatedExperiment) -> dict[str, Any]:
    predictions = encode_predictions(experiment.predictions, CLASSES, CLASSES[-1])
    resampled = resample_metric(predictions, experiment.images, metric=METRIC)
    contrasts = compare_arms(
        experiment.results,
        ContrastPlan(METRIC, ALPHA, MARGIN, experiment.sizes),
        pairs=_list_pairs(setting),
        resampled=resampled,
    )
    first, truth = contrasts[0], dict(setting.gains)["lime"]
    row: dict[str, Any] = {
        "corrected t covers": _covers(first.low, first.high, truth),
        "bootstrap covers": _covers(first.bootstrap_low, first.bootstrap_high, truth),
        "variance": None if first.sd is None else first.sd**2,
        **asdict(experiment.sizes),
    }
    if truth == 0:
        row["false alarms"] = _is_below(first.p_corrected_t)
        row["false alarms, sign flips"] = _is_below(first.p_sign_flip)
    else:
        row["power"] = _is_found(first, truth)
    if all(gain == 0 for _, gain in setting.gains) and len(contrasts) > 1:
        row["false alarms, Holm"] = any(_is_below(contrast.p_holm) for contrast in contrasts)
    if truth == -MARGIN:
        row["wrongly non-inferior"] = _is_below(first.p_non_inferiority)
        row["wrongly equivalent"] = first.equivalent
    if truth > 0 and "random_mask" in dict(setting.gains):
        share = share_explained(
            experiment.results, resampled, model=MODEL, arm="lime", control="random_mask"
        )
        if share.share is not None:
            part = dict(setting.gains)["random_mask"] / truth
            row["share covers"] = _covers(share.low, share.high, part)
    return row


def summarize_setting(setting: Setting | RuleSetting, rows: pd.DataFrame) -> SettingFinding:
    """Turn the rows of `run_experiments` into rates, each with its bar."""
    if isinstance(setting, RuleSetting):
        return SettingFinding(setting, rate_rule(rows), n_test=setting.situation.n_test)
    truth = dict(setting.gains)["lime"]
    sizes = Sizes(n_test=float(rows["n_test"].mean()), n_train=float(rows["n_train"].mean()))
    planned = None
    if truth != 0:
        sd = float(np.sqrt(rows["variance"].mean()))
        planned = detection_power(truth, sd, setting.n_seeds, sizes, ALPHA)
    bars = dict(BARS)
    if not setting.bootstrap_covers:
        bars["bootstrap covers"] = None
    if setting.plan_holds and planned is not None:
        bars["power"] = (planned - _POWER_OFF, planned + _POWER_OFF)
    rates = {
        name: Rate.of(rows[name], bar)
        for name, bar in bars.items()
        if name in rows and rows[name].notna().any()
    }
    return SettingFinding(setting, rates, planned, sizes.n_test)


def _list_pairs(setting: Setting) -> list[tuple[str, str]]:
    """Return the contrasts of a comparison with these arms, that of lime first."""
    names = [arm for arm, _ in setting.gains]
    pairs = [(arm, "original") for arm in names if arm != "original"]
    return pairs + [("lime", arm) for arm in names if arm not in ("original", "lime")]


def _is_found(contrast: Contrast, truth: float) -> bool:
    same_sign = contrast.difference is not None and contrast.difference * truth > 0
    return same_sign and _is_below(contrast.p_corrected_t)


def _is_below(p: float | None) -> bool:
    return p is not None and p < ALPHA


def _covers(low: float | None, high: float | None, truth: float) -> bool:
    """Return whether an interval covers the truth; a missing interval does not."""
    return low is not None and high is not None and low <= truth <= high
