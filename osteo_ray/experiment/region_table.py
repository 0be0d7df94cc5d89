"""The regions that a run keeps, in the order of its images. Free of Ray."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from osteo_ray.base.errors import InputError
from osteo_ray.base.tables import read_table
from osteo_ray.data.packed_masks import PackedMasks
from osteo_ray.experiment.trials import Experiment


def load_packed_regions(experiment: Experiment) -> list[bytes]:
    """Read the region of each image, packed as `pack_mask` does; True = inside.

    Returns:
        In the order of `Experiment.image_ids`.

    Raises:
        InputError: The run has no regions, or lacks that of an image.
    """
    path = experiment.run.regions
    ids = pa.array(experiment.image_ids.tolist(), pa.string())
    table = read_table(path, ["image_id", "region"]) if path.is_file() else None
    order = None if table is None else pc.index_in(ids, table["image_id"].combine_chunks())
    if table is None or order is None or order.null_count:
        raise InputError(
            f"Expected the region of every image in {path}, but not all are there. Run "
            "`osteo-ray compare` with the same settings and --regions to take them in."
        )
    found: list[bytes] = table["region"].take(order).to_pylist()
    return found


def load_regions(experiment: Experiment) -> PackedMasks:
    """Read the region of each image as a keep-mask, in the order of `Experiment.image_ids`.

    Raises:
        InputError: See `load_packed_regions`.
    """
    size_px = experiment.settings.image_size
    packed = load_packed_regions(experiment)
    bits = np.frombuffer(b"".join(packed), np.uint8).reshape(len(packed), -1)
    return PackedMasks(bits, size_px, size_px)
