"""The keep-masks of a trial, read from the masks of its teachers. Free of Ray and of PyTorch."""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from osteo_ray.arms.registry import ARMS
from osteo_ray.base.tables import MASKS, read_parts
from osteo_ray.data.masks import change_masks, unpack_mask
from osteo_ray.experiment.trials import Experiment, Trial


@dataclass(frozen=True)
class KeepMasks:
    """The masks of all images of a trial.

    Attributes:
        masks: bool, (n, height, width), True = kept, in the order of `Experiment.image_ids`. An
            image that could not be explained, or that is set aside, is kept whole (before the
            mask is changed, if the arm is a control).
        errors: For each image that could not be explained, by its id, the reason.
    """

    masks: np.ndarray
    errors: dict[str, str]


def read_keep_masks(experiment: Experiment, trial: Trial) -> KeepMasks | None:
    """Read the keep-masks that a trial applies to its images; None for an arm without masks.

    Raises:
        RuntimeError: Some images have no mask.
        ValueError: A mask does not have the size of the images.
    """
    source = ARMS[trial.arm].masks if trial.arm in ARMS else None
    if source is None:
        return None
    rows = {image_id: row for row, image_id in enumerate(experiment.image_ids.tolist())}
    size_px = experiment.settings.image_size
    masks = np.ones((len(rows), size_px, size_px), bool)
    errors = {}
    n_missing = 0
    for job, images in experiment.list_jobs(trial).items():
        wanted = images.copy()
        columns = ["image_id", "kind", "keep_mask", "error"]
        table = read_parts(experiment.masks_of(job), MASKS, columns)
        table = table.filter(pc.equal(table["kind"], source.kind))
        for record in table.select(["image_id", "keep_mask", "error"]).to_pylist():
            row = rows[record["image_id"]]
            if not wanted[row]:
                continue
            wanted[row] = False
            if record["error"] is None:
                masks[row] = unpack_mask(record["keep_mask"], size_px)
            else:
                errors[record["image_id"]] = record["error"]
        n_missing += int(wanted.sum())
    if n_missing:
        raise RuntimeError(f"Expected a mask for every image, but {n_missing} have none.")
    seed = experiment.seeds[trial.seed].split
    split = experiment.splits[trial.seed]
    changed = change_masks(masks, source.change, split, np.random.default_rng(seed))
    return KeepMasks(changed, errors)
