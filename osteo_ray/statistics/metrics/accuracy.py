"""Accuracy: the share of images classified correctly, over all classes."""

from osteo_ray.statistics.arrays import Values
from osteo_ray.statistics.metrics.metric import Metric
from osteo_ray.statistics.sample import Sample, divide


def measure(sample: Sample) -> Values:
    return divide(sample.hits.sum(-1), sample.n_images)


ACCURACY = Metric("accuracy", "Accuracy", measure, share_of="all")
