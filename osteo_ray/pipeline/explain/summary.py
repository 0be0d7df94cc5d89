"""How explaining a set of images went. Needs neither Ray nor PyTorch."""

from dataclasses import dataclass

import pyarrow.compute as pc

from osteo_ray.base.runs import Run
from osteo_ray.base.tables import MASKS, count_rows, read_parts, read_table
from osteo_ray.experiment.mask_notes import FAILED, count_mask_notes


@dataclass(frozen=True)
class ExplanationSummary:
    """How explaining a set of images went.

    Attributes:
        n_images: Images that were read.
        n_refused: Files that could not be read.
        n_failed: Images that could not be explained.
        first_failure: Path and error of one of them, or an empty string.
        notes: Remarks on masks of the method, and how many masks each is about.
        n_new: Images that were explained just now.
        seconds_per_image: Time per image explained just now, including the start of the actors;
            None if there were none.
    """

    n_images: int
    n_refused: int
    n_failed: int
    first_failure: str
    notes: tuple[tuple[str, int], ...]
    n_new: int
    seconds_per_image: float | None


def summarize_explanations(
    run: Run, method: str, n_new: int = 0, duration_s: float = 0.0
) -> ExplanationSummary:
    """Count what a set of explanations holds.

    Args:
        run: The set.
        method: The explainer that made it.
        n_new: Images that were explained just now.
        duration_s: How long that took, seconds.
    """
    images = read_table(run.images, ["image_id", "path"]).to_pylist()
    masks = read_parts(run.masks, MASKS, ["image_id", "kind", "error"])
    failed = masks.filter(pc.and_(pc.equal(masks["kind"], method), pc.is_valid(masks["error"])))
    errors = {row["image_id"]: row["error"] for row in failed.to_pylist()}
    told = [
        f"{row['path']}: {errors[row['image_id']]}" for row in images if row["image_id"] in errors
    ]
    return ExplanationSummary(
        n_images=len(images),
        n_refused=count_rows(run.rejects),
        n_failed=len(errors),
        first_failure=told[0] if told else "",
        notes=tuple(
            (row["note"], row["n"])
            for row in count_mask_notes(run)
            if row["kind"] == method and row["note"] != FAILED  # told by the errors themselves
        ),
        n_new=n_new,
        seconds_per_image=duration_s / n_new if n_new else None,
    )
