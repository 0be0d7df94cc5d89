"""Searches for training settings as a figure: what was tried for each arm, and what was chosen."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from osteo_ray.arms.registry import label_arm
from osteo_ray.experiment.searches import Search, Tried
from osteo_ray.report.style import ACCENT, MUTED, RULE, shorten, start_figure, strip_axes

_COLUMNS = 4
_HEADROOM = 1.5  # times the median loss; worse candidates are drawn at the upper edge


def draw_searches(searches: Sequence[Search]) -> Figure | None:
    """Draw a panel per model and arm: the learning rate and validation loss of each candidate.

    Returns:
        None if nothing was searched.
    """
    if not searches:
        return None
    n_rows = -(-len(searches) // _COLUMNS)
    figure = start_figure(2.1 * n_rows + 0.3)
    panels = figure.subplots(n_rows, _COLUMNS, squeeze=False).ravel()
    several = len({search.model for search in searches}) > 1
    losses = [one.best for search in searches for one in search.tried if np.isfinite(one.best)]
    low = min(losses)
    high = max(min(max(losses), _HEADROOM * float(np.median(losses))), 1.05 * low)
    for axes, search in zip(panels, searches, strict=False):
        _draw_search(axes, search, high)
        axes.set_ylim(low - 0.08 * (high - low), high + 0.08 * (high - low))
        name = shorten(label_arm(search.arm), 24)
        title = f"{shorten(search.model, 24)}\n{name}" if several else name
        axes.set_title(title, loc="left", fontsize="small", parse_math=False)
        axes.set_xlabel("Learning rate", size="small")
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel("Validation loss, nats", size="small")
    for axes in panels[len(searches) :]:
        axes.set_visible(False)
    return figure


def _draw_search(axes: Axes, search: Search, high: float) -> None:
    for one in search.tried:
        chosen = one.number == search.chosen
        beyond = not one.best <= high
        axes.plot(
            [one.settings["learning_rate"]],
            [high if beyond else one.best],
            marker=_choose_marker(one, beyond),
            markersize=7 if chosen else 4.5,
            color=ACCENT if chosen else MUTED,
            markerfacecolor=ACCENT if chosen else "none" if one.number == 0 else MUTED,
            linestyle="none",
        )
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    strip_axes(axes, keep=("bottom",))
    axes.tick_params(labelsize="x-small")


def _choose_marker(one: Tried, beyond: bool) -> str:
    if beyond:
        return "^"
    return "s" if one.number == 0 else "o"
