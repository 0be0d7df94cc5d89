"""Figures and tables of runs as files for a paper, with an index of what there is and is not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place, write_whole
from osteo_ray.report.decomposition_figure import plot_decomposition
from osteo_ray.report.paper_tables import PaperTable, list_tables
from osteo_ray.report.picture_plots import plot_pictures
from osteo_ray.report.plots import Absent, Plot, draw_plots
from osteo_ray.report.results import Shown, name_apart, read_shown
from osteo_ray.report.style import FORMATS, export_figure

INDEX = "figures.md"


@dataclass(frozen=True)
class FigureFiles:
    """What was written for one run, or for all of them together.

    Attributes:
        title: The name of the run, or what the files are about.
        folder: Where the files are.
        plots: Those that were drawn.
        tables: Those that were written.
        absent: Plots that could not be drawn.
        unread: Why the settings of the run cannot be read; empty if they can.
    """

    title: str
    folder: Place
    plots: tuple[Plot, ...]
    tables: tuple[PaperTable, ...] = ()
    absent: tuple[Absent, ...] = ()
    unread: str = ""


def write_figures(runs: Sequence[Run], out: Place) -> list[FigureFiles]:
    """Write all figures and tables of some runs or judgements, and an index of them.

    Args:
        runs: What to draw; several get a folder each.
        out: Where to write. Files of the same names are replaced.

    Raises:
        InputError: A run has no results yet.
    """
    several = [read_shown(run) for run in runs]
    written = []
    for name, shown in zip(name_apart(several), several, strict=True):
        folder = out / name if len(several) > 1 else out
        drawn = [*plot_pictures(shown), *draw_plots(shown).values()]
        written.append(
            FigureFiles(
                name,
                folder,
                tuple(one for one in drawn if isinstance(one, Plot)),
                tuple(list_tables(shown)),
                tuple(one for one in drawn if isinstance(one, Absent)),
                shown.unread,
            )
        )
    written.append(_decompose(several, out))
    for one in written:
        _write_files(one)
    _write_text(out / INDEX, "\n".join(_write_index(written, out)) + "\n")
    return written


def _decompose(several: Sequence[Shown], out: Place) -> FigureFiles:
    title = "What the gain is made of"
    try:
        found = plot_decomposition(several)
    except InputError as error:
        found = Absent("decomposition", str(error))
    if isinstance(found, Absent):
        return FigureFiles(title, out, (), (), (found,))
    return FigureFiles(title, out, found[:1], found[1:])


def _write_files(files: FigureFiles) -> None:
    for plot in files.plots:
        for form, content in export_figure(plot.figure).items():
            _write_bytes(files.folder / f"{plot.name}.{form}", content)
        _write_text(files.folder / f"{plot.name}.csv", _to_csv(plot.data))
    for table in files.tables:
        stem = f"table-{table.name}"
        _write_text(files.folder / f"{stem}.md", table.to_markdown())
        _write_text(files.folder / f"{stem}.tex", table.to_latex())
        _write_text(files.folder / f"{stem}.csv", _to_csv(table.to_frame()))


def _to_csv(data: pd.DataFrame) -> str:
    return str(data.to_csv(index=False, lineterminator="\n"))


def _write_bytes(place: Place, content: bytes) -> None:
    with write_whole(place) as unfinished:
        unfinished.write_bytes(content)


def _write_text(place: Place, text: str) -> None:
    _write_bytes(place, text.encode())


NETWORKS = (
    "Figures 3 and 4 of the paper draw its two networks. Here, any network may stand in their "
    "place, so there is no drawing: `config.yaml` of the run names it."
)


def _write_index(written: Sequence[FigureFiles], out: Place) -> Iterator[str]:
    yield "# Figures and tables"
    yield ""
    yield (
        f"Each figure is there as {', '.join(form.upper() for form in FORMATS)} and, as what it "
        "shows, CSV; each table as Markdown, LaTeX and CSV. Fonts are embedded, and colours can be "
        f"told apart with every kind of colour vision. {NETWORKS}"
    )
    for files in written:
        below = "" if files.folder == out else f"{files.folder.name}/"
        yield f"\n## {_plain(files.title)}\n"
        if files.unread:
            yield f"{_plain(files.unread)}\n"
        for plot in files.plots:
            yield f"- **{below}{plot.name}**{_say_counterpart(plot)}: {_plain(plot.caption)}"
        for table in files.tables:
            yield f"- **{below}table-{table.name}**{_say_counterpart(table)}: {table.caption}"
        for absent in files.absent:
            yield f"- no {absent.name}{_say_counterpart(absent)}: {_plain(absent.reason)}"


def group_absent(absent: Sequence[Absent]) -> dict[str, list[str]]:
    """Return the names of plots that cannot be drawn, by the reason."""
    reasons: dict[str, list[str]] = {}
    for one in absent:
        reasons.setdefault(one.reason, []).append(one.name)
    return reasons


def _say_counterpart(one: Plot | Absent | PaperTable) -> str:
    return f" ({one.counterpart} of the paper)" if one.counterpart else ""


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;")
