"""The superpixels of a run's images, for masks that are drawn anew in each epoch. Free of Ray."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from osteo_ray.arms.registry import ARMS
from osteo_ray.base.errors import InputError
from osteo_ray.base.mappings import hash_settings
from osteo_ray.base.storage import Place, locate
from osteo_ray.base.tables import SUPERPIXELS, list_parts, read_parts
from osteo_ray.experiment.trials import Experiment, Trial


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
    done = {locate(path).name for path in list_parts(folder)}
    files = {path: locate(path).name for path in list_parts(experiment.run.pixels)}
    return [Division(path, folder / name) for path, name in files.items() if name not in done]


def read_superpixels(experiment: Experiment) -> np.ndarray:
    """Read the superpixels of all images, in the order of `Experiment.image_ids`.

    Returns:
        uint16, (n, height, width); the superpixel of each pixel, numbered from 0.

    Raises:
        InputError: Some images have none.
    """
    size_px = experiment.settings.image_size
    folder = _place_superpixels(experiment)
    table = read_parts(folder, SUPERPIXELS)
    ids = pa.array(experiment.image_ids.tolist())
    order = pc.index_in(ids, table["image_id"].combine_chunks())
    if order.null_count:
        raise InputError(
            f"Expected the superpixels of every image in {folder}, but {order.null_count} images "
            "have none. Run `osteo-ray compare` with the same settings to find them."
        )
    found = np.empty((len(ids), size_px, size_px), np.uint16)
    for row, stored in enumerate(table["superpixels"].take(order)):
        found[row] = np.frombuffer(stored.as_py(), np.uint16).reshape(size_px, size_px)
    return found


def _place_superpixels(experiment: Experiment) -> Place:
    settings = experiment.settings
    content = {"data": experiment.fingerprint, "lime": settings.lime.describe_superpixels()}
    return experiment.run.superpixels / hash_settings(content)
