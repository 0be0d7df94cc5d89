"""Find the superpixels of all images on the cluster, with Ray Data."""

from collections.abc import Callable, Sequence
from typing import Any

import ray.data
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError

from osteo_ray.base.errors import IncompleteError
from osteo_ray.cluster.watchdog import watch
from osteo_ray.experiment.superpixel_files import Division

DIVIDE = "find superpixels"


def divide_images(
    divisions: Sequence[Division],
    *,
    stall_timeout_s: float,
    on_divided: Callable[[], None],
) -> None:
    """Find and store the superpixels of some files of pixels.

    Args:
        divisions: The files, at least one.
        stall_timeout_s: The longest time without a finished file, in seconds.
        on_divided: Called for each file that is done.

    Raises:
        IncompleteError: A worker failed, or nothing was computed for too long.
    """
    items = [{"division": one} for one in divisions]
    with watch(DIVIDE, stall_timeout_s) as beat:
        found = ray.data.from_items(items, override_num_blocks=len(items)).map(_divide)
        try:
            for _ in found.iter_rows():
                beat()
                on_divided()
        except (RayError, ExecutionTimeoutError) as error:
            raise IncompleteError(
                f"Superpixels could not be found: {error}. What finished is kept; run the same "
                "command again to resume."
            ) from error


def _divide(row: dict[str, Any]) -> dict[str, int]:
    return {"n_images": row["division"].write()}
