"""Which masks of a run need a remark: unstable ones, empty ones, those of few superpixels."""

from collections import Counter, defaultdict
from typing import Any

import pyarrow.dataset as ds

from osteo_ray.base.runs import Run
from osteo_ray.base.tables import MASKS, read_parts
from osteo_ray.data.notes import count_notes

MAIN_MASKS = ds.field("teacher").isin(["original", "resplit"]) & (ds.field("target") == "predicted")
"""The masks of the paper. Masks of other teachers or classes only serve a control."""
UNSTABLE = "the mask might well differ with other samples"
FAILED = "there is no mask, as the explanation failed"


def count_mask_notes(run: Run) -> list[dict[str, Any]]:
    """Count the remarks on the main masks of a run.

    Returns:
        A row for each `model`, `kind` of mask and `note`: `n` masks of `n_masks`. Only the remark
        that masks could not be made counts these among all masks.
    """
    columns = ["model", "teacher", "target", "kind", "note", "unstable", "error"]
    table = read_parts(run.masks, MASKS, columns).filter(MAIN_MASKS)
    made: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in table.to_pylist():
        made[row["model"], row["kind"]].append(row)
    found = []
    for (model, kind), rows in sorted(made.items()):
        whole = [row for row in rows if row["error"] is None]
        counts = Counter({UNSTABLE: sum(bool(row["unstable"]) for row in whole)})
        counts += Counter({FAILED: len(rows) - len(whole)})
        counts += count_notes(row["note"] for row in whole)
        for note, n in sorted(counts.items()):
            n_masks = len(rows if note == FAILED else whole)
            found.append({"model": model, "kind": kind, "note": note, "n": n, "n_masks": n_masks})
    return found
