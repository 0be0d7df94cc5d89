"""F1: the harmonic mean of precision and recall."""

from osteo_ray.statistics.arrays import Values
from osteo_ray.statistics.metrics.metric import Metric
from osteo_ray.statistics.sample import Sample, divide


def _measure(sample: Sample) -> Values:
    """Return 0 where a class has no image and none is called so, as scikit-learn does."""
    return sample.average(divide(2 * sample.hits, sample.given + sample.called, 0.0))


F1 = Metric("f1", "F1", _measure)
