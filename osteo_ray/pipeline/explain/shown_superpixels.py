"""Keep the superpixels of the images that a report shows."""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import pyarrow as pa

from osteo_ray.base.digests import write_sealed
from osteo_ray.base.tables import SUPERPIXELS, write_table
from osteo_ray.explain.explainer import Picture
from osteo_ray.explain.jobs import Explainable
from osteo_ray.explain.settings import LimeSettings


def keep_superpixels(
    explainable: Explainable, pictures: Sequence[Picture], settings: LimeSettings
) -> None:
    """Write the superpixels of those pictures that the report shows, once each.

    Where an image cannot be divided, their row holds none, and the report does without them.
    """
    for picture in pictures:
        if explainable.superpixels is None or picture.image_id not in explainable.heatmap_ids:
            continue
        path = explainable.superpixels / f"{picture.image_id}.parquet"
        if path.exists():
            continue
        pieces: bytes | None = None
        with suppress(ValueError):
            pieces = picture.find_superpixels(settings).astype(np.uint16).tobytes()
        record = {"image_id": picture.image_id, "superpixels": pieces}
        write_table(path, pa.Table.from_pylist([record], schema=SUPERPIXELS), how=write_sealed)
