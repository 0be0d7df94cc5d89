"""Reliability diagrams: observed frequencies over predicted probabilities, by model and arm."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.dataset as ds
from matplotlib.axes import Axes

from osteo_ray.arms.registry import label_arm, list_presets
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import scan_table
from osteo_ray.report.figures import ACCENT, INK, MUTED, RULE, draw_grid
from osteo_ray.statistics.metrics.calibration_error import N_BINS, bin_probabilities
from osteo_ray.statistics.predictions import encode_predictions
from osteo_ray.statistics.sample import Sample

_COLOURS = dict(zip(list_presets()["paper"], (MUTED, ACCENT), strict=True))
_RADIUS_PT = 17.0  # radius of a dot that represents all images

Bins = tuple[np.ndarray, np.ndarray, np.ndarray]


def draw_reliability(run: Run, comparison: Mapping[str, Any], models: Sequence[str]) -> str | None:
    """Plot observed shares over predicted probabilities, original against lime, a panel per model.

    Args:
        run: Its predictions on test images are plotted.
        comparison: What comparison.json holds.
        models: The panels, in this order.

    Returns:
        SVG as a data URI, or None if there are no predictions.
    """
    if not run.predictions.is_file():
        return None
    wanted = (ds.field("split") == "test") & ds.field("arm").isin(list(_COLOURS))
    table = scan_table(run.predictions, wanted)
    coded = encode_predictions(table, comparison["classes"], comparison["positive_class"])
    found: dict[str, dict[str, list[Bins]]] = defaultdict(lambda: defaultdict(list))
    for key, group in coded.groups.items():
        bins, probabilities, occurred = bin_probabilities(Sample.of(group, coded.positive))
        sums = [
            np.bincount(bins, weights, minlength=N_BINS)
            for weights in (None, probabilities, occurred)
        ]
        found[key.model][key.arm].append((sums[0], sums[1], sums[2]))
    panels = {model: found[model] for model in models if model in found}
    if not panels:
        return None
    binary = len(coded.classes) == 2
    labels = (
        "Predicted probability" if binary else "Probability of the predicted class",
        f"Share of {comparison['positive_class']}" if binary else "Share predicted correctly",
    )
    return draw_grid(panels, _draw_arms, height_in=3.6, x_label=labels[0], y_label=labels[1])


def _draw_arms(axes: Axes, arms: Mapping[str, Sequence[Bins]]) -> None:
    """Draw a thin line per seed, and dots for all seeds together, with areas by images per bin."""
    axes.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=(0, (4, 3)), zorder=1)
    for arm, colour in _COLOURS.items():
        for bins in arms.get(arm, ()):
            axes.plot(*_locate(bins)[:2], color=colour, lw=0.7, alpha=0.35, zorder=2)
        if arm in arms:
            together = tuple(np.sum(part, axis=0) for part in zip(*arms[arm], strict=True))
            means, shares, weights = _locate((together[0], together[1], together[2]))
            axes.plot(means, shares, color=colour, lw=1.8, zorder=3, label=label_arm(arm))
            area = (2 * _RADIUS_PT) ** 2 * weights
            axes.scatter(means, shares, s=area, color=colour, alpha=0.55, linewidths=0, zorder=4)
    axes.set_xlim(-0.04, 1.04)
    axes.set_ylim(-0.04, 1.04)
    axes.grid(color=RULE, lw=0.6, zorder=0)
    axes.legend(frameon=False, loc="upper left", handlelength=1.2)


def _locate(bins: Bins) -> Bins:
    """Return the mean probability, observed share and share of images of each filled bin."""
    counts, expected, observed = bins
    filled = counts > 0
    n = counts[filled]
    return expected[filled] / n, observed[filled] / n, n / counts.sum()
