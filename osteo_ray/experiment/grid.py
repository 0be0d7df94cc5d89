"""The grid: every trained classifier on every other view of its test images. Free of Ray.

A *view* is what an arm shows of the test images: whole, the LIME mask, a random mask, the rest. The
classifiers of all other arms predict it as well, without any training. Whether masks are worth
anything without a mask at test time is read from there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from osteo_ray.arms.registry import ARMS
from osteo_ray.base.mappings import hash_settings
from osteo_ray.base.networks import name_repeat
from osteo_ray.base.remote import RemotePath
from osteo_ray.base.storage import Place
from osteo_ray.base.tables import list_parts, read_tables
from osteo_ray.experiment.trials import WEIGHTS, Experiment, MaskJob, Trial
from osteo_ray.statistics.predictions import NAMES

VIEW = "view"
"""The column of the table of the grid that names the arm whose view of the images is predicted."""


@dataclass(frozen=True)
class GridRow:
    """A trained classifier, and the views that it is to predict beside its own.

    Attributes:
        trial: The training that made it.
        views: Names of the arms whose views are predicted.
        target: The file of the predictions.
    """

    trial: Trial
    views: tuple[str, ...]
    target: Place


def list_grid(experiment: Experiment, trials: Iterable[Trial]) -> list[GridRow]:
    """List what is to be predicted with the classifiers of some trials that are done.

    There is nothing if the run was asked for no grid. Views that need masks are left out if the
    planned arms do not have these masks made of all images, and that of given regions if the run
    has none. Classifiers of shuffled labels, and those that see outlines alone, have no part in the
    grid.
    """
    rows = []
    for trial in trials if experiment.grid else ():
        arm = ARMS[trial.arm]
        views = tuple(name for name in list_views(experiment, trial) if name != trial.arm)
        if views and not arm.shuffled and arm.view != "silhouette":
            rows.append(GridRow(trial, views, place_row(experiment, trial, views)))
    return rows


def list_views(experiment: Experiment, trial: Trial) -> list[str]:
    """List the views that can be shown to the classifiers of a model and a seed."""
    made: dict[MaskJob, np.ndarray] = {}
    for arm_name in experiment.arms:
        for job, images in experiment.list_jobs(replace(trial, arm=arm_name)).items():
            made[job] = made.get(job, np.zeros_like(images)) | images
    found = []
    for name, arm in ARMS.items():
        if not arm.in_grid or (arm.shows_regions and not experiment.regions):
            continue
        jobs = experiment.list_jobs(replace(trial, arm=name))
        # Out-of-fold masks leave it to other models to explain training images.
        if all(job in made and np.all(made[job] >= images) for job, images in jobs.items()):
            found.append(name)
    return found if len(found) > 1 else []


def place_row(experiment: Experiment, trial: Trial, views: tuple[str, ...]) -> Place:
    """Return the file of a row: its address is a hash of what determines the predictions."""
    shared = experiment.settings
    jobs: dict[MaskJob, object] = {}
    for name in views:
        jobs |= dict.fromkeys(experiment.list_jobs(Trial(trial.model, trial.seed, name)))
    content = {
        "trial": experiment.key_of(trial),
        "views": views,
        "masks": [experiment.key_of_job(job) for job in jobs],
        "background": shared.background,
        "unexplained": shared.unexplained,
    }
    if any(ARMS[name].shows_regions for name in views):
        content["regions"] = experiment.regions
    folder = experiment.run.grid / name_repeat(trial.model, trial.seed)
    return folder / f"{trial.arm}-{hash_settings(content)}.parquet"


def list_pending(experiment: Experiment, rows: Iterable[GridRow]) -> list[GridRow]:
    """Return those rows of the grid that can be predicted, and are not stored.

    A row can be predicted if the weights of its classifier are still there. They may have been
    removed to save space, since a finished comparison does without them.
    """
    done = set(list_parts(experiment.run.grid))
    pending = [row for row in rows if str(row.target) not in done]
    files = {row.trial: experiment.path_of(row.trial) / WEIGHTS for row in pending}
    if isinstance(experiment.run.trials, RemotePath) and pending:
        stored: set[Place] = {path for path, _ in experiment.run.trials.list_files()}
    else:
        stored = {path for path in files.values() if path.is_file()}
    return [row for row in pending if files[row.trial] in stored]


def read_grid(experiment: Experiment, rows: Iterable[GridRow]) -> pa.Table | None:
    """Read the predictions of the grid, as far as they are stored; None if none are.

    Returns:
        The columns of the predictions table, and `view`.
    """
    done = set(list_parts(experiment.run.grid))
    parts = [row.target for row in rows if str(row.target) in done]
    return pa.concat_tables(read_tables(parts, as_numbers=NAMES)) if parts else None
