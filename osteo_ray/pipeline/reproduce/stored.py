"""A finished run that is to be reproduced: what it holds, and where everything is."""

import errno
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from osteo_ray.base.errors import InputError
from osteo_ray.base.formatting import count_missing
from osteo_ray.base.forms import COMPARISON, CONCLUSIONS, ENVIRONMENT, PLANS, Form, read_record
from osteo_ray.base.mappings import list_differences
from osteo_ray.base.networks import name_repeat
from osteo_ray.base.runs import Run, open_run
from osteo_ray.base.storage import Place, recall_place
from osteo_ray.base.tables import (
    MASKS,
    check_version,
    iterate_parts,
    list_parts,
    read_parts,
    read_table,
    scan_table,
)
from osteo_ray.config.build import build_config, read_yaml
from osteo_ray.config.compare import PLANNED, CompareConfig
from osteo_ray.experiment.trials import Experiment, MaskJob, Trial
from osteo_ray.pipeline.compare.prepare import describe_plan

_CONTRAST: Form = {
    **{"model": str, "arm": str, "baseline": str, "n_seeds": int},
    **{"difference": object, "differences": object, "sd": object},
}
_COMPARISON: Form = {
    **{**COMPARISON, "seeds": [int], "missing": list, "contrasts": [_CONTRAST]},
    "looks?": [{"number": int}],
}
_TOLD = 5  # missing trainings that a message names


@dataclass(frozen=True)
class Rerun(Run):
    """A run that uses the images, pixels, splits, regions and choices of another run.

    Attributes:
        stored: The other run.
    """

    stored: Run

    @property
    def images(self) -> Place:
        return self.stored.images

    @property
    def pixels(self) -> Place:
        return self.stored.pixels

    @property
    def splits(self) -> Place:
        return self.stored.splits

    @property
    def regions(self) -> Place:
        return self.stored.regions

    @property
    def tuning(self) -> Place:
        return self.stored.tuning

    @property
    def networks(self) -> Place:
        return self.stored.networks


@dataclass(frozen=True)
class StoredRun:
    """A finished run.

    Attributes:
        run: Its directory.
        config: The configuration of the comparison.
        environment: What environment.json holds.
        comparison: What comparison.json holds.
        edits: What in its configuration is not as the run recorded it, in words.
    """

    run: Run
    config: CompareConfig
    environment: dict[str, Any]
    comparison: dict[str, Any]
    edits: tuple[str, ...] = ()

    @property
    def trials(self) -> list[Trial]:
        """Return the trainings that are compared; a look may have ended the run early."""
        return [
            Trial(model, seed, arm)
            for seed in self.comparison["seeds"]
            for model in self.config.models
            for arm in self.config.arms
        ]

    @property
    def n_earlier(self) -> int:
        """Return how many conclusions the run had drawn before the one that it holds."""
        return int((self.comparison.get("conclusion") or {}).get("number", 1)) - 1

    def read_earlier_conclusions(self) -> list[dict[str, Any]]:
        """Read those conclusions, on which the error rate of the one that it holds depends.

        Raises:
            InputError: The run has no record of all of them.
            DamagedError: The record cannot be read.
        """
        if not self.n_earlier:
            return []
        place = self.run.conclusions
        found = read_record(place, CONCLUSIONS) if place.is_file() else []
        if len(found) < self.n_earlier:
            raise InputError(
                f"Expected {place} with the {self.n_earlier} conclusions that the run had drawn "
                "before its last one, since they decide at which error rate that was drawn, but "
                f"{f'it has {len(found)}' if place.is_file() else 'it is missing'}. Restore it, as "
                "the same osteo-ray compare does from its spare copy, or rerun a --sample, which "
                "draws no conclusion."
            )
        return list(found[: self.n_earlier])


def open_stored(path: str) -> StoredRun:
    """Open a finished run.

    Raises:
        InputError: There is no run, it is not finished, or another version wrote it.
        DamagedError: A record of it is no JSON, or JSON of another form.
    """
    run = open_run(path)
    for needed in (run.config, run.images, run.splits, run.environment):
        if not needed.exists():
            raise InputError(
                f"Expected a run directory of osteo-ray compare, but {run.root} has no "
                f"{needed.name}. Give the --out of a comparison that has finished."
            )
    try:
        config = build_config(read_yaml(run.config))
    except InputError as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            "Expected a run directory of osteo-ray compare, but the configuration in "
            f"{run.config} is not one that this osteo_ray knows: {reason}"
        ) from None
    for table in (run.images, run.splits, *map(recall_place, list_parts(run.pixels))):
        check_version(table)
    comparison = read_record(run.comparison, _COMPARISON) if run.comparison.exists() else None
    planned = config.seed_numbers
    if comparison is not None and _has_ended_early(comparison, config):
        planned = tuple(comparison["seeds"])
    missing = _list_missing(run, config, planned)
    if (
        comparison is None
        or missing
        or comparison["missing"]
        # A comparison of other seeds is that of before some were added, or taken away.
        or tuple(comparison["seeds"]) != planned
    ):
        what = f": {count_missing(len(missing))}" if missing else ""
        names = "; ".join(str(trial) for trial in missing[:_TOLD])
        more = f"; and {len(missing) - _TOLD} more" if len(missing) > _TOLD else ""
        told = f"{what} ({names}{more})" if missing else ": its comparison is not complete"
        raise InputError(
            f"Expected a finished run, but {run.root} is not{told}. Run the same "
            "osteo-ray compare again to finish it."
        )
    edits = tuple(_list_edits(run, config))
    return StoredRun(run, config, read_record(run.environment, ENVIRONMENT), comparison, edits)


def _has_ended_early(comparison: dict[str, Any], config: CompareConfig) -> bool:
    """Tell whether a look has ended a run before all its seeds had run."""
    looks = comparison.get("looks") or []
    return bool(looks) and looks[-1]["number"] <= len(config.statistics.looks)


def _list_edits(run: Run, config: CompareConfig) -> list[str]:
    """List what in the configuration of a run is not as its plan, plan.json, recorded it."""
    plans = read_record(run.plan, PLANS) if run.plan.exists() else []
    now = describe_plan(config)
    if not plans or plans[-1].get("hash") == now["hash"]:
        return []
    before, after = (
        {name: one.get(name) for name in (*PLANNED, "identity") if name in now}
        for one in (plans[-1], now)
    )
    said = list_differences(before, after, words=("recorded", "stored"))
    hashes = f"its hash (recorded {plans[-1].get('hash')}, stored {now['hash']})"
    return [one.removeprefix("identity.") for one in said] or [hashes]


def _list_missing(run: Run, config: CompareConfig, seeds: Sequence[int]) -> list[Trial]:
    trials = [Trial(m, seed, arm) for seed in seeds for m in config.models for arm in config.arms]
    return [trial for trial in trials if not _find_folders(_folder_of(run, trial), trial.arm)]


def _folder_of(run: Run, trial: Trial) -> Place:
    return run.trials / name_repeat(trial.model, trial.seed)


def _find_folders(folder: Place, name: str) -> list[Place]:
    """Find the finished artifacts with a name, whatever their keys."""
    keyed = re.compile(rf"{re.escape(name)}-[0-9a-f]{{12}}")
    names = {recall_place(part).parent.name for part in list_parts(folder)}
    return [folder / found for found in sorted(names) if keyed.fullmatch(found)]


def find_trial(experiment: Experiment, trial: Trial) -> Place | None:
    """Return where a run holds a training; None if it holds none or several.

    The address of a training contains a hash of everything that determines it. If that hash has
    changed, because first weights or this package have, the only training with the name is taken.

    Args:
        experiment: The experiment, with the stored run as its run.
        trial: The training.
    """
    path = experiment.path_of(trial)
    return _find_one(path, _folder_of(experiment.run, trial), trial.arm)


def find_masks(experiment: Experiment, job: MaskJob) -> Place | None:
    """Return where a run holds the masks of a teacher; see `find_trial`."""
    path = experiment.masks_of(job)
    return _find_one(path, path.parent, path.name.rsplit("-", 1)[0])


def _find_one(path: Place, folder: Place, name: str) -> Place | None:
    if path.exists():
        return path
    found = _find_folders(folder, name)
    return found[0] if len(found) == 1 else None


def read_image_tables(run: Run) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the tables of the images of a run and of their splits."""
    return read_table(run.images).to_pandas(), read_table(run.splits).to_pandas()


def hash_pixels(run: Run) -> dict[str, bytes]:
    """Return a hash of the resized pixels of each image, by its id."""
    hashes = {}
    for part in list_parts(run.pixels):  # one at a time, as together they may not fit into memory
        table = read_table(recall_place(part), ["image_id", "pixels"])
        for row in table.to_pylist():
            hashes[row["image_id"]] = hashlib.blake2b(row["pixels"], digest_size=16).digest()
    return hashes


def read_trial(path: Place) -> pd.DataFrame:
    """Read the predictions in the folder of a training."""
    return read_table(path / "predictions.parquet").to_pandas()


def read_gathered(run: Run, trials: Sequence[Trial]) -> dict[Trial, pd.DataFrame]:
    """Read the predictions of some trainings from the table of all predictions.

    Raises:
        FileNotFoundError: The run has no such table.
        DamagedError: It cannot be read.
    """
    if not run.predictions.is_file():  # of which a scan makes an empty table
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(run.predictions))
    wanted = (
        pc.field("seed").isin(sorted({trial.seed for trial in trials}))
        & pc.field("model").isin(sorted({trial.model for trial in trials}))
        & pc.field("arm").isin(sorted({trial.arm for trial in trials}))
    )
    table = scan_table(run.predictions, wanted).to_pandas()
    found = {
        Trial(str(model), int(seed), str(arm)): part
        for (model, seed, arm), part in table.groupby(["model", "seed", "arm"], sort=False)
    }
    return {trial: found[trial] for trial in trials if trial in found}


def read_mask_facts(path: Place) -> pa.Table:
    """Read what the masks table says of the masks of a teacher: kind, stability, error."""
    return read_parts(path, MASKS, ["kind", "stability", "error"])


def iterate_masks(path: Place, kind: str) -> Iterator[pa.Table]:
    """Read the masks of a teacher of one kind, some thousand at a time."""
    columns = ["kind", "image_id", "keep_mask", "error"]
    for table in iterate_parts(path, MASKS, columns):
        yield table.filter(pc.equal(table["kind"], kind))
