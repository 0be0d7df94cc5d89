"""Reduced precision: whether a processor has it, and whether masks stay what they are."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import ray

from osteo_ray.base.digests import write_sealed
from osteo_ray.base.errors import InputError
from osteo_ray.base.forms import Form, read_record
from osteo_ray.base.startup import importing
from osteo_ray.base.storage import Place, recall_place
from osteo_ray.base.tables import list_parts, read_table, write_json
from osteo_ray.cluster.placement import Slot
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.pixels import unpack_pixels
from osteo_ray.explain.explainer import Explanation, Picture
from osteo_ray.explain.jobs import Explainable, ExplainJob
from osteo_ray.models.settings import Precision

LEAST_OVERLAP = 0.98
"""Mean intersection over union, by area, with the masks of 32-bit floats on the same samples."""
N_IMAGES = 8
"""On how many images the overlap is measured, for each classifier."""
_RECORD = "precision.json"
_FORM: Form = {"precision": str, "overlap": float, "n_images": int}


def check_processor(slot: Slot, precision: Precision) -> None:
    """Refuse a precision that the processors of explaining actors do not have.

    Raises:
        InputError: A worker runs on a processor without it.
    """
    if precision == "fp32":
        return
    asked = _ask_processor.options(num_cpus=slot.cpus, num_gpus=slot.gpus)
    problem = ray.get(asked.remote(slot.device, precision))
    if problem:
        raise InputError(problem)


@ray.remote
def _ask_processor(device: str, precision: Precision) -> str:
    # Imported here, as below: PyTorch takes seconds to import, and the driver does not need it.
    with importing("timm"):
        import torch

        from osteo_ray.models.forward import check_precision

    try:
        check_precision(precision, torch.device(device))
    except InputError as error:
        return str(error)
    return ""


def check_overlaps(pixels: Place, job: ExplainJob, slot: Slot) -> None:
    """Measure what reduced precision does to the masks of each classifier, and store it with them.

    The first images are explained twice from the same samples. What was measured before is read.

    Args:
        pixels: The directory of the pixel files.
        job: The classifiers, and the settings of LIME.
        slot: What each worker gets.

    Raises:
        InputError: The masks of a classifier overlap too little with those of 32-bit floats, or
            there are none; or the processor does not have the precision.
    """
    precision = job.settings.precision
    if precision == "fp32":
        return
    pending = [one for one in job.explainables if one.pending]
    missing = [one for one in pending if not _is_measured(one.masks / _RECORD, precision)]
    measure = _measure_overlap.options(num_cpus=slot.cpus, num_gpus=slot.gpus)
    measured = ray.get([measure.remote(pixels, one, job, slot) for one in missing])
    for one, found in zip(missing, measured, strict=True):
        if isinstance(found, str):
            raise InputError(found)
        write_json(one.masks / _RECORD, found, write_sealed)
    for one in pending:
        found = read_record(one.masks / _RECORD, _FORM)
        if not found["n_images"]:
            raise InputError(
                f"Expected masks in fp32 that those in {precision} can be compared with, but LIME "
                f"explains none of the first {N_IMAGES} images by {one.name}. Use "
                "--lime.precision fp32, which says why for each image."
            )
        if not found["overlap"] >= LEAST_OVERLAP:
            raise InputError(
                f"Expected masks in {precision} to overlap by at least {LEAST_OVERLAP:g} with "
                f"those in fp32, but those of {one.name} overlap by {found['overlap']:.2f} "
                f"({found['n_images']} images, the same samples). Use --lime.precision fp32."
            )


def _is_measured(record: Place, precision: Precision) -> bool:
    """Tell whether the overlap was measured before, in this precision and not in another one."""
    return record.is_file() and bool(read_record(record, _FORM)["precision"] == precision)


@ray.remote
def _measure_overlap(
    pixels: Place, explainable: Explainable, job: ExplainJob, slot: Slot
) -> dict[str, Any] | str:
    with importing("timm"):
        from osteo_ray.models.training import make_deterministic

    make_deterministic(slot.cpus)
    try:
        return measure_overlap_of(pixels, explainable, job, slot)
    except InputError as error:
        return str(error)


def measure_overlap_of(
    pixels: Place, explainable: Explainable, job: ExplainJob, slot: Slot
) -> dict[str, Any]:
    """Explain the first images of a classifier in full and in reduced precision.

    Returns:
        `precision`, `device`, `n_images` that were explained, and their mean `overlap`, which is 0
        if there were none.

    Raises:
        InputError: The classifier cannot be read, or the processor does not have the precision.
    """
    from dataclasses import replace

    from osteo_ray.data.masks import measure_overlap, pack_mask
    from osteo_ray.explain.explainer import Request
    from osteo_ray.explain.explainers.lime import Lime
    from osteo_ray.pipeline.explain.actor import ExplainingActor, derive_rng

    exact = job.settings.model_copy(update={"mode": "exact"})
    pictures = list(_read_pictures(pixels, explainable, job.image_size))
    identity = (explainable.fingerprint, explainable.lime_seed, "precision")
    found: list[list[Explanation | ValueError]] = []
    for precision in ("fp32", job.settings.precision):
        settings = exact.model_copy(update={"precision": precision})
        actor = ExplainingActor(
            replace(job, settings=settings), device=slot.device, n_threads=slot.cpus
        )
        requests = [Request(one, derive_rng(one.digest, *identity), 0) for one in pictures]
        found.append(Lime(exact).explain(actor.classifiers.get(explainable), requests))
    overlaps = [
        measure_overlap(pack_mask(full.keep_mask), pack_mask(reduced.keep_mask))
        if isinstance(reduced, Explanation)
        else 0.0
        for full, reduced in zip(*found, strict=True)
        if isinstance(full, Explanation)
    ]
    return {
        "precision": job.settings.precision,
        "device": slot.device,
        "n_images": len(overlaps),
        "overlap": float(np.mean(overlaps)) if overlaps else 0.0,
    }


def _read_pictures(
    pixels: Place, explainable: Explainable, image_size: ImageSize
) -> Iterator[Picture]:
    left = N_IMAGES
    for part in list_parts(pixels):
        for row in read_table(recall_place(part)).to_pylist():
            if row["image_id"] in explainable.wanted and left:
                left -= 1
                image = unpack_pixels(row["pixels"], image_size)
                yield Picture(row["image_id"], row["digest"], image)
