"""ROC and precision–recall curves of the baseline and the judged arm."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats
from sklearn.metrics import precision_recall_curve, roc_curve

from osteo_ray.arms.registry import label_arm
from osteo_ray.report.results import Shown
from osteo_ray.report.style import ACCENT, MUTED, RULE, add_legend, draw_grid, make_square
from osteo_ray.statistics.predictions import Group
from osteo_ray.statistics.significance import inflate_error
from osteo_ray.statistics.sizes import Sizes

ROC, PRECISION_RECALL = "roc", "precision-recall"
_GRID = np.linspace(0, 1, 101)
_ROUNDING = 1e-12
_AXES = {
    ROC: ("False-positive rate", "True-positive rate"),
    PRECISION_RECALL: ("Recall", "Precision"),
}


def trace_curve(kind: str, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the height of a curve at 101 points from 0 to 1 along x.

    Args:
        kind: `ROC` or `PRECISION_RECALL`.
        labels: bool, (n,); both values occur.
        scores: float, (n,); higher for True.

    Returns:
        float, (101,). Between its points, a ROC curve is straight; the precision at a recall is
        that of the highest threshold which reaches it, since straight lines would flatter it.
    """
    if kind == ROC:
        x, y, _ = roc_curve(labels, scores, drop_intermediate=False)
        traced: np.ndarray = np.interp(_GRID + _ROUNDING, x, y)  # at a step, its top
        return traced
    precision, recall, _ = precision_recall_curve(labels, scores)
    # recall falls with the threshold; its last point, at recall 0, is a convention
    order = np.searchsorted(recall[:-1][::-1], _GRID - _ROUNDING)
    return np.asarray(precision[:-1][::-1][np.minimum(order, len(recall) - 2)])


def tabulate_curves(shown: Shown, kind: str) -> pd.DataFrame:
    """Trace the curve of each training on its test images.

    With several classes, each is held against the others, and the curves are averaged, as the
    macro-averaged AUC is.

    Returns:
        A row per model, arm, seed and point: `x` and `y`. Empty without predictions.
    """
    coded, tables = shown.tested, list[pd.DataFrame]()
    if coded is None:
        return pd.DataFrame()
    several = len(coded.classes) > 2
    columns = range(len(coded.classes)) if several else [coded.positive]
    for key, group in coded.groups.items():
        traced = [one for column in columns if (one := _trace(kind, group, column)) is not None]
        if traced:
            keys = {"model": key.model, "arm": key.arm, "seed": key.seed}
            tables.append(pd.DataFrame({**keys, "x": _GRID, "y": np.mean(traced, axis=0)}))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _trace(kind: str, group: Group, column: int) -> np.ndarray | None:
    truth = group.labels == column
    if truth.all() or not truth.any():
        return None
    return trace_curve(kind, truth, group.probabilities[:, column])


def draw_receiver(shown: Shown, kind: str, table: pd.DataFrame) -> Figure | None:
    """Draw a panel per model: a thin line per seed, the mean in bold, and a band around it.

    Args:
        shown: The results.
        kind: `ROC` or `PRECISION_RECALL`.
        table: What `tabulate_curves` returns.

    Returns:
        None if there are no predictions.
    """
    if table.empty:
        return None
    panels = {name: table[table["model"] == name] for name in shown.models}
    panels = {name: part for name, part in panels.items() if len(part)}
    inflation = find_inflation(shown)

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        if kind == ROC:
            axes.plot([0, 1], [0, 1], color=MUTED, lw=0.8, ls=(0, (4, 3)), zorder=1)
        drawn = {}
        for arm, colour in zip(shown.pair, (MUTED, ACCENT), strict=True):
            of_arm = part[part["arm"] == arm].pivot(index="x", columns="seed", values="y")
            if of_arm.shape[1]:
                drawn[label_arm(arm)] = _draw_curves(axes, of_arm, colour, inflation)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        make_square(axes)
        axes.grid(color=RULE, lw=0.6, zorder=0)
        corner = "lower right" if kind == ROC else "lower left"
        add_legend(axes, drawn, loc=corner, handlelength=1.2)

    x_label, y_label = _AXES[kind]
    return draw_grid(panels, draw, height_in=3.6, x_label=x_label, y_label=y_label)


def _draw_curves(
    axes: Axes, curves: pd.DataFrame, colour: str, inflation: Mapping[int, float]
) -> Line2D:
    """Draw a line per seed, their mean, which is returned, and the band around it."""
    x, heights = curves.index.to_numpy(), curves.to_numpy()
    axes.plot(x, heights, color=colour, lw=0.6, alpha=0.3, zorder=2)
    mean, n = heights.mean(axis=1), heights.shape[1]
    if n in inflation:
        half = inflation[n] * heights.std(axis=1, ddof=1)
        low, high = np.clip([mean - half, mean + half], 0, 1)
        axes.fill_between(x, low, high, color=colour, alpha=0.16, lw=0, zorder=1)
    return axes.plot(x, mean, color=colour, lw=2, zorder=3)[0]


def find_inflation(shown: Shown) -> dict[int, float]:
    """Return, by number of seeds, what turns a standard deviation over seeds into half a band.

    The band is the interval of the corrected t-test at each point along x. It is missing where all
    seeds test the same images, or where nobody knows how many images they train on: there it would
    be too narrow.
    """
    comparison = shown.comparison
    if not shown.corrected_t_counts:
        return {}
    sizes = Sizes(n_test=comparison["n_test"], n_train=comparison["n_train"])
    alpha = comparison["alpha"]
    return {
        n: float(stats.t.isf(alpha / 2, n - 1)) * inflate_error(n, sizes)
        for n in range(2, len(comparison["seeds"]) + 1)
    }


def say_band(shown: Shown) -> str:
    """Say what the band of the curves is; nothing if there is none."""
    if not find_inflation(shown):
        return ""
    return "Band: interval of the mean at each point, corrected t over seeds, which share images."
