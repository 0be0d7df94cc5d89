"""The analysis of a comparison: from the table of predictions to `comparison.json`."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from osteo_ray.arms.pairs import (
    choose_judged,
    list_against_chance,
    list_controls,
    list_primary,
    list_secondary,
)
from osteo_ray.arms.registry import ARMS
from osteo_ray.experiment.trials import Experiment
from osteo_ray.experiment.verdict import Circumstances, Verdict, judge_model, judge_overall
from osteo_ray.statistics.chance import AboveChance, compare_with_chance
from osteo_ray.statistics.contrasts import Contrast, ContrastPlan, compare_arms
from osteo_ray.statistics.descriptive import summarize_arms
from osteo_ray.statistics.per_seed import describe_operating_points, describe_pairs
from osteo_ray.statistics.predictions import Predictions, encode_predictions
from osteo_ray.statistics.resampling import Resampled, resample_metric
from osteo_ray.statistics.results_table import compute_results
from osteo_ray.statistics.share import share_explained
from osteo_ray.statistics.sizes import Sizes


@dataclass(frozen=True)
class Analysis:
    """What was planned, and what the trials have in common.

    Attributes:
        models: Their timm names.
        arms: The names of the planned arms.
        seeds: The numbers of the planned seeds.
        metric: The primary endpoint.
        alpha: Error rate over all primary contrasts.
        margin: Differences inside ± margin do not matter.
        prevalence: Prevalence of the positive class, used for predictive values; None to use that
            of the test images.
        sizes: Mean numbers of images per seed.
        classes: All classes, sorted.
        positive_class: One of them.
        split: `grouped`, `random` or `given`.
        protocol: `clean` or `paper`.
        goes_on: Whether the masked arms start from the weights of the first model.
        copies_leak: Whether copies of test images are in the training set.
    """

    models: tuple[str, ...]
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    metric: str
    alpha: float
    margin: float
    sizes: Sizes
    classes: tuple[str, ...]
    positive_class: str
    prevalence: float | None = None
    split: str = "grouped"
    protocol: str = "clean"
    goes_on: bool = False
    copies_leak: bool = False

    @classmethod
    def of(cls, experiment: Experiment) -> "Analysis":
        """Return the analysis that an experiment asks for."""
        settings, plan = experiment.settings, experiment.statistics
        counts = {
            name: float(np.mean([np.sum(split == name) for split in experiment.splits.values()]))
            for name in ("train", "test")
        }
        return cls(
            models=experiment.models,
            arms=experiment.arms,
            seeds=tuple(experiment.seeds),
            metric=plan.metric,
            alpha=plan.alpha,
            margin=plan.margin,
            sizes=Sizes(n_test=counts["test"], n_train=counts["train"]),
            classes=experiment.classes,
            positive_class=experiment.positive_class,
            prevalence=plan.prevalence,
            split=settings.split,
            protocol=settings.protocol,
            goes_on=settings.second_start == "first",
            copies_leak=any(
                np.isin(
                    experiment.groups[split == "test"], experiment.groups[split == "train"]
                ).any()
                for split in experiment.splits.values()
            ),
        )


def analyse(
    predictions: pa.Table,
    images: pd.DataFrame,
    analysis: Analysis,
    missing: Sequence[Mapping[str, Any]] = (),
    looks: Sequence[Mapping[str, Any]] = (),
    timed: Callable[[str], AbstractContextManager[object]] = nullcontext,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Measure, test and judge.

    Args:
        predictions: model, seed, arm, split, image_id, label, and `p_<class>` per class.
        images: image_id and group.
        analysis: What was planned.
        missing: model, seed, arm and reason of each planned training that did not finish.
        looks: What was decided before all seeds had run, as `looks.describe_looks` returns it.
        timed: Called with the name of each step; the step runs inside the context it returns, so
            that benchmarks can measure it.

    Returns:
        The table of results, and the content of `comparison.json`.

    Raises:
        InputError: The tables of two runs are mixed.
    """
    with timed("predictions as numbers"):
        coded = encode_predictions(predictions, analysis.classes, analysis.positive_class)
    with timed("all metrics of every training"):
        results = compute_results(coded, analysis.prevalence)
    with timed(f"{analysis.metric} on resampled test images"):
        # An arm with shuffled labels takes part in no contrast: its images are labelled otherwise.
        shuffled = {name for name, arm in ARMS.items() if arm.shuffled}
        comparable = coded.select(lambda key: key.arm not in shuffled)
        resampled = resample_metric(comparable, images, metric=analysis.metric)
    with timed("arms against chance"):
        chance = [
            compare_with_chance(coded, model, arm, analysis.sizes)
            for model in analysis.models
            for arm in list_against_chance(analysis.arms)
        ]
    with timed("contrasts, shares and descriptions per seed"):
        comparison = build_comparison(
            results, analysis, missing=missing, coded=coded, resampled=resampled, chance=chance
        )
    return results, {**comparison, "looks": _to_plain(looks)}


def build_comparison(
    results: pd.DataFrame,
    analysis: Analysis,
    *,
    missing: Sequence[Mapping[str, Any]] = (),
    coded: Predictions | None = None,
    resampled: Resampled | None = None,
    chance: Sequence[AboveChance] = (),
) -> dict[str, Any]:
    """Build the content of `comparison.json`, of plain types only; NaN becomes None.

    Args:
        results: As `results_table.compute_results` returns it.
        analysis: What was planned. A model without any finished training is judged inconclusive.
        missing: model, seed, arm and reason of each planned training that did not finish.
        coded: The predictions; without them there are no descriptions of single seeds.
        resampled: The primary endpoint on resampled test images; without it there are neither
            bootstrap intervals nor shares.
        chance: The comparisons of arms with chance.
    """
    primary = _compare(results, analysis, list_primary(analysis.arms), resampled)
    secondary = _compare(results, analysis, list_secondary(analysis.arms), resampled)
    verdicts = [
        judge_model(
            [contrast for contrast in primary if contrast.model == model],
            model=model,
            arms=analysis.arms,
            alpha=analysis.alpha,
            circumstances=_find_circumstances(analysis, model, chance),
        )
        for model in analysis.models
    ]
    overall = judge_overall(verdicts)
    reason = _add_warnings(overall, analysis, missing)
    planned = asdict(analysis)
    sizes = planned.pop("sizes")
    pairs = [*list_primary(analysis.arms), *list_secondary(analysis.arms)]
    options = {"alpha": analysis.alpha}

    def in_order(summary: Mapping[str, Any]) -> tuple[int, int]:
        return analysis.models.index(summary["model"]), analysis.arms.index(summary["arm"])

    comparison = {
        "schema_version": 2,
        **planned,
        **sizes,
        "judged": choose_judged(analysis.arms),
        "arms": sorted(summarize_arms(results, analysis.sizes, **options), key=in_order),
        "contrasts": [
            {"family": family, **asdict(contrast)}
            for family, contrasts in (("primary", primary), ("secondary", secondary))
            for contrast in contrasts
        ],
        "shares": _share_gain(results, analysis, resampled),
        "chance": [asdict(one) for one in chance],
        "verdicts": [asdict(verdict) for verdict in verdicts],
        "verdict": {"verdict": overall.verdict, "reason": reason},
        "missing": missing,
        "operating_points": describe_operating_points(results, coded, **options) if coded else [],
        "per_seed": describe_pairs(
            coded, pairs, models=analysis.models, seeds=analysis.seeds, **options
        )
        if coded
        else [],
    }
    return {key: _to_plain(value) for key, value in comparison.items()}


def _compare(
    results: pd.DataFrame,
    analysis: Analysis,
    pairs: Sequence[tuple[str, str]],
    resampled: Resampled | None,
) -> list[Contrast]:
    """Compare arms with each other; Holm's correction is over all of these pairs together."""
    return compare_arms(
        results,
        ContrastPlan(analysis.metric, analysis.alpha, analysis.margin, analysis.sizes),
        pairs=pairs,
        models=analysis.models,
        resampled=resampled,
    )


def _find_circumstances(
    analysis: Analysis, model: str, chance: Sequence[AboveChance]
) -> Circumstances:
    above = {one.arm: one.is_above(analysis.alpha) for one in chance if one.model == model}
    return Circumstances(
        copies_leak=analysis.copies_leak,
        goes_on=analysis.goes_on,
        above_chance=above,
    )


def _share_gain(
    results: pd.DataFrame, analysis: Analysis, resampled: Resampled | None
) -> list[dict[str, Any]]:
    """Estimate which share of the apparent gain each control accounts for."""
    judged = choose_judged(analysis.arms)
    if resampled is None or judged not in analysis.arms:
        return []
    return [
        asdict(
            share_explained(
                results, resampled, model=model, arm=judged, control=control, alpha=analysis.alpha
            )
        )
        for model in analysis.models
        for control in list_controls(analysis.arms)
    ]


def _add_warnings(
    overall: Verdict, analysis: Analysis, missing: Sequence[Mapping[str, Any]]
) -> str:
    reason = overall.reason
    if analysis.copies_leak:
        reason += (
            " Copies of test images were in the training set, as the split was random, so all"
            " figures also measure what was memorised."
        )
    if analysis.protocol == "paper":
        reason += (
            " The masks come from a model trained on another split, which includes test images."
        )
    if analysis.split == "given":
        reason += (
            " All seeds share the split that the source gives, so the intervals do not cover the"
            " variation that other test images would add."
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
