"""What a probability is worth in use: calibration slope and intercept, and net benefit."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

Values = npt.NDArray[np.float64]
_SMALLEST = 1e-6  # probability, whose log-odds are taken
_STEPS, _CONVERGED = 100, 1e-10
_STEEPEST = 1e3  # slope, above which classes are separated and no line fits


@dataclass(frozen=True)
class CalibrationLine:
    """The logistic line of an outcome on the log-odds of its probability (Cox 1958).

    Attributes:
        slope: 1 if calibrated; below it, probabilities are too extreme.
        intercept: Of that line.
        in_the_large: The intercept with a slope of 1: 0 if probabilities are right on average,
            above it if they are too small.
    """

    slope: float
    intercept: float
    in_the_large: float


def fit_calibration_line(
    probabilities: Values, occurred: npt.NDArray[np.bool_]
) -> CalibrationLine | None:
    """Fit the line; None where it has no finite answer, as where classes are separated.

    Args:
        probabilities: float, (n,), of the event.
        occurred: bool, (n,).
    """
    x = logit(np.clip(probabilities, _SMALLEST, 1 - _SMALLEST))
    y = occurred.astype(float)
    if y.min() == y.max() or np.ptp(x) == 0:
        return None
    line = _fit_logistic(np.stack([np.ones_like(x), x], axis=1), y, np.zeros_like(x))
    shift = _fit_logistic(np.ones((len(x), 1)), y, x)
    if line is None or shift is None or abs(line[1]) > _STEEPEST:
        return None
    return CalibrationLine(float(line[1]), float(line[0]), float(shift[0]))


def _fit_logistic(design: Values, y: Values, offset: Values) -> Values | None:
    """Fit a logistic regression by Newton's method; None if it does not converge."""
    weights = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        mean = expit(design @ weights + offset)
        spread = mean * (1 - mean)
        information = design.T @ (design * spread[:, None])
        if not np.isfinite(information).all() or np.linalg.cond(information) > 1e14:
            return None
        step = np.linalg.solve(information, design.T @ (y - mean))
        weights = weights + step
        if float(np.abs(step).max()) < _CONVERGED:
            return weights
    return None


def measure_net_benefit(
    probabilities: Values, occurred: npt.NDArray[np.bool_], thresholds: Values
) -> Values:
    """Return the net benefit of acting where a probability reaches a threshold.

    That is the share of true positives minus the share of false positives, weighted by the odds of
    the threshold (Vickers and Elkin 2006).

    Args:
        probabilities: float, (n,), of the event.
        occurred: bool, (n,).
        thresholds: float, (k,), in (0, 1).

    Returns:
        float, (k,).
    """
    acted = probabilities[None] >= thresholds[:, None]
    n = len(occurred)
    true = (acted & occurred[None]).sum(axis=1) / n
    false = (acted & ~occurred[None]).sum(axis=1) / n
    benefit: Values = true - false * thresholds / (1 - thresholds)
    return benefit
