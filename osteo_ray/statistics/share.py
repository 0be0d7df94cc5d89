"""What share of a gain a control explains."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from osteo_ray.base.formatting import say_there_are
from osteo_ray.statistics.bootstrap import estimate_ratio
from osteo_ray.statistics.pairing import TestValues, join_notes
from osteo_ray.statistics.resampling import Resampled
from osteo_ray.statistics.sizes import Sizes


@dataclass(frozen=True)
class Share:
    """What share of the gain of an arm a control explains.

    Attributes:
        model: The timm name.
        arm: Whose gain over `baseline` is meant.
        control: Its gain over `baseline` is the part.
        baseline: Usually original.
        metric: A name in `METRICS`.
        n_seeds: Seeds that have all three arms.
        share: The control's gain divided by the arm's: 0 explains nothing, 1 everything. Below 0
            the control loses where the arm gains; above 1 it gains more. None where it cannot be
            computed.
        low: Lower end of its interval.
        high: Upper end.
        note: What was left out or cannot be computed, and why.
    """

    model: str
    arm: str
    control: str
    baseline: str
    metric: str
    n_seeds: int
    share: float | None = None
    low: float | None = None
    high: float | None = None
    note: str | None = None


def share_explained(
    results: pd.DataFrame,
    resampled: Resampled,
    *,
    model: str,
    arm: str,
    control: str,
    baseline: str = "original",
    alpha: float = 0.05,
    sizes: Sizes | None = None,
) -> Share:
    """Estimate (control - baseline) / (arm - baseline), ratio of the mean differences over seeds.

    The interval, of level 1 - alpha, is Fieller's, with variances from the two-way bootstrap or,
    where the corrected t counts too, the wider one by either. It is bounded only where the gain
    itself differs significantly from 0 by the same variances. Elsewhere the ratio has a denominator
    that may be 0, any share fits the data, and none is given.

    Args:
        results: As `results_table.compute_results` returns it; only test rows are used.
        resampled: As `resampling.resample_metric` returns it; its metric is the one that counts.
        model: The timm name.
        arm: The arm whose gain, or loss, is to be explained.
        control: The arm that may explain it.
        baseline: The arm that both are compared with.
        alpha: Error rate.
        sizes: Images per seed, where the corrected t counts.
    """
    metric, arms = resampled.metric, (control, arm, baseline)
    seeds, values, note = TestValues.of(results, metric).pair(model, arms)
    known = Share(model, arm, control, baseline, metric, len(seeds))

    def end(why: str) -> Share:
        return replace(known, note=join_notes([note, why]))

    if len(seeds) < 2:
        return end(
            f"A share needs at least 2 seeds with all three arms, but {say_there_are(len(seeds))}."
        )
    draws, missing = resampled.stack(model, arms, seeds)
    if draws is None:
        return end(f"No share: {missing}")
    parts, wholes = (np.round(values[at] - values[2], 12) for at in (0, 1))
    found = estimate_ratio(
        parts,
        wholes,
        draws[:, :2] - draws[:, 2:],
        resampled.count_shared(seeds),
        confidence=1 - alpha,
        sizes=sizes,
    )
    if found is None:
        return end("No share: the gain may be 0, and then any share would fit.")
    share, low, high = found
    return replace(known, share=share, low=low, high=high, note=note)
