"""Metrics of grades: classes in an order, such as normal < osteopenia < osteoporosis.

Both weigh a mistake by how many grades it is off. Neither is defined without an order.
"""

import numpy as np

from osteo_ray.statistics.arrays import Values
from osteo_ray.statistics.metrics.metric import Metric
from osteo_ray.statistics.sample import Sample, divide


def _measure_kappa(sample: Sample) -> Values:
    """Return 0 where all images are called the same, and NaN where all are of one grade.

    Cohen's kappa with quadratic weights: 1 minus the sum of squared mistakes, relative to that of
    calls that are dealt to the images at random. Calls that know nothing of the images, constant or
    not, therefore have 0 on average, whatever the shares of the grades.
    """
    squares = _measure_distances(sample) ** 2
    given, called = sample.given, sample.called
    by_chance = given[..., :, None] * called[..., None, :] / sample.n_images[..., None, None]
    mistakes = (squares * sample.confusion).sum((-2, -1))
    kappa = 1 - divide(mistakes, (squares * by_chance).sum((-2, -1)), 1.0)
    several = (given > 0).sum(-1) > 1
    return np.where(several, kappa, np.nan)


def _measure_error(sample: Sample) -> Values:
    mistakes = (_measure_distances(sample) * sample.confusion).sum((-2, -1))
    return divide(mistakes, sample.n_images)


def _measure_distances(sample: Sample) -> np.ndarray:
    """Return how many grades lie between two classes, int, (n_classes, n_classes)."""
    ranks = np.asarray(sample.ranks)
    return np.asarray(np.abs(ranks[:, None] - ranks[None, :]))


QUADRATIC_KAPPA = Metric(
    "quadratic_kappa",
    "Quadratic kappa",
    _measure_kappa,
    lowest=-1.0,
    has_threshold=True,
    margin=0.06,
    is_ordinal=True,
)
GRADE_ERROR = Metric(
    "grade_error",
    "Mean error in grades",
    _measure_error,
    higher_is_better=False,
    highest=np.inf,
    refused_because="it rewards a classifier that gives every image the middle grade, or the most "
    "common one; take quadratic_kappa",
    has_threshold=True,
    is_ordinal=True,
    short_label="Grade error",
)
