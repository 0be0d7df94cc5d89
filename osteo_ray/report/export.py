"""Hand on the data set that masking makes, for others to train on, without any model in it.

One data set per model and seed: the images as an arm showed them to its classifier, the keep-masks,
the split, what images are copies of one another, where it all comes from, and a datasheet. Three
forms hold the same: a folder of PNG files, NumPy arrays, a Parquet file.
"""

import importlib.metadata
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from osteo_ray.arms.arm import CHANGES, TEACHERS
from osteo_ray.arms.registry import ARMS
from osteo_ray.base.errors import InputError, suggest
from osteo_ray.base.mappings import hash_settings
from osteo_ray.base.paths import PHANTOM
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import UNFINISHED, Place, digest_file, lies_in, locate, write_whole
from osteo_ray.base.tables import count_rows, read_json, write_json
from osteo_ray.config.build import build_config, read_yaml
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.splits.assignment import SPLIT_NAMES
from osteo_ray.experiment.dataset import Dataset, read_dataset, read_pixels
from osteo_ray.experiment.keep_masks import KeepMasks, read_keep_masks
from osteo_ray.experiment.trials import Experiment, Trial, describe_experiment
from osteo_ray.explain.jobs import find_done, read_done
from osteo_ray.report.export_forms import COLUMNS, CONTENT, Content, Form, write_content

_PASSING = ("created", "osteo_ray", "not_explained")  # what may differ between equal exports
_BATCH = 64
_PROVENANCE = "provenance.json"


@dataclass(frozen=True)
class Written:
    """A data set that was asked for: where it is, and whether it was not there before."""

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
    """Export what an arm showed its classifiers, per model and seed to OUT/MODEL/seed-N/.

    Each data set appears whole or not at all; one that is there already is left as it is.

    Args:
        run: With finished masks, unless the arm needs none.
        arm: One of the run's.
        form: In which to write.
        out: Where; by default `exports/ARM-FORM` in the run directory.
        models: Of the run; all if empty.
        seeds: Of the run; all if empty.

    Raises:
        InputError: The run, or what is asked of it, is not there; `out` cannot be used.
    """
    config = _open_run(run)
    _check_known("--arm", [arm], config.arms)
    _check_known("--models", models, config.models)
    _check_known("--seeds", seeds, config.seed_numbers)
    out = locate(str(out)) if out else run.root / "exports" / f"{arm}-{form}"
    _check_out(out, config)
    dataset = read_dataset(run, config)
    try:
        experiment = describe_experiment(run, config, dataset)
    except OSError as error:
        raise InputError(
            f"Expected the first weights that {run.config} names, since they tell which masks "
            f"belong to the run, but {error.filename}: {error.strerror}. Put the file back."
        ) from None
    trials = [
        Trial(model, seed, arm)
        for model in dict.fromkeys(models or config.models)
        for seed in dict.fromkeys(seeds or config.seed_numbers)
    ]
    _check_masks(experiment, trials)
    origins = {trial: _describe_origin(trial, form, experiment) for trial in trials}
    wanted = {
        trial: origin
        for trial, origin in origins.items()
        if not _is_there(_place(out, trial), origin)
    }
    if wanted:
        pixels = read_pixels(run, experiment.image_ids.tolist(), config.image_size)
    for trial, origin in wanted.items():
        keep_masks = _read_masks(experiment, trial)
        content = _collect(trial, experiment, dataset, pixels, keep_masks)
        errors = {row["image_id"]: row["error"] for row in content.rows if row["error"]}
        provenance = {**origin, "not_explained": errors}
        command = _quote_command(run, out, trial, form)
        datasheet = _describe_data(run, config, dataset, content, provenance, command)
        _write(_place(out, trial), content, form, provenance, datasheet)
    return [Written(_place(out, trial), trial in wanted) for trial in trials]


# What is asked for


def _open_run(run: Run) -> CompareConfig:
    needed = (run.config, run.images, run.splits, run.pixels)
    missing = [path.name for path in needed if not path.exists()]
    if missing:
        what = f"lacks {', '.join(missing)}" if run.root.exists() else "does not exist"
        raise InputError(
            f"Expected a finished run, but {run.root} {what}. Give the directory that "
            "`osteo-ray compare` named as its run directory."
        )
    return build_config(read_yaml(run.config))


def _check_known(flag: str, words: Sequence[object], known: Sequence[object]) -> None:
    for word in words:
        if word not in known:
            names = [str(name) for name in known]
            raise InputError(
                f"Expected {flag} among those of the run, {', '.join(names)}, but got `{word}`."
                + suggest(str(word), names)
            )


def _check_out(out: Place, config: CompareConfig) -> None:
    """Refuse a place whose content an export would mix with."""
    around = next((path for path in (out, *out.parents) if _is_run(path)), None)
    if around is not None:
        if not lies_in(out, around / "exports"):
            raise InputError(
                f"Expected --out outside of runs or under {around / 'exports'}, but got {out}, "
                "where a run keeps its own files. Choose another --out."
            )
    elif config.data != PHANTOM and lies_in(out, locate(config.data)):
        raise InputError(
            f"Expected --out outside the source images, but {out} is inside {config.data}: the "
            "exported images would become part of the source. Choose another --out."
        )
    if not out.exists():
        return
    ours = {Path(model).parts[0] for model in config.models}
    try:
        foreign = sorted(
            path.name
            for path in out.iterdir()
            if not path.name.startswith(".") and path.name not in ours
        )
    except OSError as error:
        raise _refuse_writing(out, error) from None
    if foreign:
        raise InputError(
            f"Expected --out to be new, empty or an export of this run, but {out} holds something "
            f"else: {foreign[0]}. Choose another --out."
        )


def _is_run(path: Place) -> bool:
    run = Run(path)
    return run.images.is_file() and run.splits.is_file()


def _check_masks(experiment: Experiment, trials: Sequence[Trial]) -> None:
    """Refuse, before anything is written, if any trial lacks its masks or who made them."""
    problems = []
    for trial in trials:
        n_missing = n_wanted = 0
        for job, images in experiment.list_jobs(trial).items():
            wanted = experiment.image_ids[images].tolist()
            n_wanted += len(wanted)
            done = find_done(read_done(experiment.masks_of(job)), [experiment.kind_of(trial)])
            n_missing += len(set(wanted) - done)
        if not all(file.is_file() for file in _list_mask_models(experiment, trial).values()):
            problems.append(f"{trial.model}, seed {trial.seed}: its first model is missing")
        elif n_missing:
            problems.append(
                f"{trial.model}, seed {trial.seed}: {n_missing} of {n_wanted} images lack one"
            )
    if problems:
        raise InputError(
            f"Expected finished masks in {experiment.run.masks}, but not all are there. "
            + "; ".join(problems)
            + ". Rerun `osteo-ray compare` with this --out to finish them, or leave these out by "
            "--models and --seeds."
        )


def _is_there(place: Place, origin: Mapping[str, Any]) -> bool:
    """Tell whether a data set of the same origin is there; refuse if anything else is."""
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
    return out / trial.model / f"seed-{trial.seed}"


def _list_mask_models(experiment: Experiment, trial: Trial) -> dict[str, Place]:
    """Return the files of the classifiers whose explanations the masks are."""
    teachers = [job.teacher for job in experiment.list_jobs(trial)]
    return {one.arm: experiment.path_of(one) / "model.safetensors" for one in teachers}


def _quote_command(run: Run, out: Place, trial: Trial, form: Form) -> str:
    flags = {"--arm": trial.arm, "--as": form, "--models": trial.model, "--seeds": str(trial.seed)}
    words = [word for pair in flags.items() for word in pair]
    return shlex.join(["osteo-ray", "export", str(run.root), *words, "--out", str(out)])


# What goes into a data set


def _read_masks(experiment: Experiment, trial: Trial) -> KeepMasks | None:
    try:
        return read_keep_masks(experiment, trial)
    except (RuntimeError, ValueError, OSError) as error:
        folders = " ".join(str(experiment.masks_of(job)) for job in experiment.list_jobs(trial))
        raise InputError(
            f"The masks of {trial.model}, seed {trial.seed}, cannot be used: {error} Delete "
            f"{folders} and rerun `osteo-ray compare` to make them again."
        ) from None


def _collect(
    trial: Trial,
    experiment: Experiment,
    dataset: Dataset,
    pixels: np.ndarray,
    keep_masks: KeepMasks | None,
) -> Content:
    """Gather what the arm showed, of all images that have a split."""
    # Imported here: PyTorch takes seconds to import, and reading an export does without it.
    import torch

    from osteo_ray.models.batches import ImageSet

    splits = experiment.splits[trial.seed]
    order = np.argsort(experiment.image_ids)
    order = order[splits[order] != ""]
    errors = {} if keep_masks is None else keep_masks.errors
    labels = experiment.labels_of(trial)
    rows = []
    for number, record in zip(
        order.tolist(), dataset.images.iloc[order].to_dict("records"), strict=True
    ):
        values = (
            str(labels[number]),
            str(splits[number]),
            f"group-{record['group']}",
            record["image_id"],
            record["path"],
            record["digest"],
        )
        row = dict(zip(COLUMNS, values, strict=True))
        rows.append({**row, "error": errors.get(record["image_id"])})
    masks = None if keep_masks is None else keep_masks.masks[order]
    # The very batches of training, so that no other reading of an arm can creep in. Bytes / 255 in
    # float32 and back by rounding give the same bytes.
    numbers = np.zeros(len(order), np.int64)
    background = experiment.config.background
    seen = ImageSet(pixels[order], numbers, masks, ARMS[trial.arm].view, background)
    images = np.empty_like(seen.pixels)
    for start in range(0, len(order), _BATCH):
        part = np.arange(start, min(start + _BATCH, len(order)))
        batch = seen.make_batch(part, torch.device("cpu"))[:, 0]
        images[part] = torch.round(batch * 255).to(torch.uint8).numpy()
    return Content(rows, images, masks, experiment.classes)


def _describe_origin(trial: Trial, form: Form, experiment: Experiment) -> dict[str, Any]:
    """Return what determines a data set, and when and by what it was written."""
    config, arm = experiment.config, ARMS[trial.arm]
    model_digests = {}
    for teacher, path in _list_mask_models(experiment, trial).items():
        model_digests[teacher] = digest_file(path)
    splits = experiment.splits[trial.seed]
    counts = {
        split: {
            label: int(np.sum((splits == split) & (experiment.labels == label)))
            for label in experiment.classes
        }
        for split in SPLIT_NAMES
    }
    return {
        "schema_version": 2,
        "osteo_ray": importlib.metadata.version("osteo-ray"),
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "form": form,
        "arm": arm.name,
        "view": arm.view,
        "masks": asdict(arm.masks) if arm.masks else None,
        "background": config.background,
        "model": trial.model,
        "seed": trial.seed,
        "mask_models_sha256": model_digests,
        "data_fingerprint": experiment.fingerprint,
        "settings_hash": hash_settings(config.identity()),
        "lime": config.lime.model_dump(mode="json") if arm.masks else None,
        "split": {
            "protocol": config.protocol,
            "kind": config.split,
            "ratio": list(config.split_ratio),
            "folds": config.folds,
        },
        "image_size": config.image_size,
        "classes": list(experiment.classes),
        "counts": counts,
        "set_aside": int(np.sum(splits == "")),
    }


def _describe_data(
    run: Run,
    config: CompareConfig,
    dataset: Dataset,
    content: Content,
    provenance: Mapping[str, Any],
    command: str,
) -> str:
    """Return the datasheet, after Gebru et al., Datasheets for Datasets."""
    parts: dict[str, set[str]] = {}
    for row in content.rows:
        parts.setdefault(row["patient_id"], set()).add(row["split"])
    comparison = read_json(run.comparison) if run.comparison.is_file() else None
    folder = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=folder, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = environment.get_template("datasheet.md").render(
        provenance=provenance,
        arm=ARMS[provenance["arm"]],
        teachers={name: teacher.meaning for name, teacher in TEACHERS.items()},
        changes=CHANGES,
        source=None if config.data == PHANTOM else Path(config.data).name,
        n_images=len(content.rows),
        n_groups=len(parts),
        n_straddling=sum(len(splits) > 1 for splits in parts.values()),
        n_rejects=count_rows(run.rejects) if run.rejects.is_file() else 0,
        kept=None if content.keep_masks is None else float(content.keep_masks.mean()),
        comparison=comparison,
        arms=config.arms,
        remake=shlex.join(
            ["osteo-ray", "compare", "--config", str(run.config), "--out", str(run.root)]
        ),
        command=command,
    )
    return text.rstrip() + "\n"


def _write(
    place: Place, content: Content, form: Form, provenance: Mapping[str, Any], datasheet: str
) -> None:
    try:
        with _marked(place), write_whole(place, last=_PROVENANCE) as unfinished:
            unfinished.mkdir()
            write_content(unfinished, content, form)
            write_json(unfinished / _PROVENANCE, provenance)
            (unfinished / "DATASHEET.md").write_text(datasheet, encoding="utf-8")
    except OSError as error:
        raise _refuse_writing(place, error) from None


@contextmanager
def _marked(place: Place) -> Iterator[None]:
    """Mark what is uploaded file by file, and remove what an upload that was cut off has left."""
    if isinstance(place, Path):
        yield
        return
    place.remove()
    (place / UNFINISHED).write_text("Uploading it has not ended, or was cut off.\n")
    yield
    (place / UNFINISHED).unlink()


def _refuse_writing(path: Place, error: OSError) -> InputError:
    return InputError(
        f"Expected --out to be a folder that can be written to, but {path}: "
        f"{error.strerror or error}. Choose another --out."
    )
