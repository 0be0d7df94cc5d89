"""Matthews' correlation coefficient of all classes at once, R_K of Gorodkin (2004)."""

import numpy as np

from osteo_ray.statistics.arrays import Values
from osteo_ray.statistics.metrics.metric import Metric
from osteo_ray.statistics.sample import Sample, divide


def _measure(sample: Sample) -> Values:
    """Return 0 where all images are called the same, and NaN where all are of one class."""
    n, given, called = sample.n_images, sample.given, sample.called
    covariance = n * sample.hits.sum(-1) - (given * called).sum(-1)
    spread_given, spread_called = (n**2 - (counts**2).sum(-1) for counts in (given, called))
    correlation = divide(covariance, np.sqrt(spread_given) * np.sqrt(spread_called), 0.0)
    return np.where(spread_given > 0, correlation, np.nan)


MCC = Metric("mcc", "MCC", _measure, lowest=-1.0)
