"""Brier score: the mean squared error of a class's probability."""

from osteo_ray.statistics.arrays import Values
from osteo_ray.statistics.metrics.metric import Metric
from osteo_ray.statistics.sample import Sample, divide


def _measure(sample: Sample) -> Values:
    def measure_class(index: int) -> Values:
        errors = (sample.probabilities[:, index] - (sample.labels == index)) ** 2
        return divide(sample.add_up(errors), sample.n_images)

    return sample.average_classes(measure_class)


BRIER = Metric("brier", "Brier score", _measure, higher_is_better=False, short_label="Brier")
