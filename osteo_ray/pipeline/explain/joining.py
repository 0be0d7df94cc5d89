"""Join the files that explaining leaves, one per slice of images, into few, with Ray Data."""

from collections.abc import Iterable
from typing import Any

import ray.data
from ray.exceptions import RayError

from osteo_ray.base.errors import IncompleteError
from osteo_ray.base.joined_tables import join_parts, needs_joining
from osteo_ray.base.storage import Place
from osteo_ray.explain.jobs import Explainable


def join_masks(explainables: Iterable[Explainable]) -> None:
    """Join the files of the masks and of the figures of faithfulness of some classifiers.

    A small set stays as it is.

    Args:
        explainables: The classifiers; nothing explains with them meanwhile.

    Raises:
        IncompleteError: A worker failed.
    """
    items = [
        {"masks": one.masks, "beside": _find_beside(one)}
        for one in explainables
        if one.masks.is_dir() and needs_joining(one.masks, _find_beside(one))
    ]
    if not items:
        return
    try:
        ray.data.from_items(items, override_num_blocks=len(items)).map(_join).materialize()
    except RayError as error:
        raise IncompleteError(
            f"The files of masks could not be joined: {error}. Nothing is lost; run the same "
            "command again to resume."
        ) from error


def _join(row: dict[str, Any]) -> dict[str, str]:
    join_parts(row["masks"], row["beside"])
    return {"folder": str(row["masks"])}


def _find_beside(explainable: Explainable) -> Place | None:
    """Return the figures of faithfulness that are written with these masks, if any are."""
    return explainable.faithfulness if explainable.faithfulness_ids else None
