"""Average precision: the area under the precision-recall curve, as a sum of steps."""

import numpy as np

from osteo_ray.statistics.arrays import Values
from osteo_ray.statistics.metrics.metric import Metric
from osteo_ray.statistics.ranking import Ranking
from osteo_ray.statistics.resampled_ranking import ResampledRanking
from osteo_ray.statistics.sample import Sample, divide


def measure_average_precision(ranking: Ranking | ResampledRanking) -> Values:
    """Return precision at each distinct score, weighted by the recall that it adds.

    Returns:
        NaN where the class or the rest has no image.
    """
    precision = divide(ranking.found, ranking.called, 0.0)
    area = divide(ranking.sum_over_class(precision), ranking.n_class)
    return np.where(np.asarray(ranking.n_rest) > 0, area, np.nan)


def _measure(sample: Sample) -> Values:
    return sample.average_rankings(measure_average_precision)


PR_AUC = Metric("pr_auc", "PR-AUC", _measure)
