"""The one style of all figures, on pages and in files: colours, sizes, and how they are written.

The colours can be told apart with every kind of colour vision. Matplotlib is used through `Figure`
alone: nothing here touches its global figures.
"""

import base64
import io
import textwrap
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

ACCENT, INK, MUTED, RULE, BAND = "#0b5c8a", "#1c2530", "#66717d", "#d5dae0", "#eef3f7"
BAD = "#a8321a"
SERIES = (ACCENT, "#e6b422", "#5a9e6f", "#cc79a7")
"""Colours of things of one kind that are told apart by colour alone."""
LETTERS = 100
"""How many fit side by side into the width of the page, beside labels of a y axis."""
FORMATS = ("svg", "pdf", "png")
_FONTS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,'DejaVu Sans',sans-serif"
_FONT = "DejaVu Sans"  # comes with Matplotlib; it is wide, so where it fits, other fonts do too
_MORE_FONTS = ("Noto Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Unifont")
_WIDTH_IN, FONT_PT, _PNG_DPI = 9.2, 9.5, 300
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "osteo_ray",
    "pdf.fonttype": 42,  # whole TrueType outlines, which journals ask for
    "font.size": FONT_PT,
}


@cache
def _style() -> dict[Any, Any]:
    """Return the style with those fonts that this machine has, for characters of other scripts."""
    known = set(fontManager.get_font_names())
    return {**_STYLE, "font.family": [_FONT, *(name for name in _MORE_FONTS if name in known)]}


Panel = TypeVar("Panel")


def draw_grid(
    panels: Mapping[str, Panel],
    draw: Callable[[Axes, Panel], None],
    *,
    height_in: float,
    y_label: str,
    x_label: str | None = None,
) -> Figure:
    """Draw a panel per model, up to three side by side, on the same y axis.

    Args:
        panels: What `draw` is called with, by model; at least one.
        draw: Function that draws one panel.
        height_in: Height of a row of panels, inches.
        y_label: Label of the y axis.
        x_label: Label of the x axis, if any.
    """
    n_columns = count_columns(len(panels))
    n_rows = -(-len(panels) // n_columns)
    figure = start_figure(height_in * n_rows)
    grid = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (model, panel) in zip(grid.flat, panels.items(), strict=False):
        draw(axes, panel)
        title = axes.set_title(shorten(model, 36), size=FONT_PT, weight="bold", loc="left")
        title.set_parse_math(False)
        strip_axes(axes, keep=("bottom",))
        if x_label:
            axes.set_xlabel(x_label, parse_math=False)
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel(y_label, parse_math=False)
    return figure


def count_columns(n_panels: int) -> int:
    """Return how many panels of a grid stand side by side."""
    return min(n_panels, 3)


def shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def break_names(names: Sequence[str], letters: int) -> list[str] | None:
    """Break names between words, so that they fit side by side into so many letters.

    Returns:
        None if a word of them does not fit.

    Example:
        >>> break_names(["LIME mask", "Original"], 16), break_names(["LIME mask", "Original"], 12)
        (['LIME\\nmask', 'Original'], None)
    """
    room = letters // len(names)
    if max(_count_letters(word) for name in names for word in name.split() or [""]) > room:
        return None
    return [textwrap.fill(name, room, break_long_words=False) for name in names]


def name_across(axes: Axes, names: Sequence[str], letters: int) -> None:
    """Name the places 0, 1, … along x: upright if so many letters suffice, else slanting."""
    broken = break_names(names, letters)
    if broken is not None:
        axes.set_xticks(range(len(names)), broken, parse_math=False)
    else:
        axes.set_xticks(range(len(names)), list(names), parse_math=False)
        axes.tick_params(axis="x", rotation=40)
        for name in axes.get_xticklabels():
            name.set(ha="right", rotation_mode="anchor")


def _count_letters(text: str) -> int:
    """Return how many Latin letters take as much room; Chinese ones take that of two."""
    return sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text)


def add_legend(axes: Axes, names: Mapping[str, Any], **options: Any) -> None:
    """Add a legend, whatever signs its names hold.

    Args:
        axes: The plot.
        names: What is drawn, by its name.
        options: As `Axes.legend` takes them.
    """
    if not names:
        return
    # Matplotlib leaves names out that begin with an underscore, and takes $…$ for formulas.
    legend = axes.legend(names.values(), map(str, range(len(names))), frameon=False, **options)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(shorten(name, 36))


def start_figure(height_in: float) -> Figure:
    """Return an empty figure of the width of the page, `height_in` inches high."""
    with matplotlib.rc_context(_style()):
        return Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")


def strip_axes(axes: Axes, *, keep: tuple[str, ...]) -> None:
    """Remove all ticks and all sides of the frame of a plot but those in `keep`."""
    for name, spine in axes.spines.items():
        spine.set_visible(name in keep)
        spine.set_color(MUTED)
    axes.tick_params(length=0, colors=INK, labelsize=FONT_PT)
    axes.xaxis.label.set_color(MUTED)
    axes.yaxis.label.set_color(MUTED)


def make_square(axes: Axes) -> None:
    """Give a plot as much height as width, at the left of its panel."""
    axes.set_box_aspect(1)
    axes.set_anchor("W")


def encode_svg(figure: Figure | None) -> str | None:
    """Return a figure as SVG, as a data URI, for a page, whose fonts its text shares."""
    if figure is None:
        return None
    svg = _write(figure, "svg", {"svg.fonttype": "none"}, transparent=True).decode()
    return to_uri("image/svg+xml", svg.replace("'DejaVu Sans'", _FONTS).encode())


def export_figure(figure: Figure) -> dict[str, bytes]:
    """Return a figure as SVG, PDF and PNG, for a paper, by the ending of the file's name.

    Fonts are embedded: in SVG, letters are outlines; the PDF holds the font.
    """
    with _drawing({}):
        figure.draw_without_rendering()  # lays it out
    figure.set_layout_engine("none")  # once for all forms
    return {form: _write(figure, form, {"svg.fonttype": "path"}, dpi=_PNG_DPI) for form in FORMATS}


@contextmanager
def _drawing(style: Mapping[Any, Any]) -> Iterator[None]:
    with matplotlib.rc_context({**_style(), **style}), warnings.catch_warnings():
        # Of a script that no font here has: a page shows it in the reader's own fonts.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


def _write(figure: Figure, form: str, style: Mapping[Any, Any], **options: Any) -> bytes:
    nothing = {
        "svg": ("Creator", "Date", "Format", "Type"),
        "pdf": ("Creator", "Producer", "CreationDate"),
        "png": ("Software",),
    }[form]
    buffer = io.BytesIO()
    with _drawing(style):
        figure.savefig(buffer, format=form, metadata=dict.fromkeys(nothing), **options)
    return buffer.getvalue()


def to_uri(mime: str, content: bytes) -> str:
    """Return a file as a data URI, so that a page needs no other file."""
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"
