"""A whole experiment in plain loops in this process: what the cluster does, without a cluster.

For experiments that are too small to be spread, of which many run beside one another, and to hold
the distributed run to.
"""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from osteo_ray.compare.experiment import Experiment, Trial, plan_trials
from osteo_ray.compare.mask_jobs import list_explanations
from osteo_ray.compare.trials import run_trial
from osteo_ray.explain.explainer import Explainer
from osteo_ray.runs import list_parts

_DEVICE = "cpu"


def run_in_process(experiment: Experiment, pixels: np.ndarray, *, n_threads: int = 1) -> None:
    """Train, explain and train again; what is there already is left as it is.

    Args:
        experiment: What to run; its pixels lie in the run, too.
        pixels: uint8, (n, height, width), in the order of `experiment.image_ids`.
        n_threads: CPU threads.
    """

    def train(trials: list[Trial]) -> None:
        for trial in trials:
            run_trial(trial, experiment, pixels, device=torch.device(_DEVICE), n_threads=n_threads)

    first, second = plan_trials(experiment)
    train(first)
    jobs = list_explanations(experiment, second)
    pending = [job.explainable for job in jobs if job.n_done < job.n_wanted]
    if pending:
        explainer = Explainer(
            pending,
            experiment.config.lime,
            len(experiment.classes),
            experiment.config.image_size,
            _DEVICE,
            n_threads,
        )
        for _ in explainer(_list_slices(experiment.run.pixels)):
            pass
    train(second)


def _list_slices(pixels: Path) -> dict[str, np.ndarray]:
    files = list_parts(pixels)
    stops = [pq.read_metadata(file).num_rows for file in files]
    return {"file": np.array(files), "start": np.zeros(len(files), int), "stop": np.array(stops)}
