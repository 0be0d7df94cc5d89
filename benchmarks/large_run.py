"""A finished comparison of many images, whose tables are drawn instead of computed."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from osteo_ray.base.digests import seal_folder, write_record, write_sealed
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import write_whole
from osteo_ray.base.tables import (
    HEATMAPS,
    IMAGES,
    MASKS,
    PIXELS,
    REJECTS,
    SPLITS,
    write_json,
    write_pixels,
    write_table,
    write_yaml,
)
from osteo_ray.config.build import build_config
from osteo_ray.config.compare import CompareConfig
from osteo_ray.experiment.trials import LAST, WEIGHTS, Experiment, MaskJob, Trial, plan_trials
from osteo_ray.models.checkpoint import Checkpoint
from osteo_ray.models.classifier import build_classifier, save_classifier
from osteo_ray.models.epochs import Epoch
from osteo_ray.pipeline.compare.mask_jobs import list_explanations
from osteo_ray.pipeline.compare.one_trial import tabulate_predictions
from osteo_ray.pipeline.compare.prepare import describe_plan
from osteo_ray.pipeline.stored_run import describe_stored

_MODEL = "test_byobnet"
_CLASSES = ("normal", "osteoporosis")
_PER_FILE = 1000  # images; of masks 5000, as `join_parts` leaves them
_MASKS_PER_FILE = 5000
_FEW = 64  # different masks and images


def configure_large(out: Path, size_px: int) -> CompareConfig:
    """Return the settings of the comparison."""
    return build_config(
        {
            "models": [_MODEL],
            "weights": "none",
            "arms": ["original", "lime"],
            "seeds": 2,
            "image_size": size_px,
            "lime": {"superpixels": "grid", "n_superpixels": 9, "samples": 16, "top_k": 2},
            "out": str(out),
        }
    )


def write_large_run(run: Run, n_images: int, size_px: int) -> None:
    """Write all that a comparison leaves but what it concludes; its classifiers are untrained.

    Args:
        run: Where.
        n_images: Seven in ten are for training, two for testing; every second one is positive.
        size_px: Side of the images, in pixels.
    """
    config = configure_large(Path(str(run.root)), size_px)
    ids = [f"{number:016x}" for number in range(n_images)]
    named = dict.fromkeys(("image_id", "path", "digest"), ids)
    plain = dict.fromkeys(("side", "site", "given_split", "format", "mode"), "")
    images = pd.DataFrame({**named, "group": np.arange(n_images), **plain}).assign(
        label=np.resize(_CLASSES, n_images), copies=1, conflict=False, used=True
    )
    images = images.assign(
        given_label=images["label"], patient=images["group"], width=size_px, height=size_px
    )
    part = np.resize(np.repeat(["train", "validation", "test"], [14, 2, 4]), n_images)
    splits = [
        pd.DataFrame({"seed": seed, "image_id": ids, "split": np.roll(part, 6 * seed)})
        for seed in config.seed_numbers
    ]
    for place, schema, table in (
        (run.images, IMAGES, images),
        (run.splits, SPLITS, pd.concat(splits, ignore_index=True)),
        (run.rejects, REJECTS, pd.DataFrame({"path": [], "reason": []})),
    ):
        filled = pa.Table.from_pandas(table[schema.names], schema, preserve_index=False)
        write_table(place, filled, how=write_record)
    write_json(run.plan, [describe_plan(config)], write_record)
    write_json(run.environment, {"created": "", "versions": {}, "hardware": {}}, write_record)
    write_yaml(run.config, config.model_dump(mode="json"), write_record)
    _write_pixels(run, ids, size_px)
    _, experiment = describe_stored(run, config)
    rng = np.random.default_rng(0)
    for trial in dict.fromkeys([one for some in plan_trials(experiment) for one in some]):
        _write_trial(experiment, trial, rng)
    for seed in config.seed_numbers:
        write_masks(experiment, seed, np.arange(n_images))
    _write_heatmaps(experiment)


def write_masks(experiment: Experiment, seed: int, order: np.ndarray) -> None:
    """Write masks of a few of 6×6 squares, three kinds of each image, in joined files."""
    (job,) = experiment.list_jobs(Trial(_MODEL, seed, "lime"))
    explainable = list_explanations(experiment, [Trial(_MODEL, seed, "lime")])[job]
    packed, weights = _draw_masks(experiment.settings.image_size.height, seed)
    for start in range(0, len(order), _MASKS_PER_FILE):
        rows = [
            {"model": _MODEL, "seed": seed, "teacher": "original", "target": "predicted"}
            | {"kind": kind, "image_id": str(experiment.image_ids[number])}
            | {"keep_mask": packed[(number + shift) % _FEW], "weights": weights, "n_samples": 16}
            | {"local_fit": 0.5, "stability": 0.9, "unstable": False}
            for number in order[start : start + _MASKS_PER_FILE].tolist()
            for shift, kind in enumerate(explainable.kinds)
        ]
        place = explainable.masks / f"joined-{start:09}.parquet"
        write_table(place, pa.Table.from_pylist(rows, schema=MASKS), 4096, how=write_sealed)


def _draw_masks(size_px: int, seed: int) -> tuple[list[bytes], list[float]]:
    rng = np.random.default_rng(seed)
    square = -(-size_px // 6)
    few = rng.random((_FEW, 6, 6)) < 0.15
    grown = np.kron(few, np.ones((square, square)))[:, :size_px, :size_px] > 0
    return [np.packbits(mask).tobytes() for mask in grown], rng.random(36).tolist()


def draw_few(size_px: int) -> np.ndarray:
    """Draw pictures that are smooth, so that they compress as radiographs do."""
    small = np.random.default_rng(7).integers(0, 256, (_FEW, 14, 14), np.uint8)
    grown = [Image.fromarray(one).resize((size_px, size_px)) for one in small]
    return np.stack([np.asarray(one) for one in grown])


def _write_pixels(run: Run, ids: list[str], size_px: int) -> None:
    few = draw_few(size_px)
    for start in range(0, len(ids), _PER_FILE):
        own = ids[start : start + _PER_FILE]
        pixels = [few[(start + place) % _FEW].tobytes() for place in range(len(own))]
        table = pa.table([own, own, pixels], schema=PIXELS)
        write_pixels(run.pixels / f"part-{start:09}.parquet", table)


def _write_trial(experiment: Experiment, trial: Trial, rng: np.random.Generator) -> None:
    image_size = experiment.settings.image_size
    tables = []
    for split in ("validation", "test"):
        rows = np.flatnonzero(experiment.splits[trial.seed] == split)
        signs = 2 * (experiment.labels[rows] == _CLASSES[1]) - 1
        positive = 1 / (1 + np.exp(-(signs + rng.normal(size=len(rows)))))
        found = np.stack([1 - positive, positive], axis=1)
        tables.append(tabulate_predictions(trial, experiment, split, rows, found))
    classifier = build_classifier(
        _MODEL, n_classes=2, image_size=image_size, weights="none", seed=trial.seed
    )
    with write_whole(experiment.path_of(trial), last=LAST) as unfinished:
        unfinished.mkdir(parents=True)
        checkpoint = Checkpoint(_MODEL, _CLASSES, image_size)
        save_classifier(classifier, unfinished / WEIGHTS, checkpoint)
        write_table(unfinished / "predictions.parquet", pa.concat_tables(tables))
        epoch = Epoch(0, 0.5, 0.5, 1e-3, 0.7, 2)
        (unfinished / LAST).write_text(json.dumps([asdict(epoch)]))
        seal_folder(unfinished)


def _write_heatmaps(experiment: Experiment) -> None:
    trial = Trial(_MODEL, experiment.first_seed, "lime")
    job = next(iter(experiment.list_jobs(trial)))
    assert job == MaskJob(experiment.first_of(trial))
    explainable = list_explanations(experiment, [trial])[job]
    few = draw_few(experiment.settings.image_size.height)
    for number, image_id in enumerate(sorted(explainable.heatmap_ids)):
        row = (_MODEL, trial.seed, image_id, few[number % _FEW].tobytes())
        table = pa.Table.from_pylist([dict(zip(HEATMAPS.names, row, strict=True))], HEATMAPS)
        write_table(explainable.heatmaps / f"{image_id}.parquet", table, how=write_sealed)
