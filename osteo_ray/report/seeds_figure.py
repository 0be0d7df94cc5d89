"""The endpoint seed by seed."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from osteo_ray.arms.registry import label_arm
from osteo_ray.base.tables import scan_table
from osteo_ray.report.results import TEST, Shown
from osteo_ray.report.style import (
    ACCENT,
    LETTERS,
    MUTED,
    RULE,
    break_names,
    count_columns,
    draw_grid,
    name_across,
    shorten,
)


def tabulate_values(shown: Shown) -> pd.DataFrame:
    """Return the endpoint of each training on test images.

    Returns:
        A row per model, seed and arm, and its `value`. Empty if there is no table of results.
    """
    metric = shown.comparison["metric"]
    table = scan_table(shown.run.results, TEST & ds.field(metric).is_valid()).to_pandas()
    if table.empty:
        return table
    return table[["model", "seed", "arm", metric]].rename(columns={metric: "value"})


def draw_paired(values: pd.DataFrame, arms: Sequence[str], metric: str) -> Figure:
    """Plot a metric over the arms, with a panel per model, a line per seed and the mean in bold.

    Args:
        values: What `tabulate_values` returns.
        arms: The arms along x, in this order.
        metric: Label of the y axis.
    """
    panels = {str(model): part for model, part in values.groupby("model", sort=False)}
    x, letters = np.arange(len(arms)), LETTERS // count_columns(len(panels))
    names = [shorten(label_arm(arm), 36) for arm in arms]

    def draw(axes: Axes, of_model: pd.DataFrame) -> None:
        # (seeds, arms); NaN where a training is missing
        wide = of_model.pivot(index="seed", columns="arm", values="value")
        table = wide.reindex(columns=list(arms)).to_numpy(float)
        axes.plot(x, table.T, color=MUTED, lw=0.8, alpha=0.5, marker="o", ms=2.6, mew=0, zorder=2)
        counted = np.isfinite(table).sum(axis=0)
        means = np.where(counted, np.nansum(table, axis=0) / np.maximum(counted, 1), np.nan)
        axes.plot(x, means, color=ACCENT, lw=2.2, marker="o", ms=6, mec="white", zorder=3)
        name_across(axes, names, letters)
        axes.set_xlim(-0.4, len(arms) - 0.6)
        axes.grid(axis="y", color=RULE, lw=0.6, zorder=0)

    height_in = 2.9 if break_names(names, letters) else 3.7
    return draw_grid(panels, draw, height_in=height_in, y_label=metric)
