"""Gather the evidence on each model from its predictions."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from osteo_ray.experiment.evidence import AUC, Evidence, Measured
from osteo_ray.statistics.inference import TestDesign
from osteo_ray.statistics.metrics.registry import METRICS
from osteo_ray.statistics.predictions import Predictions
from osteo_ray.statistics.resampling import N_DRAWS, resample_metric

BALANCED_ACCURACY = "balanced_accuracy"
GUARDS = (AUC, BALANCED_ACCURACY)
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
        results: As `results_table.compute_results` returns it.
        images: image_id and group.
        models: Those planned.
        seeds: Those planned.
        endpoint: Name of the metric that decides.
        design: How the seeds relate.
        n_draws: Bootstrap samples of the test images.

    Raises:
        InputError: Arms of one seed were tested on different images.
    """
    guards = choose_guards(predictions, endpoint)
    at_threshold = _apply_thresholds(predictions)
    measured = {
        metric: _measure(
            at_threshold if metric == BALANCED_ACCURACY and metric != endpoint else predictions,
            images,
            metric,
            n_draws,
        )
        for metric in dict.fromkeys((endpoint, *guards))
    }
    tested = _list_tested(predictions, images)
    collapsed = _find_collapsed(predictions)
    return {
        model: Evidence(
            model=model,
            endpoint=endpoint,
            metrics={metric: found[model] for metric, found in measured.items()},
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
