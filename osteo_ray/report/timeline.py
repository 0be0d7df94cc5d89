"""A figure of what each worker did over time, from the log of events."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from osteo_ray.report.style import MUTED, SERIES, start_figure, strip_axes

_MAX_WORKERS = 24
_FAILED, _RED = "failed", "#b3261e"


@dataclass(frozen=True)
class Span:
    """One piece of work of a worker.

    Attributes:
        worker: Node and process.
        what: The stage that the work belongs to, or `failed`.
        start_s: When it began, in seconds of work on the run: its jobs follow each other without
            the pauses between them.
        end_s: When it ended, in the same seconds.
    """

    worker: str
    what: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Timeline:
    """What the jobs of a run did.

    Attributes:
        spans: In no order.
        starts_s: When each job began, in the seconds of `Span`.
        end_s: When the last job ended.
    """

    spans: tuple[Span, ...]
    starts_s: tuple[float, ...]
    end_s: float


def make_timeline(jobs: Sequence[Sequence[dict[str, Any]]]) -> Timeline:
    """Lay the events of jobs out in time, one job after the other.

    Args:
        jobs: As `events.read_events` returns them. A line is written when work ends; its beginning
            follows from its duration, so the clocks of other machines do not matter.
    """
    spans, starts, offset = [], [], 0.0
    for lines in jobs:
        starts.append(offset)
        for line in lines:
            if "worker" in line and "seconds" in line:
                end = offset + line["elapsed_s"]
                start = max(offset, end - line["seconds"])
                failed = line["event"] == "training failed"
                what = _FAILED if failed else str(line.get("stage", "other"))
                spans.append(Span(str(line["worker"]), what, start, end))
        offset += max((line["elapsed_s"] for line in lines), default=0.0)
    return Timeline(tuple(spans), tuple(starts), offset)


def draw_timeline(timeline: Timeline) -> Figure | None:
    """Draw a row per worker, or for the busiest ones only; return None if nothing was done."""
    if not timeline.spans:
        return None
    ordered = sorted(timeline.spans, key=lambda span: span.start_s)
    whats = dict.fromkeys(span.what for span in ordered)
    colours = dict(zip(whats, cycle(SERIES), strict=False))
    if _FAILED in colours:
        colours[_FAILED] = _RED
    scale, unit = (60.0, "minutes") if timeline.end_s > 300 else (1.0, "seconds")
    workers = _choose_workers(ordered)
    figure = start_figure(1.0 + 0.28 * len(workers))
    axes = figure.subplots()
    for row, worker in enumerate(workers):
        for what, colour in colours.items():
            bars = [span for span in ordered if (span.worker, span.what) == (worker, what)]
            _draw_bars(axes, row, bars, colour, scale, gap=timeline.end_s / 500)
    for start in timeline.starts_s[1:]:
        axes.axvline(start / scale, color=MUTED, linestyle=":", linewidth=1)
    axes.set_yticks(range(len(workers)), workers, parse_math=False)
    axes.set_ylim(len(workers) - 0.4, -0.6)
    axes.set_xlim(0, timeline.end_s / scale)
    axes.set_xlabel(f"{unit} of work")
    handles = [Patch(color=colour, label=what) for what, colour in colours.items()]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False)
    strip_axes(axes, keep=("bottom",))
    return figure


def _choose_workers(spans: Sequence[Span]) -> list[str]:
    """Return the busiest workers, in the order in which they began."""
    busy: dict[str, float] = {}
    for span in spans:
        busy[span.worker] = busy.get(span.worker, 0.0) + span.end_s - span.start_s
    busiest = set(sorted(busy, key=lambda worker: -busy[worker])[:_MAX_WORKERS])
    return [worker for worker in busy if worker in busiest]


def _draw_bars(
    axes: Axes, row: int, spans: Sequence[Span], colour: str, scale: float, gap: float
) -> None:
    """Draw spans of one worker, in order; spans that nearly touch are joined."""
    bars: list[tuple[float, float]] = []
    for span in spans:
        if bars and span.start_s - bars[-1][1] < gap:
            bars[-1] = (bars[-1][0], max(bars[-1][1], span.end_s))
        else:
            bars.append((span.start_s, span.end_s))
    ranges = [(start / scale, (end - start) / scale) for start, end in bars]
    axes.broken_barh(ranges, (row - 0.35, 0.7), facecolors=colour)
