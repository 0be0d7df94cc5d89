"""Export the images that an arm showed its classifiers, for others to train on.

There is one data set per model and seed: the images as the arm showed them to its classifier, the
keep-masks, the split, groups of copies, provenance, and a datasheet; no model is included. It takes
one of three forms with equal content: a folder of PNG files, NumPy arrays, or a Parquet file.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osteo_ray.base.errors import InputError, StorageError
from osteo_ray.base.networks import name_repeat
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import UNFINISHED, Place, locate, write_whole
from osteo_ray.base.tables import read_json, write_json
from osteo_ray.experiment.soundness import refuse_damage
from osteo_ray.experiment.stored_images import locate_pixels
from osteo_ray.experiment.trials import Trial
from osteo_ray.pipeline.export.card import write_card
from osteo_ray.pipeline.export.checks import (
    check_known,
    check_masks,
    check_out,
    read_finished,
    refuse_writing,
)
from osteo_ray.pipeline.export.content import collect_content
from osteo_ray.pipeline.export.forms import CONTENT, Content, Form, write_content
from osteo_ray.pipeline.export.provenance import describe_origin, write_datasheet
from osteo_ray.pipeline.stored_run import describe_stored

_PASSING = ("created", "osteo_ray", "not_explained")  # may differ between equal exports
_PROVENANCE = "provenance.json"


@dataclass(frozen=True)
class Written:
    """An exported data set: where it is, and whether it was written just now."""

    path: Place
    is_new: bool


def export_run(
    run: Run,
    arm: str,
    form: Form,
    *,
    out: Place | None = None,
    models: Sequence[str] = (),
    seeds: Sequence[int] = (),
) -> list[Written]:
    """Export what an arm showed its classifiers, for each model and seed to OUT/MODEL/seed-N/.

    Each data set is written whole or not at all; one that is already there is left unchanged.

    Args:
        run: The run; its masks must be finished, unless the arm needs none.
        arm: An arm of the run.
        form: The form to write.
        out: Where to write; by default `exports/ARM-FORM` in the run directory.
        models: Models to export; all models of the run if empty.
        seeds: Seeds to export; all seeds of the run if empty.

    Raises:
        InputError: The run lacks what is asked for, or `out` cannot be used.
    """
    read = (run.config, run.images, run.splits, run.pixels, run.masks, run.regions)
    refuse_damage(run, [place.name for place in (*read, run.superpixels, run.comparison)])
    config = read_finished(run)
    check_known("--arm", [arm], config.arms)
    check_known("--models", models, config.models)
    check_known("--seeds", seeds, config.seed_numbers)
    out = locate(str(out)) if out else run.root / "exports" / f"{arm}-{form}"
    check_out(out, config)
    dataset, experiment = describe_stored(run, config)
    trials = [
        Trial(model, seed, arm)
        for model in dict.fromkeys(models or config.models)
        for seed in dict.fromkeys(seeds or config.seed_numbers)
    ]
    check_masks(experiment, trials)
    origins = {trial: describe_origin(trial, form, experiment, config) for trial in trials}
    wanted = {
        trial: origin
        for trial, origin in origins.items()
        if not _is_there(_place(out, trial), origin)
    }
    if wanted:
        pixels = locate_pixels(run, experiment.image_ids.tolist(), config.image_size)
    for trial, origin in wanted.items():
        content = collect_content(trial, experiment, dataset, pixels)
        errors = {row["image_id"]: row["error"] for row in content.rows if row["error"]}
        provenance = {**origin, "not_explained": errors}
        command = _quote_command(run, out, trial, form)
        datasheet = write_datasheet(run, config, content, provenance, command)
        _write(_place(out, trial), content, form, provenance, datasheet)
    return [Written(_place(out, trial), trial in wanted) for trial in trials]


def _is_there(place: Place, origin: Mapping[str, Any]) -> bool:
    """Return whether a data set of the same origin is there; refuse anything else."""
    if not place.exists() or (place / UNFINISHED).exists():
        return False
    provenance = place / _PROVENANCE
    try:
        found = read_json(provenance)
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise InputError(
            f"Expected {place} to be new or an export of this run, but it holds no readable "
            "provenance.json. Choose another --out."
        )
    names = sorted((found.keys() | origin.keys()) - set(_PASSING))
    different = [name for name in names if found.get(name) != origin.get(name)]
    if different:
        raise InputError(
            f"Expected {place} to be new or an export of this run, but it holds another one, which "
            f"differs in {', '.join(different)}. Choose another --out, or delete it first."
        )
    content = CONTENT[origin["form"]]
    if not (place / content).is_file():
        raise InputError(
            f"Expected {place} to be new or a whole export, but {content} is missing from it. "
            "Delete what is left of it, or choose another --out."
        )
    return True


def _place(out: Place, trial: Trial) -> Place:
    return out / name_repeat(trial.model, trial.seed)


def _quote_command(run: Run, out: Place, trial: Trial, form: Form) -> str:
    flags = {"--arm": trial.arm, "--as": form, "--models": trial.model, "--seeds": str(trial.seed)}
    words = [word for pair in flags.items() for word in pair]
    return shlex.join(["osteo-ray", "export", str(run.root), *words, "--out", str(out)])


def _write(
    place: Place, content: Content, form: Form, provenance: Mapping[str, Any], datasheet: str
) -> None:
    try:
        with _marked(place), write_whole(place, last=_PROVENANCE) as unfinished:
            unfinished.mkdir()
            write_content(unfinished, content, form)
            write_json(unfinished / _PROVENANCE, provenance)
            (unfinished / "DATASHEET.md").write_text(datasheet, encoding="utf-8")
            (unfinished / "README.md").write_text(write_card(content, form), encoding="utf-8")
    except StorageError:  # which may pass; another folder would not help
        raise
    except OSError as error:
        raise refuse_writing(place, error) from None


@contextmanager
def _marked(place: Place) -> Iterator[None]:
    """Mark an upload while it is unfinished, and remove what an interrupted one has left."""
    if isinstance(place, Path):
        yield
        return
    place.remove()
    (place / UNFINISHED).write_text("The upload of this folder is unfinished.\n")
    yield
    (place / UNFINISHED).unlink()
