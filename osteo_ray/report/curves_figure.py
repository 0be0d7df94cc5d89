"""Curves of the trainings: small multiples, a panel per arm and a line per seed."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from osteo_ray.arms.registry import label_arm
from osteo_ray.report.style import ACCENT, INK, MUTED, RULE, draw_grid

_HEIGHT_IN = 2.0


def draw_curves(
    table: pd.DataFrame, models: Sequence[str], arms: Sequence[str]
) -> dict[str, dict[str, Figure | None]]:
    """Draw loss, AUC and learning rate over the epochs.

    Args:
        table: The table of curves; may be empty.
        models: Their names.
        arms: The panels, in this order.

    Returns:
        Per model: `loss`, `auc` and `rate`; None where no training tells it. Empty if there
        are no curves.
    """
    found = {}
    for model in models if len(table) else ():
        of_model = table[table["model"] == model]
        panels = {label_arm(arm): of_model[of_model["arm"] == arm] for arm in arms}
        panels = {label: epochs for label, epochs in panels.items() if len(epochs)}
        if panels:
            found[model] = _draw_model(panels)
    return found


def _draw_model(panels: Mapping[str, pd.DataFrame]) -> dict[str, Figure | None]:
    def draw_loss(axes: Axes, epochs: pd.DataFrame) -> None:
        _draw_seeds(axes, epochs, "validation_loss")
        _draw_mean(axes, epochs, "training_loss", INK, "--")
        _draw_mean(axes, epochs, "validation_loss", ACCENT, "-")
        kept = epochs[epochs["kept"]]
        axes.plot(kept["number"] + 1, kept["validation_loss"], "o", ms=3.5, color=ACCENT, mew=0)

    def draw_auc(axes: Axes, epochs: pd.DataFrame) -> None:
        _draw_seeds(axes, epochs, "validation_auc")
        _draw_mean(axes, epochs, "validation_auc", ACCENT, "-")

    def draw_rate(axes: Axes, epochs: pd.DataFrame) -> None:
        _draw_mean(axes, epochs, "learning_rate", ACCENT, "-")
        axes.set_ylim(bottom=0)

    drawn: dict[str, Figure | None] = {}
    for name, draw, column, label in (
        ("loss", draw_loss, "validation_loss", "Loss, nats"),
        ("auc", draw_auc, "validation_auc", "Validation AUC"),
        ("rate", draw_rate, "learning_rate", "Learning rate"),
    ):
        told = any(epochs[column].notna().any() for epochs in panels.values())
        drawn[name] = (
            draw_grid(panels, draw, height_in=_HEIGHT_IN, y_label=label, x_label="Epoch")
            if told
            else None
        )
    return drawn


def _draw_seeds(axes: Axes, epochs: pd.DataFrame, column: str) -> None:
    for _, part in epochs.groupby("seed"):
        axes.plot(part["number"] + 1, part[column], color=MUTED, lw=0.7, alpha=0.5)


def _draw_mean(axes: Axes, epochs: pd.DataFrame, column: str, colour: str, style: str) -> None:
    """Draw the mean over the seeds that reached an epoch."""
    means = epochs.groupby("number")[column].mean()
    axes.plot(np.array(means.index) + 1, means, color=colour, lw=2, ls=style)
    axes.grid(axis="y", color=RULE, lw=0.6, zorder=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
