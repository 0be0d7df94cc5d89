"""A few test images on the page of a run, as arms and explanations show them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.dataset as ds

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import scan_table
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.masks import unpack_mask
from osteo_ray.experiment.mask_notes import MAIN_MASKS
from osteo_ray.report.pictures import PANEL_ARMS, PANEL_LABELS, draw_panels

Rows = list[dict[str, Any]]

_SAMPLES_PER_CLASS, _MAX_SAMPLES = 2, 6  # pictures make most of the page's size
_TEST = ds.field("split") == "test"


def draw_samples(
    run: Run, config: CompareConfig, comparison: Mapping[str, Any], images: Rows
) -> dict[str, Any]:
    """Draw test images of the first seed, without what controls show that were not run.

    Args:
        run: The run.
        config: Its configuration.
        comparison: What comparison.json holds.
        images: Rows of the images table.

    Returns:
        `samples`: a row per model and image, with `panels`, pairs of a label and a data URI; and
        `panel_labels`, their labels.
    """
    samples = _draw_samples(run, config.image_size, comparison, config.models, images)
    shown = [label for label in PANEL_LABELS if PANEL_ARMS.get(label, ORIGINAL) in config.arms]
    for row in samples:
        row["panels"] = [panel for panel in row["panels"] if panel[0] in shown]
    return {"samples": samples, "panel_labels": shown}


def _draw_samples(
    run: Run, size_px: int, comparison: Mapping[str, Any], models: Sequence[str], images: Rows
) -> Rows:
    """Draw a few test images of the first seed: those with heat maps, or the first per class."""
    of_seed = ds.field("seed") == comparison["seeds"][0]
    heatmaps = {
        (row["model"], row["image_id"]): row["heatmap"]
        for row in scan_table(run.heatmaps, of_seed).to_pylist()
    }
    wanted = {image_id for _, image_id in heatmaps}
    images = sorted(images, key=lambda row: (row["label"], row["path"]))
    chosen = [row for row in images if row["image_id"] in wanted]
    if not chosen:
        tested = {row["image_id"] for row in scan_table(run.splits, of_seed & _TEST).to_pylist()}
        for label in comparison["classes"]:
            known = [r for r in images if r["label"] == label and r["image_id"] in tested]
            chosen += known[:_SAMPLES_PER_CLASS]
    of_images = ds.field("image_id").isin([row["image_id"] for row in chosen[:_MAX_SAMPLES]])

    def square(content: bytes | None) -> np.ndarray | None:
        return np.frombuffer(content, np.uint8).reshape(size_px, size_px) if content else None

    pixels = {
        row["image_id"]: square(row["pixels"])
        for row in scan_table(run.pixels, of_images).to_pylist()
    }
    masks = {
        (row["model"], row["image_id"], row["kind"]): unpack_mask(row["keep_mask"], size_px)
        for row in scan_table(run.masks, of_seed & of_images & MAIN_MASKS).to_pylist()
        if row["keep_mask"]
    }
    first = of_seed & of_images & _TEST & (ds.field("arm") == ORIGINAL)
    predicted = {
        (row["model"], row["image_id"]): max((row[f"p_{c}"], c) for c in comparison["classes"])
        for row in scan_table(run.predictions, first).to_pylist()
    }
    samples = []
    for model in models:
        for row in chosen[:_MAX_SAMPLES]:
            key = (model, row["image_id"])
            image, heatmap = pixels.get(row["image_id"]), square(heatmaps.get(key))
            if image is not None:
                lime, control = masks.get((*key, "lime")), masks.get((*key, "random"))
                panels = draw_panels(image, lime, control, heatmap)
                samples.append({**row, "model": model, "panels": panels, "p": predicted.get(key)})
    return samples
