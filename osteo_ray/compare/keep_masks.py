"""The keep-masks of a trial, read from what its first model left. Free of Ray and of PyTorch."""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from osteo_ray.compare.experiment import Experiment, Trial
from osteo_ray.data.masks import unpack_mask
from osteo_ray.runs import MASKS, read_parts


@dataclass(frozen=True)
class KeepMasks:
    """The masks of all images of a trial.

    Attributes:
        masks: bool, (n, height, width), True = kept, in the order of `Experiment.image_ids`. An
            image that could not be explained, or that is set aside, is kept whole.
        errors: Per image that could not be explained, its id: why.
    """

    masks: np.ndarray
    errors: dict[str, str]


def read_keep_masks(experiment: Experiment, trial: Trial, kind: str) -> KeepMasks:
    """Read the keep-masks of a trial's images.

    Args:
        experiment: What it shares with others.
        trial: Of any arm: all arms of a model and seed have the masks of the same first model.
        kind: Kind of mask in the masks table.

    Raises:
        RuntimeError: The masks are not complete.
        ValueError: A mask does not fit the size of the images.
    """
    table = read_parts(
        experiment.masks_of(trial), MASKS, ["image_id", "kind", "keep_mask", "error"]
    )
    table = table.filter(pc.equal(table["kind"], kind))
    rows = {image_id: row for row, image_id in enumerate(experiment.image_ids.tolist())}
    size_px = experiment.config.image_size
    masks = np.ones((len(rows), size_px, size_px), bool)
    errors = {}
    wanted = experiment.splits[trial.seed] != ""
    for record in table.select(["image_id", "keep_mask", "error"]).to_pylist():
        row = rows[record["image_id"]]
        wanted[row] = False
        if record["error"] is None:
            masks[row] = unpack_mask(record["keep_mask"], size_px)
        else:
            errors[record["image_id"]] = record["error"]
    if wanted.any():
        raise RuntimeError(f"Expected a mask for every image, but {wanted.sum()} have none.")
    return KeepMasks(masks, errors)
