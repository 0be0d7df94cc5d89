"""The page of a ledger: what became of each run that was reproduced, over time."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from osteo_ray.base.storage import Place, write_whole
from osteo_ray.experiment.reproduction.drift import WORST
from osteo_ray.experiment.reproduction.ledger import Entry, list_changes
from osteo_ray.report.drift_figure import draw_drift
from osteo_ray.report.page import open_template

_TOLD = 40  # drifted things of the latest reproduction


def write_page(ledger: Place, history: Sequence[Entry]) -> Place:
    """Write the page of a ledger beside it, in one self-contained file; return its path.

    Args:
        ledger: The Parquet file.
        history: What it holds, oldest first; at least one reproduction.
    """
    by_run: dict[str, list[Entry]] = {}
    for entry in history:
        by_run.setdefault(entry["path"], []).append(entry)
    runs = [_describe_run(entries) for entries in by_run.values()]
    page = ledger.with_name(ledger.name.removesuffix(".parquet") + ".html")
    text = open_template("reproductions.html").render(ledger=ledger, runs=runs, figures=list(WORST))
    with write_whole(page) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    return page


def _describe_run(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return what the page says of one run."""
    steps = [[], *(list_changes(one, other) for one, other in pairwise(entries))]
    points = [
        {**entry.values, "changes": changes, "since_run": entry["changes"]}
        for entry, changes in zip(entries, steps, strict=True)
    ]
    latest = points[-1]
    return {
        "name": latest["run"],
        "latest": latest,
        "points": points[::-1],
        "told": latest["drifted"][:_TOLD],
        "n_untold": max(0, len(latest["drifted"]) - _TOLD),
        "figure": draw_drift(points),
    }
