"""The images of an exported data set, as an arm showed them to its classifiers."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from osteo_ray.arms.registry import ARMS
from osteo_ray.base.errors import InputError
from osteo_ray.data.pixels import Bits, Pixels, type_of_bits
from osteo_ray.experiment.dataset import Dataset
from osteo_ray.experiment.keep_masks import KeepMasks, read_keep_masks
from osteo_ray.experiment.trials import Experiment, Trial
from osteo_ray.pipeline.export.forms import COLUMNS, Content

if TYPE_CHECKING:
    from osteo_ray.models.batches import ImageSet


@dataclass(frozen=True)
class _ShownImages:
    """What an arm shows of images, made when it is asked for, so that memory holds little of it.

    These are the batches of training, so what is exported is what training saw. Gray values that
    become float32 in [0, 1] are given back by rounding.

    Attributes:
        seen: The images of the run, with their masks.
        order: int, (n,); which of them there are.
        bits: Of the gray values.
    """

    seen: "ImageSet"
    order: np.ndarray
    bits: Bits

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return what is shown of some images: (k, height, width)."""
        import torch

        chosen = self.seen.select(self.order[rows])
        batch = chosen.make_batch(np.arange(len(rows)), torch.device("cpu"))[:, 0]
        shown: np.ndarray = torch.round(batch * (2**self.bits - 1)).numpy()
        return shown.astype(type_of_bits(self.bits))

    def select(self, rows: np.ndarray) -> "_ShownImages":
        """Return some of the images, which are made when they are asked for, too."""
        return replace(self, order=self.order[rows])


def collect_content(
    trial: Trial,
    experiment: Experiment,
    dataset: Dataset,
    pixels: Pixels,
) -> Content:
    """Gather what the arm of a trial showed, of all images that have a split.

    Args:
        trial: Names the model, the seed and the arm.
        experiment: The run.
        dataset: Its images.
        pixels: uint8 or uint16, (n, height, width), in the order of `experiment.image_ids`; in
            memory or not.

    Raises:
        InputError: The masks cannot be used.
    """
    # Imported here: PyTorch takes seconds to import, and reading an export does without it.
    from osteo_ray.models.batches import ImageSet

    keep_masks = _read_masks(experiment, trial)
    splits = experiment.splits[trial.seed]
    order = np.argsort(experiment.image_ids)
    order = order[splits[order] != ""]
    errors = {} if keep_masks is None else keep_masks.errors
    labels = experiment.labels_of(trial)
    rows = []
    for number, record in zip(
        order.tolist(), dataset.images.iloc[order].to_dict("records"), strict=True
    ):
        values = (
            str(labels[number]),
            str(splits[number]),
            f"group-{record['group']}",
            record["image_id"],
            record["path"],
            record["digest"],
        )
        row = dict(zip(COLUMNS, values, strict=True))
        rows.append({**row, "error": errors.get(record["image_id"])})
    masks = None if keep_masks is None else keep_masks.masks
    numbers = np.zeros(len(splits), np.int64)
    background, view = experiment.settings.background, ARMS[trial.arm].view
    seen = ImageSet(pixels, numbers, masks, view, background)
    return Content(
        rows, _ShownImages(seen, order, experiment.settings.bits), masks, order, experiment.classes
    )


def _read_masks(experiment: Experiment, trial: Trial) -> KeepMasks | None:
    try:
        return read_keep_masks(experiment, trial)
    except (RuntimeError, ValueError, OSError) as error:
        folders = " ".join(str(experiment.masks_of(job)) for job in experiment.list_jobs(trial))
        raise InputError(
            f"The masks of {trial.model}, seed {trial.seed}, cannot be used: {error} Delete "
            f"{folders} and rerun `osteo-ray compare` to make them again."
        ) from None
