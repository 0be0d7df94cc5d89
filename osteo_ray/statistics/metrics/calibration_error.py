"""Expected calibration error: how far probabilities are from the shares that they announce.

It is taken over ten bins of equal width. With two classes, it compares the positive class's
probability with that class's share (Naeini, Cooper and Hauskrecht, "Obtaining well calibrated
probabilities using Bayesian binning", AAAI 2015); with more, the top class's probability with the
share of correct predictions (Guo et al., "On calibration of modern neural networks", ICML 2017).
"""

import numpy as np

from osteo_ray.statistics.arrays import Values
from osteo_ray.statistics.metrics.metric import Metric
from osteo_ray.statistics.sample import Sample, divide

N_BINS = 10
_EDGES = np.linspace(0, 1, N_BINS + 1)[1:-1]


def bin_probabilities(sample: Sample) -> tuple[Values, Values, Values]:
    """Sum probabilities, and what happened, in `N_BINS` bins of equal width, closed on the right.

    A probability of 0 falls into the first bin.

    Returns:
        Three arrays of float64, (..., N_BINS): counts of images, sums of probabilities, and counts
        of images for which the event of that probability occurred.
    """
    if sample.n_classes == 2:
        probabilities = sample.probabilities[:, sample.positive]
        occurred = sample.labels == sample.positive
    else:
        probabilities, occurred = sample.probabilities.max(1), sample.labels == sample.predicted
    bins = np.searchsorted(_EDGES, probabilities)
    counts, expected, observed = (
        sample.add_up_bins(values, bins, N_BINS)
        for values in (np.ones(len(bins)), probabilities, occurred)
    )
    return counts, expected, observed


def measure(sample: Sample) -> Values:
    _, expected, observed = bin_probabilities(sample)
    return divide(np.abs(expected - observed).sum(-1), sample.n_images)


CALIBRATION_ERROR = Metric(
    "calibration_error", "Calibration error", measure, higher_is_better=False, short_label="calib."
)
