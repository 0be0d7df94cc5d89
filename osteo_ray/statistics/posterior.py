"""How probable it is that one arm is better: seed by seed, and of the true difference.

`differences` is float, (n_seeds,): one arm's metric minus the other's, a value per seed.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from osteo_ray.statistics.significance import NEGLIGIBLE, corrected_t_test
from osteo_ray.statistics.sizes import Sizes


@dataclass(frozen=True)
class Posterior:
    """Probabilities that the true difference lies below, inside and above ± margin; sum 1."""

    worse: float
    equivalent: float
    better: float


def correlated_posterior(
    differences: np.ndarray, sizes: Sizes, *, margin: float
) -> Posterior | None:
    """Apply the Bayesian correlated t-test with a region of practical equivalence.

    Under a flat prior the true difference follows a t distribution about the mean, with the
    standard error and the degrees of freedom of the corrected t-test: the correlation of two seeds
    is taken to be n_test / (n_test + n_train). Corani and Benavoli, "A Bayesian approach for
    comparing cross-validated algorithms on multiple data sets" (2015); for k folds it is baycomp's
    `two_on_single`, as there n_test/n_train is 1/(k - 1).

    Args:
        differences: float, (n_seeds,), at least two.
        margin: Largest difference that does not matter, positive.

    Returns:
        None where all differences are the same, which would give unwarranted certainty.

    Example:
        >>> sizes = Sizes(n_test=20, n_train=60)
        >>> posterior = correlated_posterior(np.array([0.02, 0.04, 0.06]), sizes, margin=0.01)
        >>> round(posterior.worse, 3), round(posterior.equivalent, 3), round(posterior.better, 3)
        (0.046, 0.058, 0.896)
    """
    if not margin > 0:
        raise ValueError(f"Expected a positive `margin`, but got {margin}.")
    test = corrected_t_test(differences, sizes)
    if test.standard_error == 0:
        return None
    truth = {"df": len(differences) - 1, "loc": test.mean, "scale": test.standard_error}
    worse, better = float(stats.t.cdf(-margin, **truth)), float(stats.t.sf(margin, **truth))
    return Posterior(worse, max(0.0, 1 - worse - better), better)


def improvement_share(differences: np.ndarray) -> float:
    """Return the share of seeds on which the arm was better; a tie counts as half.

    An estimate of the probability of improvement: that the arm is better on a new seed, both arms
    on one split.

    Args:
        differences: float, (n_seeds,), at least one; within 1e-12 of 0 is a tie.

    Example:
        >>> improvement_share(np.array([0.02, 0.0, -0.01, 0.03]))
        0.625
    """
    differences = np.asarray(differences, dtype=np.float64)
    if differences.ndim != 1 or not len(differences) or not np.isfinite(differences).all():
        raise ValueError(f"Expected finite differences, one at least, but got {differences}.")
    ties = np.abs(differences) <= NEGLIGIBLE
    return float(np.mean(np.where(ties, 0.5, differences > 0)))
