"""What an export may be asked for, and where it may be written: checked before anything is."""

from collections.abc import Sequence

from osteo_ray.base.errors import InputError, suggest
from osteo_ray.base.networks import name_folder
from osteo_ray.base.paths import PHANTOM
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place, lies_in, locate
from osteo_ray.config.build import build_config, read_yaml
from osteo_ray.config.compare import CompareConfig
from osteo_ray.experiment.trials import Experiment, Trial
from osteo_ray.explain.jobs import find_done, read_done
from osteo_ray.pipeline.export.provenance import list_mask_models


def read_finished(run: Run) -> CompareConfig:
    """Read the configuration of a run that holds all that an export needs but masks.

    Raises:
        InputError: Something of the run is missing.
    """
    needed = (run.config, run.images, run.splits, run.pixels)
    missing = [path.name for path in needed if not path.exists()]
    if missing:
        what = f"lacks {', '.join(missing)}" if run.root.exists() else "does not exist"
        raise InputError(
            f"Expected a finished run, but {run.root} {what}. Give the directory that "
            "`osteo-ray compare` named as its run directory."
        )
    return build_config(read_yaml(run.config))


def check_known(flag: str, words: Sequence[object], known: Sequence[object]) -> None:
    """Refuse words that the run does not know; suggest the nearest one."""
    for word in words:
        if word not in known:
            names = [str(name) for name in known]
            raise InputError(
                f"Expected {flag} among those of the run, {', '.join(names)}, but got `{word}`."
                + suggest(str(word), names)
            )


def check_out(out: Place, config: CompareConfig) -> None:
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
    ours = {name_folder(model) for model in config.models}
    try:
        foreign = sorted(
            path.name
            for path in out.iterdir()
            if not path.name.startswith(".") and path.name not in ours
        )
    except OSError as error:
        raise refuse_writing(out, error) from None
    if foreign:
        raise InputError(
            f"Expected --out to be new, empty or an export of this run, but {out} holds something "
            f"else: {foreign[0]}. Choose another --out."
        )


def _is_run(path: Place) -> bool:
    run = Run(path)
    return run.images.is_file() and run.splits.is_file()


def check_masks(experiment: Experiment, trials: Sequence[Trial]) -> None:
    """Refuse, before anything is written, if any trial lacks its masks or who made them."""
    problems = []
    for trial in trials:
        n_missing = n_wanted = 0
        for job, images in experiment.list_jobs(trial).items():
            wanted = experiment.image_ids[images].tolist()
            n_wanted += len(wanted)
            done = find_done(read_done(experiment.masks_of(job)), [experiment.kind_of(trial)])
            n_missing += len(set(wanted) - done)
        if not all(file.is_file() for file in list_mask_models(experiment, trial).values()):
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


def refuse_writing(path: Place, error: OSError) -> InputError:
    """Return an error about a place that cannot be written to."""
    return InputError(
        f"Expected --out to be a folder that can be written to, but {path}: "
        f"{error.strerror or error}. Choose another --out."
    )
