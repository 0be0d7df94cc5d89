"""Find the superpixels of all images on the cluster, with Ray Data."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import ray.data
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError

from osteo_ray.base.errors import IncompleteError
from osteo_ray.cluster.watchdog import watch
from osteo_ray.data.image_size import ImageSize
from osteo_ray.experiment.superpixel_files import Division
from osteo_ray.explain.settings import LimeSettings

DIVIDE = "find superpixels"


def divide_images(
    divisions: Sequence[Division],
    settings: LimeSettings,
    image_size: ImageSize,
    *,
    stall_timeout_s: float,
    on_divided: Callable[[], None],
) -> None:
    """Find and store the superpixels of some files of pixels.

    Args:
        divisions: The files, at least one.
        settings: How images are divided.
        image_size: Height and width of the images.
        stall_timeout_s: The longest time without a finished file, in seconds.
        on_divided: Called for each file that is done.

    Raises:
        IncompleteError: A worker failed, or nothing was computed for too long.
    """
    items = [{"division": one} for one in divisions]
    divide = partial(_divide, settings=settings, image_size=image_size)
    with watch(DIVIDE, stall_timeout_s) as beat:
        found = ray.data.from_items(items, override_num_blocks=len(items)).map(divide)
        try:
            for _ in found.iter_rows():
                beat()
                on_divided()
        except (RayError, ExecutionTimeoutError) as error:
            raise IncompleteError(
                f"Superpixels could not be found: {error}. What finished is kept; run the same "
                "command again to resume."
            ) from error


def _divide(row: dict[str, Any], settings: LimeSettings, image_size: ImageSize) -> dict[str, str]:
    from osteo_ray.explain.superpixel_files import write_superpixels

    division: Division = row["division"]
    write_superpixels(division.pixels, division.target, settings, image_size)
    return {"file": division.pixels}
