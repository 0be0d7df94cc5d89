"""How much of the error rate repeated looks have used up, declared beforehand.

It depends only on the information so far, and so does the boundary of a look (Lan and DeMets 1983).
"""

import math

from scipy import stats

from osteo_ray.statistics.settings import Spending


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
