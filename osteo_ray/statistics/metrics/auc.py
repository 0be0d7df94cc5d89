"""Area under the ROC curve: the share of pairs of images that their scores put in order."""

from osteo_ray.statistics.arrays import Values
from osteo_ray.statistics.metrics.metric import Metric
from osteo_ray.statistics.ranking import Ranking
from osteo_ray.statistics.resampled_ranking import ResampledRanking
from osteo_ray.statistics.sample import Sample, divide


def measure_area(ranking: Ranking | ResampledRanking) -> Values:
    """Return the share of pairs, one image of the class and one of the rest, in the right order.

    Returns:
        Equal scores count half; NaN where the class or the rest has no image.
    """
    return divide(ranking.count_pairs(), ranking.n_class * ranking.n_rest)


def _measure(sample: Sample) -> Values:
    return sample.average_rankings(measure_area)


AUC = Metric("auc", "AUC", _measure)
