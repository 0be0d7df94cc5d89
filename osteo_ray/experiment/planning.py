"""What a comparison can find out, before anything is computed. Pure.

The test is Nadeau and Bengio's corrected t over seeds: the standard error of the mean difference is
sd · √(1/J + n_test/n_train), so it never falls below sd · √(n_test/n_train), however many seeds J
run. `statistics.power` has the power of that test.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scipy import stats

from osteo_ray.statistics.metrics.registry import METRICS
from osteo_ray.statistics.power import detection_power, seeds_needed, smallest_detectable
from osteo_ray.statistics.sizes import Sizes

MOST_SEEDS = 1000
"""More are not considered."""


@dataclass(frozen=True)
class Design:
    """What is fixed before a comparison runs, as far as its primary contrast goes.

    Attributes:
        metric: The primary endpoint, on test images.
        arm: The metric of this arm minus that of `baseline` is the primary contrast.
        baseline: The other arm.
        effect: Smallest true difference that matters.
        alpha: Error rate over all contrasts.
        n_contrasts: How many Holm's correction counts.
        power: Wanted probability to find `effect`.
        n_seeds: Planned.
        sizes: Images per seed.
        sd: Assumed standard deviation of the difference over seeds.
    """

    metric: str
    arm: str
    baseline: str
    effect: float
    alpha: float
    n_contrasts: int
    power: float
    n_seeds: int
    sizes: Sizes
    sd: float

    @property
    def strictest(self) -> float:
        """Error rate of a single contrast in Holm's first step, the strictest."""
        return self.alpha / self.n_contrasts

    @property
    def floor(self) -> float:
        """The standard error that no number of seeds falls below."""
        return self.sd * math.sqrt(self.sizes.ratio)


@dataclass(frozen=True)
class Prospects:
    """What a design can find, in Holm's strictest step.

    Attributes:
        power: Probability to find the smallest effect of interest; None with fewer than 2 seeds.
        smallest: True difference found with the wanted power; None with fewer than 2 seeds.
        smallest_ever: The same with infinitely many seeds.
        least_d: In standard deviations: an observed difference below is not significant with any
            number of seeds.
        n_seeds: Seeds that find the smallest effect of interest with the wanted power; None if
            `MOST_SEEDS` do not.
    """

    power: float | None
    smallest: float | None
    smallest_ever: float
    least_d: float
    n_seeds: int | None


@dataclass(frozen=True)
class AssumedSd:
    """A standard deviation of differences over seeds, and in words where it is from."""

    value: float
    basis: str


def assess(design: Design) -> Prospects:
    """Say what a design can find.

    Raises:
        ValueError: A number of the design is out of its range.
    """
    sizes = design.sizes
    options = {"alpha": design.strictest, "power": design.power}
    needed = seeds_needed(design.effect, design.sd, sizes, **options, most=MOST_SEEDS)
    critical = float(stats.norm.isf(design.strictest / 2))
    ever = (critical + float(stats.norm.isf(1 - design.power))) * design.floor
    found = power = None
    if design.n_seeds >= 2:
        found = smallest_detectable(design.sd, design.n_seeds, sizes, **options)
        power = detection_power(design.effect, design.sd, design.n_seeds, sizes, design.strictest)
    return Prospects(power, found, ever, critical * design.floor / design.sd, needed)


def assume_sd(
    disagreement: float, metric: str, *, n_test: float, positive_share: float
) -> AssumedSd:
    """Derive a standard deviation from the share of test images on which two arms disagree.

    On a test image one arm is right and the other wrong (±1, a share of `disagreement` in all), or
    both are alike (0). So the difference of accuracies on n images has a variance of (disagreement
    - difference²)/n, at most disagreement/n. For recall and specificity, n is the images of their
    class; for the other metrics the figure for accuracy is taken, for want of a formula.

    Args:
        disagreement: In (0, 1].
        metric: The endpoint.
        n_test: Test images per seed.
        positive_share: Of the images.

    Raises:
        ValueError: There is no test image to judge by.

    Example:
        >>> round(assume_sd(0.2, "accuracy", n_test=74, positive_share=0.5).value, 4)
        0.052
    """
    share_of = METRICS[metric].share_of
    shares = {"positive": positive_share, "negative": 1 - positive_share}
    n_judged = n_test * shares.get(share_of or "all", 1.0)
    if not (0 < disagreement <= 1 and n_judged > 0):
        raise ValueError(
            "Expected disagreement in (0, 1] and test images to judge by, but got "
            f"{disagreement} and {n_judged:g} images."
        )
    basis = (
        f"assumed: arms disagree on {disagreement:.0%} of {n_judged:.0f} test images, so sd² = "
        f"{disagreement:g}/{n_judged:.0f}; a pilot run would tell"
    )
    if share_of is None:
        basis += f". That is the formula for accuracy: for {metric} it is a guess"
    return AssumedSd(math.sqrt(disagreement / n_judged), basis)


def read_pilot(
    comparison: Mapping[str, Any], design_metric: str, arm: str, baseline: str
) -> AssumedSd:
    """Take the standard deviation from an earlier run: the largest of its models.

    Args:
        comparison: Content of its comparison.json.
        design_metric: The endpoint planned.
        arm: Of the primary contrast.
        baseline: Likewise.

    Raises:
        ValueError: It has another endpoint, or no contrast with a spread over seeds.
    """
    if comparison.get("metric") != design_metric:
        raise ValueError(
            f"Expected an earlier run with the endpoint {design_metric}, but its endpoint is "
            f"{comparison.get('metric')}."
        )
    found = [
        (float(contrast["sd"]), contrast["model"], contrast["n_seeds"])
        for contrast in comparison.get("contrasts", [])
        if (contrast["arm"], contrast["baseline"]) == (arm, baseline) and contrast["sd"]
    ]
    if not found:
        raise ValueError(
            f"Expected an earlier run with differences {arm} minus {baseline} that vary over at "
            "least 2 seeds, but it has none."
        )
    sd, model, n_seeds = max(found)
    upper = sd * math.sqrt((n_seeds - 1) / float(stats.chi2.ppf(0.2, n_seeds - 1)))
    return AssumedSd(
        sd,
        f"measured: {model} in the earlier run, {n_seeds} seeds, {comparison['n_test']:g} test "
        f"images each; with confidence 0.8 it is below {upper:.3f}",
    )
