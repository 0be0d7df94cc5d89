"""Reliability diagrams: observed frequencies over predicted probabilities, by model and arm."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from osteo_ray.arms.registry import label_arm
from osteo_ray.report.results import Shown
from osteo_ray.report.style import ACCENT, INK, MUTED, RULE, add_legend, draw_grid, make_square
from osteo_ray.statistics.metrics.calibration_error import N_BINS, bin_probabilities
from osteo_ray.statistics.sample import Sample

_RADIUS_PT = 17.0  # radius of a dot that represents all images


def tabulate_reliability(shown: Shown) -> pd.DataFrame:
    """Bin the predictions on test images by their probability.

    Returns:
        A row per model, arm, seed and bin that holds images: `n_images`, the mean probability
        `predicted`, and the share `observed`. Empty if there are no predictions.
    """
    coded, rows = shown.tested, list[dict[str, object]]()
    if coded is None:
        return pd.DataFrame()
    for key, group in coded.groups.items():
        bins, probabilities, occurred = bin_probabilities(Sample.of(group, coded.positive))
        counts, expected, observed = (
            np.bincount(bins, weights, minlength=N_BINS)
            for weights in (None, probabilities, occurred)
        )
        rows += [
            {
                **{"model": key.model, "arm": key.arm, "seed": key.seed, "bin": int(number)},
                "n_images": int(counts[number]),
                "predicted": expected[number] / counts[number],
                "observed": observed[number] / counts[number],
            }
            for number in np.flatnonzero(counts)
        ]
    return pd.DataFrame(rows)


def draw_reliability(shown: Shown, table: pd.DataFrame) -> Figure | None:
    """Plot observed shares over predicted probabilities, a panel per model.

    Args:
        shown: The results; the judged arm is drawn against the baseline.
        table: What `tabulate_reliability` returns.

    Returns:
        None if there are no predictions.
    """
    if table.empty:
        return None
    panels = {name: table[table["model"] == name] for name in shown.models}
    panels = {name: part for name, part in panels.items() if len(part)}
    binary, positive = len(shown.comparison["classes"]) == 2, shown.comparison["positive_class"]
    labels = (
        "Predicted probability" if binary else "Probability of the predicted class",
        f"Share of {positive}" if binary else "Share predicted correctly",
    )

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        _draw_arms(axes, part, shown.pair)

    return draw_grid(panels, draw, height_in=3.6, x_label=labels[0], y_label=labels[1])


def _draw_arms(axes: Axes, table: pd.DataFrame, arms: Sequence[str]) -> None:
    """Draw a thin line per seed, and dots for all seeds together, with areas by images per bin."""
    axes.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=(0, (4, 3)), zorder=1)
    drawn = {}
    for arm, colour in zip(arms, (MUTED, ACCENT), strict=True):
        part = table[table["arm"] == arm]
        for _, bins in part.groupby("seed"):
            axes.plot(
                bins["predicted"], bins["observed"], color=colour, lw=0.7, alpha=0.35, zorder=2
            )
        if len(part):
            means, shares, weights = _pool(part)
            drawn[label_arm(arm)] = axes.plot(means, shares, color=colour, lw=1.8, zorder=3)[0]
            area = (2 * _RADIUS_PT) ** 2 * weights
            axes.scatter(means, shares, s=area, color=colour, alpha=0.55, linewidths=0, zorder=4)
    axes.set_xlim(-0.04, 1.04)
    axes.set_ylim(-0.04, 1.04)
    make_square(axes)
    axes.grid(color=RULE, lw=0.6, zorder=0)
    add_legend(axes, drawn, loc="upper left", handlelength=1.2)


def _pool(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean probability, observed share and share of images of each bin, over all seeds."""
    weighted = table[["predicted", "observed"]].mul(table["n_images"], axis=0)
    sums = weighted.groupby(table["bin"]).sum()
    counts = table.groupby("bin")["n_images"].sum()
    means = sums.div(counts, axis=0)
    n = counts.to_numpy()
    return means["predicted"].to_numpy(), means["observed"].to_numpy(), n / n.sum()
