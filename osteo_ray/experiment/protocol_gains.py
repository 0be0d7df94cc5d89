"""How much of a gain is due to the protocol alone: two comparisons, compared with each other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.statistics.significance import inflate_error
from osteo_ray.statistics.sizes import Sizes


@dataclass(frozen=True)
class ProtocolGain:
    """The gain of an arm under both protocols, in units of the metric.

    Attributes:
        model: The timm name.
        arm: The arm whose metric minus that of the baseline is the gain.
        clean: Mean gain under the clean protocol; None if it could not be measured.
        paper: Mean gain under the paper's protocol; None if it could not be measured.
        difference: paper - clean: the part of the gain that is due to the protocol.
        low: Lower end of its interval, level 1 - alpha; None without spread over seeds.
        high: Upper end of that interval.
        p: Two-sided p of that difference.
    """

    model: str
    arm: str
    clean: float | None
    paper: float | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


def subtract_gains(
    clean: tuple[float, float, int],
    paper: tuple[float, float, int],
    sizes: Sizes,
    *,
    alpha: float,
) -> tuple[float, float, float, float]:
    """Compare two mean gains measured on different splits with a corrected Welch's t-test.

    Each mean has the standard error of the corrected resampled t-test (Nadeau and Bengio 2003);
    degrees of freedom after Welch and Satterthwaite.

    Args:
        clean: Mean, standard deviation over seeds and number of seeds, clean protocol.
        paper: The same three figures for the paper's protocol.
        sizes: Images per seed.
        alpha: The interval has the level 1 - alpha.

    Returns:
        paper - clean, the lower and upper end of its interval, and its two-sided p.
    """
    errors = [sd * inflate_error(n, sizes) for _, sd, n in (clean, paper)]
    variance = sum(error**2 for error in errors)
    freedom = variance**2 / sum(
        error**4 / (n - 1) for error, (_, _, n) in zip(errors, (clean, paper), strict=True)
    )
    difference, error = paper[0] - clean[0], math.sqrt(variance)
    half = error * float(stats.t.isf(alpha / 2, freedom))
    p = 2 * float(stats.t.sf(abs(difference) / error, freedom))
    return difference, difference - half, difference + half, p


def join_gains(comparisons: Sequence[Mapping[str, Any]]) -> list[ProtocolGain]:
    """Compare the gains over the baseline of two comparisons.

    Args:
        comparisons: The content of two comparison.json: clean protocol, then the paper's.

    Returns:
        One entry per model and arm that both have.
    """
    found: list[dict[tuple[str, str], Mapping[str, Any]]] = [
        {
            (contrast["model"], contrast["arm"]): contrast
            for contrast in comparison["contrasts"]
            if contrast["baseline"] == ORIGINAL
        }
        for comparison in comparisons
    ]
    first = comparisons[0]
    gains = []
    for key, clean in found[0].items():
        paper = found[1].get(key)
        if paper is None:
            continue
        known = ProtocolGain(*key, clean["difference"], paper["difference"])
        if clean["sd"] and paper["sd"]:
            sides = [(one["difference"], one["sd"], one["n_seeds"]) for one in (clean, paper)]
            sizes = Sizes(n_test=first["n_test"], n_train=first["n_train"])
            values = subtract_gains(sides[0], sides[1], sizes, alpha=first["alpha"])
            known = ProtocolGain(*key, known.clean, known.paper, *values)
        gains.append(known)
    return gains
