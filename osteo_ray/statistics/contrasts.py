"""Compare one arm with another, over the seeds that both have."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from osteo_ray.base.formatting import say_there_are
from osteo_ray.statistics.bootstrap import estimate_interval
from osteo_ray.statistics.metrics.registry import METRICS
from osteo_ray.statistics.pairing import TestValues, join_notes
from osteo_ray.statistics.posterior import correlated_posterior, improvement_share
from osteo_ray.statistics.power import seeds_needed, smallest_detectable
from osteo_ray.statistics.resampling import Resampled
from osteo_ray.statistics.significance import (
    adjust_holm,
    corrected_t_test,
    equivalence_p,
    non_inferiority_p,
    sign_flip_p,
    wilcoxon_p,
)
from osteo_ray.statistics.sizes import Sizes


@dataclass(frozen=True)
class Contrast:
    """One arm compared with another, over the seeds that both have.

    *Better* means a larger metric, or a smaller one if the metric is an error.

    Attributes:
        model: The timm name.
        arm: Its metric minus that of `baseline` is the difference.
        baseline: The other arm.
        metric: A name in `METRICS`.
        n_seeds: Seeds used.
        seeds: Their numbers, sorted.
        differences: One per seed, to 12 decimals.
        margin: Differences inside ± margin do not matter, of this model.
        difference: Mean of the differences. This and all that follow are None where they cannot be
            computed.
        sd: Standard deviation of the differences over seeds.
        low: Lower end of the corrected interval of the mean, level 1 - alpha, cut off at the least
            difference that the metric can have.
        high: Upper end, cut off at the greatest.
        bootstrap_low: Lower end of the two-way bootstrap's interval (seeds and groups of test
            images), level 1 - alpha, cut off likewise.
        bootstrap_high: Upper end.
        variance_from_images: Share of the bootstrap's variance that comes from test images which
            seeds have in common. More seeds do not reduce it.
        p_corrected_t: Two-sided p of the corrected resampled t-test.
        p_wilcoxon: Two-sided exact p of the signed-rank test.
        p_sign_flip: Two-sided p of the sign-flip permutation test of the mean.
        p_holm: `p_corrected_t` after Holm's correction over all models and contrasts.
        p_equivalence: p of two one-sided corrected t-tests against ± margin.
        equivalent: `p_equivalence` is below alpha.
        p_non_inferiority: p of a one-sided corrected t-test that the arm is not worse by `margin`
            or more.
        p_non_superiority: p of a one-sided corrected t-test that the arm is not better by `margin`
            or more.
        improvement: Probability of improvement: the share of seeds on which the arm is better; ties
            count half.
        probability_worse: Posterior probability (correlated t) of a loss beyond the margin.
        probability_equivalent: Posterior probability of a difference inside ± margin.
        probability_better: Posterior probability of a gain beyond the margin.
        smallest_detectable: Smallest true difference that the strictest step of Holm's correction
            over models detects with power 0.8.
        seeds_needed: Seeds with which that step detects the observed difference with power 0.8;
            None if even 1000 are too few.
        note: What was left out or cannot be computed, and why.
    """

    model: str
    arm: str
    baseline: str
    metric: str
    n_seeds: int
    seeds: tuple[int, ...]
    differences: tuple[float, ...]
    margin: float
    difference: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    bootstrap_low: float | None = None
    bootstrap_high: float | None = None
    variance_from_images: float | None = None
    p_corrected_t: float | None = None
    p_wilcoxon: float | None = None
    p_sign_flip: float | None = None
    p_holm: float | None = None
    p_equivalence: float | None = None
    equivalent: bool = False
    p_non_inferiority: float | None = None
    p_non_superiority: float | None = None
    improvement: float | None = None
    probability_worse: float | None = None
    probability_equivalent: float | None = None
    probability_better: float | None = None
    smallest_detectable: float | None = None
    seeds_needed: int | None = None
    note: str | None = None


@dataclass(frozen=True)
class ContrastPlan:
    """How arms are compared, fixed before the run.

    Attributes:
        metric: The primary endpoint, a name in `METRICS`.
        alpha: Error rate over all contrasts.
        margin: Differences inside ± margin do not matter: it is that of equivalence and of
            non-inferiority.
        sizes: Images per seed.
        margins: By model, the margin of those that have one of their own: that of an error is a
            share of what the baseline of the model has.
    """

    metric: str
    alpha: float
    margin: float
    sizes: Sizes
    margins: Mapping[str, float] = field(default_factory=dict)


def compare_arms(
    results: pd.DataFrame,
    plan: ContrastPlan,
    *,
    pairs: Sequence[tuple[str, str]],
    models: Sequence[str] | None = None,
    resampled: Resampled | None = None,
) -> list[Contrast]:
    """Compare arms with each other, for each model.

    Args:
        results: As `results_table.compute_results` returns it; only test rows are used.
        plan: How they are compared.
        pairs: Arm and baseline of each contrast. The contrasts of an arm without results have no
            seeds.
        models: Those planned; by default those in the test rows.
        resampled: As `resampling.resample_metric` returns it, of the same metric; None leaves the
            bootstrap out.

    Returns:
        A contrast per model and pair, in the order given.

    Raises:
        InputError: The trained models of one seed were tested on different numbers of images.
        ValueError: A model, seed and arm stands twice in the test rows, or `resampled` is of
            another metric.
    """
    test = TestValues.of(results, plan.metric)
    if resampled is not None and resampled.metric != plan.metric:
        raise ValueError(f"Expected draws of {plan.metric}, but got draws of {resampled.metric}.")
    contrasts = []
    for model in test.models if models is None else models:
        for arm, baseline in pairs:
            seeds, values, note = test.pair(model, (arm, baseline))
            differences = np.round(values[0] - values[1], 12)  # shares differ by whole images
            contrast = Contrast(
                model=model,
                arm=arm,
                baseline=baseline,
                metric=plan.metric,
                n_seeds=len(seeds),
                seeds=seeds,
                differences=tuple(differences.tolist()),
                margin=plan.margins.get(model, plan.margin),
                note=note,
            )
            contrasts.append(_add_bootstrap(_test(contrast, plan), resampled, plan.alpha))
    adjusted = adjust_holm([contrast.p_corrected_t for contrast in contrasts])
    # A verdict asks each question of every model, and corrects over these alone.
    n_models = Counter((one.arm, one.baseline) for one in contrasts if one.n_seeds > 1)
    return [
        _add_power(
            replace(contrast, p_holm=p),
            plan.alpha / max(1, n_models[contrast.arm, contrast.baseline]),
            plan.sizes,
        )
        for contrast, p in zip(contrasts, adjusted, strict=True)
    ]


def _test(contrast: Contrast, plan: ContrastPlan) -> Contrast:
    differences, n_seeds = np.array(contrast.differences), contrast.n_seeds
    if n_seeds < 2:
        few = f"A test needs at least 2 seeds with both arms, but {say_there_are(n_seeds)}."
        mean = float(differences[0]) if n_seeds else None
        return replace(contrast, difference=mean, note=join_notes([contrast.note, few]))
    alpha, margin, sizes = plan.alpha, contrast.margin, plan.sizes
    metric = METRICS[contrast.metric]
    gains = metric.sign * differences
    test = corrected_t_test(differences, sizes, confidence=1 - alpha)
    posterior = correlated_posterior(gains, sizes, margin=margin)
    notes = [contrast.note]
    if test.sd == 0 and test.mean == 0:
        gains = _differ_once(gains, sizes.n_test)
        notes.append(
            "The arms have the same results on every seed. Equivalence is tested as if they "
            "differed on one image of one seed."
        )
    elif test.sd == 0:
        notes.append(
            "All differences are the same. Without a spread, a t-test can show neither a gain nor "
            "equivalence."
        )
    equivalence = equivalence_p(gains, margin, sizes)
    smallest = 2.0 ** (1 - n_seeds)
    if smallest >= alpha:
        notes.append(
            f"With {n_seeds} seeds Wilcoxon's and the sign-flip p cannot fall below {smallest:.2g}."
        )
    return replace(
        contrast,
        difference=test.mean,
        sd=test.sd,
        low=_known(metric.cut_difference(test.low)),
        high=_known(metric.cut_difference(test.high)),
        p_corrected_t=_known(test.p),
        p_wilcoxon=wilcoxon_p(differences),
        p_sign_flip=sign_flip_p(differences),
        p_equivalence=_known(equivalence),
        equivalent=equivalence < alpha,
        p_non_inferiority=_known(non_inferiority_p(gains, margin, sizes)),
        p_non_superiority=_known(non_inferiority_p(-gains, margin, sizes)),
        improvement=improvement_share(differences * metric.sign),
        probability_worse=posterior.worse if posterior else None,
        probability_equivalent=posterior.equivalent if posterior else None,
        probability_better=posterior.better if posterior else None,
        note=join_notes(notes),
    )


def _differ_once(differences: np.ndarray, n_test: float) -> np.ndarray:
    """Return the differences as if one test image of one seed were classified differently."""
    changed = differences.copy()
    changed[0] += 1 / max(n_test, 1.0)
    return changed


def _add_bootstrap(contrast: Contrast, resampled: Resampled | None, alpha: float) -> Contrast:
    if resampled is None or contrast.n_seeds < 2:
        return contrast
    pair = (contrast.arm, contrast.baseline)
    draws, missing = resampled.stack(contrast.model, pair, contrast.seeds)
    if draws is None:
        return replace(
            contrast, note=join_notes([contrast.note, f"No bootstrap interval: {missing}"])
        )
    interval = estimate_interval(
        np.array(contrast.differences),
        draws[:, 0] - draws[:, 1],
        resampled.count_shared(contrast.seeds),
        confidence=1 - alpha,
    )
    if interval is None:
        note = "No bootstrap interval: neither seeds nor test images vary."
        return replace(contrast, note=join_notes([contrast.note, note]))
    variance = interval.from_seeds + interval.from_images
    metric = METRICS[contrast.metric]
    return replace(
        contrast,
        bootstrap_low=metric.cut_difference(interval.low),
        bootstrap_high=metric.cut_difference(interval.high),
        variance_from_images=interval.from_images / variance if variance > 0 else None,
    )


def _add_power(contrast: Contrast, alpha: float, sizes: Sizes) -> Contrast:
    if not contrast.sd or contrast.difference is None:
        return contrast
    sd, n_seeds, difference = contrast.sd, contrast.n_seeds, contrast.difference
    return replace(
        contrast,
        smallest_detectable=_known(smallest_detectable(sd, n_seeds, sizes, alpha)),
        seeds_needed=seeds_needed(difference, sd, sizes, alpha),
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
