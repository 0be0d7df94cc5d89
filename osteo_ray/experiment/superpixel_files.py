"""The superpixels of a run's images, for masks that are drawn anew in each epoch. Free of Ray."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from osteo_ray.arms.registry import ARMS
from osteo_ray.base.errors import InputError
from osteo_ray.base.mappings import hash_settings
from osteo_ray.base.storage import Place, recall_place
from osteo_ray.base.tables import list_parts
from osteo_ray.data.pixels import Superpixels
from osteo_ray.experiment.stored_images import locate_images
from osteo_ray.experiment.trials import Experiment, Trial

_MOST_BYTES = 2**30  # of superpixels that a training keeps in memory


@dataclass(frozen=True)
class Division:
    """A file of pixels whose superpixels are to be found, and the file to store them in."""

    pixels: str
    target: Place


def list_divisions(experiment: Experiment, trials: Iterable[Trial]) -> list[Division]:
    """List the files whose superpixels some trials need, and that are not stored yet."""
    arms = (ARMS[trial.arm] for trial in trials if trial.arm in ARMS)
    if not any(arm.needs_superpixels for arm in arms):
        return []
    folder = _place_superpixels(experiment)
    done = {recall_place(path).name for path in list_parts(folder)}
    files = {path: recall_place(path).name for path in list_parts(experiment.run.pixels)}
    return [Division(path, folder / name) for path, name in files.items() if name not in done]


def read_superpixels(experiment: Experiment) -> Superpixels:
    """Read the superpixels of all images, in the order of `Experiment.image_ids`.

    Those of many images stay on disk, and are read when they are needed.

    Raises:
        InputError: Some images have none.
    """
    folder = _place_superpixels(experiment)
    found, missing = locate_images(
        folder,
        experiment.image_ids.tolist(),
        experiment.settings.image_size,
        "superpixels",
        np.uint16,
    )
    if missing:
        raise InputError(
            f"Expected the superpixels of every image in {folder}, but {len(missing)} images "
            "have none. Run `osteo-ray compare` with the same settings to find them."
        )
    return found[np.arange(len(found))] if found.nbytes <= _MOST_BYTES else found


def _place_superpixels(experiment: Experiment) -> Place:
    settings = experiment.settings
    content = {"data": experiment.fingerprint, "lime": settings.lime.describe_superpixels()}
    return experiment.run.superpixels / hash_settings(content)
