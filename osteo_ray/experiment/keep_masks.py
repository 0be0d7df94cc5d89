"""The keep-masks of a trial, from its teachers or given regions. Free of Ray and of PyTorch."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from osteo_ray.arms.arm import MaskSource
from osteo_ray.arms.registry import ARMS
from osteo_ray.base.forms import Form, read_record
from osteo_ray.base.remote import RemotePath
from osteo_ray.base.storage import Place
from osteo_ray.base.tables import MASKS, iterate_parts
from osteo_ray.data.fresh_masks import FreshMasks, pass_areas_on
from osteo_ray.data.masks import check_packed
from osteo_ray.data.packed_masks import PackedMasks, borrow_masks, change_masks
from osteo_ray.experiment.region_table import load_regions
from osteo_ray.experiment.superpixel_files import read_superpixels
from osteo_ray.experiment.trials import Experiment, Trial, list_arms

UNEXPLAINED = "unexplained.json"
"""The file of a trial that lists its images without an explanation; missing if there are none."""
_RECORD: Form = {"images": [{"split": str, "label": str}]}
# Added to a seed: streams of their own, beside those of the augmentation and of the split.
_FRESH, _REDRAWN = 2 * 10**6, 3 * 10**6
_DRAWN = 256  # masks that are drawn at a time
NO_PIXEL = "Its mask keeps nothing, since no part of the image speaks for the class."
ALL_PIXELS = "Its mask keeps the whole image."


@dataclass(frozen=True)
class Unexplained:
    """An image without an explanation of its own, and what a masked arm showed of it.

    Attributes:
        image_id: The id of the image.
        split: The part of the split that it is in.
        label: Its class.
        reason: Why there is no explanation, as a sentence.
        mask_of: The id of the image whose mask it was shown with. None if it was shown whole, or
            with a square in the middle, because no image of that part has a mask.
    """

    image_id: str
    split: str
    label: str
    reason: str
    mask_of: str | None


@dataclass(frozen=True)
class KeepMasks:
    """The masks of all images of a trial.

    Attributes:
        masks: In the order of `Experiment.image_ids`. An image that is set aside is kept whole.
        unexplained: The images that have no explanation of their own. Their masks come from
            `borrow_masks`, or, if the setting `unexplained` is `whole`, keep the whole image
            (before the mask is changed, if the arm is a control).
        fresh: The masks that training images are shown with, if they are drawn anew in each epoch;
            None if they are those in `masks`. What `masks` holds for training and validation images
            is then the draw of the first epoch.
    """

    masks: PackedMasks
    unexplained: tuple[Unexplained, ...]
    fresh: FreshMasks | None = None

    @property
    def errors(self) -> dict[str, str]:
        """Return, by image, why it has no explanation of its own."""
        return {one.image_id: one.reason for one in self.unexplained}


def read_keep_masks(experiment: Experiment, trial: Trial) -> KeepMasks | None:
    """Read the keep-masks that a trial applies to its images; None for an arm without masks.

    Raises:
        InputError: The arm shows regions, and the run has none; or superpixels are missing.
        RuntimeError: Some images have no mask.
        ValueError: A mask does not have the size of the images.
    """
    arm = ARMS.get(trial.arm)
    source = arm.masks if arm else None
    if arm is None or source is None:
        return None
    seed, split = experiment.seeds[trial.seed].split, experiment.splits[trial.seed]
    unexplained: tuple[Unexplained, ...] = ()
    if arm.shows_regions:
        masks = _keep_whole(load_regions(experiment), split == "")
    else:
        masks, unexplained = _read_explained(experiment, trial, source)
    if source.change in ("redrawn", "scattered"):
        changed = _redraw(experiment, masks, split, seed, others=source.change == "redrawn")
    else:
        changed = change_masks(masks, source.change, split, np.random.default_rng(seed))
    fresh = None
    seen = np.flatnonzero(np.isin(split, ("train", "validation")))
    if arm.training_masks != "own" and len(seen):  # an external cohort has no such images
        areas_px, numbers = changed.areas_px, np.arange(len(changed))
        stream = experiment.seeds[trial.seed].augmentation + _FRESH
        fresh = FreshMasks(read_superpixels(experiment), areas_px, numbers, stream)
        changed = changed.put(seen, _draw_first(fresh, seen))
    if arm.tested_whole:
        changed = _keep_whole(changed, np.isin(split, ("validation", "test")))
    return KeepMasks(changed, unexplained, fresh)


def _keep_whole(masks: PackedMasks, chosen: np.ndarray) -> PackedMasks:
    """Return masks of which some, bool (n,), keep everything."""
    rows = np.flatnonzero(chosen)
    whole = np.ones(masks.shape[1:], bool)
    return masks.put(rows, (whole for _ in rows))


def _draw_first(fresh: FreshMasks, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Draw the masks of the first epoch, some at a time."""
    for start in range(0, len(rows), _DRAWN):
        yield from fresh.draw(rows[start : start + _DRAWN], epoch=0)


def _read_explained(
    experiment: Experiment, trial: Trial, source: MaskSource
) -> tuple[PackedMasks, tuple[Unexplained, ...]]:
    """Read the masks of the teachers of a trial; images without one get what the rule says."""
    masks, errors = _read_masks(experiment, trial, source.kind)
    split = experiment.splits[trial.seed]
    donors: np.ndarray | None = None
    image_ids = experiment.image_ids.tolist()
    failed = np.isin(experiment.image_ids, list(errors))
    errors = _describe_useless(masks, image_ids, split) | errors
    if experiment.settings.unexplained == "borrowed":
        seed = experiment.seeds[trial.seed].split
        donors = borrow_masks(masks, failed, split, image_ids, seed)
    else:
        masks = _keep_whole(masks, np.isin(experiment.image_ids, list(errors)))
    return masks, _list_unexplained(experiment, split, errors, donors)


def _redraw(
    experiment: Experiment, masks: PackedMasks, split: np.ndarray, seed: int, *, others: bool
) -> PackedMasks:
    """Draw random masks once, each with the area of its image's mask or of another image's."""
    areas_px = masks.areas_px
    if others:
        areas_px = pass_areas_on(areas_px, split, np.random.default_rng(seed))
    numbers, stream = np.arange(len(masks)), seed + _REDRAWN
    drawn = FreshMasks(read_superpixels(experiment), areas_px, numbers, stream)
    used = np.flatnonzero(split != "")
    return masks.put(used, _draw_first(drawn, used))


def _read_masks(
    experiment: Experiment, trial: Trial, kind: str
) -> tuple[PackedMasks, dict[str, str]]:
    """Read what the explainers left: masks, whole where there is none; and errors by image."""
    rows = {image_id: row for row, image_id in enumerate(experiment.image_ids.tolist())}
    masks = PackedMasks.whole(len(rows), experiment.settings.image_size)
    errors = {}
    n_missing = 0
    for job, images in experiment.list_jobs(trial).items():
        wanted = images.copy()
        columns = ["image_id", "kind", "keep_mask", "error"]
        for table in iterate_parts(experiment.masks_of(job), MASKS, columns):
            for record in table.filter(pc.equal(table["kind"], kind)).to_pylist():
                row = rows[record["image_id"]]
                if not wanted[row]:
                    continue
                wanted[row] = False
                if record["error"] is None:
                    check_packed(record["keep_mask"], experiment.settings.image_size)
                    masks.bits[row] = np.frombuffer(record["keep_mask"], np.uint8)
                else:
                    errors[record["image_id"]] = record["error"]
        n_missing += int(wanted.sum())
    if n_missing:
        raise RuntimeError(f"Expected a mask for every image, but {n_missing} have none.")
    return masks, errors


def _describe_useless(
    masks: PackedMasks, image_ids: list[str], split: np.ndarray
) -> dict[str, str]:
    """Return, by image, why a mask says nothing although the image was explained."""
    used, areas_px = split != "", masks.areas_px
    nothing, all_of_it = used & (areas_px == 0), used & (areas_px == masks[0].size)
    found = {image_ids[row]: NO_PIXEL for row in np.flatnonzero(nothing)}
    return found | {image_ids[row]: ALL_PIXELS for row in np.flatnonzero(all_of_it)}


def _list_unexplained(
    experiment: Experiment,
    split: np.ndarray,
    errors: Mapping[str, str],
    donors: np.ndarray | None,
) -> tuple[Unexplained, ...]:
    found = []
    for row, image_id in enumerate(experiment.image_ids.tolist()):
        if image_id in errors:
            donor = -1 if donors is None else donors[row]
            mask_of = None if donor < 0 else str(experiment.image_ids[donor])
            label = str(experiment.labels[row])
            found.append(Unexplained(image_id, str(split[row]), label, errors[image_id], mask_of))
    return tuple(found)


def describe_unexplained(
    experiment: Experiment, unexplained: Iterable[Unexplained]
) -> dict[str, Any]:
    """Return what the file `UNEXPLAINED` of a trial holds."""
    images = [asdict(one) for one in unexplained]
    return {"rule": experiment.settings.unexplained, "images": images}


def count_unexplained(experiment: Experiment) -> dict[str, Any]:
    """Count the images without an explanation that the finished trainings of arms showed.

    Returns:
        `rule`, which says how they were shown, and `counts`: for each `model`, `arm`, `split` and
        `label`, the number `n` of such images, added up over seeds. Trainings of versions that did
        not keep a record count as having none.
    """
    counts: Counter[tuple[str, str, str, str]] = Counter()
    records = _list_records(experiment.run.trials)
    for trial in sorted(experiment.list_done(list_arms(experiment)), key=str):
        path = experiment.path_of(trial) / UNEXPLAINED
        if path in records:
            for image in read_record(path, _RECORD)["images"]:
                counts[trial.model, trial.arm, image["split"], image["label"]] += 1
    names = ("model", "arm", "split", "label")
    rows = [{**dict(zip(names, key, strict=True)), "n": n} for key, n in sorted(counts.items())]
    return {"rule": experiment.settings.unexplained, "counts": rows}


def _list_records(trials: Place) -> set[Place]:
    """Find the files `UNEXPLAINED` below a directory; in object storage by a single listing."""
    if isinstance(trials, RemotePath):
        return {path for path, _ in trials.list_files() if path.name == UNEXPLAINED}
    return set(trials.rglob(UNEXPLAINED))
