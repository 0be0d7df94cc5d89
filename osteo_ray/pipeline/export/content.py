"""The images of an exported data set, as an arm showed them to its classifiers."""

import numpy as np

from osteo_ray.arms.registry import ARMS
from osteo_ray.base.errors import InputError
from osteo_ray.experiment.dataset import Dataset
from osteo_ray.experiment.keep_masks import KeepMasks, read_keep_masks
from osteo_ray.experiment.trials import Experiment, Trial
from osteo_ray.pipeline.export.forms import COLUMNS, Content

_BATCH = 64


def collect_content(
    trial: Trial,
    experiment: Experiment,
    dataset: Dataset,
    pixels: np.ndarray,
) -> Content:
    """Gather what the arm of a trial showed, of all images that have a split.

    Args:
        trial: Names the model, the seed and the arm.
        experiment: The run.
        dataset: Its images.
        pixels: uint8, (n, size, size), in the order of `experiment.image_ids`.

    Raises:
        InputError: The masks cannot be used.
    """
    # Imported here: PyTorch takes seconds to import, and reading an export does without it.
    import torch

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
    masks = None if keep_masks is None else keep_masks.masks.select(order)
    # These are the batches of training, so what is exported is what training saw. Bytes / 255 in
    # float32 and back by rounding give the same bytes.
    numbers = np.zeros(len(order), np.int64)
    background = experiment.settings.background
    seen = ImageSet(pixels[order], numbers, masks, ARMS[trial.arm].view, background)
    images = np.empty_like(seen.pixels)
    for start in range(0, len(order), _BATCH):
        part = np.arange(start, min(start + _BATCH, len(order)))
        batch = seen.make_batch(part, torch.device("cpu"))[:, 0]
        images[part] = torch.round(batch * 255).to(torch.uint8).numpy()
    return Content(rows, images, masks, experiment.classes)


def _read_masks(experiment: Experiment, trial: Trial) -> KeepMasks | None:
    try:
        return read_keep_masks(experiment, trial)
    except (RuntimeError, ValueError, OSError) as error:
        folders = " ".join(str(experiment.masks_of(job)) for job in experiment.list_jobs(trial))
        raise InputError(
            f"The masks of {trial.model}, seed {trial.seed}, cannot be used: {error} Delete "
            f"{folders} and rerun `osteo-ray compare` to make them again."
        ) from None
