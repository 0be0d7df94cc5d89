"""The page of a ledger: what became of each run that was reproduced, over time."""

from collections.abc import Mapping, Sequence
from typing import Any

from osteo_ray.report.drift_figure import draw_drift
from osteo_ray.report.page import open_template
from osteo_ray.reproduce.drift import WORST
from osteo_ray.reproduce.environment import compare_environments
from osteo_ray.reproduce.ledger import Entry
from osteo_ray.storage import Place, write_whole

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
    before: list[Entry | None] = [None, *entries[:-1]]
    points = [
        {**entry.values, "changes": list_changes(one, entry), "since_run": entry["changes"]}
        for one, entry in zip(before, entries, strict=True)
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


def list_changes(before: Entry | None, entry: Entry) -> list[str]:
    """Say what changed in the environment between two reproductions, as far as numbers go."""
    if before is None:
        return []

    def collect(one: Entry) -> Mapping[str, Any]:
        return {part: one[part] for part in ("versions", "hardware")}

    changes = compare_environments(collect(before), collect(entry))
    return [str(change) for change in changes if change.matters and change.is_known]
