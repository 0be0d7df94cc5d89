"""The drift of a run over its reproductions, as a figure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from osteo_ray.report.style import ACCENT, BAD, INK, MUTED, RULE, start_figure, strip_axes

_FLOOR = 1e-9  # the row of points that are equal, below the smallest difference that is drawn
_MOST_DATES = 7
PANELS = {
    "largest probability difference": "probabilities,\nlargest difference",
    "mean mask overlap": "masks,\n1 \N{MINUS SIGN} overlap",
    "metric difference": "metric,\ndifference of means",
    "effect shift": "effects, shift in\nstandard errors",
}


def draw_drift(points: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Plot the deviation of each reproduction of a run, with a panel per figure.

    Args:
        points: Reproductions, oldest first, each with its `date`, its `outcome`, its `figures` by
            name, and `changed_since_last`: what changed in the environment since the previous
            one, in words.

    Returns:
        None if there is nothing to draw.
    """
    shown = [name for name in PANELS if any(name in point["figures"] for point in points)]
    if not shown:
        return None
    figure = start_figure(1.25 * len(shown) + 0.7)
    panels = list(figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0])
    for axes, name in zip(panels, shown, strict=True):
        _draw_panel(axes, points, name)
    _mark_changes(panels, points)
    chosen = np.unique(np.linspace(0, len(points) - 1, min(len(points), _MOST_DATES)).astype(int))
    panels[-1].set_xticks(chosen, [_write_date(points[number]["date"]) for number in chosen])
    panels[-1].set_xlim(-0.5, len(points) - 0.5)
    return figure


def _write_date(date: datetime) -> str:
    return f"{date:%Y-%m-%d}\n{date:%H:%M}"


def measure_distance(name: str, value: float) -> float:
    """Return the distance of a figure from its value for an equal rerun.

    Example:
        >>> measure_distance("mean mask overlap", 0.75), measure_distance("effect shift", 0.5)
        (0.25, 0.5)
    """
    return 1 - value if name == "mean mask overlap" else value


def _draw_panel(axes: Axes, points: Sequence[Mapping[str, Any]], name: str) -> None:
    at = [number for number, point in enumerate(points) if name in point["figures"]]
    off = np.array([measure_distance(name, points[number]["figures"][name]) for number in at])
    height = np.maximum(off, _FLOOR)
    axes.set_yscale("log")
    axes.plot(at, height, color=RULE, lw=1.2, zorder=1)
    for number, y in zip(at, height, strict=True):
        outcome = points[number]["outcome"]
        colour = ACCENT if outcome in ("identical", "within tolerance") else BAD
        face = "white" if outcome == "within tolerance" else colour
        axes.plot([number], [y], "o", ms=6, color=colour, mfc=face, mew=1.4, zorder=3)
    top = max(1.0, 2 * float(off.max(initial=0)))
    axes.set_ylim(_FLOOR / 4, top * 2)
    axes.yaxis.set_major_locator(FixedLocator([_FLOOR, 1e-6, 1e-3, 1]))
    axes.yaxis.set_minor_locator(FixedLocator([]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: "equal" if y < 1e-8 else f"{y:g}"))
    axes.grid(axis="y", color=RULE, lw=0.6, zorder=0)
    axes.set_ylabel(PANELS[name], rotation=0, ha="left", va="center", labelpad=115)
    strip_axes(axes, keep=("bottom",))


def _mark_changes(panels: Sequence[Axes], points: Sequence[Mapping[str, Any]]) -> None:
    """Draw a line before each point whose environment differs from that of the previous point."""
    for number, point in enumerate(points):
        if not point["changed_since_last"]:
            continue
        for axes in panels:
            axes.axvline(number - 0.5, color=MUTED, lw=0.9, ls=(0, (3, 3)), zorder=0)
        first, *rest = point["changed_since_last"]
        text = first + (f" + {len(rest)}" if rest else "")
        beside = panels[0].get_xaxis_transform()
        label = panels[0].text(
            number - 0.47, 1.02, text, transform=beside, va="bottom", size=8, color=INK
        )
        label.set_parse_math(False)
