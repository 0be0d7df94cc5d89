"""Comparisons that are as small as they can be and still hold everything, in one set of settings.

The fixtures `finished` and `finished_copy` of conftest.py give a run with these settings, which is
made once for all tests. `compute_here` spares the other tests the processes of a sweep and a pool.
"""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from rich.console import Console

from osteo_ray.base.events import Explained
from osteo_ray.base.mappings import merge_settings
from osteo_ray.base.progress import JobProgress
from osteo_ray.base.storage import Place, locate
from osteo_ray.base.tables import count_rows, list_parts
from osteo_ray.config.build import build_config
from osteo_ray.config.compare import CompareConfig
from osteo_ray.experiment.trials import Experiment, Trial
from osteo_ray.explain.jobs import ExplainJob
from osteo_ray.models.training import Worker
from osteo_ray.pipeline.audit import audit_set, leak
from osteo_ray.pipeline.compare import running, stages
from osteo_ray.pipeline.compare.one_trial import run_trial
from osteo_ray.pipeline.compare.stages import Outcome, compare
from osteo_ray.pipeline.compare.sweeps import Failure
from osteo_ray.pipeline.explain import explain_set
from osteo_ray.pipeline.explain.actor import ExplainingActor
from osteo_ray.pipeline.reproduce import rerun
from osteo_ray.report.page import write_report

MODEL = "test_byobnet"
ARMS = ("lime", "original", "random_mask", "silhouette")
SEEDS = (0, 1)
SIZE_PX = 32
N_IMAGES = 48
N_THREADS = 2
"""Per process. The last bits of a result depend on their number."""
TINY: dict[str, Any] = {
    "models": [MODEL],
    "arms": list(ARMS),
    "crossfit_folds": 2,
    "seeds": len(SEEDS),
    "image_size": SIZE_PX,
    "training": {"epochs": 2},
    "lime": {"samples": 12, "top_k": 2, "kernel_size": 1.5},
    "grid": False,
    "phantom": {"n_images": N_IMAGES, "size_px": 48},
    # One process at a time on the cluster of the session, as starting them takes most of the time.
    "resources": {"cpus_per_worker": N_THREADS},
}
TINY_FLAGS = (
    *("--models", MODEL, "--seeds", "2", "--image-size", "32", "--epochs", "2"),
    *("--arms", *ARMS, "--crossfit-folds", "2"),
    *("--lime-samples", "12", "--lime.top-k", "2", "--lime.kernel-size", "1.5"),
    *("--phantom.n-images", "48", "--phantom.size-px", "48"),
    *("--resources.cpus-per-worker", str(N_THREADS)),
)
"""The flags that say the same, but for the grid."""


def configure(out: Path | str, **changes: object) -> CompareConfig:
    """Return the settings of a tiny comparison in `out`, with some of them changed."""
    return build_config(merge_settings({**TINY, "out": str(out)}, changes))


def stay_quiet() -> JobProgress:
    """Return a display of progress that nobody sees."""
    return JobProgress(Console(file=io.StringIO()))


def run_quietly(config: CompareConfig) -> Outcome:
    """Run a comparison without showing its progress."""
    return compare(config, stay_quiet(), write_report=write_report)


def list_times(root: Place) -> dict[Path, int]:
    """Return when each file below a folder was last written, in nanoseconds."""
    files = (path for path in Path(str(root)).rglob("*") if path.is_file())
    return {path: path.stat().st_mtime_ns for path in files}


def compute_here(patch: pytest.MonkeyPatch) -> None:
    """Have the commands train and explain in this process, for tests of what they write.

    Ray still reads the images. That both ways give the same bits is tested in test_compare.py. No
    process checks beforehand that the networks can be built.
    """
    for module in (stages, rerun, audit_set):
        patch.setattr(module, "check_models", _Checked)
    patch.setattr(stages, "begin_measuring", lambda *_: lambda: None)
    patch.setattr(running, "run_sweep", _train_here)
    patch.setattr(leak, "run_sweep", _train_here)
    patch.setattr(running, "explain_images", explain_here)
    patch.setattr(explain_set, "explain_images", explain_here)


class _Checked:
    @staticmethod
    def remote(*_: object) -> "ray.ObjectRef[list[str]]":
        return ray.put([])


def _train_here(
    trials: Sequence[Trial], experiment: Experiment, pixels: Any, site: object, listener: object
) -> list[Failure]:
    for trial in trials:
        run_trial(trial, experiment, ray.get(pixels), Worker(torch.device("cpu"), N_THREADS))
    return []


def explain_here(
    pixels: Place, job: ExplainJob, *, pool: object, on_explained: Callable[[Explained], None]
) -> None:
    files = list_parts(pixels)
    stops = [count_rows(locate(file)) for file in files]
    batch = {"file": files, "start": [0] * len(files), "stop": stops}
    for found in ExplainingActor(job, n_threads=N_THREADS)(
        {name: np.array(values) for name, values in batch.items()}
    ):
        on_explained(found)
