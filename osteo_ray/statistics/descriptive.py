"""Each arm of a comparison, summarised over seeds.

Seeds share images, so their results are not independent, and intervals are the corrected ones, or
two-way ones where all seeds test the same images or nobody knows on how many they train. They
describe one arm alone; `contrasts` tests whether arms differ, on paired differences.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from osteo_ray.statistics.metrics.registry import METRICS
from osteo_ray.statistics.significance import corrected_t_test
from osteo_ray.statistics.sizes import Sizes
from osteo_ray.statistics.thresholds import OPERATING_NAMES


@dataclass(frozen=True)
class Summary:
    """A metric of one arm over seeds; None where it cannot be computed.

    Attributes:
        mean: Over the seeds that have it.
        sd: Their standard deviation.
        low: Lower end of the interval of the mean, cut off at the metric's lowest value.
        high: Upper end, cut off at its highest value.
        n_seeds: Seeds that have it.
        note: What is missing, and why.
    """

    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    n_seeds: int
    note: str | None = None


def summarize_arms(
    results: pd.DataFrame,
    sizes: Sizes,
    *,
    alpha: float,
    fixed: bool = False,
    two_way: Mapping[tuple[str, str, str], tuple[float, float]] | None = None,
) -> list[dict[str, Any]]:
    """Summarise each metric over seeds, on test images, per model and arm.

    Args:
        results: As `results_table.compute_results` returns it; metrics that it lacks are left out.
        sizes: Images per seed.
        alpha: Intervals have the level 1 - alpha.
        fixed: Whether all seeds test the same images.
        two_way: By model, arm and metric, the intervals that are taken where the corrected t says
            nothing.

    Returns:
        A mapping per model and arm, in the order of the table: model, arm, n_seeds, and metrics,
        which holds the fields of `Summary` per metric.
    """
    test = results[results["split"] == "test"]
    names = [name for name in (*METRICS, *OPERATING_NAMES) if name in results]

    def summarize(group: pd.DataFrame, name: str, model: str, arm: str) -> dict[str, Any]:
        metric = METRICS.get(name)
        bounds = (metric.lowest, metric.highest) if metric else (0.0, 1.0)
        values, seeds = group[name].to_numpy(np.float64), group["seed"].to_numpy()
        summary = summarize_seeds(
            values,
            seeds,
            sizes,
            alpha=alpha,
            bounds=bounds,
            fixed=fixed,
            two_way=(two_way or {}).get((model, arm, name)),
        )
        return asdict(summary)

    return [
        {
            "model": model,
            "arm": arm,
            "n_seeds": int(group["seed"].nunique()),
            "metrics": {name: summarize(group, name, model, arm) for name in names},
        }
        for (model, arm), group in test.groupby(["model", "arm"], sort=False, observed=True)
    ]


def summarize_seeds(
    values: np.ndarray,
    seeds: np.ndarray,
    sizes: Sizes,
    *,
    alpha: float,
    bounds: tuple[float, float] = (0.0, 1.0),
    fixed: bool = False,
    two_way: tuple[float, float] | None = None,
) -> Summary:
    """Summarise a metric over seeds, with the interval of Nadeau and Bengio's corrected t.

    Where all seeds test the same images, or where nobody knows on how many they train, it would be
    too narrow. Then the interval is the two-way one, if there is one.

    Args:
        values: float, (n_seeds,); NaN where the metric is undefined.
        seeds: int, (n_seeds,); their numbers, for the note.
        sizes: Images per seed.
        alpha: The interval has the level 1 - alpha.
        bounds: The lowest and the highest value that the metric can take.
        fixed: Whether all seeds test the same images.
        two_way: The interval by seed and group of test images, if it is known.

    Example:
        >>> values = np.array([0.7, 0.8, np.nan])
        >>> sizes = Sizes(n_test=20, n_train=60)
        >>> found = summarize_seeds(values, np.arange(3), sizes, alpha=0.05)
        >>> round(found.mean, 3), found.n_seeds, found.note
        (0.75, 2, 'Undefined for seed 2.')
    """
    known = np.isfinite(values)
    kept = values[known]
    note = _list_seeds("Undefined for", seeds[~known])
    if len(kept) == 0:
        return Summary(None, None, None, None, 0, "Undefined for every seed.")
    if len(kept) == 1:
        note = f"{note} An interval needs at least 2 seeds, but there is 1.".strip()
        return Summary(float(kept[0]), None, None, None, 1, note)
    test = corrected_t_test(kept, sizes, confidence=1 - alpha)
    if fixed or math.isinf(sizes.n_train):
        low, high = (None, None) if two_way is None else np.clip(two_way, *bounds).tolist()
        if two_way is None:
            of_set = "all seeds test the same images"
            why = of_set if fixed else "the size of the training sets is unknown"
            note = f"{note} No interval: {why}.".strip()
        return Summary(test.mean, test.sd, low, high, len(kept), note or None)
    if test.standard_error == 0:
        note = f"{note} All seeds have the same value, so there is no interval.".strip()
        return Summary(test.mean, 0.0, None, None, len(kept), note)
    low, high = max(test.low, bounds[0]), min(test.high, bounds[1])
    return Summary(test.mean, test.sd, low, high, len(kept), note or None)


def _list_seeds(start: str, seeds: np.ndarray) -> str:
    numbers = ", ".join(str(seed) for seed in sorted(seeds.tolist()))
    return f"{start} seed{'s' if len(seeds) > 1 else ''} {numbers}." if len(seeds) else ""
