"""The overhead of a training in a long sweep, and how soon a stopped sweep resumes."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from benchmarks.devices import Device, check_device, share_gpus
from benchmarks.memory import PeakMemory
from benchmarks.overhead import quiet, run_loops
from osteo_ray.base.events import read_events
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import read_json
from osteo_ray.cluster.connection import connect
from osteo_ray.cluster.settings import ResourceSettings
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.experiment.trials import list_arms
from osteo_ray.models.settings import TrainingSettings
from osteo_ray.pipeline.compare.running import FIRST, SECOND
from osteo_ray.pipeline.compare.stages import compare

TINY = "test_byobnet"
"""A network of 50,000 parameters that timm has for tests."""


@dataclass(frozen=True)
class Sweep:
    """A sweep of tiny trainings.

    Attributes:
        n_trainings: Number of trainings.
        sweep_s: Time of the training stages on the cluster, in seconds.
        loop_s: Time of the trainings and the statistics in one process with one thread.
        workers: Number of workers of the cluster, of one thread each.
        driver_gib: Memory of the driver after a quarter, a half, three quarters and all of the
            time.
        going_s: Time from the command to the start of the stage with the missing training.
        resume_s: Time from the command to the end of that training.
    """

    n_trainings: int
    sweep_s: float
    loop_s: float
    workers: int
    driver_gib: tuple[float, ...]
    going_s: float
    resume_s: float

    @property
    def overhead_s(self) -> float:
        """Return the time of a worker that a training takes beyond its time in a loop, seconds."""
        return (self.sweep_s * self.workers - self.loop_s) / self.n_trainings


def bench_sweep(n_trainings: int, device: Device = "cpu") -> Sweep:
    """Train many tiny networks, with a worker per CPU; delete one training, and resume.

    Args:
        n_trainings: Number of trainings, even: half of them start from the weights of the others.
        device: Where workers train; they share a GPU. The loops always run on a CPU.
    """
    workers = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        config = CompareConfig(
            models=(TINY,),
            weights=("none",),
            arms=("original", "original_retrained"),
            seeds=n_trainings // 2,
            image_size=32,
            training=TrainingSettings(epochs=1),
            resources=ResourceSettings(gpus_per_worker=share_gpus(device, workers)),
            phantom=PhantomSettings(n_images=60, size_px=48),
            out=str(root / "run"),
        )
        with PeakMemory() as memory, connect(cpus=workers):
            check_device(device)
            compare(config, quiet())
        run = Run(root / "run")
        course = memory.driver_course
        durations = read_json(run.environment)["durations_s"]
        made = ("trials", "logs", "predictions*", "comparison*")
        shutil.copytree(root / "run", root / "loop", ignore=shutil.ignore_patterns(*made))
        finished, loop_s = run_loops(config, Run(root / "loop"))
        lost = finished.experiment.path_of(list_arms(finished.experiment)[-1])
        shutil.rmtree(root / "run" / Path(str(lost)).relative_to(root / "loop"))
        going_s, resume_s = _resume(run)
    return Sweep(
        n_trainings=n_trainings,
        sweep_s=durations[FIRST] + durations[SECOND],
        loop_s=loop_s,
        workers=workers,
        driver_gib=tuple(
            float(np.mean(course[int(len(course) * share) - 4 : int(len(course) * share)]))
            for share in (0.25, 0.5, 0.75, 1.0)
        ),
        going_s=going_s,
        resume_s=resume_s,
    )


def _resume(run: Run) -> tuple[float, float]:
    """Run the command again; return when the stage began and when the missing training ended."""
    command = ["compare", "--config", str(run.config), "--out", str(run.root)]
    begun = datetime.now().astimezone()
    subprocess.run(
        [sys.executable, "-m", "osteo_ray.commands.main", *command],
        env={**os.environ, "RAY_ADDRESS": "local"},
        capture_output=True,
        check=True,
    )
    *_, last = read_events(run.logs)
    (training,) = [line for line in last if line["event"] == "training done"]
    (stage,) = [
        line
        for line in last
        if line["event"] == "stage started" and line["stage"] == training["stage"]
    ]
    going, there = (datetime.fromisoformat(line["time"]) - begun for line in (stage, training))
    return going.total_seconds(), there.total_seconds()
