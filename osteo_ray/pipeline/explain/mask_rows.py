"""The rows that an explaining actor writes: of masks, and of how faithful they are."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from osteo_ray.data.masks import pack_mask
from osteo_ray.data.notes import write_notes
from osteo_ray.explain.explainer import Explanation, Picture
from osteo_ray.explain.faithfulness import UNMEASURED, Faithfulness
from osteo_ray.explain.jobs import Explainable, make_record

Found = Mapping[str, Sequence[Explanation | ValueError]]
"""By kind of mask, the explanation of each picture, or why there is none."""
Measured = Mapping[tuple[str, str], Faithfulness | ValueError]
"""By kind and image, how faithful an explanation is, or why that is unknown."""


def list_mask_rows(
    explainable: Explainable, pictures: Sequence[Picture], found: Found, measured: Measured
) -> list[dict[str, Any]]:
    """Make the rows of the masks table.

    The explained class stands in the row of the leading mask only. A mask that could not be
    measured says so in its note.
    """
    rows = []
    for kind, explanations in found.items():
        for picture, one in zip(pictures, explanations, strict=True):
            image_id = picture.image_id
            if isinstance(one, ValueError):
                rows.append(make_record(explainable, image_id, kind, error=str(one)))
                continue
            figures = dict(one.figures)
            peak = one.find_peak()
            if peak is not None:
                figures["peak"] = pack_mask(peak)
            if kind == explainable.kinds[0]:
                figures["explained_class"] = one.explained_class
            if isinstance(measured.get((kind, image_id)), ValueError):
                figures["note"] = write_notes(filter(None, [figures.get("note"), UNMEASURED]))
            rows.append(
                make_record(explainable, image_id, kind, pack_mask(one.keep_mask), **figures)
            )
    return rows


def list_faithfulness_rows(explainable: Explainable, measured: Measured) -> list[dict[str, Any]]:
    """Make the rows of the faithfulness table; there is none for what could not be measured."""
    identity = {"model": explainable.model, "seed": explainable.seed}
    return [
        {**identity, "kind": kind, "image_id": image_id, **asdict(one)}
        for (kind, image_id), one in measured.items()
        if isinstance(one, Faithfulness)
    ]
