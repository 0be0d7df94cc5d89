"""The analysis of a comparison: from the table of predictions to `comparison.json`."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from osteo_ray.base.formatting import format_percent
from osteo_ray.experiment.evidence import AUC, Evidence
from osteo_ray.experiment.gathering import gather_evidence, is_fixed
from osteo_ray.experiment.roles import Roles, assign_roles
from osteo_ray.experiment.trials import Experiment
from osteo_ray.experiment.verdict import (
    CHANCE,
    Circumstances,
    Margin,
    Verdict,
    judge_model,
    judge_overall,
)
from osteo_ray.statistics.contrasts import ContrastPlan, compare_arms
from osteo_ray.statistics.descriptive import summarize_arms
from osteo_ray.statistics.inference import TestDesign
from osteo_ray.statistics.metrics.registry import METRICS
from osteo_ray.statistics.per_seed import describe_operating_points, describe_pairs
from osteo_ray.statistics.predictions import Predictions, encode_predictions
from osteo_ray.statistics.resampling import N_DRAWS, Resampled
from osteo_ray.statistics.results_table import compute_results
from osteo_ray.statistics.share import share_explained
from osteo_ray.statistics.significance import NEGLIGIBLE, adjust_holm
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
        margin: Differences inside ± margin do not matter, as the user states it; None for the
            endpoint's default.
        prevalence: Prevalence of the positive class, used for predictive values; None to use that
            of the test images.
        sizes: Mean numbers of images per seed; an infinite `n_train` where it is unknown.
        classes: All classes, sorted.
        positive_class: One of them.
        split: `grouped`, `random` or `given`.
        protocol: `clean` or `paper`.
        goes_on: Whether the masked arms start from the weights of the first model.
        copies_leak: Whether copies of test images are in the training set.
        roles: Which arm plays which part; None to go by the arms.
        seeds_of_model: Planned seeds of models that do not have all of `seeds`.
    """

    models: tuple[str, ...]
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    metric: str
    alpha: float
    margin: float | None
    sizes: Sizes
    classes: tuple[str, ...]
    positive_class: str
    prevalence: float | None = None
    split: str = "grouped"
    protocol: str = "clean"
    goes_on: bool = False
    copies_leak: bool = False
    roles: Roles | None = None
    seeds_of_model: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def list_seeds(self, model: str) -> tuple[int, ...]:
        """Return the planned seeds of a model."""
        return self.seeds_of_model.get(model, self.seeds)

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
        The table of results, and the content of `comparison.json`: plain types only, NaN as None.

    Raises:
        InputError: The tables of two runs are mixed.
    """
    with timed("predictions as numbers"):
        coded = encode_predictions(predictions, analysis.classes, analysis.positive_class)
    with timed("all metrics of every training"):
        results = compute_results(coded, analysis.prevalence)
    with timed(f"{analysis.metric} on resampled test images"):
        judged = judge_predictions(coded, images, analysis)
    with timed("contrasts, shares and descriptions per seed"):
        comparison = _describe(results, coded, analysis, judged, missing)
    return results, {**comparison, "looks": _to_plain(looks)}


@dataclass(frozen=True)
class Judged:
    """The verdicts, and what they rest on.

    Attributes:
        roles: Which arm plays which part.
        evidence: Per model that has any.
        p_gain: Per model, the two-sided p of the gain after Holm's correction over models.
        p_shuffled: Per model and arm on shuffled labels, the one-sided p that it is above chance.
        verdicts: On each planned model.
        overall: On all of them.
        resampled: The endpoint on resampled test images.
    """

    roles: Roles
    evidence: Mapping[str, Evidence]
    p_gain: Mapping[str, float | None]
    p_shuffled: Mapping[str, Mapping[str, float | None]]
    verdicts: tuple[Verdict, ...]
    overall: Verdict
    resampled: Resampled | None


def judge_predictions(
    coded: Predictions,
    images: pd.DataFrame,
    analysis: Analysis,
    *,
    n_draws: int = N_DRAWS,
) -> Judged:
    """Apply the rule of the verdict to predictions.

    Args:
        coded: Of all arms.
        images: image_id and group.
        analysis: What was planned.
        n_draws: Bootstrap samples of the test images.

    Raises:
        InputError: Arms of one seed were tested on different images.
    """
    roles = analysis.roles or assign_roles(analysis.arms, goes_on=analysis.goes_on)
    seeds = {model: analysis.list_seeds(model) for model in analysis.models}
    shuffled = {name for name, _ in roles.shuffled}
    comparable = coded.select(lambda key: key.arm not in shuffled)
    design = TestDesign(
        n_test=analysis.sizes.n_test,
        n_train=analysis.sizes.n_train if math.isfinite(analysis.sizes.n_train) else None,
        fixed=is_fixed(comparable),
    )
    evidence: dict[str, Evidence] = {}
    resampled = None
    if any(key.split == "test" for key in comparable.groups):
        evidence, resampled = gather_evidence(
            comparable, images, design, endpoint=analysis.metric, seeds=seeds, n_draws=n_draws
        )
    gains = {
        model: found.estimate({roles.judged: 1, roles.baseline: -1})
        for model, found in evidence.items()
    }
    p_gain = _correct(
        {model: None if g is None else g.p_other_than() for model, g in gains.items()}
    )
    p_shuffled = _test_shuffled(coded, images, analysis, roles, design, n_draws)
    verdicts = tuple(
        judge_model(
            evidence[model],
            roles,
            Circumstances(
                alpha=analysis.alpha,
                p_gain=p_gain[model],
                margin=_find_margin(analysis, evidence[model], roles),
                p_shuffled={arm: found.get(model) for arm, found in p_shuffled.items()},
                copies_leak=analysis.copies_leak,
            ),
        )
        if model in evidence
        else Verdict(
            model, "inconclusive", "No training of it finished, so there is nothing to compare.",
            "Run the same command again to make what is missing.",
        )
        for model in analysis.models
    )  # fmt: skip
    return Judged(roles, evidence, p_gain, p_shuffled, verdicts, judge_overall(verdicts), resampled)


def _correct(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Correct the p of the same question asked of each model, by Holm's method."""
    return dict(zip(p_values, adjust_holm(list(p_values.values())), strict=True))


def _test_shuffled(
    coded: Predictions,
    images: pd.DataFrame,
    analysis: Analysis,
    roles: Roles,
    design: TestDesign,
    n_draws: int,
) -> dict[str, dict[str, float | None]]:
    """Test whether arms on shuffled labels are above chance in AUC, of each model."""
    found: dict[str, dict[str, float | None]] = {}
    for arm, _ in roles.shuffled:
        of_arm = coded.select(lambda key, arm=arm: key.arm == arm)  # type: ignore[misc]
        if not any(key.split == "test" for key in of_arm.groups):
            continue
        seeds = {model: analysis.list_seeds(model) for model in analysis.models}
        evidence, _ = gather_evidence(
            of_arm, images, design, endpoint=AUC, seeds=seeds, n_draws=n_draws
        )
        tests = {model: one.estimate({arm: 1}, above=CHANCE) for model, one in evidence.items()}
        found[arm] = _correct(
            {m: None if test is None else test.p_above() for m, test in tests.items()}
        )
    return found


def _find_margin(analysis: Analysis, evidence: Evidence, roles: Roles) -> Margin:
    """Return the margin in units of the endpoint, with its source in words."""
    metric = METRICS[analysis.metric]
    stated = metric.margin if analysis.margin is None else analysis.margin
    whose = "the default margin" if analysis.margin is None else "your margin"
    if not metric.margin_is_relative:
        return Margin(stated, whose)
    of_baseline = evidence.metrics[analysis.metric].values.get(roles.baseline, {}).values()
    base = float(np.mean(list(of_baseline))) if of_baseline else 1.0
    return Margin(
        max(stated * base, NEGLIGIBLE),
        f"{whose} of {format_percent(stated)} of the {metric.label} of {roles.baseline}",
    )


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
        "baseline": judged.roles.baseline,
        "judged": judged.roles.judged,
        "arms": sorted(summarize_arms(results, analysis.sizes, **options), key=in_order),
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
            analysis.margin or METRICS[analysis.metric].margin,
            analysis.sizes,
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
        p_values = _correct({m: None if e is None else e.p_other_than() for m, e in found.items()})
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
                **asdict(contrast),
                "p_holm": corrected.get(key),
                "decisive_low": low,
                "decisive_high": high,
                "p_decisive": p,
                "inference": inference,
            }
        )
    return described


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
                )
            )
            for control in roles.controls
        ]
    return shares


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
