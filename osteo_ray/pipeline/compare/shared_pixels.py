"""Put the pixels of a run where all trainings of a cluster find them."""

from typing import cast

import numpy as np
import ray
from ray.exceptions import RayTaskError

from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.pixels import Pixels
from osteo_ray.experiment.stored_images import StoredImages, locate_pixels


def share_pixels(
    run: Run, image_ids: list[str], image_size: ImageSize, most_bytes: int
) -> "ray.ObjectRef[Pixels]":
    """Share the pixels of a run in memory if they take no more than some bytes, or else from disk.

    A task reads them, so this process never holds them; and if the node that has them is lost, Ray
    reads them again.

    Args:
        run: The run.
        image_ids: The images.
        image_size: Height and width of the images.
        most_bytes: The largest set that is kept in memory.

    Raises:
        InputError: The run lacks the pixels of an image.
    """
    stored = locate_pixels(run, image_ids, image_size)
    if stored.nbytes > most_bytes:
        return cast("ray.ObjectRef[Pixels]", ray.put(stored))
    refs = cast("list[ray.ObjectRef[Pixels]]", _read.remote(stored))
    try:
        ray.get(refs[1])
    except RayTaskError as error:
        cause = error.cause
        raise (cause if isinstance(cause, InputError) else error) from None
    return refs[0]


@ray.remote(num_cpus=0, num_returns=2, max_retries=-1)
def _read(stored: StoredImages) -> tuple[np.ndarray, None]:
    """Return the pixels, and nothing once they are there, which can be asked for without them."""
    return stored[np.arange(len(stored))], None
