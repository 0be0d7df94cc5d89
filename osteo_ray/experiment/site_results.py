"""The gain at each site: whether it holds everywhere, or is that of one hospital or device."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from osteo_ray.base.formatting import format_difference, format_interval
from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.gathering import gather_evidence
from osteo_ray.experiment.judging import Judged, design_tests
from osteo_ray.experiment.roles import Roles
from osteo_ray.statistics.metrics.registry import METRICS
from osteo_ray.statistics.predictions import Group, Key, Predictions

_MOST_SITES = 20
"""The largest ones are described."""


@dataclass(frozen=True)
class SiteGain:
    """The judged arm minus the baseline on the test images of one site.

    Attributes:
        model: Name of the network.
        site: Name of the site.
        n_images: Its test images, over all seeds.
        n_seeds: Seeds with images of both sorts, so that the endpoint is defined.
        difference: Mean over seeds, in the endpoint; None with fewer than two seeds.
        low: Lower end of its interval; those of all sites and models together hold at the level
            of the run.
        high: Upper end.
    """

    model: str
    site: str
    n_images: int
    n_seeds: int
    difference: float | None
    low: float | None
    high: float | None


def describe_sites(
    coded: Predictions, images: pd.DataFrame, analysis: Analysis, judged: Judged
) -> list[dict[str, Any]]:
    """Estimate the gain at each site, for each model.

    Args:
        coded: Predictions of all arms.
        images: image_id, group and, where sites are known, site.
        analysis: What was planned.
        judged: The verdicts on all sites together.

    Returns:
        The fields of `SiteGain`; empty unless test images of two or more sites are known.
    """
    if "site" not in images:
        return []
    roles = judged.roles
    pair = coded.select(lambda key: key.arm in (roles.judged, roles.baseline))
    site_of = dict(zip(images["image_id"], images["site"], strict=True))
    sites = np.array([site_of.get(image_id) or "" for image_id in pair.image_ids], dtype=object)
    tested = [group.images for key, group in pair.groups.items() if key.split == "test"]
    if not tested:
        return []
    names, counts = np.unique(sites[np.unique(np.concatenate(tested))], return_counts=True)
    sizes = {str(n): int(k) for n, k in zip(names, counts, strict=True) if n}
    if len(sizes) < 2:
        return []
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:_MOST_SITES]
    at_level = replace(analysis, alpha=analysis.alpha / (len(largest) * len(analysis.models)))
    return [
        asdict(SiteGain(model, name, sizes[name], *gain))
        for name in largest
        for model, gain in _estimate(_take(pair, sites == name), images, at_level, roles)
    ]


def _take(predictions: Predictions, of_site: np.ndarray) -> Predictions:
    """Keep the test images of a site; those of validation set thresholds, and stay."""
    groups: dict[Key, Group] = {}
    for key, group in predictions.groups.items():
        rows = of_site[group.images] if key.split == "test" else slice(None)
        taken = group.take(rows)
        if len(taken.images):
            groups[key] = taken
    return replace(predictions, groups=groups)


def _estimate(
    of_site: Predictions, images: pd.DataFrame, analysis: Analysis, roles: Roles
) -> Iterator[tuple[str, tuple[int, float | None, float | None, float | None]]]:
    """Return, by model, the seeds on which the gain is defined, the gain and its interval."""
    n_tested = [len(one.images) for key, one in of_site.groups.items() if key.split == "test"]
    sizes = replace(analysis.sizes, n_test=float(np.mean(n_tested)))
    evidence, _ = gather_evidence(
        of_site,
        images,
        design_tests(of_site, replace(analysis, sizes=sizes)),
        endpoint=analysis.metric,
        seeds={model: analysis.list_seeds(model) for model in analysis.models},
    )
    arms = (roles.judged, roles.baseline)
    for model, one in evidence.items():
        missing = {seed for arm in arms for seed in one.list_missing(arm)}
        gain = one.estimate(dict(zip(arms, (1, -1), strict=True)))
        found: tuple[float | None, float | None, float | None] = (None, None, None)
        if gain is not None:
            low, high = gain.interval(analysis.alpha)
            upward = METRICS[analysis.metric].higher_is_better
            found = (gain.mean, low, high) if upward else (-gain.mean, -high, -low)
        yield model, (len(one.seeds) - len(missing), *found)


def say_sites(sites: list[dict[str, Any]], model: str, *, higher_is_better: bool) -> str:
    """Say how the gain differs from site to site; empty where it is not known at two or more.

    Args:
        sites: What `describe_sites` returned.
        model: Name of the model.
        higher_is_better: Of the endpoint.

    Example:
        >>> rows = [
        ...     {"model": "net", "site": "A", "difference": 0.1, "low": 0.02, "high": 0.18},
        ...     {"model": "net", "site": "B", "difference": -0.05, "low": -0.09, "high": 0.01},
        ... ]
        >>> say_sites(rows, "net", higher_is_better=True)
        'By site, the differences lie between −0.050 (B) and +0.100 (A).'
    """
    known = [one for one in sites if one["model"] == model and one["difference"] is not None]
    if len(known) < 2:
        return ""
    known.sort(key=lambda one: (float(one["difference"]), str(one["site"])))
    up = [one for one in known if one["low"] > 0]
    down = [one for one in known if one["high"] < 0]
    if up and down:
        better, worse = (up, down) if higher_is_better else (down, up)
        return f"It differs by site: worse at {_list(worse)}, better at {_list(better)}."
    low, high = known[0], known[-1]
    return (
        f"By site, the differences lie between {format_difference(low['difference'])} "
        f"({low['site']}) and {format_difference(high['difference'])} ({high['site']})."
    )


def _list(sites: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(
        f"{one['site']} ({format_difference(one['difference'])}, "
        f"{format_interval(one['low'], one['high'])})"
        for one in sites
    )
