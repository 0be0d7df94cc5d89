"""Small planted worlds as runs in this process, whose classifiers are there afterwards."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from osteo_ray.base.runs import Run
from osteo_ray.base.tables import REGIONS, write_table
from osteo_ray.data.masks import pack_mask
from osteo_ray.experiment.trials import Experiment
from osteo_ray.pipeline.validate.planted_worlds import WORLDS
from osteo_ray.pipeline.validate.striped_images import draw_set
from osteo_ray.pipeline.validate.world_experiment import open_world, plant_masks


def open_small_world(root: Path, arms: tuple[str, ...]) -> tuple[Experiment, np.ndarray]:
    """Prepare a world of 70 images, two seeds and two epochs, with planted masks.

    Returns:
        The experiment; and the pixels, uint8, (70, 32, 32).
    """
    world = WORLDS["distraction"]
    world = replace(
        world,
        drawing=replace(world.drawing, n_images=70),
        training=world.training.model_copy(update={"epochs": 2}),
        n_seeds=2,
        ratio=(4, 1, 2),
    )
    drawn = draw_set(world.drawing, seed=0)
    experiment = replace(open_world(world, drawn, 0, Run(root)), arms=arms)
    plant_masks(experiment, drawn)
    return experiment, drawn.images


def give_regions(experiment: Experiment, inside: np.ndarray) -> Experiment:
    """Keep regions in the run of an experiment: bool, (n, height, width); True = inside."""
    packed = [pack_mask(one) for one in inside]
    digests = [hashlib.sha256(one).hexdigest() for one in packed]
    columns = [experiment.image_ids.tolist(), digests, packed]
    write_table(experiment.run.regions, pa.table(columns, schema=REGIONS))
    return replace(experiment, regions=hashlib.sha256(b"".join(packed)).hexdigest()[:12])
