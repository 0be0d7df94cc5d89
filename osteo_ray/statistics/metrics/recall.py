"""Recall: the share of the images of a class that are called so; of two classes, sensitivity."""

from osteo_ray.statistics.arrays import Values
from osteo_ray.statistics.metrics.metric import Metric
from osteo_ray.statistics.sample import Sample, divide


def measure_classes(sample: Sample) -> Values:
    """Return the recall of each class, float64, (..., n_classes)."""
    return divide(sample.hits, sample.given)


def _measure(sample: Sample) -> Values:
    return sample.average(measure_classes(sample))


RECALL = Metric("recall", "Recall", _measure, share_of="positive")
