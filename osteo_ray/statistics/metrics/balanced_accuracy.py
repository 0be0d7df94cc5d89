"""Balanced accuracy: the mean recall over all classes."""

import numpy as np

from osteo_ray.statistics.arrays import Values
from osteo_ray.statistics.metrics.metric import Metric
from osteo_ray.statistics.metrics.recall import measure_classes
from osteo_ray.statistics.sample import Sample


def _measure(sample: Sample) -> Values:
    return np.asarray(measure_classes(sample).mean(-1))


BALANCED_ACCURACY = Metric("balanced_accuracy", "Balanced accuracy", _measure)
