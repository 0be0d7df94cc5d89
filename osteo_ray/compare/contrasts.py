"""Hold one arm against another, over the seeds that both have."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from osteo_ray.compare.metrics import KEYS
from osteo_ray.compare.significance import (
    adjust_holm,
    corrected_t_test,
    equivalence_p,
    seeds_needed,
    smallest_detectable,
    wilcoxon_p,
)

CONTROLS = ("silhouette", "random_mask")
"""Arms that the masked one must beat before its gain counts as real."""


@dataclass(frozen=True)
class Contrast:
    """One arm held against another, over the seeds that both have.

    Attributes:
        model: The timm name.
        arm: Its metric minus that of `baseline` is the difference.
        baseline: The other arm.
        metric: A name in `METRIC_NAMES`.
        n_seeds: Pairs used.
        seeds: Their numbers, sorted.
        differences: One per seed, to 12 decimals.
        difference: Their mean. Here and below, None where it cannot be computed.
        sd: Their standard deviation.
        low: Lower end of the corrected interval of the mean, level 1 - alpha.
        high: Upper end.
        p_corrected_t: Two-sided p of the corrected resampled t-test.
        p_wilcoxon: Two-sided exact p of the signed-rank test.
        p_holm: `p_corrected_t` after Holm's correction over all models and contrasts.
        p_equivalence: p of two one-sided corrected t-tests against ± margin.
        equivalent: `p_equivalence` is below alpha.
        margin: Differences inside ± margin do not matter.
        smallest_detectable: True difference found with power .8, in Holm's strictest step.
        seeds_needed: Seeds that find the observed difference so; None if 1000 do not.
        note: What was left out or cannot be said, and why.
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
    p_corrected_t: float | None = None
    p_wilcoxon: float | None = None
    p_holm: float | None = None
    p_equivalence: float | None = None
    equivalent: bool = False
    smallest_detectable: float | None = None
    seeds_needed: int | None = None
    note: str | None = None


def compare_arms(
    results: pd.DataFrame,
    *,
    arms: Sequence[str],
    metric: str,
    alpha: float,
    margin: float,
    n_train: float,
    n_test: float,
    models: Sequence[str] | None = None,
) -> list[Contrast]:
    """Hold each arm against `original`, and `lime` against its controls, for each model.

    Args:
        results: As `metrics.compute_results` returns it; only test rows are used.
        arms: Those planned. An arm without results gives contrasts of no seeds.
        metric: The primary endpoint.
        alpha: Error rate.
        margin: Of equivalence.
        n_train: Training images per seed.
        n_test: Test images per seed.
        models: Those planned; by default those in the test rows.

    Raises:
        ValueError: A model, seed and arm stands twice in the test rows.
    """
    test = results[results["split"] == "test"]
    if test.duplicated(KEYS).any():
        first = test.loc[test.duplicated(KEYS), KEYS].iloc[0].to_dict()
        raise ValueError(f"Expected one row per model, seed and arm, but got a second for {first}.")
    pairs = [(arm, "original") for arm in arms if arm != "original"]
    pairs += [("lime", control) for control in CONTROLS if {"lime", control} <= set(arms)]
    sizes = (n_test, n_train)
    contrasts = [
        _test(_pair(test[test["model"] == model], model, *pair, metric, margin), alpha, sizes)
        for model in (dict.fromkeys(test["model"]) if models is None else models)
        for pair in pairs
    ]
    adjusted = adjust_holm([contrast.p_corrected_t for contrast in contrasts])
    strictest = alpha / max(1, sum(p is not None for p in adjusted))
    return [
        _add_power(replace(contrast, p_holm=p), strictest, sizes)
        for contrast, p in zip(contrasts, adjusted, strict=True)
    ]


def _pair(
    results: pd.DataFrame, model: str, arm: str, baseline: str, metric: str, margin: float
) -> Contrast:
    first, second = (
        results[results["arm"] == name].set_index("seed")[metric] for name in (arm, baseline)
    )
    change = (first - second).astype(np.float64)  # NaN where a seed has one arm only
    common = first.index.intersection(second.index)
    lonely = change.index.difference(common)
    undefined = common[change[common].isna()]
    note = ""
    if len(lonely):
        note += f"Left out, as only one arm has them: seeds {_list(sorted(lonely))}. "
    if len(undefined):
        note += f"Left out, as {metric} is undefined: seeds {_list(sorted(undefined))}. "
    used = change.dropna().sort_index().round(12)  # shares of images differ by whole images
    seeds = tuple(int(seed) for seed in used.index)
    differences = tuple(float(value) for value in used)
    return Contrast(
        model, arm, baseline, metric, len(seeds), seeds, differences, margin, note=note or None
    )


def _test(contrast: Contrast, alpha: float, sizes: tuple[float, float]) -> Contrast:
    note = contrast.note or ""
    differences = np.array(contrast.differences)
    if len(differences) < 2:
        mean = float(differences[0]) if len(differences) else None
        note += f"A test needs at least 2 seeds with both arms, but there are {len(differences)}."
        return replace(contrast, difference=mean, note=note)
    n_test, n_train = sizes
    test = corrected_t_test(differences, n_test=n_test, n_train=n_train, confidence=1 - alpha)
    equivalence = equivalence_p(differences, contrast.margin, n_test, n_train)
    if test.sd == 0:
        note += "All differences are the same: without spread, no t-test of a gain or equivalence. "
    smallest = 2.0 ** (1 - len(differences))
    if smallest >= alpha:
        note += f"With {len(differences)} seeds Wilcoxon's p cannot fall below {smallest:.2g}. "
    return replace(
        contrast,
        difference=test.mean,
        sd=test.sd,
        low=_known(test.low),
        high=_known(test.high),
        p_corrected_t=_known(test.p),
        p_wilcoxon=wilcoxon_p(differences),
        p_equivalence=_known(equivalence),
        equivalent=equivalence < alpha,
        note=note.strip() or None,
    )


def _add_power(contrast: Contrast, alpha: float, sizes: tuple[float, float]) -> Contrast:
    if not contrast.sd or contrast.difference is None:
        return contrast
    sd, n_seeds, difference = contrast.sd, contrast.n_seeds, contrast.difference
    return replace(
        contrast,
        smallest_detectable=smallest_detectable(sd, n_seeds, *sizes, alpha),
        seeds_needed=seeds_needed(difference, sd, *sizes, alpha),
    )


def _list(seeds: Sequence[int]) -> str:
    return ", ".join(str(seed) for seed in seeds)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
