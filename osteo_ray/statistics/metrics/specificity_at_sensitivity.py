"""Specificity at a stated sensitivity: what a clinic can afford to miss is fixed first."""

import numpy as np

from osteo_ray.statistics.arrays import Values
from osteo_ray.statistics.metrics.metric import Metric
from osteo_ray.statistics.ranking import Ranking
from osteo_ray.statistics.resampled_ranking import ResampledRanking
from osteo_ray.statistics.sample import Sample, divide


def define(sensitivity: float) -> Metric:
    """Define the largest specificity of any threshold that has at least so high a sensitivity.

    Args:
        sensitivity: In (0, 1), in whole percent.
    """

    def measure_ranking(ranking: Ranking | ResampledRanking) -> Values:
        n_rest = np.asarray(ranking.n_rest, np.float64)
        wanted = sensitivity * np.asarray(ranking.n_class) - 1e-9
        false_alarms = np.asarray(ranking.called, np.float64) - ranking.found
        fewest = np.where(ranking.found >= wanted, false_alarms, n_rest).min(axis=0, initial=np.inf)
        possible = np.where(np.asarray(ranking.n_class) > 0, n_rest, 0)
        return divide(n_rest - np.minimum(fewest, n_rest), possible)

    def measure(sample: Sample) -> Values:
        return sample.average_rankings(measure_ranking)

    percent = round(100 * sensitivity)
    return Metric(
        f"specificity_at_sensitivity_{percent}",
        f"Specificity at {percent} % sensitivity",
        measure,
        is_one_sided=True,
        margin=0.05,
    )


SPECIFICITY_AT_SENSITIVITY_90 = define(0.9)
SPECIFICITY_AT_SENSITIVITY_95 = define(0.95)
