"""How often something happened, with its uncertainty. Pure."""

from dataclasses import dataclass

import pandas as pd
from statsmodels.stats.proportion import proportion_confint


@dataclass(frozen=True)
class Rate:
    """How often something happened, with its exact 95 % interval (Clopper and Pearson).

    Attributes:
        n_hits: In how many of the `n` experiments it happened.
        n: Experiments that count.
        low: Lower end of the interval.
        high: Upper end.
        bar: Lowest and highest rate allowed; None where nothing is promised.
    """

    n_hits: int
    n: int
    low: float
    high: float
    bar: tuple[float, float] | None = None

    @classmethod
    def of(cls, hits: pd.Series, bar: tuple[float, float] | None = None) -> "Rate":
        """Count true values; missing ones do not count.

        Example:
            >>> rate = Rate.of(pd.Series([True] * 8 + [False] * 2), bar=(0.99, 1.0))
            >>> rate.value, round(rate.low, 3), round(rate.high, 3), rate.is_missed
            (0.8, 0.444, 0.975, True)
        """
        known = hits.dropna().astype(bool)
        n_hits, n = int(known.sum()), len(known)
        low, high = proportion_confint(n_hits, n, method="beta")
        return cls(n_hits, n, float(low), float(high), bar)

    @property
    def value(self) -> float:
        """Share of hits."""
        return self.n_hits / self.n

    @property
    def is_missed(self) -> bool:
        """Whether the whole interval lies outside the bar, beyond the noise of the simulation."""
        return self.bar is not None and (self.high < self.bar[0] or self.low > self.bar[1])
