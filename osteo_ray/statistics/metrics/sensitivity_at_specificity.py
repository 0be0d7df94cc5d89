"""Sensitivity at a stated specificity: what a clinic can afford in false alarms is fixed first."""

import numpy as np

from osteo_ray.statistics.arrays import Values
from osteo_ray.statistics.metrics.metric import Metric
from osteo_ray.statistics.ranking import Ranking
from osteo_ray.statistics.resampled_ranking import ResampledRanking
from osteo_ray.statistics.sample import Sample, divide


def define(specificity: float) -> Metric:
    """Define the largest sensitivity of any threshold that has at least so high a specificity.

    Args:
        specificity: In (0, 1), in whole percent.
    """

    def measure_ranking(ranking: Ranking | ResampledRanking) -> Values:
        false_alarms = ranking.called - ranking.found
        affordable = (1 - specificity) * np.asarray(ranking.n_rest) + 1e-9
        found = np.where(false_alarms <= affordable, ranking.found, 0).max(axis=0, initial=0)
        possible = np.where(np.asarray(ranking.n_rest) > 0, ranking.n_class, 0)
        return divide(found, possible)

    def measure(sample: Sample) -> Values:
        return sample.average_rankings(measure_ranking)

    percent = round(100 * specificity)
    return Metric(
        f"sensitivity_at_specificity_{percent}",
        f"Sensitivity at {percent} % specificity",
        measure,
        is_one_sided=True,
        margin=0.05,
    )


SENSITIVITY_AT_SPECIFICITY_90 = define(0.9)
SENSITIVITY_AT_SPECIFICITY_95 = define(0.95)
