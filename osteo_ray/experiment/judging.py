"""From predictions to verdicts: the evidence is gathered, and the rule applied to each model."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from osteo_ray.base.formatting import format_percent
from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.case import CHANCE
from osteo_ray.experiment.evidence import AUC, Evidence
from osteo_ray.experiment.gathering import gather_evidence, is_fixed
from osteo_ray.experiment.roles import Roles, assign_roles
from osteo_ray.experiment.rule import judge_model
from osteo_ray.experiment.verdict import Circumstances, Margin, Verdict, judge_overall
from osteo_ray.statistics.inference import TestDesign
from osteo_ray.statistics.metrics.registry import METRICS
from osteo_ray.statistics.predictions import Predictions
from osteo_ray.statistics.resampling import N_DRAWS, Resampled
from osteo_ray.statistics.significance import NEGLIGIBLE, adjust_holm


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
        margins: Per model that has any evidence.
        design: How the seeds relate, which says which error decides.
        resampled: The endpoint on resampled test images.
    """

    roles: Roles
    evidence: Mapping[str, Evidence]
    p_gain: Mapping[str, float | None]
    p_shuffled: Mapping[str, Mapping[str, float | None]]
    verdicts: tuple[Verdict, ...]
    overall: Verdict
    margins: Mapping[str, Margin]
    design: TestDesign
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
    design = design_tests(comparable, analysis)
    evidence: dict[str, Evidence] = {}
    resampled = None
    if any(key.split == "test" for key in comparable.groups):
        evidence, resampled = gather_evidence(
            comparable,
            images,
            design,
            endpoint=analysis.metric,
            seeds=seeds,
            compared=(roles.judged, roles.baseline),
            n_draws=n_draws,
        )
    gains = {
        model: found.estimate({roles.judged: 1, roles.baseline: -1})
        for model, found in evidence.items()
    }
    p_gain = correct_over_models(
        {model: None if g is None else g.p_other_than() for model, g in gains.items()}
    )
    p_shuffled = _test_shuffled(coded, images, analysis, roles, design, n_draws)
    margins = {model: _find_margin(analysis, one, roles) for model, one in evidence.items()}
    p_equivalent = correct_over_models(
        {m: None if g is None else g.p_within(margins[m].value) for m, g in gains.items()}
    )
    verdicts = tuple(
        judge_model(
            evidence[model],
            roles,
            Circumstances(
                alpha=analysis.alpha,
                p_gain=p_gain[model],
                margin=margins[model],
                p_shuffled={arm: found.get(model) for arm, found in p_shuffled.items()},
                copies_leak=analysis.copies_leak,
                p_equivalent=p_equivalent[model],
                n_models=sum(p is not None for p in p_equivalent.values()),
            ),
        )
        if model in evidence
        else Verdict(
            model, "inconclusive", "No training of it finished, so there is nothing to compare.",
            "Run the same command again to make what is missing.",
        )
        for model in analysis.models
    )  # fmt: skip
    return Judged(
        roles=roles,
        evidence=evidence,
        p_gain=p_gain,
        p_shuffled=p_shuffled,
        verdicts=verdicts,
        overall=judge_overall(verdicts),
        margins=margins,
        design=design,
        resampled=resampled,
    )


def design_tests(comparable: Predictions, analysis: Analysis) -> TestDesign:
    """Say how the seeds of some predictions relate."""
    return TestDesign(
        n_test=analysis.sizes.n_test,
        n_train=analysis.sizes.n_train if math.isfinite(analysis.sizes.n_train) else None,
        fixed=is_fixed(comparable),
    )


def correct_over_models(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
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
        # Mypy infers no type for a lambda with defaults.
        of_arm = coded.select(lambda key, arm=arm: key.arm == arm)  # type: ignore[misc]
        if not any(key.split == "test" for key in of_arm.groups):
            continue
        seeds = {model: analysis.list_seeds(model) for model in analysis.models}
        evidence, _ = gather_evidence(
            of_arm, images, design, endpoint=AUC, seeds=seeds, n_draws=n_draws
        )
        tests = {model: one.estimate({arm: 1}, above=CHANCE) for model, one in evidence.items()}
        found[arm] = correct_over_models(
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
