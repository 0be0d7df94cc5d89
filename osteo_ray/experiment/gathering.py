"""Gather the evidence on each model from its predictions."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from osteo_ray.experiment.evidence import AUC, Evidence, Measured
from osteo_ray.statistics.inference import TestDesign
from osteo_ray.statistics.predictions import Predictions
from osteo_ray.statistics.resampling import N_DRAWS, resample_metric
from osteo_ray.statistics.settings import LOWER_IS_BETTER

GUARDS = (AUC, "balanced_accuracy")
"""Metrics that an honest gain does not make worse."""


def gather_evidence(
    predictions: Predictions,
    results: pd.DataFrame,
    images: pd.DataFrame,
    *,
    models: Sequence[str],
    seeds: Sequence[int],
    endpoint: str,
    design: TestDesign,
    n_draws: int = N_DRAWS,
) -> dict[str, Evidence]:
    """Measure the endpoint and the guard metrics of each model, on resampled test images too.

    Args:
        predictions: Of all arms that can be compared: those on shuffled labels cannot.
        results: As `metrics.compute_results` returns it.
        images: image_id and group.
        models: Those planned.
        seeds: Those planned.
        endpoint: Name of the metric that decides.
        design: How the seeds relate.
        n_draws: Bootstrap samples of the test images.

    Raises:
        InputError: Arms of one seed were tested on different images.
    """
    test = results[results["split"] == "test"]
    values: dict[str, dict[str, dict[str, dict[int, float]]]] = {}
    draws: dict[str, dict[str, dict[str, dict[int, npt.NDArray[np.float64]]]]] = {}
    tested: Mapping[int, npt.NDArray[np.int64]] = {}
    metrics = tuple(dict.fromkeys((endpoint, *GUARDS)))
    for metric in metrics:
        values[metric] = defaultdict(lambda: defaultdict(dict))
        draws[metric] = defaultdict(lambda: defaultdict(dict))
        columns = (test[name].tolist() for name in ("model", "arm", "seed", metric))
        for model, arm, seed, value in zip(*columns, strict=True):
            if np.isfinite(value):
                values[metric][model][arm][int(seed)] = float(value)
        resampled = resample_metric(predictions, images, metric=metric, n_draws=n_draws)
        tested = resampled.tested
        for (model, arm, seed), found in resampled.draws.items():
            draws[metric][model][arm][seed] = found
    collapsed = _find_collapsed(predictions)
    return {
        model: Evidence(
            model=model,
            endpoint=endpoint,
            metrics={
                metric: Measured(
                    values[metric][model], draws[metric][model], metric not in LOWER_IS_BETTER
                )
                for metric in metrics
            },
            design=design,
            seeds=tuple(seeds),
            groups=tested,
            collapsed=collapsed.get(model, {}),
        )
        for model in models
    }


def is_fixed(predictions: Predictions) -> bool:
    """Tell whether all seeds test the same images."""
    tested = [group.images for key, group in predictions.groups.items() if key.split == "test"]
    return all(np.array_equal(images, tested[0]) for images in tested)


def _find_collapsed(predictions: Predictions) -> dict[str, dict[str, float]]:
    """Return, per model and arm, the share of seeds with one class predicted throughout."""
    found: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for key, group in predictions.groups.items():
        if key.split == "test":
            found[key.model][key.arm].append(len(np.unique(group.predicted)) == 1)
    return {
        model: {arm: float(np.mean(seeds)) for arm, seeds in arms.items()}
        for model, arms in found.items()
    }
