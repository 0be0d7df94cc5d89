"""What the test of the gain alone can detect, worked out before anything is computed. Pure.

A verdict asks for more than this test: `prospects` simulates the whole rule. The test is Nadeau and
Bengio's corrected t over seeds: the standard error of the mean difference is
sd · √(1/J + n_test/n_train), so it never falls below sd · √(n_test/n_train), however many seeds J
run. `statistics.power` computes the power of that test.
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
"""The largest number of seeds that is considered."""


@dataclass(frozen=True)
class Design:
    """What is fixed about the primary contrast before a comparison runs.

    Attributes:
        metric: The primary endpoint, on test images.
        arm: The arm that is judged: its metric minus that of `baseline` is the primary contrast.
        baseline: The arm that it is compared with.
        effect: Smallest true difference of interest.
        alpha: Error rate of the conclusion, over all models.
        n_models: Number of models over which the p of the gain is corrected by Holm's method.
        power: Desired probability to detect `effect`.
        n_seeds: Planned number of seeds.
        sizes: Images per seed.
        sd: Assumed standard deviation of the difference over seeds.
    """

    metric: str
    arm: str
    baseline: str
    effect: float
    alpha: float
    n_models: int
    power: float
    n_seeds: int
    sizes: Sizes
    sd: float

    @property
    def strictest(self) -> float:
        """Error rate of the gain of one model in the first and strictest step of Holm's method."""
        return self.alpha / self.n_models

    @property
    def floor(self) -> float:
        """The standard error that remains however many seeds run."""
        return self.sd * math.sqrt(self.sizes.ratio)


@dataclass(frozen=True)
class Detectable:
    """What a design can detect, in the strictest step of Holm's method.

    Attributes:
        power: Probability to detect the smallest effect of interest; None with fewer than 2 seeds.
        smallest: Smallest true difference that is detected with the desired power; None with fewer
            than 2 seeds.
        smallest_ever: The same with infinitely many seeds.
        least_d: Smallest observed difference, in standard deviations, that can be significant with
            any number of seeds.
        n_seeds: Number of seeds that detect the smallest effect of interest with the desired power;
            None if `MOST_SEEDS` do not suffice.
    """

    power: float | None
    smallest: float | None
    smallest_ever: float
    least_d: float
    n_seeds: int | None


@dataclass(frozen=True)
class AssumedSd:
    """A standard deviation of differences over seeds, and in words where it comes from."""

    value: float
    basis: str


def assess(design: Design) -> Detectable:
    """Work out what a design can detect.

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
    return Detectable(power, found, ever, critical * design.floor / design.sd, needed)


def assume_sd(
    disagreement: float, metric: str, *, n_test: float, positive_share: float
) -> AssumedSd:
    """Derive a standard deviation from the share of test images on which two arms disagree.

    On a test image, either one arm is right and the other wrong (±1, on a share `disagreement` of
    the images) or both give the same answer (0). So the difference of accuracies on n images has a
    variance of (disagreement - difference²)/n, at most disagreement/n. For recall and specificity,
    n counts the images of their class. The other metrics have no such formula: their luck is
    simulated (`luck.measure_luck`).

    Args:
        disagreement: Share of test images on which the arms disagree, in (0, 1].
        metric: The endpoint, a share of images that are classified correctly.
        n_test: Test images per seed.
        positive_share: Share of images of the positive class, in [0, 1].

    Raises:
        ValueError: `disagreement` is out of its range, there is no test image to judge by, or the
            metric has no such formula.

    Example:
        >>> round(assume_sd(0.2, "accuracy", n_test=74, positive_share=0.5).value, 4)
        0.052
    """
    share_of = METRICS[metric].share_of
    if share_of is None:
        raise ValueError(f"Expected a share of correct answers, but got `{metric}`.")
    shares = {"positive": positive_share, "negative": 1 - positive_share, "all": 1.0}
    n_judged = n_test * shares[share_of]
    if not (0 < disagreement <= 1 and n_judged > 0):
        raise ValueError(
            "Expected disagreement in (0, 1] and test images to judge by, but got "
            f"{disagreement} and {n_judged:g} images."
        )
    basis = (
        f"assumed: arms disagree on {disagreement:.0%} of {n_judged:.0f} test images, so sd² = "
        f"{disagreement:g}/{n_judged:.0f}; a pilot run would measure it"
    )
    return AssumedSd(math.sqrt(disagreement / n_judged), basis)


def read_pilot(
    comparison: Mapping[str, Any], design_metric: str, arm: str, baseline: str
) -> AssumedSd:
    """Take the standard deviation of the primary contrast from an earlier run.

    Args:
        comparison: Content of the earlier run's comparison.json.
        design_metric: The planned endpoint.
        arm: First arm of the planned primary contrast.
        baseline: Second arm of the planned primary contrast.

    Returns:
        The largest standard deviation of the models of the earlier run.

    Raises:
        ValueError: The earlier run has another endpoint, or its contrast does not vary over seeds.
    """
    if comparison.get("metric") != design_metric:
        raise ValueError(
            f"Expected an earlier run with the endpoint {design_metric}, but its endpoint is "
            f"{comparison.get('metric')}. Choose another earlier run or another endpoint."
        )
    found = [
        (float(contrast["sd"]), contrast["model"], contrast["n_seeds"])
        for contrast in comparison.get("contrasts", [])
        if (contrast["arm"], contrast["baseline"]) == (arm, baseline) and contrast["sd"]
    ]
    if not found:
        raise ValueError(
            f"Expected an earlier run whose differences {arm} minus {baseline} vary over at least "
            "2 seeds, but it has none. Choose another earlier run."
        )
    sd, model, n_seeds = max(found)
    upper = sd * math.sqrt((n_seeds - 1) / float(stats.chi2.ppf(0.2, n_seeds - 1)))
    return AssumedSd(
        sd,
        f"measured: {model} in the earlier run, {n_seeds} seeds, {comparison['n_test']:g} test "
        f"images each; with 80 % confidence it is below {upper:.3f}",
    )
