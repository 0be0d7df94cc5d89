"""What a plan takes to be true of images and trainings, from settings or from an earlier run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from osteo_ray.base.formatting import format_percent, format_score
from osteo_ray.experiment.luck import Assumed, measure_expected, measure_luck
from osteo_ray.experiment.planning import AssumedSd, assume_sd
from osteo_ray.experiment.simulated import (
    Population,
    SimulatedArm,
    correlate_scores,
)
from osteo_ray.statistics.metrics.registry import METRICS

BASELINE_AUC = 0.85
"""AUC of the baseline, where nobody knows better."""
_SKILL = 0.05  # luck of a training, where no run measured it
_LEANING = 0.3  # share of what arms do not have in common that stays the same over seeds


@dataclass(frozen=True)
class Assumptions:
    """What is taken to be true, and in words where it comes from."""

    assumed: Assumed
    basis: str


def assume(
    disagreement: float, *, positive_share: float, baseline_auc: float | None = None
) -> Assumptions:
    """Assume what no run has measured.

    Args:
        disagreement: Share of test images that exactly one of two arms gets right, in (0, 1].
        positive_share: Share of images of the positive class.
        baseline_auc: Of the baseline; None for `BASELINE_AUC`.
    """
    auc = BASELINE_AUC if baseline_auc is None else baseline_auc
    population = _populate(correlate_scores(auc, disagreement), positive_share)
    return Assumptions(
        Assumed(auc, _SKILL, population),
        f"{format_percent(positive_share)} of images are positive; assumed: {_name_auc(auc)}, two "
        f"arms disagree on {format_percent(disagreement)} of test images; a pilot run would "
        "measure both",
    )


def find_sd(assumptions: Assumptions, disagreement: float, metric: str, n_test: float) -> AssumedSd:
    """Derive the standard deviation over seeds of a difference: by formula, else by simulation.

    Args:
        assumptions: What is taken to be true.
        disagreement: Share of test images that exactly one of two arms gets right, in (0, 1].
        metric: The endpoint.
        n_test: Test images per seed.

    Raises:
        ValueError: There is no test image to judge by.
    """
    assumed = assumptions.assumed
    if METRICS[metric].share_of is not None:
        share = assumed.population.positive_share
        return assume_sd(disagreement, metric, n_test=n_test, positive_share=share)
    if round(n_test) < 1:
        raise ValueError(f"Expected test images to judge by, but got {n_test:g} images.")
    return AssumedSd(
        measure_luck(assumed, metric, round(n_test)),
        f"simulated, {n_test:.0f} test images per seed; {assumptions.basis}",
    )


def assume_from_pilot(
    comparison: Mapping[str, Any],
    sd: AssumedSd,
    disagreement: float,
    *,
    baseline: str,
    positive_share: float,
    baseline_auc: float | None = None,
) -> Assumptions:
    """Take the spread over seeds, and the baseline's AUC, from an earlier run.

    What the spread exceeds the luck of its test images by is put down to the luck of trainings.
    Where it is below that luck, arms have more in common than `disagreement` says.

    Args:
        comparison: Content of the earlier run's comparison.json.
        sd: Standard deviation over its seeds of the judged arm's gain.
        disagreement: Share of test images that exactly one of two arms gets right, in (0, 1].
        baseline: Name of the baseline.
        positive_share: Share of images of the positive class.
        baseline_auc: Of the baseline; None for that of the earlier run.
    """
    measured = [
        float(found)
        for one in comparison.get("arms", [])
        if one["arm"] == baseline
        and (found := one["metrics"].get("auc", {}).get("mean")) is not None
    ]
    if baseline_auc is None and measured:
        baseline_auc = min(0.99, max(0.51, float(np.mean(measured))))
    start = assume(disagreement, positive_share=positive_share, baseline_auc=baseline_auc)
    assumed = _fit(
        start.assumed, str(comparison["metric"]), sd.value, round(float(comparison["n_test"]))
    )
    whose = "measured in" if measured else "spread over seeds measured in"
    return Assumptions(
        assumed,
        f"{format_percent(positive_share)} of images are positive; {whose} the earlier "
        f"run: {_name_auc(assumed.baseline_auc)}, standard deviation of the "
        f"difference over seeds {format_score(sd.value)}",
    )


def _fit(assumed: Assumed, metric: str, sd: float, n_test: int) -> Assumed:
    """Choose the luck of trainings such that differences over seeds vary as they did."""
    of_images = measure_luck(replace(assumed, skill=0.0), metric, n_test)
    if of_images >= sd:
        own = (1 - assumed.population.shared) * (sd / of_images) ** 2
        population = _populate(1 - own, assumed.population.positive_share)
        return replace(assumed, skill=0.0, population=population)
    step = 0.001
    share = assumed.population.positive_share
    aucs = assumed.baseline_auc, assumed.baseline_auc + step
    low, high = (SimulatedArm(auc).separation for auc in aucs)
    values = [measure_expected(metric, auc, share) for auc in aucs]
    slope = abs(values[1] - values[0]) / (high - low)
    return replace(assumed, skill=math.sqrt((sd**2 - of_images**2) / 2) / max(slope, 1e-6))


def _populate(shared: float, positive_share: float) -> Population:
    return Population(shared, _LEANING * (1 - shared), positive_share)


def _name_auc(auc: float) -> str:
    return f"AUC of the baseline {auc:.2f}"
