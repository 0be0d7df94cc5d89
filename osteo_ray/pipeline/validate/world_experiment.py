"""One experiment in a planted world: its images are drawn, then everything runs in one process.

Training, explaining, analysis and verdict are the functions that a comparison on a cluster uses.
"""

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import osteo_ray.pipeline.validate.stripe_net  # noqa: F401  # registers its networks with timm
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import MASKS, PIXELS, write_pixels, write_table
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.masks import cover_area, pack_mask
from osteo_ray.data.splits.assignment import assign_splits
from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.comparison import analyse
from osteo_ray.experiment.dataset import Dataset
from osteo_ray.experiment.trials import Experiment, describe_experiment, plan_trials
from osteo_ray.explain.superpixels import find_superpixels
from osteo_ray.pipeline.compare.in_process import run_in_process
from osteo_ray.pipeline.compare.mask_jobs import list_explanations
from osteo_ray.pipeline.validate.planted_worlds import World
from osteo_ray.pipeline.validate.striped_images import SIDE_PX, StripedSet, draw_set
from osteo_ray.statistics.settings import StatisticsSettings

ARMS = (
    *("original", "original_retrained", "lime", "random_mask", "other_image_mask"),
    *("centre_mask", "silhouette", "complement"),
)
_SEEDS_APART = 1000  # between the seeds of one experiment and those of the next


def judge_world(world: World, number: int) -> dict[str, Any]:
    """Run one experiment in a world.

    Args:
        world: The world to run it in.
        number: Number of the experiment; the same number gives the same verdict.

    Returns:
        Verdict and reason, the mean accuracy on test images per arm, and of each primary contrast
        the difference with its p after Holm's correction.
    """
    with TemporaryDirectory() as folder:
        drawn = draw_set(world.drawing, seed=number)
        experiment = open_world(world, drawn, number, Run(Path(folder)))
        if world.masks == "planted":
            plant_masks(experiment, drawn)
        run_in_process(experiment, drawn.images)
        trials = [trial for trials in plan_trials(experiment) for trial in trials]
        predictions = pa.concat_tables(
            pq.read_table(experiment.path_of(trial) / "predictions.parquet")
            for trial in trials
            if trial.arm in experiment.arms
        )
    images = pd.DataFrame({"image_id": experiment.image_ids, "group": experiment.groups})
    results, comparison = analyse(predictions, images, Analysis.of(experiment))
    test = results[results["split"] == "test"]
    return {
        "world": world.name,
        "number": number,
        **comparison["verdict"],
        "accuracy": test.groupby("arm", sort=False)["accuracy"].mean().to_dict(),
        "contrasts": [
            {key: contrast[key] for key in ("arm", "baseline", "difference", "p_holm")}
            for contrast in comparison["contrasts"]
            if contrast["family"] == "primary"
        ],
    }


def open_world(world: World, drawn: StripedSet, number: int, run: Run) -> Experiment:
    """Prepare the experiment of a world, and write its pixels into a run."""
    config = CompareConfig(
        models=(world.model,),
        weights=("none",),
        arms=(*ARMS, *world.more_arms),
        split=world.split,
        second_start=world.second_start,
        split_ratio=world.ratio,
        seeds=world.n_seeds,
        first_seed=_SEEDS_APART * number,
        image_size=ImageSize.square(SIDE_PX),
        training=world.training,
        lime=world.lime,
        statistics=StatisticsSettings(margin=world.margin),
    )
    ids = [f"image-{place:04}" for place in range(len(drawn.images))]
    digests = [hashlib.sha256(image.tobytes()).hexdigest() for image in drawn.images]
    pixels = [image.tobytes() for image in drawn.images]
    table = pa.table({"image_id": ids, "digest": digests, "pixels": pixels}, schema=PIXELS)
    write_pixels(run.pixels / "part-0.parquet", table)
    images = pd.DataFrame(
        {"image_id": ids, "path": ids, "label": drawn.labels, "group": drawn.groups}
    )
    whole = np.arange(len(ids)) if world.split == "random" else drawn.groups
    splits = {
        seed: assign_splits(drawn.labels, whole, world.ratio, seed=seed)
        for seed in config.seed_numbers
    }
    classes = tuple(sorted(set(drawn.labels.tolist())))
    dataset = Dataset(images, splits, classes, f"{world.name}, {number}")
    return describe_experiment(run, config, dataset)


def plant_masks(experiment: Experiment, drawn: StripedSet) -> None:
    """Write the planted masks in place of those of LIME, together with their random controls.

    An image that cannot be explained gets a reason in place of its masks, as from an explainer.
    """
    for job, told in list_explanations(experiment, plan_trials(experiment)[1]).items():
        rng = np.random.default_rng((told.lime_seed, len(drawn.images)))
        rows = []
        for image_id, image, keep, failed in zip(
            experiment.image_ids.tolist(),
            drawn.images,
            drawn.keep_masks,
            drawn.failed.tolist(),
            strict=True,
        ):
            segments = find_superpixels(image, experiment.settings.lime)
            control = cover_area(segments, int(keep.sum()), rng)
            rows += [
                {
                    "model": told.model,
                    "seed": told.seed,
                    "teacher": told.teacher,
                    "target": job.target,
                    "kind": kind,
                    "image_id": image_id,
                    "keep_mask": None if failed else pack_mask(mask),
                    "error": "The image cannot be explained." if failed else None,
                }
                for kind, mask in (("lime", keep), ("random", control))
                if image_id in told.wanted
            ]
        write_table(told.masks / "part-0.parquet", pa.Table.from_pylist(rows, schema=MASKS))
