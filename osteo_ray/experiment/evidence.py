"""What the results of one model say, in the form in which the rule of the verdict asks for it.

Everything is an estimate of a weighted sum of arms (`statistics.inference`): a gain is
{judged: 1, baseline: -1}, and a control accounts for at least half of the gain where
{control: 1, judged: -1/2, baseline: -1/2} is at least 0. All are oriented so that more is better.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from osteo_ray.statistics.bootstrap import estimate_ratio
from osteo_ray.statistics.inference import Estimate, TestDesign, estimate_mean

Values = npt.NDArray[np.float64]
AUC = "auc"


@dataclass(frozen=True)
class Measured:
    """A metric of the arms of one model on test images.

    Attributes:
        values: Per arm, by seed; seeds on which the metric is undefined are left out.
        draws: Per arm, by seed, float (n_draws,); the same on resampled test images.
        higher_is_better: False for errors, which are turned round.
        bounds: The lowest and the highest value of the metric.
    """

    values: Mapping[str, Mapping[int, float]]
    draws: Mapping[str, Mapping[int, Values]]
    higher_is_better: bool = True
    bounds: tuple[float, float] = (-math.inf, math.inf)

    @property
    def span(self) -> float:
        """How far two values can lie apart; 1 for a metric without bounds."""
        low, high = self.bounds
        return high - low if math.isfinite(high - low) else 1.0

    def bound(self, weights: Mapping[str, float], above: float) -> tuple[float, float]:
        """Return the lowest and the highest value of a weighted sum, turned round for errors."""
        sign = 1 if self.higher_is_better else -1
        ends = [sorted(sign * weight * end for end in self.bounds) for weight in weights.values()]
        return sum(low for low, _ in ends) - above, sum(high for _, high in ends) - above


@dataclass(frozen=True)
class GainShare:
    """What share of the gain a control accounts for, with its interval where it is bounded."""

    share: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Evidence:
    """The results of one model.

    Attributes:
        model: Its name.
        endpoint: Name of the metric that decides.
        metrics: The endpoint and the guard metrics, by name.
        design: How the seeds relate.
        seeds: Those planned.
        groups: Per seed, the numbers of the groups of test images, distinct.
        collapsed: Per arm, the share of its seeds on which it predicts one class throughout.
        repeated: Per arm that has any, the seeds whose predictions are those of an earlier seed.
        equal: Pairs of arms that predict the same on every seed.
        fewest_groups: Groups of test images of the class that has fewest, over all seeds; None if
            that is not known.
        chance_errors: Per seed, the standard error that AUC has on its test images at chance.
    """

    model: str
    endpoint: str
    metrics: Mapping[str, Measured]
    design: TestDesign
    seeds: tuple[int, ...]
    groups: Mapping[int, npt.NDArray[np.int64]]
    collapsed: Mapping[str, float] = field(default_factory=dict)
    repeated: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    equal: tuple[tuple[str, str], ...] = ()
    fewest_groups: int | None = None
    chance_errors: Mapping[int, float] = field(default_factory=dict)

    def list_missing(self, arm: str) -> list[int]:
        """Return the planned seeds on which an arm has no value of the endpoint."""
        values = self.metrics[self.endpoint].values.get(arm, {})
        return [seed for seed in self.seeds if seed not in values]

    def list_undefined(self, arm: str) -> list[int]:
        """Return those on which it was tested on images that leave the endpoint undefined."""
        draws = self.metrics[self.endpoint].draws.get(arm, {})
        return [seed for seed in self.list_missing(arm) if seed in draws]

    def estimate(
        self, weights: Mapping[str, float], metric: str | None = None, above: float = 0.0
    ) -> Estimate | None:
        """Estimate the mean of a weighted sum of arms over the seeds that have them all.

        Args:
            weights: By arm.
            metric: By default the endpoint.
            above: Subtracted from each value, such as .5 for an AUC above chance.

        Returns:
            None where it cannot be tested.
        """
        measured = self.metrics[metric or self.endpoint]
        seeds = self._share_seeds(measured, weights)
        if len(seeds) < 2:
            return None
        sign = 1 if measured.higher_is_better else -1
        values = sign * sum(
            weight * np.array([measured.values[arm][seed] for seed in seeds])
            for arm, weight in weights.items()
        )
        draws = self._stack(measured, weights, seeds)
        return estimate_mean(
            np.round(np.asarray(values) - above, 12),
            None if draws is None else sign * draws - above,
            self._count_shared(seeds),
            self.design,
            possible=measured.bound(weights, above),
            resolution=measured.span / self.fewest_groups if self.fewest_groups else 0.0,
        )

    def estimate_share(
        self, control: str, judged: str, baseline: str, alpha: float
    ) -> GainShare | None:
        """Estimate the control's gain by the judged arm's, with Fieller's interval."""
        measured = self.metrics[self.endpoint]
        seeds = self._share_seeds(measured, (control, judged, baseline))
        if len(seeds) < 2:
            return None
        gains = [
            np.array(
                [measured.values[arm][seed] - measured.values[baseline][seed] for seed in seeds]
            )
            for arm in (control, judged)
        ]
        if abs(gains[1].mean()) < 1e-12:
            return None
        share = float(gains[0].mean() / gains[1].mean())
        draws = [self._stack(measured, {arm: 1, baseline: -1}, seeds) for arm in (control, judged)]
        if any(one is None for one in draws):
            return GainShare(share, None, None)
        stacked = np.stack(draws, axis=1)  # type: ignore[arg-type]  # none is None
        stacked = stacked[~np.isnan(stacked).any(axis=(1, 2))]
        found = (
            estimate_ratio(
                gains[0],
                gains[1],
                stacked,
                self._count_shared(seeds),
                confidence=1 - alpha,
                sizes=self.design.sizes,
            )
            if len(stacked) > 1
            else None
        )
        return GainShare(share, None, None) if found is None else GainShare(*found)

    def _share_seeds(
        self, measured: Measured, arms: "Mapping[str, float] | tuple[str, ...]"
    ) -> list[int]:
        return [s for s in self.seeds if all(s in measured.values.get(arm, {}) for arm in arms)]

    def _stack(
        self, measured: Measured, weights: Mapping[str, float], seeds: list[int]
    ) -> Values | None:
        """Return the weighted sum on resampled test images: float (n_draws, n_seeds)."""
        if any(seed not in measured.draws.get(arm, {}) for arm in weights for seed in seeds):
            return None
        return np.asarray(
            sum(
                weight * np.stack([measured.draws[arm][seed] for seed in seeds], axis=1)
                for arm, weight in weights.items()
            )
        )

    def _count_shared(self, seeds: list[int]) -> int:
        numbers = np.concatenate([self.groups[seed] for seed in seeds])
        return int(np.sum(np.bincount(numbers) > 1))
