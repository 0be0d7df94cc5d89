"""How far the masks of a rerun are from those of the stored run, however many there are."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from osteo_ray.data.masks import measure_overlap
from osteo_ray.experiment.reproduction.drift import Compared

MaskTables = Callable[[], Iterable[pa.Table]]
"""Reads masks from the first to the last, some at a time: image_id, keep_mask (packed), error."""
_AT_A_TIME = 20_000  # masks in memory; 125 MB at 224 px


@dataclass(frozen=True)
class _Known:
    """What is kept of a mask: a hash of its bits, and why there is none if so."""

    digest: bytes
    error: str | None


def compare_masks(
    name: str,
    stored: MaskTables,
    rerun: MaskTables,
    *,
    least_overlap: float,
    most_failures: float,
) -> Compared:
    """Compare the masks of one kind that come from one teacher.

    Hashes tell which masks differ. Only those are read again, some at a time, to measure how much
    they overlap, so memory does not hold all of them.

    Args:
        name: Teacher and kind.
        stored: The masks of all images in `rerun`, or more.
        rerun: One mask for each image.
        least_overlap: Smallest mean overlap (IoU) that is tolerated.
        most_failures: Largest tolerated share of images that are explained in only one of the two.
    """
    before, after = _hash_masks(stored), _hash_masks(rerun)
    lost = [image_id for image_id in after if image_id not in before]
    if lost:
        return Compared(name, False, missing=f"the run has no mask of {len(lost)} images")
    equal = all(before[image_id] == known for image_id, known in after.items())
    made = {image_id for image_id, known in after.items() if known.error is None}
    both = [image_id for image_id in after if image_id in made and before[image_id].error is None]
    failures = sum((before[one].error is None) != (one in made) for one in after)
    beyond = []
    if failures > most_failures * len(after):
        beyond.append(f"{failures} of {len(after)} images are explained in only one of the two")
    figures = {}
    if both:
        unlike = [one for one in both if before[one].digest != after[one].digest]
        overlaps = dict.fromkeys(both, 1.0) | dict(_measure_overlaps(stored, rerun, unlike))
        figures["mean mask overlap"] = float(np.mean(list(overlaps.values())))
        if figures["mean mask overlap"] < least_overlap:
            beyond.append(
                f"masks overlap by {figures['mean mask overlap']:.3f} on average, but at least "
                f"{least_overlap:.3f} is expected"
            )
    return Compared(name, equal, tuple(beyond), figures)


def _hash_masks(masks: MaskTables) -> dict[str, _Known]:
    return {
        row["image_id"]: _Known(
            hashlib.blake2b(row["keep_mask"] or b"", digest_size=16).digest(), row["error"]
        )
        for row in _list_rows(masks)
    }


def _list_rows(
    masks: MaskTables, chosen: Collection[str] | None = None
) -> Iterator[dict[str, Any]]:
    """List all masks, or those of some images."""
    wanted = None if chosen is None else pa.array(list(chosen), pa.string())
    for table in masks():
        found = table if wanted is None else table.filter(pc.is_in(table["image_id"], wanted))
        yield from found.to_pylist()


def _measure_overlaps(
    stored: MaskTables, rerun: MaskTables, image_ids: list[str]
) -> Iterator[tuple[str, float]]:
    for start in range(0, len(image_ids), _AT_A_TIME):
        chosen = image_ids[start : start + _AT_A_TIME]
        before = {row["image_id"]: row["keep_mask"] for row in _list_rows(stored, chosen)}
        for row in _list_rows(rerun, chosen):
            yield row["image_id"], measure_overlap(before[row["image_id"]], row["keep_mask"])


def expect_overlap(masks: pa.Table) -> float:
    """Return how much LIME masks are expected to overlap with those of a rerun.

    Args:
        masks: stability, error; one row for each image.

    Returns:
        The mean stability. Nothing is expected of a mask whose stability is unknown.
    """
    made = masks.filter(pc.is_null(masks["error"]))
    return float(pc.mean(pc.fill_null(made["stability"], 0.0)).as_py() or 0.0)
