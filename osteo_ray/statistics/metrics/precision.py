"""Precision: the share of the images called a class that are of that class."""

from osteo_ray.statistics.arrays import Values
from osteo_ray.statistics.metrics.metric import Metric
from osteo_ray.statistics.sample import Sample, divide


def _measure(sample: Sample) -> Values:
    """Return 0 where no image is called so, as scikit-learn does."""
    return sample.average(divide(sample.hits, sample.called, 0.0))


PRECISION = Metric("precision", "Precision", _measure)
