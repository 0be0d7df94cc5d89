"""Contrasts between arms as a forest plot."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from osteo_ray.arms.registry import label_arm
from osteo_ray.base.formatting import format_points
from osteo_ray.report.style import ACCENT, BAND, INK, shorten, start_figure, strip_axes
from osteo_ray.statistics.metrics.registry import METRICS

ForestRow = tuple[str, Mapping[str, Any], float]
"""A label, a contrast, and the error rate below which it counts as shown."""


def draw_forest(contrasts: Sequence[Mapping[str, Any]], *, alpha: float) -> Figure:
    """Plot the difference of each contrast with its interval and a dot per seed, grouped by model.

    Args:
        contrasts: Entries of `contrasts` in comparison.json, of one metric; fractions, not points.
        alpha: A diamond is filled if Holm's p is below it.
    """
    groups: dict[str, list[ForestRow]] = {}
    for contrast in contrasts:
        row = (_label_in_short(contrast), contrast, alpha)
        groups.setdefault(str(contrast["model"]), []).append(row)
    return draw_under_headings(groups)


def draw_under_headings(groups: Mapping[str, Sequence[ForestRow]]) -> Figure:
    """Plot contrasts below headings, each with its interval, its margin and a dot per seed.

    Args:
        groups: By heading, contrasts with a label and the error rate below which Holm's p fills
            the diamond; fractions, not points.
    """
    figure = start_figure(0.37 * (sum(map(len, groups.values())) + len(groups)) + 0.7)
    axes = figure.subplots()
    axes.axvline(0, color=INK, lw=0.9, zorder=1)
    labels = list[str]()
    for heading, rows in groups.items():
        # Over the plot, whose row is empty here: beside it, a long name would be cut off.
        over = axes.text(0, len(labels), shorten(heading, 60), weight="bold", color=INK)
        over.set(transform=axes.get_yaxis_transform(), va="center", parse_math=False)
        labels.append("")
        for label, contrast, alpha in rows:
            _shade_margin(axes, len(labels), contrast)
            _draw_contrast(axes, len(labels), contrast, alpha)
            labels.append(label)
    axes.set_yticks(range(len(labels)), labels, parse_math=False)
    axes.set_ylim(len(labels) - 0.3, -0.5)
    low, high = axes.get_xlim()  # with two seeds, an interval may exceed all possible differences
    widest = max(_find_widest(contrast) for rows in groups.values() for _, contrast, _ in rows)
    axes.set_xlim(max(low, -widest), min(high, widest))
    axes.set_xlabel("Difference, percentage points")
    strip_axes(axes, keep=("bottom",))
    return figure


def _find_widest(contrast: Mapping[str, Any]) -> float:
    """Return a little more than the largest difference that its metric can have, in points."""
    return 104 * METRICS[contrast.get("metric", "auc")].cut_difference(np.inf)


def _shade_margin(axes: Axes, row: float, contrast: Mapping[str, Any]) -> None:
    """Shade the differences that do not matter; the margin may be another in another row."""
    half = 100 * (contrast.get("margin") or 0)
    axes.fill_betweenx([row - 0.5, row + 0.5], -half, half, color=BAND, lw=0, zorder=0)


def _draw_contrast(axes: Axes, row: float, contrast: Mapping[str, Any], alpha: float) -> None:
    seeds = 100 * np.array([d for d in contrast.get("differences") or () if d is not None], float)
    offsets = row + 0.3 + _spread(seeds)
    axes.scatter(seeds, offsets, s=13, color=ACCENT, alpha=0.6, linewidths=0, zorder=2)
    mean, low, high = (contrast.get(key) for key in ("difference", "decisive_low", "decisive_high"))
    if mean is None:
        return
    text = format_points(mean)
    if low is not None and high is not None:
        axes.plot([100 * low, 100 * high], [row, row], color=INK, lw=1.7, zorder=3)
        text += f"  [{format_points(low)}, {format_points(high)}]"
    p_holm = contrast.get("p_holm")
    filled = p_holm is not None and p_holm < alpha
    axes.plot(
        [100 * mean], [row], "D", ms=6, color=INK, mfc=INK if filled else "white", mew=1.4, zorder=4
    )
    beside = axes.get_yaxis_transform()
    axes.text(1.015, row, text, transform=beside, va="center", color=INK)


def _spread(values: np.ndarray) -> np.ndarray:
    """Return small vertical offsets that separate dots of (nearly) equal values, in points."""
    offsets = np.zeros(len(values))
    bins = np.round(values / 1.5)
    for name in np.unique(bins):
        same = np.flatnonzero(bins == name)
        step = min(0.12, 0.3 / len(same))
        offsets[same] = step * (np.arange(len(same)) - (len(same) - 1) / 2)
    return offsets


def label_contrast(contrast: Mapping[str, Any]) -> str:
    """Return the labels of a contrast, as in `LIME mask − Original`."""
    arm, baseline = (str(contrast[key]) for key in ("arm", "baseline"))
    return f"{label_arm(arm)} \N{MINUS SIGN} {label_arm(baseline)}"


def _label_in_short(contrast: Mapping[str, Any]) -> str:
    """Return the same for a figure, half of whose width it may take."""
    arm, baseline = (shorten(label_arm(str(contrast[key])), 28) for key in ("arm", "baseline"))
    return f"{arm} \N{MINUS SIGN} {baseline}"


def tabulate_contrasts(contrasts: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return what a forest plot shows, and the p values: a row per contrast."""
    columns = (
        *("model", "arm", "baseline", "metric", "n_seeds", "difference", "decisive_low"),
        *("decisive_high", "p_decisive", "p_holm", "inference"),
    )
    return pd.DataFrame(
        {name: row.get(name) for name in columns}
        | {f"seed {seed}": value for seed, value in _pair_seeds(row)}
        for row in contrasts
    )


def _pair_seeds(contrast: Mapping[str, Any]) -> Iterator[tuple[int, float | None]]:
    return zip(contrast.get("seeds") or (), contrast.get("differences") or (), strict=False)
