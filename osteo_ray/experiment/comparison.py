"""The analysis of a comparison: from the table of predictions to `comparison.json`."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.evidence import AUC
from osteo_ray.experiment.grid_results import describe_grid
from osteo_ray.experiment.judging import Judged, correct_over_models, judge_predictions
from osteo_ray.experiment.roles import Roles
from osteo_ray.experiment.site_results import describe_sites, say_sites
from osteo_ray.experiment.verdict import Verdict
from osteo_ray.statistics.contrasts import ContrastPlan, compare_arms
from osteo_ray.statistics.descriptive import summarize_arms
from osteo_ray.statistics.inference import TestDesign
from osteo_ray.statistics.metrics.registry import METRICS
from osteo_ray.statistics.per_seed import describe_operating_points, describe_pairs
from osteo_ray.statistics.predictions import Predictions, encode_predictions
from osteo_ray.statistics.results_table import compute_results
from osteo_ray.statistics.share import share_explained


def analyse(
    predictions: pa.Table,
    images: pd.DataFrame,
    analysis: Analysis,
    missing: Sequence[Mapping[str, Any]] = (),
    looks: Sequence[Mapping[str, Any]] = (),
    timed: Callable[[str], AbstractContextManager[object]] = nullcontext,
    grid: pa.Table | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Measure, test and judge.

    Args:
        predictions: model, seed, arm, split, image_id, label, and `p_<class>` per class.
        images: image_id, group and, where sites are known, site.
        analysis: What was planned.
        missing: model, seed, arm and reason of each planned training that did not finish.
        looks: What was decided before all seeds had run, as `looks.describe_looks` returns it.
        timed: Called with the name of each step; the step runs inside the context it returns, so
            that benchmarks can measure it.
        grid: Predictions of other views of the test images, as `grid.read_grid` returns them.

    Returns:
        The table of results, and the content of `comparison.json`: plain types only, NaN as None.

    Raises:
        InputError: The tables of two runs are mixed.
    """
    with timed("predictions as numbers"):
        coded = encode_predictions(
            predictions, analysis.classes, analysis.positive_class, analysis.ordinal
        )
    with timed("all metrics of every training"):
        results = compute_results(coded, analysis.prevalence)
    with timed(f"{analysis.metric} on resampled test images"):
        judged = judge_predictions(coded, images, analysis)
    with timed("contrasts, shares and descriptions per seed"):
        comparison = _describe(results, coded, analysis, judged, missing)
    with timed("the gain at each site"):
        sites = describe_sites(coded, images, analysis, judged)
    comparison = _add_sites(comparison, _to_plain(sites), analysis)
    if grid is not None:
        with timed("classifiers on other views"):
            found = describe_grid(grid, predictions, images, analysis, judged)
        comparison = _add_grid(comparison, _to_plain(found))
    return results, {**comparison, "looks": _to_plain(looks)}


def _add_sites(
    comparison: dict[str, Any], sites: list[dict[str, Any]], analysis: Analysis
) -> dict[str, Any]:
    """Add what is known of single sites, and how they differ as a remark on each verdict."""
    upward = METRICS[analysis.metric].higher_is_better
    said = {model: say_sites(sites, model, higher_is_better=upward) for model in analysis.models}
    return {**_add_remarks(comparison, said), "sites": sites}


def _add_grid(comparison: dict[str, Any], grid: dict[str, Any]) -> dict[str, Any]:
    """Add the grid, and what it says of masks at test time as a remark on each verdict."""
    said = {row["model"]: row["words"] for row in grid["deployable"]}
    return {**_add_remarks(comparison, said), "grid": grid}


def _add_remarks(comparison: dict[str, Any], said: Mapping[str, str]) -> dict[str, Any]:
    """Add a remark, by model, to the verdicts on models; empty ones are left out.

    The verdict on a single model is the overall one, so it is given that as well.
    """
    verdicts = [
        {**one, "remarks": [*one["remarks"], *([said[name]] if said.get(name) else [])]}
        for one in comparison["verdicts"]
        for name in [str(one["model"])]
    ]
    overall = comparison["verdict"]
    if len(verdicts) == 1:
        overall = {**overall, "remarks": verdicts[0]["remarks"]}
    return {**comparison, "verdicts": verdicts, "verdict": overall}


def _describe(
    results: pd.DataFrame,
    coded: Predictions,
    analysis: Analysis,
    judged: Judged,
    missing: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Build the content of `comparison.json`."""
    families = {
        "primary": _pair_roles(judged.roles, analysis.arms),
        "secondary": _pair_others(judged.roles, analysis.arms),
    }
    pairs = [pair for family in families.values() for pair in family]
    planned = {key: value for key, value in asdict(analysis).items() if key != "roles"}
    sizes = planned.pop("sizes")
    options = {"alpha": analysis.alpha}
    overall = judged.overall

    def in_order(summary: Mapping[str, Any]) -> tuple[int, int]:
        return analysis.models.index(summary["model"]), analysis.arms.index(summary["arm"])

    comparison = {
        "schema_version": 3,
        **planned,
        **sizes,
        "margin": max(
            (one.value for one in judged.margins.values()),
            default=METRICS[analysis.metric].margin,
        ),
        "stated_margin": analysis.margin,
        "margin_in_words": next((one.words for one in judged.margins.values()), ""),
        "fixed_test_set": judged.design.fixed,
        "baseline": judged.roles.baseline,
        "judged": judged.roles.judged,
        "arms": sorted(_summarize_arms(results, analysis, judged), key=in_order),
        "contrasts": [
            {"family": family, **contrast}
            for family, of_family in families.items()
            for contrast in _contrast(results, analysis, judged, of_family)
        ],
        "shares": _share_gain(results, analysis, judged),
        "shuffled": judged.p_shuffled,
        "verdicts": [asdict(verdict) for verdict in judged.verdicts],
        "verdict": {
            "verdict": overall.verdict,
            "reason": _add_warnings(overall, analysis, missing),
            "next": overall.next,
            "remarks": overall.remarks,
        },
        "missing": missing,
        "operating_points": describe_operating_points(results, coded, **options),
        "per_seed": describe_pairs(
            coded, pairs, models=analysis.models, seeds=analysis.seeds, **options
        ),
    }
    return {key: _to_plain(value) for key, value in comparison.items()}


def _summarize_arms(
    results: pd.DataFrame, analysis: Analysis, judged: Judged
) -> list[dict[str, Any]]:
    """Summarise each arm over seeds, with two-way intervals where the corrected t does not hold."""
    intervals = {}
    for model, one in judged.evidence.items():
        for metric in (analysis.metric, AUC):
            for arm in one.metrics[metric].values:
                found = one.estimate({arm: 1}, metric)
                if found is not None:
                    low, high = found.interval(analysis.alpha)
                    upward = METRICS[metric].higher_is_better
                    intervals[model, arm, metric] = (low, high) if upward else (-high, -low)
    return summarize_arms(
        results,
        analysis.sizes,
        alpha=analysis.alpha,
        fixed=judged.design.fixed,
        two_way=intervals,
    )


def _pair_roles(roles: Roles, arms: Sequence[str]) -> list[tuple[str, str]]:
    """List the contrasts that the verdict rests on, the primary one first."""
    pairs = [(roles.judged, roles.baseline)]
    if roles.memorising is not None:
        pairs += [(roles.memorising, roles.baseline), (roles.memorising, roles.judged)]
    for control in roles.controls:
        pairs += [(roles.judged, control.name), (control.name, roles.baseline)]
    return [pair for pair in pairs if set(pair) <= set(arms)]


def _pair_others(roles: Roles, arms: Sequence[str]) -> list[tuple[str, str]]:
    """List the contrasts that are shown beside them: every other arm with the baseline."""
    shuffled = {name for name, _ in roles.shuffled}
    others = [(arm, roles.baseline) for arm in arms if arm not in shuffled | {roles.baseline}]
    primary = _pair_roles(roles, arms)
    return [pair for pair in others if pair not in primary and roles.baseline in arms]


def _contrast(
    results: pd.DataFrame, analysis: Analysis, judged: Judged, pairs: Sequence[tuple[str, str]]
) -> list[dict[str, Any]]:
    """Compare arms: what each test says, and what decides.

    Of each contrast, `decisive_low`, `decisive_high` and `p_decisive` are those of the inference
    that fits the split (`inference` names the error that was wider), and `p_holm` is `p_decisive`
    after Holm's correction over models.
    """
    if not pairs:
        return []
    contrasts = compare_arms(
        results,
        ContrastPlan(
            analysis.metric,
            analysis.alpha,
            METRICS[analysis.metric].margin if analysis.margin is None else analysis.margin,
            analysis.sizes,
            {model: one.value for model, one in judged.margins.items()},
        ),
        pairs=pairs,
        models=analysis.models,
        resampled=judged.resampled,
    )
    estimates = {
        (model, *pair): one.estimate({pair[0]: 1, pair[1]: -1})
        for model, one in judged.evidence.items()
        for pair in pairs
    }
    corrected: dict[tuple[str, str, str], float | None] = {}
    for pair in pairs:
        found = {model: estimates.get((model, *pair)) for model in analysis.models}
        p_values = correct_over_models(
            {m: None if e is None else e.p_other_than() for m, e in found.items()}
        )
        corrected |= {(model, *pair): p for model, p in p_values.items()}
    described = []
    for contrast in contrasts:
        key = (contrast.model, contrast.arm, contrast.baseline)
        estimate = estimates.get(key)
        low = high = p = inference = None
        if estimate is not None:
            p, inference = estimate.p_other_than(), estimate.decisive.method
            low, high = estimate.interval(analysis.alpha)
            if not METRICS[analysis.metric].higher_is_better:
                low, high = -high, -low
        described.append(
            {
                **_leave_out_unfounded(asdict(contrast), judged.design),
                "p_holm": corrected.get(key),
                "decisive_low": low,
                "decisive_high": high,
                "p_decisive": p,
                "inference": inference,
            }
        )
    return described


_OF_CORRECTED_T = (
    *("low", "high", "p_corrected_t", "p_equivalence", "p_non_inferiority", "p_non_superiority"),
    *("probability_worse", "probability_equivalent", "probability_better"),
    *("smallest_detectable", "seeds_needed"),
)  # what the corrected t and its kin say of a contrast


def _leave_out_unfounded(contrast: dict[str, Any], design: TestDesign) -> dict[str, Any]:
    """Leave out what rests on the corrected t where that has no say.

    It cannot correct for overlapping training sets of unknown size, and where all seeds test the
    same images, it knows nothing of the luck of these.
    """
    if "corrected t" in design.methods:
        return contrast
    return contrast | dict.fromkeys(_OF_CORRECTED_T) | {"equivalent": False}


def _share_gain(results: pd.DataFrame, analysis: Analysis, judged: Judged) -> list[dict[str, Any]]:
    """Estimate which share of the gain each control accounts for, where a gain is shown."""
    roles, shares = judged.roles, []
    for model, one in judged.evidence.items():
        gain, p = one.estimate({roles.judged: 1, roles.baseline: -1}), judged.p_gain[model]
        if judged.resampled is None or gain is None or p is None:
            continue
        if gain.mean <= 0 or p >= analysis.alpha:
            continue
        shares += [
            asdict(
                share_explained(
                    results,
                    judged.resampled,
                    model=model,
                    arm=roles.judged,
                    control=control.name,
                    baseline=roles.baseline,
                    alpha=analysis.alpha,
                    sizes=judged.design.sizes,
                )
            )
            | {"gain_must_survive": control.gain_must_survive}
            for control in roles.controls
        ]
    return shares


def _add_warnings(
    overall: Verdict, analysis: Analysis, missing: Sequence[Mapping[str, Any]]
) -> str:
    reason = overall.reason
    if analysis.copies_leak:
        # Of tables that were judged, and of other splits, nobody knows how copies came there.
        why = ", as the split was random" if analysis.split == "random" else ""
        reason += (
            f" Copies of test images were in the training set{why}, so all figures also measure"
            " what was memorised."
        )
    if analysis.protocol == "paper":
        reason += (
            " The masks come from a model trained on another split, which includes test images."
        )
    if missing:
        are = "training is" if len(missing) == 1 else "trainings are"
        reason += f" {len(missing)} planned {are} missing."
    return reason


def _to_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_to_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
