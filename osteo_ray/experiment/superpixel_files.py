"""The superpixels of a run's images, for masks that are drawn anew in each epoch. Free of Ray."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from osteo_ray.arms.registry import ARMS
from osteo_ray.base.mappings import hash_settings
from osteo_ray.base.storage import Place, locate
from osteo_ray.base.tables import SUPERPIXELS, list_parts, read_parts, read_table, write_table
from osteo_ray.experiment.trials import Experiment, Trial
from osteo_ray.explain.settings import LimeSettings

_TYPE = np.uint16


@dataclass(frozen=True)
class Division:
    """A file of pixels whose superpixels are to be found, and the file to store them in."""

    pixels: str
    target: Place
    settings: LimeSettings
    size_px: int

    def write(self) -> int:
        """Find the superpixels of all images of the file, and store them.

        An image that cannot be divided, because all its pixels are equal, is a single superpixel.

        Returns:
            The number of images.
        """
        from osteo_ray.explain.superpixels import find_superpixels

        table = read_table(locate(self.pixels), ["image_id", "pixels"])
        found = []
        for stored in table["pixels"].to_pylist():
            image = np.frombuffer(stored, np.uint8).reshape(self.size_px, self.size_px)
            flat = image.min() == image.max()
            labels = np.zeros_like(image) if flat else find_superpixels(image, self.settings)
            found.append(labels.astype(_TYPE).tobytes())
        columns = {"image_id": table["image_id"], "superpixels": found}
        write_table(self.target, pa.table(columns, schema=SUPERPIXELS))
        return len(table)


def list_divisions(experiment: Experiment, trials: Iterable[Trial]) -> list[Division]:
    """List the files whose superpixels some trials need, and that are not stored yet."""
    arms = (ARMS[trial.arm] for trial in trials if trial.arm in ARMS)
    if not any(arm.needs_superpixels for arm in arms):
        return []
    folder, settings = _place_superpixels(experiment), experiment.settings
    done = {locate(path).name for path in list_parts(folder)}
    files = {path: locate(path).name for path in list_parts(experiment.run.pixels)}
    return [
        Division(path, folder / name, settings.lime, settings.image_size)
        for path, name in files.items()
        if name not in done
    ]


def read_superpixels(experiment: Experiment) -> np.ndarray:
    """Read the superpixels of all images, in the order of `Experiment.image_ids`.

    Returns:
        uint16, (n, height, width); the superpixel of each pixel, numbered from 0.

    Raises:
        RuntimeError: Some images have none.
    """
    size_px = experiment.settings.image_size
    table = read_parts(_place_superpixels(experiment), SUPERPIXELS)
    ids = pa.array(experiment.image_ids.tolist())
    order = pc.index_in(ids, table["image_id"].combine_chunks())
    if order.null_count:
        raise RuntimeError(
            f"Expected the superpixels of every image, but {order.null_count} images have none."
        )
    found = np.empty((len(ids), size_px, size_px), _TYPE)
    for row, stored in enumerate(table["superpixels"].take(order)):
        found[row] = np.frombuffer(stored.as_py(), _TYPE).reshape(size_px, size_px)
    return found


def _place_superpixels(experiment: Experiment) -> Place:
    settings = experiment.settings
    content = {"data": experiment.fingerprint, "lime": settings.lime.describe_superpixels()}
    return experiment.run.superpixels / hash_settings(content)
