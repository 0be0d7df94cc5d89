"""A picture of what each arm of a finished run shows of the same images, for docs/arms.md."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from osteo_ray.arms.registry import ARMS
from osteo_ray.base.runs import Run
from osteo_ray.config.build import build_config, read_yaml
from osteo_ray.experiment.dataset import read_dataset, read_pixels
from osteo_ray.experiment.keep_masks import read_keep_masks
from osteo_ray.experiment.trials import Experiment, Trial, describe_experiment

_SIDE_PX, _GAP_PX, _LABEL_PX, _COLUMNS = 112, 6, 14, 4


def draw_arms(run: Run, out: Path) -> None:
    """Draw a training image and a test image of the second class as each arm shows them.

    Args:
        run: A finished comparison.
        out: The PNG file to write.
    """
    # Imported here: it imports PyTorch.
    from osteo_ray.pipeline.compare.one_trial import make_set

    config = build_config(read_yaml(run.config))
    experiment = describe_experiment(run, config, read_dataset(run, config))
    pixels = read_pixels(run, experiment.image_ids.tolist(), experiment.settings.image_size)
    model, seed = experiment.models[0], experiment.first_seed
    pictures = []
    for arm in experiment.arms:
        trial = Trial(model, seed, arm)
        keep_masks = read_keep_masks(experiment, trial)
        shown = []
        for split in ("train", "test"):
            rows, images = make_set(trial, experiment, pixels, keep_masks, split)
            chosen = _choose(experiment, rows)
            batch = images.make_batch(np.array([chosen]), torch.device("cpu"))
            shown.append((batch[0, 0].numpy() * 255).round().astype(np.uint8))
        pictures.append((ARMS[arm].label, shown))
    _arrange(pictures).save(out, optimize=True)


def _choose(experiment: Experiment, rows: np.ndarray) -> int:
    """Return the place, among some images, of the one of the second class with the first name."""
    ids, labels = experiment.image_ids[rows], experiment.labels[rows]
    places = np.flatnonzero(labels == experiment.classes[-1])
    return int(min(places, key=lambda place: ids[place]))


def _arrange(pictures: Sequence[tuple[str, Sequence[np.ndarray]]]) -> Image.Image:
    """Arrange pairs of pictures in columns, each under its label."""
    width = 2 * _SIDE_PX + 3 * _GAP_PX
    height = _SIDE_PX + _LABEL_PX + 2 * _GAP_PX
    n_rows = -(-len(pictures) // _COLUMNS)
    sheet = Image.new("L", (_COLUMNS * width, n_rows * height), 255)
    draw = ImageDraw.Draw(sheet)
    for number, (label, shown) in enumerate(pictures):
        row, column = divmod(number, _COLUMNS)
        left, top = column * width + _GAP_PX, row * height + _GAP_PX
        draw.text((left, top), label, fill=0)
        for place, image in enumerate(shown):
            tile = Image.fromarray(image).resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BICUBIC)
            sheet.paste(tile, (left + place * (_SIDE_PX + _GAP_PX), top + _LABEL_PX))
    return sheet
