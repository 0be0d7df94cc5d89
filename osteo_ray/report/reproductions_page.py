"""The page of a ledger: what each reproduction of each run came to, over time."""

from collections.abc import Mapping, Sequence
from typing import Any

from osteo_ray.base.storage import Place, write_whole
from osteo_ray.report.drift_figure import draw_drift
from osteo_ray.report.style import encode_svg
from osteo_ray.report.templates import open_template

_MOST_DRIFTED = 40  # things that the page names, of the latest reproduction
_LATEST = 60  # reproductions of a run that the page shows: more than a year of weekly ones

Row = Mapping[str, Any]


def place_reproductions_page(ledger: Place) -> Place:
    """Return where the page of a ledger is: beside it."""
    return ledger.with_name(ledger.name.removesuffix(".parquet") + ".html")


def write_reproductions_page(ledger: Place, history: Sequence[Row]) -> None:
    """Write the page of a ledger beside it, in one self-contained file.

    Args:
        ledger: The Parquet file.
        history: Its rows, oldest first, each with `changed_since_last`, what changed since the
            previous reproduction of the same run, in words, and `onset`, where its drift began.
    """
    by_run: dict[str, list[Row]] = {}
    for row in history:
        by_run.setdefault(row["path"], []).append(row)
    runs = [_describe_run(rows) for rows in by_run.values()]
    figures = list(dict.fromkeys(name for row in history for name in row["figures"]))
    text = open_template("reproductions.html").render(ledger=ledger, runs=runs, figures=figures)
    with write_whole(place_reproductions_page(ledger)) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _describe_run(rows: Sequence[Row]) -> dict[str, Any]:
    """Return what the page shows of one run."""
    latest = rows[-1]
    return {
        "name": latest["run"],
        "latest": latest,
        "points": rows[-_LATEST:][::-1],
        "n_points": len(rows),
        "onset": latest["onset"],
        "drifted": latest["drifted"][:_MOST_DRIFTED],
        "n_more": max(0, len(latest["drifted"]) - _MOST_DRIFTED),
        "figure": encode_svg(draw_drift(rows[-_LATEST:])),
    }
