"""Accuracy: the share of images classified correctly, over all classes."""

from osteo_ray.statistics.arrays import Values
from osteo_ray.statistics.metrics.metric import Metric
from osteo_ray.statistics.sample import Sample, divide


def _measure(sample: Sample) -> Values:
    return divide(sample.hits.sum(-1), sample.n_images)


ACCURACY = Metric("accuracy", "Accuracy", _measure, share_of="all")
