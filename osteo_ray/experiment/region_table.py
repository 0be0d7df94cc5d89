"""The regions that a run keeps, in the order of its images. Free of Ray."""

from collections.abc import Iterator

import numpy as np
import pyarrow.parquet as pq

from osteo_ray.base.damage import naming_damage
from osteo_ray.base.errors import InputError
from osteo_ray.base.storage import Place, open_place
from osteo_ray.base.trust import refuse_objects
from osteo_ray.data.masks import check_packed
from osteo_ray.data.packed_masks import PackedMasks
from osteo_ray.experiment.trials import Experiment

_AT_A_TIME = 1024  # regions that are read at a time


def load_regions(experiment: Experiment) -> PackedMasks:
    """Read the region of each image, True = inside, in the order of `Experiment.image_ids`.

    Raises:
        InputError: The run has no regions, or lacks that of an image.
        DamagedError: They cannot be read, or have another size than the images.
    """
    path, image_size = experiment.run.regions, experiment.settings.image_size
    row_of = {image_id: row for row, image_id in enumerate(experiment.image_ids.tolist())}
    bits = np.empty((len(row_of), -(-image_size.area_px // 8)), np.uint8)
    there = np.zeros(len(row_of), bool)
    for image_id, region in _read_regions(path) if path.is_file() else ():
        row = row_of.get(image_id)
        if row is not None:
            with naming_damage(path):
                check_packed(region, image_size)
            bits[row], there[row] = np.frombuffer(region, np.uint8), True
    if not there.all():
        raise InputError(
            f"Expected the region of every image in {path}, but not all are there. Run "
            "`osteo-ray compare` with the same settings and --regions to take them in."
        )
    return PackedMasks(bits, *image_size.shape)


def _read_regions(path: Place) -> Iterator[tuple[str, bytes]]:
    filesystem, name = open_place(path)
    with naming_damage(path), pq.ParquetFile(name, filesystem=filesystem) as file:
        refuse_objects(file.schema_arrow, path)
        for batch in file.iter_batches(_AT_A_TIME, columns=["image_id", "region"]):
            yield from zip(batch[0].to_pylist(), batch[1].to_pylist(), strict=True)
