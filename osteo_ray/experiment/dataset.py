"""The images of a run, their splits and pixels, read from its tables. Free of Ray."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from osteo_ray.base.forms import ENVIRONMENT, read_record
from osteo_ray.base.mappings import hash_settings
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import read_table
from osteo_ray.base.trust import refuse_paths
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.parts import ON_CPU, Devices
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.pixels import Bits
from osteo_ray.experiment.stored_images import locate_pixels


@dataclass(frozen=True)
class Dataset:
    """The images of a run and how they are split.

    Attributes:
        images: The images table.
        splits: For each seed: str, (n,), in the order of the table; empty for an image that is set
            aside.
        classes: All classes, sorted.
        fingerprint: Hash of the content, labels, groups and size of the images.
        regions: Hash of the regions that were given with the images; empty if there are none.
        devices: On what the run computes.
    """

    images: pd.DataFrame
    splits: dict[int, np.ndarray]
    classes: tuple[str, ...]
    fingerprint: str
    regions: str = ""
    devices: Devices = ON_CPU


def fingerprint_images(images: pd.DataFrame, image_size: ImageSize, bits: Bits) -> str:
    """Return a hash of the content, labels, groups, size and depth of the images."""
    content = images[["image_id", "label", "digest", "group"]].to_numpy().tolist()
    return hash_settings([content, image_size.written, *([] if bits == 8 else [bits])])


def read_dataset(run: Run, config: CompareConfig) -> Dataset:
    """Read the images and splits of a run.

    Raises:
        InputError: An id or a split name in the tables could lead out of the run directory, as
            files are named after them.
    """
    images = read_table(run.images).to_pandas()
    table = read_table(run.splits).to_pandas()
    refuse_paths(images["image_id"], "ids", run.images)
    refuse_paths(table["split"].unique(), "names of splits", run.splits)
    splits = {}
    for seed, part in table[table["seed"].isin(config.seed_numbers)].groupby("seed"):
        assigned = part.set_index("image_id")["split"].reindex(images["image_id"]).fillna("")
        splits[int(seed)] = assigned.to_numpy(dtype="<U10")
    classes = tuple(sorted(images["label"].unique()))
    fingerprint = fingerprint_images(images, config.image_size, config.bits)
    regions = _fingerprint_regions(run)
    return Dataset(images, splits, classes, fingerprint, regions, read_devices(run))


def read_devices(run: Run) -> Devices:
    """Read from the record of a run, or of a set of explanations, on what it computes."""
    there = run.environment.is_file()
    hardware = (read_record(run.environment, ENVIRONMENT) if there else {}).get("hardware") or {}
    training = hardware.get("device", "cpu")
    return Devices(training, hardware.get("explaining_device", training))


def _fingerprint_regions(run: Run) -> str:
    if not run.regions.is_file():
        return ""
    stored = read_table(run.regions, ["image_id", "digest"]).to_pylist()
    return hash_settings(sorted((row["image_id"], row["digest"]) for row in stored))


def read_pixels(run: Run, image_ids: list[str], image_size: ImageSize) -> np.ndarray:
    """Read the pixels of a run: uint8 or uint16, (n, height, width), in the order of the ids.

    Raises:
        InputError: The run lacks the pixels of an image.
    """
    return locate_pixels(run, image_ids, image_size)[np.arange(len(image_ids))]
