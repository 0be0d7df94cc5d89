"""Figures of the report, each as a data URI, so that the page needs no other file.

Plots are SVG with text left as text, so that they share the page's fonts; pictures are JPEG, and
masks PNG. Matplotlib is used through `Figure` alone: nothing here touches its global figures.
"""

import base64
import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from osteo_ray.arms.registry import label_arm
from osteo_ray.base.formatting import format_points

ACCENT, INK, MUTED, RULE, BAND = "#0b5c8a", "#1c2530", "#66717d", "#d5dae0", "#eef3f7"
PANEL_PX = 224
_OUTLINE = (255, 176, 0)  # amber: stands out from gray with every kind of colour vision
_FONTS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,'DejaVu Sans',sans-serif"
_WIDTH_IN, _FONT_PT = 9.2, 9.5
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "osteo_ray",
    "font.family": "DejaVu Sans",  # used for measuring; it is wide, so other fonts fit too
    "font.size": _FONT_PT,
}
PANEL_LABELS = ("Original", "LIME region", "LIME mask", "Random mask", "Silhouette", "Grad-CAM")
PANEL_ARMS = {"Random mask": "random_mask", "Silhouette": "silhouette"}
"""The arms of those panels that show what a control is shown."""


def draw_forest(contrasts: Sequence[Mapping[str, Any]], *, margin: float, alpha: float) -> str:
    """Plot the difference of each contrast with its interval and a dot per seed, grouped by model.

    Args:
        contrasts: Entries of `contrasts` in comparison.json, of one metric; fractions, not points.
        margin: Half width of the band inside which differences count as equivalent, a fraction.
        alpha: A diamond is filled if Holm's p is below it.

    Returns:
        SVG as a data URI.
    """
    models = list(dict.fromkeys(str(contrast["model"]) for contrast in contrasts))
    n_rows = len(contrasts) + len(models)
    figure = start_figure(0.37 * n_rows + 0.7)
    axes = figure.subplots()
    axes.axvspan(-100 * margin, 100 * margin, color=BAND, lw=0, zorder=0)
    axes.axvline(0, color=INK, lw=0.9, zorder=1)
    row, labels, ticks, headings = 0, list[str](), list[int](), list[int]()
    for model in models:
        headings.append(len(ticks))
        ticks.append(row)
        labels.append(_shorten(model, 44))
        row += 1
        for contrast in contrasts:
            if str(contrast["model"]) == model:
                _draw_contrast(axes, row, contrast, alpha)
                ticks.append(row)
                labels.append(label_contrast(contrast))
                row += 1
    axes.set_yticks(ticks, labels, parse_math=False)
    for number in headings:
        axes.get_yticklabels()[number].set_fontweight("bold")
    axes.set_ylim(row - 0.3, -0.5)
    low, high = axes.get_xlim()  # with two seeds, an interval may exceed all possible differences
    axes.set_xlim(max(low, -104), min(high, 104))
    axes.set_xlabel("Difference, percentage points")
    strip_axes(axes, keep=("bottom",))
    return encode_svg(figure)


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


def draw_paired(
    values: Mapping[str, Mapping[int, Mapping[str, float]]], arms: Sequence[str], metric: str
) -> str:
    """Plot a metric over the arms, with a panel per model, a line per seed and the mean in bold.

    Args:
        values: Per model and seed, the metric of each arm that finished.
        arms: The arms along x, in this order.
        metric: Label of the y axis.

    Returns:
        SVG as a data URI.
    """
    x, width = np.arange(len(arms)), max(8, 100 // len(arms))
    names = [textwrap.fill(label_arm(arm), width, break_long_words=False) for arm in arms]

    def draw(axes: Axes, seeds: Mapping[int, Mapping[str, float]]) -> None:
        # (seeds, arms); NaN where a training is missing
        table = np.array([[by_arm.get(arm, np.nan) for arm in arms] for by_arm in seeds.values()])
        axes.plot(x, table.T, color=MUTED, lw=0.8, alpha=0.5, marker="o", ms=2.6, mew=0, zorder=2)
        counted = np.isfinite(table).sum(axis=0)
        means = np.where(counted, np.nansum(table, axis=0) / np.maximum(counted, 1), np.nan)
        axes.plot(x, means, color=ACCENT, lw=2.2, marker="o", ms=6, mec="white", zorder=3)
        axes.set_xticks(x, names, parse_math=False)
        axes.set_xlim(-0.4, len(arms) - 0.6)
        axes.grid(axis="y", color=RULE, lw=0.6, zorder=0)

    return draw_grid(values, draw, height_in=2.9, y_label=metric)


Panel = TypeVar("Panel")


def draw_grid(
    panels: Mapping[str, Panel],
    draw: Callable[[Axes, Panel], None],
    *,
    height_in: float,
    y_label: str,
    x_label: str | None = None,
) -> str:
    """Draw a panel per model, up to three side by side, on the same y axis.

    Args:
        panels: What `draw` is called with, by model; at least one.
        draw: Function that draws one panel.
        height_in: Height of a row of panels, inches.
        y_label: Label of the y axis.
        x_label: Label of the x axis, if any.

    Returns:
        SVG as a data URI.
    """
    n_columns = min(len(panels), 3)
    n_rows = -(-len(panels) // n_columns)
    figure = start_figure(height_in * n_rows)
    grid = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (model, panel) in zip(grid.flat, panels.items(), strict=False):
        draw(axes, panel)
        title = axes.set_title(_shorten(model, 36), size=_FONT_PT, weight="bold", loc="left")
        title.set_parse_math(False)
        strip_axes(axes, keep=("bottom",))
        if x_label:
            axes.set_xlabel(x_label, parse_math=False)
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel(y_label, parse_math=False)
    return encode_svg(figure)


def draw_panels(
    image: np.ndarray,
    lime_mask: np.ndarray | None,
    random_mask: np.ndarray | None,
    heatmap: np.ndarray | None,
) -> list[tuple[str, str | None]]:
    """Show one image as each arm and each explanation shows it.

    Args:
        image: uint8, (size, size); 0 = black.
        lime_mask: bool, (size, size), True = kept; None if there is no mask.
        random_mask: The same for the control arm.
        heatmap: uint8, (size, size); larger values support the explained class more.

    Returns:
        Pairs of a name from `PANEL_LABELS` and a data URI, or None if its source is missing.
    """
    gray = _resize(image, Image.Resampling.BICUBIC)
    pictures: dict[str, str | None] = dict.fromkeys(PANEL_LABELS)
    pictures["Original"] = encode_picture(gray)
    if lime_mask is not None:
        lime = _resize(lime_mask, Image.Resampling.NEAREST)
        outlined = np.repeat(gray[..., None], 3, axis=2)
        outlined[_find_edge(lime)] = _OUTLINE
        pictures["LIME region"] = encode_picture(outlined)
        pictures["LIME mask"] = encode_picture(gray * lime)
        pictures["Silhouette"] = encode_picture(lime)
    if random_mask is not None:
        control = _resize(random_mask, Image.Resampling.NEAREST)
        pictures["Random mask"] = encode_picture(gray * control)
    if heatmap is not None and heatmap.any():  # one without a hot pixel explains nothing
        heat = _resize(heatmap, Image.Resampling.BICUBIC) / 255.0
        colours = 255 * matplotlib.colormaps["inferno"](0.15 + 0.85 * heat)[..., :3]
        blend = gray[..., None] + 0.65 * heat[..., None] * (colours - gray[..., None])
        pictures["Grad-CAM"] = encode_picture(blend.round().astype(np.uint8))
    return list(pictures.items())


def encode_picture(pixels: np.ndarray) -> str:
    """Return a picture as a data URI.

    Args:
        pixels: bool, (height, width), True = white, becomes a PNG; uint8, (height, width) or
            (height, width, 3), becomes a JPEG.
    """
    buffer = io.BytesIO()
    if pixels.dtype == bool:
        Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
        return _to_uri("image/png", buffer.getvalue())
    Image.fromarray(pixels).save(buffer, "JPEG", quality=88, subsampling=0)
    return _to_uri("image/jpeg", buffer.getvalue())


def label_contrast(contrast: Mapping[str, Any]) -> str:
    """Return the labels of a contrast, as in `LIME mask − Original`."""
    arm, baseline = (str(contrast[key]) for key in ("arm", "baseline"))
    return f"{label_arm(arm)} \N{MINUS SIGN} {label_arm(baseline)}"


def _find_edge(mask: np.ndarray) -> np.ndarray:
    """Return the pixels on either side of a mask's edge, bool, of the mask's shape."""
    edge = np.zeros_like(mask)
    for axis in (0, 1):
        change = np.diff(mask, axis=axis)
        pad = [(0, 0), (0, 0)]
        for pad[axis] in ((0, 1), (1, 0)):
            edge |= np.pad(change, pad)
    return edge


def _resize(pixels: np.ndarray, resampling: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((PANEL_PX, PANEL_PX), resampling))


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def start_figure(height_in: float) -> Figure:
    """Return an empty figure of the width of the page, `height_in` inches high."""
    with matplotlib.rc_context(_STYLE):
        return Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")


def strip_axes(axes: Axes, *, keep: tuple[str, ...]) -> None:
    """Remove all ticks and all sides of the frame of a plot but those in `keep`."""
    for name, spine in axes.spines.items():
        spine.set_visible(name in keep)
        spine.set_color(MUTED)
    axes.tick_params(length=0, colors=INK, labelsize=_FONT_PT)
    axes.xaxis.label.set_color(MUTED)
    axes.yaxis.label.set_color(MUTED)


def encode_svg(figure: Figure) -> str:
    """Return a figure as SVG, as a data URI; its text stays text."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    svg = buffer.getvalue().replace("'DejaVu Sans'", _FONTS)
    return _to_uri("image/svg+xml", svg.encode())


def _to_uri(mime: str, content: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"
