"""Specificity: the share of the images of all other classes that are not called a class."""

from osteo_ray.statistics.arrays import Values
from osteo_ray.statistics.metrics.metric import Metric
from osteo_ray.statistics.sample import Sample, divide


def _measure(sample: Sample) -> Values:
    negatives = sample.n_images[..., None] - sample.given
    false_positives = sample.called - sample.hits
    return sample.average(divide(negatives - false_positives, negatives))


SPECIFICITY = Metric("specificity", "Specificity", _measure, share_of="negative")
