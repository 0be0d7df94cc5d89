"""Rerun a stored run, or a sample of it, in the present environment, and say what has drifted."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from osteo_ray.cluster import Plan, confirm, connect, describe_environment, plan_resources
from osteo_ray.compare.dataset import read_dataset
from osteo_ray.compare.experiment import Trial, describe_experiment, plan_trials
from osteo_ray.compare.model_check import check_models
from osteo_ray.compare.prepare import create_run
from osteo_ray.compare.stages import Finished, run_experiment
from osteo_ray.compare.sweeps import Failure
from osteo_ray.config import PHANTOM, CompareConfig, hash_settings
from osteo_ray.data.listing import Source
from osteo_ray.data.sources import open_source
from osteo_ray.errors import InputError
from osteo_ray.progress import Clock, JobProgress
from osteo_ray.reproduce.compare_runs import IMAGES, compare_runs, compare_sources
from osteo_ray.reproduce.config import ReproduceConfig
from osteo_ray.reproduce.drift import Compared, Drift, judge, summarize
from osteo_ray.reproduce.environment import (
    Change,
    compare_environments,
    expects_equal_bits,
    flatten_environment,
)
from osteo_ray.reproduce.ledger import Entry, append_entry, read_ledger
from osteo_ray.reproduce.place import Place, open_place
from osteo_ray.reproduce.sample import draw_sample
from osteo_ray.reproduce.stored import Rerun, StoredRun, open_run
from osteo_ray.runs import Run, write_json


@dataclass(frozen=True)
class Reproduction:
    """What a reproduction came to.

    Attributes:
        entry: As the ledger has it.
        drifts: What became of each kind of thing.
        changes: What of the environment is not known to be the same.
        notes: What else the user should know.
        ledger: Where it is kept.
        history: All reproductions in the ledger, oldest first.
        kept: Working directory, if it was kept.
    """

    entry: Entry
    drifts: tuple[Drift, ...]
    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    ledger: Path
    history: tuple[Entry, ...]
    kept: Path | None


@dataclass(frozen=True)
class _Images:
    """The images as their source has them now.

    Attributes:
        wanted: Whether they are to be read anew.
        source: What to read; None for phantoms, or where nothing is read.
        note: Why not, where it should be said.
    """

    wanted: bool
    source: Source | None = None
    note: str | None = None


def reproduce(config: ReproduceConfig, progress: JobProgress) -> Reproduction:
    """Rerun a stored run, or what an earlier try left of rerunning it.

    Args:
        config: Which run, how much of it.
        progress: Where to say how far it is.

    Raises:
        InputError: The run, the sample, the ledger or the first weights cannot be used.
    """
    if config.run is None:
        raise InputError("Expected the directory of a run: `osteo-ray reproduce RUN`.")
    stored = open_run(config.run)
    ledger = Path(config.ledger or stored.run.root.parent / "reproductions.parquet")
    read_ledger(ledger)
    only = choose_trials(stored, config)
    images = _find_images(stored, config)
    clock = Clock()
    started = time.monotonic()
    progress.say("start Ray")
    with connect():
        clock.lap("start Ray")
        compared = _configure(stored.config, config)
        plan = plan_resources(compared.resources)
        check = check_models.remote(compared)
        present = describe_environment(plan)
        changes = compare_environments(stored.environment, present)
        equal_expected = expects_equal_bits(changes)
        confirm(check)
        place = _open_place(stored, config, only, present)
        if not place.is_new:
            progress.say(f"go on with what was begun in {place.root}")
        drifts = (
            [_reread(stored, compared, images, place, progress, clock)] if images.wanted else []
        )
        finished = _rerun(stored, compared, only, place, present, plan, progress, clock)
        progress.say("compare with the run")
        drifts += compare_runs(
            stored, finished, only, config.tolerances, equal_expected=equal_expected
        )
    record = _Record(stored, config, only, images, present, changes, drifts, finished)
    entry = record.write(place, time.monotonic() - started)
    history = append_entry(ledger, entry)
    keep = config.keep or entry["outcome"] not in ("identical", "within tolerance")
    if entry["outcome"] != "failed":  # what failed is tried again in the same place
        place.finish(keep=keep)
    return Reproduction(
        entry=entry,
        drifts=tuple(drifts),
        changes=changes,
        notes=(images.note,) if images.note else (),
        ledger=ledger,
        history=tuple(history),
        kept=place.root if keep else None,
    )


def choose_trials(stored: StoredRun, config: ReproduceConfig) -> list[Trial] | None:
    """Return the trainings to rerun, or None for all of them.

    Raises:
        InputError: The sample is larger than the run.
    """
    planned = stored.trials
    if config.sample is not None and config.sample > len(planned):
        raise InputError(
            f"Expected a sample of at most the {len(planned)} trainings of {stored.run.root}, but "
            f"got --sample {config.sample}. Leave it out to rerun all of them."
        )
    n_wanted = config.count_sample(len(planned))
    if n_wanted is None:
        return None
    return draw_sample(
        stored.config.models,
        stored.config.arms,
        stored.comparison["seeds"],
        n_wanted,
        seed=config.seed,
    )


def _configure(stored: CompareConfig, config: ReproduceConfig) -> CompareConfig:
    """Return the configuration of the rerun: that of the run, on other workers where asked for."""
    asked = {"cpus_per_worker": config.cpus_per_worker, "gpus_per_worker": config.gpus_per_worker}
    given = {name: value for name, value in asked.items() if value is not None}
    return stored.model_copy(update={"resources": stored.resources.model_copy(update=given)})


def _find_images(stored: StoredRun, config: ReproduceConfig) -> _Images:
    """Find out whether the images can be read anew.

    Raises:
        InputError: They are to be, but cannot.
    """
    if config.images == "stored":
        return _Images(False)
    if stored.config.data == PHANTOM:
        return _Images(True)
    try:
        return _Images(True, open_source(stored.config.data))
    except InputError as error:
        if config.images == "source":
            raise
        return _Images(
            False,
            note=f"The source of the images cannot be opened any more ({error}) The rerun works on "
            "the pixels that the run keeps; whether the source is the same is not known.",
        )


def _open_place(
    stored: StoredRun,
    config: ReproduceConfig,
    only: Sequence[Trial] | None,
    present: dict[str, Any],
) -> Place:
    root = stored.run.root
    parent = Path(config.out or root.with_name(f"{root.name}-reproductions"))
    same = {
        "run": str(root),
        "plan": stored.config.plan_hash(),
        "created": stored.environment.get("created"),
        "trials": "all" if only is None else [str(trial) for trial in only],
        "images": config.images,
        "environment": flatten_environment(present),
    }
    return open_place(parent, hash_settings(same))


def _reread(
    stored: StoredRun,
    config: CompareConfig,
    images: _Images,
    place: Place,
    progress: JobProgress,
    clock: Clock,
) -> Drift:
    """Read the images of the source anew, as a new run would, and compare them."""
    run = Run(place.root / "source")
    try:
        if not run.config.exists():
            with progress.following() as report:
                create_run(run, config, images.source, lambda: None, report=report)
    except InputError as error:  # a new run would not even begin
        unusable = Compared("source", False, (str(error),))
        return summarize(IMAGES, [unusable], equal_expected=True)
    finally:
        clock.lap("read images")
    return compare_sources(stored, run)


def _rerun(
    stored: StoredRun,
    config: CompareConfig,
    only: Sequence[Trial] | None,
    place: Place,
    present: dict[str, Any],
    plan: Plan,
    progress: JobProgress,
    clock: Clock,
) -> Finished:
    """Train and explain again, on the pixels and splits of the run.

    On those also where the source has changed: so what the data make is told from what the
    environment makes.
    """
    run = Rerun(place.root / "run", stored.run)
    write_json(run.environment, present)
    dataset = read_dataset(run, config)
    try:
        experiment = describe_experiment(run, config, dataset)
    except OSError as error:
        raise InputError(
            f"Expected the first weights with which the run began, but {error.filename} cannot be "
            f"read ({error.strerror}). Put the file back."
        ) from None
    return run_experiment(experiment, dataset, plan, progress, clock, only)


@dataclass(frozen=True)
class _Record:
    """All that a row of the ledger tells."""

    stored: StoredRun
    config: ReproduceConfig
    only: Sequence[Trial] | None
    images: _Images
    present: dict[str, Any]
    changes: Sequence[Change]
    drifts: Sequence[Drift]
    finished: Finished

    def write(self, place: Place, duration_s: float) -> Entry:
        """Return the row of the ledger."""
        stored, drifts = self.stored, self.drifts
        planned = stored.trials if self.only is None else self.only
        experiment = self.finished.experiment
        needed = {one for part in plan_trials(experiment, self.only) for one in part}
        environment = {part: self.present[part] for part in ("versions", "hardware")}
        expected = "equal bits" if expects_equal_bits(self.changes) else "within tolerance"
        return Entry(
            {
                "id": place.id,
                "date": datetime.fromtimestamp(place.begun, UTC),
                "duration_s": round(duration_s, 1),
                "run": stored.run.root.name,
                "path": str(stored.run.root),
                "run_created": stored.environment.get("created"),
                "config_hash": stored.config.plan_hash(),
                "whole": self.only is None,
                "sample_seed": None if self.only is None else self.config.seed,
                "n_planned": len(stored.trials),
                "n_trials": len(planned),
                "n_recomputed": len(needed - set(planned)),
                "images_from": "source" if self.images.wanted else "stored",
                "expected": expected,
                "outcome": judge(drifts, n_failures=len(self.finished.failures)),
                "kinds": [
                    {
                        "kind": drift.kind,
                        "outcome": drift.outcome,
                        "compared": drift.n_compared,
                        "equal": drift.n_equal,
                        "drifted": drift.n_drifted,
                        "missing": drift.n_missing,
                    }
                    for drift in drifts
                ],
                "figures": {name: value for d in drifts for name, value in d.figures.items()},
                "drifted": [f"{drift.kind}: {said}" for drift in drifts for said in drift.said],
                "failures": [_tell_failure(one) for one in self.finished.failures],
                "changes": [str(change) for change in self.changes],
                **{
                    part: {name: _write(value) for name, value in table.items()}
                    for part, table in environment.items()
                },
            }
        )


def _tell_failure(failure: Failure) -> str:
    return f"{failure.trial}: {failure.reason}"


def _write(value: object) -> str | None:
    return None if value is None else str(value)
