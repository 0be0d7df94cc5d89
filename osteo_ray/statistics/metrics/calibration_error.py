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


def bin_probabilities(sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the probability of each image whose calibration is measured, and its bin.

    Bins are closed on the right; a probability of 0 falls into the first.

    Returns:
        int64, (n,), below `N_BINS`: the bin; float64, (n,): the probability; bool, (n,): whether
        the event of that probability occurred.
    """
    if sample.n_classes == 2:
        probabilities = sample.probabilities[:, sample.positive]
        occurred = sample.labels == sample.positive
    else:
        probabilities, occurred = sample.probabilities.max(1), sample.labels == sample.predicted
    return np.searchsorted(_EDGES, probabilities), probabilities, occurred


def _measure(sample: Sample) -> Values:
    bins, *values = bin_probabilities(sample)
    expected, observed = (sample.add_up_bins(part, bins, N_BINS) for part in values)
    return divide(np.abs(expected - observed).sum(-1), sample.n_images)


CALIBRATION_ERROR = Metric(
    "calibration_error",
    "Calibration error",
    _measure,
    higher_is_better=False,
    short_label="calib.",
    refused_because="it rewards a coin that knows the base rate; take brier, which no coin wins",
)
