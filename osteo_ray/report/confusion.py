"""Confusion matrices of the baseline and the judged arm, summed over seeds."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from osteo_ray.arms.registry import label_arm
from osteo_ray.base.formatting import format_percent
from osteo_ray.report.grid_figure import SHADES
from osteo_ray.report.per_class import describe_classes
from osteo_ray.report.results import Shown
from osteo_ray.report.style import (
    INK,
    LETTERS,
    break_names,
    name_across,
    shorten,
    start_figure,
    strip_axes,
)

_PANEL_IN, _COLUMNS = 2.7, 3
_LONGEST = 14  # letters of the name of a class


def count_confusions(shown: Shown) -> list[dict[str, Any]]:
    """Sum the confusion matrices of each model and arm over seeds.

    Returns:
        `model`; `arm`; `rows`, a row per true class of (count, share of the row) per predicted
        class; and `classes`, as `describe_classes` returns them. Empty without predictions.
    """
    coded = shown.tested
    if coded is None:
        return []
    n_classes = len(coded.classes)
    counts: dict[tuple[str, str], np.ndarray] = {}
    for key, group in coded.groups.items():
        matrix = counts.setdefault((key.model, key.arm), np.zeros((n_classes, n_classes), int))
        np.add.at(matrix, (group.labels, group.predicted), 1)
    found = []
    for model in shown.models:
        for arm in shown.pair:
            if (model, arm) in counts:
                matrix = counts[model, arm]
                shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
                cells = np.stack([matrix, shares], axis=2).tolist()
                described = describe_classes(cells, coded.classes)
                found.append({"model": model, "arm": arm, "rows": cells, "classes": described})
    return found


def tabulate_confusions(shown: Shown) -> pd.DataFrame:
    """Return the same, a row per model, arm, true and predicted class."""
    classes = shown.comparison["classes"]
    return pd.DataFrame(
        {"model": one["model"], "arm": one["arm"], "true": truth, "predicted": said}
        | {"n_images": int(count), "share_of_true": share}
        for one in count_confusions(shown)
        for truth, row in zip(classes, one["rows"], strict=True)
        for said, (count, share) in zip(classes, row, strict=True)
    )


def draw_confusions(shown: Shown) -> Figure | None:
    """Draw a matrix per model and arm, a row per true class; None without predictions."""
    matrices = count_confusions(shown)
    if not matrices:
        return None
    columns = min(len(matrices), _COLUMNS if len(shown.models) > 1 else 2)
    columns -= columns % 2 if len(matrices) > 2 else 0  # both arms of a model side by side
    n_rows = -(-len(matrices) // columns)
    names = [shorten(name, _LONGEST) for name in shown.comparison["classes"]]
    letters = LETTERS // columns - _LONGEST  # beside the same names along y
    height_in = _PANEL_IN if break_names(names, letters) else _PANEL_IN + 0.6
    figure = start_figure(height_in * n_rows)
    grid = figure.subplots(n_rows, columns, squeeze=False)
    for axes in grid.flat[len(matrices) :]:
        axes.set_visible(False)
    for axes, one in zip(grid.flat, matrices, strict=False):
        _draw_matrix(axes, one, names, letters)
    return figure


def _draw_matrix(axes: Axes, one: dict[str, Any], names: list[str], letters: int) -> None:
    shares = np.array([[share for _, share in row] for row in one["rows"]])
    axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1, aspect="auto")
    for row, cells in enumerate(one["rows"]):
        for column, (count, share) in enumerate(cells):
            text = f"{count:.0f}\n{format_percent(share)}"
            axes.text(column, row, text, ha="center", va="center", color=INK)
    name_across(axes, names, letters)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_xlabel("Predicted")
    axes.set_ylabel("True")
    title = f"{shorten(one['model'], 30)}\n{shorten(label_arm(one['arm']), 30)}"
    axes.set_title(title, loc="left", fontweight="bold", fontsize="medium", parse_math=False)
    strip_axes(axes, keep=())
