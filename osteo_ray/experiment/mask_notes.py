"""Which masks of a run need a remark: unstable ones, empty ones, those of few superpixels."""

from collections import Counter, defaultdict
from typing import Any

import pyarrow.dataset as ds

from osteo_ray.base.runs import Run
from osteo_ray.base.tables import MASKS, iterate_parts
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
    made: Counter[tuple[str, str]] = Counter()
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for table in iterate_parts(run.masks, MASKS, columns):
        for row in table.filter(MAIN_MASKS).to_pylist():
            kind = row["model"], row["kind"]
            made[kind] += 1
            if row["error"] is not None:
                counts[kind][FAILED] += 1
                continue
            counts[kind] += count_notes([row["note"]])
            counts[kind][UNSTABLE] += bool(row["unstable"])
    found = []
    for (model, kind_name), n_made in sorted(made.items()):
        of_kind = counts[model, kind_name]
        for note, n in sorted(of_kind.items()):
            n_masks = n_made if note == FAILED else n_made - of_kind[FAILED]
            row = {"model": model, "kind": kind_name, "note": note, "n": n, "n_masks": n_masks}
            found += [row] if n else []
    return found
