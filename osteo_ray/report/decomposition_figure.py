"""The decomposition of a gain as a figure: what is peeled off, step by step, and what is left."""

from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from osteo_ray.base.errors import InputError
from osteo_ray.base.formatting import format_level, format_points
from osteo_ray.base.tables import read_table
from osteo_ray.experiment.decomposition import (
    WHAT_IS_LEFT,
    Decomposed,
    Step,
    decompose,
    gather_decomposed,
    say_orientation,
)
from osteo_ray.report.paper_tables import PaperTable, tabulate_steps
from osteo_ray.report.plots import Absent, Plot
from osteo_ray.report.results import Shown
from osteo_ray.report.style import (
    ACCENT,
    INK,
    MUTED,
    RULE,
    SERIES,
    shorten,
    start_figure,
    strip_axes,
)

_ROW_IN, _BAR = 0.42, 0.56
_LEFT = SERIES[1]
"""The colour of what is left."""


def plot_decomposition(several: Sequence[Shown]) -> tuple[Plot, PaperTable] | Absent:
    """Draw the decomposition of the gain that some runs or judgements show, and tabulate it.

    Raises:
        InputError: There is no clean run, there are two of a kind, or they have unlike endpoints.
    """
    name = "decomposition"
    steps = decompose([one for shown in several if (one := _gather(shown)) is not None])
    if not steps:
        return Absent(name, "No model has the seeds that it takes in all of its arms.")
    first = several[0]
    caption = (
        f"Difference in {first.metric}, percentage points, with {format_level(first.alpha)} "
        "intervals. Blue: a gain. Gray: a part of it, taken off where the row above ends, to the "
        "left where it is positive. Yellow: what is left. Parts add up, and may be negative. Runs "
        "that are subtracted from each other are taken as independent."
        + say_orientation(first.comparison["metric"])
    )
    alt = "Waterfall of the gain, a row per step: " + "; ".join(
        f"{step.model}, {step.name}: {format_points(step.mean)}" for step in steps
    )
    data = pd.DataFrame(asdict(step) for step in steps)
    plot = Plot(name, alt, caption, draw_decomposition(steps), data)
    return plot, tabulate_steps(steps, first.metric, first.alpha)


def decompose_run(shown: Shown) -> Plot | Absent:
    """Draw the decomposition of the gain of one run, if its arms tell more than one step."""
    try:
        found = plot_decomposition([shown])
    except InputError as error:
        return Absent("decomposition", str(error))
    if isinstance(found, Absent):
        return found
    plot, table = found
    if len(table.rows) <= 2 * len(shown.models):
        return Absent("decomposition", "No control was run that tells what a gain is made of.")
    return plot


def _gather(shown: Shown) -> Decomposed | None:
    run = shown.run
    if not run.predictions.is_file() or not run.images.is_file():
        return None
    images = read_table(run.images, ["image_id", "group"]).to_pandas()
    predictions = read_table(run.predictions)
    return gather_decomposed(str(run.root), shown.comparison, predictions, images)


def draw_decomposition(steps: Sequence[Step]) -> Figure:
    """Draw a panel per model and a row per step.

    Args:
        steps: What `decompose` returns; at least one.
    """
    models = list(dict.fromkeys(step.model for step in steps))
    rows = [[step for step in steps if step.model == model] for model in models]
    figure = start_figure(_ROW_IN * len(steps) + 0.5 * len(models) + 0.4)
    ratios = [len(of_model) for of_model in rows]
    panels = figure.subplots(len(models), 1, sharex=True, squeeze=False, height_ratios=ratios)
    for axes, model, of_model in zip(panels[:, 0], models, rows, strict=True):
        _draw_model(axes, of_model)
        title = shorten(model, 60)
        axes.set_title(title, loc="left", fontweight="bold", fontsize="medium", parse_math=False)
    panels[-1, 0].set_xlabel("Percentage points")
    return figure


def _draw_model(axes: Axes, steps: Sequence[Step]) -> None:
    axes.axvline(0, color=INK, lw=0.9, zorder=1)
    at, beside = 0.0, axes.get_yaxis_transform()
    for row, step in enumerate(steps):
        mean, low, high = 100 * step.mean, 100 * step.low, 100 * step.high
        is_left = step.name.startswith(WHAT_IS_LEFT)
        colour = ACCENT if step.is_total else _LEFT if is_left else MUTED
        if step.is_total or is_left:
            axes.barh(row, mean, _BAR, color=colour, lw=0, zorder=2)
            at, ends = mean, [low, high]
        else:  # from where the row above ends, so far as this part goes
            axes.barh(row, -mean, _BAR, left=at, color=colour, lw=0, zorder=2)
            at, ends = at - mean, [at - high, at - low]
        axes.plot(ends, [row, row], "-", marker="|", ms=6, color=INK, lw=1.3, zorder=3)
        if row + 1 < len(steps):
            axes.plot([at, at], [row, row + 1], color=MUTED, lw=0.8, zorder=1)
        interval = f"[{format_points(step.low)}, {format_points(step.high)}]"
        text = f"{format_points(step.mean)}  {interval}"
        axes.text(1.015, row, text, transform=beside, va="center", color=INK)
    names = [f"{one.name}\n{one.basis}" for one in steps]
    axes.set_yticks(range(len(steps)), names, parse_math=False)
    axes.set_ylim(len(steps) - 0.4, -0.6)
    axes.grid(axis="x", color=RULE, lw=0.6, zorder=0)
    strip_axes(axes, keep=("bottom",))
    axes.tick_params(axis="y", labelsize="x-small")
