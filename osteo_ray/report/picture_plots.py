"""Plots of images as a run shows them: the counterparts of the paper's figures 2 and 5 to 8."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.base.tables import scan_table
from osteo_ray.report.pictures import PANEL_ARMS, PANEL_LABELS, compose_panels
from osteo_ray.report.plots import Absent, Plot
from osteo_ray.report.results import Shown
from osteo_ray.report.shown_images import ShownImages
from osteo_ray.report.style import FONT_PT, INK, shorten, start_figure

_ACROSS, _PANEL_IN = 6, 1.62
_PER_CLASS = 6
_OF_PAPER = {
    "samples": "Figure 2",
    "regions": "Figures 5 and 6",
    "gradcam": "Figure 7",
    "masked": "Figure 8",
    "arms": "",
}
_NO_IMAGES = "The images are not kept here, only tables."


@dataclass(frozen=True)
class _Panel:
    """One picture with its title, and what is known of it."""

    title: str
    pixels: np.ndarray
    known: Mapping[str, Any]


def plot_pictures(shown: Shown) -> list[Plot | Absent]:
    """Draw images, regions, heat maps and masked images of a run."""
    if shown.config is None:
        reason = "Images and masks need the settings of a run, and there are none here."
        return [Absent(name, reason, of_paper) for name, of_paper in _OF_PAPER.items()]
    images = scan_table(shown.run.images).to_pylist()
    rows = sorted(
        (row for row in images if row.get("used", True)),
        key=lambda row: row.get("path", row["image_id"]),
    )
    stored = ShownImages(shown.run, shown.config.image_size, shown.comparison["seeds"][0])
    if not stored.has_pixels:
        return [Absent(name, _NO_IMAGES, of_paper) for name, of_paper in _OF_PAPER.items()]
    return [
        _plot_samples(rows, shown, stored),
        *_plot_explanations(rows, shown, stored),
        _plot_masked(rows, shown, stored),
        _plot_arms(rows, shown, stored),
    ]


def _plot_samples(rows: Sequence[Any], shown: Shown, stored: ShownImages) -> Plot | Absent:
    panels = []
    for label in shown.comparison["classes"]:
        chosen = [row for row in rows if row["label"] == label][:_PER_CLASS]
        found = stored.read_pixels([row["image_id"] for row in chosen])
        panels.append(
            [
                _Panel(label if not number else "", found[row["image_id"]], _describe(row))
                for number, row in enumerate(chosen)
                if row["image_id"] in found
            ]
        )
    if not any(panels):
        return Absent("samples", "No table says which images there are.", _OF_PAPER["samples"])
    caption = "Images of each class as networks see them, without augmentation."
    return _make("samples", caption, panels)


def _plot_explanations(
    rows: Sequence[Any], shown: Shown, stored: ShownImages
) -> list[Plot | Absent]:
    """Draw one test image with the LIME region, and with the heat map, of each model."""
    heatmaps = stored.read_heatmaps()
    masked = {(model, image_id) for model, ids in stored.masked.items() for image_id in ids}
    made: list[Plot | Absent] = []
    for name, panel, found, what in (
        ("regions", "LIME region", masked, "LIME masks"),
        ("gradcam", "Grad-CAM", set(heatmaps), "Grad-CAM heat maps"),
    ):
        row = _choose(rows, shown, stored, found)
        if row is None:
            made.append(Absent(name, f"There are no {what} here.", _OF_PAPER[name]))
            continue
        pixels = stored.read_pixels([row["image_id"]])[row["image_id"]]
        masks = stored.read_masks([row["image_id"]])
        panels = [_Panel("Original", pixels, {**_describe(row), "panel": "Original"})]
        for model in shown.models:
            key = (model, row["image_id"])
            composed = compose_panels(pixels, masks.get((*key, "lime")), None, heatmaps.get(key))
            picture = composed[panel]
            if picture is not None:
                known = {**_describe(row), "model": model, "panel": panel}
                panels.append(_Panel(shorten(model, 22), picture, known))
        caption = f"A test image of seed {stored.seed}, and what each network rests on there: " + (
            "the superpixels inside the outline." if name == "regions" else "the warm regions."
        )
        made.append(_make(name, caption, [panels]))
    return made


def _choose(
    rows: Sequence[Any], shown: Shown, stored: ShownImages, found: set[tuple[str, str]]
) -> Any:
    """Return the first test image of the positive class that most models have explained."""
    tested = stored.list_split("test")
    counts = {
        row["image_id"]: sum((model, row["image_id"]) in found for model in shown.models)
        for row in rows
        if row["image_id"] in tested
    }
    best = max(counts.values(), default=0)
    candidates = [row for row in rows if best and counts.get(row["image_id"]) == best]
    positive = shown.comparison["positive_class"]
    candidates.sort(key=lambda row: row["label"] != positive)
    return candidates[0] if candidates else None


def _plot_masked(rows: Sequence[Any], shown: Shown, stored: ShownImages) -> Plot | Absent:
    """Draw masked images of the first model from each part of the split, as the paper does."""
    model = shown.models[0]
    masked, panels = stored.masked.get(model, frozenset()), []
    for part in ("train", "validation", "test"):
        explained = stored.list_split(part) & masked
        chosen = []
        for label in shown.comparison["classes"]:
            of_class = [
                row for row in rows if row["label"] == label and row["image_id"] in explained
            ]
            chosen += of_class[: max(1, _ACROSS // len(shown.comparison["classes"]))]
        ids = [row["image_id"] for row in chosen]
        found, masks = stored.read_pixels(ids), stored.read_masks(ids)
        panels.append(
            [
                _Panel(
                    f"{part}: {row['label']}",
                    found[row["image_id"]] * masks[model, row["image_id"], "lime"],
                    {**_describe(row), "model": model, "part": part}
                    | {"kept": float(masks[model, row["image_id"], "lime"].mean())},
                )
                for row in chosen
                if row["image_id"] in found and (model, row["image_id"], "lime") in masks
            ]
        )
    if not any(panels):
        return Absent("masked", "There are no LIME masks here.", _OF_PAPER["masked"])
    caption = f"Images of seed {stored.seed} multiplied with the LIME masks of {model}."
    return _make("masked", caption, panels)


def _plot_arms(rows: Sequence[Any], shown: Shown, stored: ShownImages) -> Plot | Absent:
    """Draw one test image per class as each arm and explanation shows it."""
    assert shown.config is not None  # as `plot_pictures` has made sure
    model, heatmaps = shown.models[0], stored.read_heatmaps()
    masked = stored.masked.get(model, frozenset())
    arms = shown.config.arms
    labels = [name for name in PANEL_LABELS if PANEL_ARMS.get(name, ORIGINAL) in arms]
    tested, panels = stored.list_split("test"), []
    for label in shown.comparison["classes"]:
        of_class = [row for row in rows if row["label"] == label and row["image_id"] in tested]
        of_class.sort(key=lambda row: (model, row["image_id"]) not in heatmaps)
        row = next((one for one in of_class if one["image_id"] in masked), None)
        if row is None:
            continue
        key = (model, row["image_id"])
        pixels = stored.read_pixels([row["image_id"]]).get(row["image_id"])
        if pixels is None:
            continue
        masks = stored.read_masks([row["image_id"]])
        lime, control = masks.get((*key, "lime")), masks.get((*key, "random"))
        composed = compose_panels(pixels, lime, control, heatmaps.get(key))
        panels.append(
            [
                _Panel(name, picture, {**_describe(row), "model": model, "panel": name})
                for name in labels
                if (picture := composed[name]) is not None
            ]
        )
    if not panels:
        return Absent("arms", "There are no LIME masks of test images here.")
    caption = (
        f"A test image of each class, seed {stored.seed}, as arms and explanations show it; masks "
        f"of {model}."
    )
    return _make("arms", caption, panels)


def _describe(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"image_id": row["image_id"], "label": row["label"]}


def _make(name: str, caption: str, rows: Sequence[Sequence[_Panel]]) -> Plot:
    shown = [row for row in rows if row]
    data = pd.DataFrame([dict(panel.known) for row in shown for panel in row])
    return Plot(name, caption, caption, _draw(shown), data, _OF_PAPER[name])


def _draw(rows: Sequence[Sequence[_Panel]]) -> Figure:
    across = max(_ACROSS, *(len(row) for row in rows)) if rows else _ACROSS
    figure = start_figure((_PANEL_IN + 0.2) * max(len(rows), 1))
    grid = figure.subplots(max(len(rows), 1), across, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for number, row in enumerate(rows):
        for axes, panel in zip(grid[number], row, strict=False):
            gray = {"cmap": "gray", "vmin": 0, "vmax": 1 if panel.pixels.dtype == bool else 255}
            axes.imshow(panel.pixels, **(gray if panel.pixels.ndim == 2 else {}))
            axes.set_title(
                shorten(panel.title, 24), size=0.85 * FONT_PT, color=INK, loc="left"
            ).set_parse_math(False)
    return figure
