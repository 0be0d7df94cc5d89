"""Boundaries of repeated looks at a Brownian motion, from declared spending of the error rate.

z at information fraction t is B(t)/√t, where B is a Brownian motion (Jennison and Turnbull, "Group
Sequential Methods", 2000, chapter 3). Its increments are independent, so the probability to leave
between two boundaries is a recursion of one-dimensional integrals (Armitage, McPherson and Rowe
1969). How much of alpha has been used up at a fraction is declared beforehand, so a boundary
depends on no later look (Lan and DeMets 1983).
"""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy import optimize, stats

from osteo_ray.config import Spending

_PANELS, _NODES = 60, 16  # of the quadrature: exact to 1e-9 for looks 0.0001 of information apart
_FARTHEST = 37.0  # standard deviations; beyond, a tail has no probability that a float can hold
_REACH = 9.0  # standard deviations beyond which a normal density is nothing


def spend(fraction: float, alpha: float, spending: Spending) -> float:
    """Return the two-sided error rate used up at an information fraction (Lan and DeMets 1983).

    Half of it lies on either side; each side spends alpha/2 by the function named.

    Example:
        >>> round(spend(0.5, 0.05, "obrien_fleming"), 5), spend(1, 0.05, "obrien_fleming")
        (0.00305, 0.05)
        >>> round(spend(0.5, 0.05, "pocock"), 4)
        0.031
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"Expected an information fraction above 0, up to 1, but got {fraction}.")
    if fraction == 1:
        return alpha
    if spending == "pocock":
        return alpha * math.log1p((math.e - 1) * fraction)
    return 4 * float(stats.norm.sf(stats.norm.isf(alpha / 4) / math.sqrt(fraction)))


def find_bounds(fractions: Sequence[float], alpha: float, spending: Spending) -> list[float]:
    """Return the boundary of z at each information fraction, so that errors are as spent.

    Args:
        fractions: Increasing, above 0, the last at most 1.
        alpha: Two-sided.
        spending: How it is spent.
    """
    _check_fractions(fractions)
    path, spent, bounds = _Path(), 0.0, []
    for fraction in fractions:
        total = spend(fraction, alpha, spending)
        due, step = total - spent, fraction - path.fraction

        def excess(
            bound: float, path: "_Path" = path, step: float = step, due: float = due
        ) -> float:
            return path.leave(step, bound) - due

        farthest = _FARTHEST * math.sqrt(fraction)
        bound = farthest  # where next to nothing may be spent
        if excess(farthest) < 0:
            bound = optimize.brentq(excess, 0.0, farthest, xtol=1e-13, rtol=1e-12)
        bounds.append(float(bound) / math.sqrt(fraction))
        path, spent = path.go_on(step, bound), total
    return bounds


def exit_probabilities(fractions: Sequence[float], bounds: Sequence[float]) -> np.ndarray:
    """Return the probability to leave first at each look, on either side: float64, (n_looks,).

    Args:
        fractions: Of information, increasing, above 0.
        bounds: Of z, positive, either sign.
    """
    _check_fractions(fractions)
    if len(bounds) != len(fractions) or min(bounds) <= 0:
        raise ValueError(f"Expected {len(fractions)} positive bounds, but got {list(bounds)}.")
    path, found = _Path(), []
    for fraction, bound in zip(fractions, bounds, strict=True):
        step, limit = fraction - path.fraction, bound * math.sqrt(fraction)
        found.append(path.leave(step, limit))
        path = path.go_on(step, limit)
    return np.array(found)


def _check_fractions(fractions: Sequence[float]) -> None:
    steps = np.diff([0.0, *fractions])
    if not (len(fractions) and (steps > 0).all() and fractions[-1] <= 1):
        raise ValueError(f"Expected fractions increasing up to 1, but got {list(fractions)}.")


class _Path:
    """Where a Brownian motion may be that has not left yet: a density, at points of a quadrature.

    Attributes:
        fraction: The time at which it was seen last.
    """

    def __init__(
        self,
        points: np.ndarray = np.zeros(1),
        mass: np.ndarray = np.ones(1),
        fraction: float = 0.0,
    ) -> None:
        self.fraction = fraction
        self._points, self._mass = points, mass

    def leave(self, step: float, limit: float) -> float:
        """Return the probability to be beyond ± limit after a step."""
        spread = math.sqrt(step)
        below = stats.norm.cdf((-limit - self._points) / spread)
        above = stats.norm.sf((limit - self._points) / spread)
        return float(self._mass @ (below + above))

    def go_on(self, step: float, limit: float) -> "_Path":
        """Return where it may be between -limit and limit after a step."""
        spread, fraction = math.sqrt(step), self.fraction + step
        reach = min(limit, _REACH * math.sqrt(fraction))
        unit, weights = _quadrature()
        points = reach * unit
        density = stats.norm.pdf((points[:, None] - self._points) / spread) @ self._mass / spread
        return _Path(points, reach * weights * density, fraction)


@cache
def _quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Return points in [-1, 1] and weights: Gauss-Legendre in panels of equal width."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    centres = (2 * np.arange(_PANELS) + 1) / _PANELS - 1
    points = (centres[:, None] + nodes / _PANELS).ravel()
    return points, np.tile(weights / _PANELS, _PANELS)
