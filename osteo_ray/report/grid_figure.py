"""The grid as a figure: how the classifiers of each arm do on each view of the test images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from osteo_ray.arms.registry import label_arm
from osteo_ray.base.formatting import format_score
from osteo_ray.report.style import BAND, INK, shorten, start_figure, strip_axes

SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#8cbcd6"])
"""Light enough for dark text on every shade."""


def draw_views(cells: Sequence[Mapping[str, Any]], *, higher_is_better: bool) -> Figure | None:
    """Draw a matrix per model: a row per arm that is trained on, a column per view.

    Args:
        cells: Entries of `grid.cells` in comparison.json.
        higher_is_better: Whether a higher value is drawn darker.

    Returns:
        None if there is nothing to draw.
    """
    if not cells:
        return None
    models = list(dict.fromkeys(cell["model"] for cell in cells))
    views = list(dict.fromkeys(cell["view"] for cell in cells))
    arms = list(dict.fromkeys(cell["arm"] for cell in cells))
    figure = start_figure(0.34 * len(arms) * len(models) + 0.95 * len(models) + 0.4)
    panels = figure.subplots(len(models), 1, squeeze=False)[:, 0]
    for axes, model in zip(panels, models, strict=True):
        means = np.full((len(arms), len(views)), np.nan)
        for cell in cells:
            if cell["model"] == model:
                means[arms.index(cell["arm"]), views.index(cell["view"])] = cell["mean"]
        _draw_matrix(axes, means, 1 if higher_is_better else -1)
        title = shorten(model, 60)
        axes.set_title(title, loc="left", fontweight="bold", fontsize="medium", parse_math=False)
        axes.set_yticks(range(len(arms)), [label_arm(arm) for arm in arms])
        axes.set_xticks(range(len(views)), [label_arm(view) for view in views])
    return figure


def _draw_matrix(axes: Axes, means: np.ndarray, sign: int) -> None:
    low, high = np.nanmin(sign * means), np.nanmax(sign * means)
    scaled = (sign * means - low) / max(high - low, 1e-9)
    axes.imshow(scaled, cmap=SHADES, vmin=0, vmax=1, aspect="auto")
    for (row, column), mean in np.ndenumerate(means):
        axes.text(column, row, format_score(float(mean)), ha="center", va="center", color=INK)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("Tested on")
    axes.set_ylabel("Trained on")
    axes.tick_params(length=0)
    strip_axes(axes, keep=())
    axes.set_facecolor(BAND)
