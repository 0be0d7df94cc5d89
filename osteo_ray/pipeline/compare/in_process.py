"""A whole experiment in plain loops in this process: what the cluster does, without a cluster.

For experiments that are too small to distribute, many of which run beside one another; and as the
reference for the distributed run, which must give the same bytes.
"""

from collections.abc import Iterable

import numpy as np
import torch

from osteo_ray.base.storage import Place, recall_place
from osteo_ray.base.tables import count_rows, list_parts
from osteo_ray.data.pixels import Pixels
from osteo_ray.experiment.external import ExternalExperiment
from osteo_ray.experiment.superpixel_files import list_divisions
from osteo_ray.experiment.trials import Experiment, Trial, plan_trials
from osteo_ray.explain.jobs import Explainable, plan_job
from osteo_ray.explain.superpixel_files import write_superpixels
from osteo_ray.models.training import Worker
from osteo_ray.pipeline.compare.external_work import plan_external
from osteo_ray.pipeline.compare.grid_row import predict_views
from osteo_ray.pipeline.compare.mask_jobs import list_explanations
from osteo_ray.pipeline.compare.one_trial import run_trial
from osteo_ray.pipeline.explain.actor import ExplainingActor

_DEVICE = "cpu"


def run_in_process(experiment: Experiment, pixels: np.ndarray, *, n_threads: int = 1) -> None:
    """Train, explain and train again; leave what exists already as it is.

    Args:
        experiment: What to run; its pixels lie in the run, too.
        pixels: uint8, (n, height, width), in the order of `experiment.image_ids`.
        n_threads: CPU threads.
    """

    def train(trials: list[Trial]) -> None:
        for trial in trials:
            run_trial(trial, experiment, pixels, Worker(torch.device(_DEVICE), n_threads))

    first, second = plan_trials(experiment)
    train(first)
    explanations = list_explanations(experiment, second)
    explain_in_process(experiment, explanations.values(), n_threads)
    for division in list_divisions(experiment, second):
        settings = experiment.settings
        write_superpixels(division.pixels, division.target, settings.lime, settings.image_size)
    train(second)


def predict_in_process(external: ExternalExperiment, pixels: Pixels, *, n_threads: int = 1) -> None:
    """Explain the images of an external cohort, and predict them with all trained classifiers.

    Args:
        external: The trained experiment with the images of the cohort; their pixels lie in the
            cohort's folder, too.
        pixels: uint8, (n, height, width), in the order of `external.image_ids`; in memory or not.
        n_threads: CPU threads.
    """
    work = plan_external(external)
    explain_in_process(external, work.explanations.values(), n_threads)
    for division in work.divisions:
        settings = external.settings
        write_superpixels(division.pixels, division.target, settings.lime, settings.image_size)
    for row in work.rows:
        predict_views([row], external, pixels, Worker(torch.device(_DEVICE), n_threads))


def explain_in_process(
    experiment: Experiment, explanations: Iterable[Explainable], n_threads: int
) -> None:
    """Make explanations of an experiment, as far as they are missing."""
    pending = [one for one in explanations if one.lacking]
    if pending:
        job = plan_job(
            pending,
            experiment.settings.lime,
            n_classes=len(experiment.classes),
            image_size=experiment.settings.image_size,
        )
        actor = ExplainingActor(job, device=_DEVICE, n_threads=n_threads)
        for _ in actor(_list_slices(experiment.run.pixels)):
            pass


def _list_slices(pixels: Place) -> dict[str, np.ndarray]:
    files = list_parts(pixels)
    stops = [count_rows(recall_place(file)) for file in files]
    return {"file": np.array(files), "start": np.zeros(len(files), int), "stop": np.array(stops)}
