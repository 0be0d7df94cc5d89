"""The cost of distribution: a comparison on a cluster, and the same one in plain loops."""

import io
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from osteo_ray.base.progress import Clock, JobProgress
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import read_json, read_table
from osteo_ray.cluster.connection import connect
from osteo_ray.config.compare import CompareConfig
from osteo_ray.experiment.dataset import read_dataset, read_pixels
from osteo_ray.experiment.trials import describe_experiment, plan_trials
from osteo_ray.pipeline.compare.conclusion import Finished, conclude
from osteo_ray.pipeline.compare.mask_jobs import list_explanations
from osteo_ray.pipeline.compare.stages import compare
from osteo_ray.report.page import write_report

_MADE = ("trials", "masks", "faithfulness", "heatmaps", "logs", "predictions*", "comparison*")


@dataclass(frozen=True)
class Overhead:
    """One comparison, run twice.

    Attributes:
        n_seeds: Number of seeds.
        n_trainings: Number of trainings.
        n_explanations: Number of explanations, one per image and classifier.
        loop_s: Time in one process with one thread, from decoded images to the report.
        cluster_s: Time on a cluster, including the start of Ray and reading the images.
        workers: Number of workers of the cluster, of one thread each.
        stages: Time of each stage on the cluster, in seconds.
    """

    n_seeds: int
    n_trainings: int
    n_explanations: int
    loop_s: float
    cluster_s: float
    workers: int
    stages: dict[str, float]

    @property
    def cost_s(self) -> float:
        """Return the time of the cluster beyond the loops divided by its workers, in seconds."""
        return self.cluster_s - self.loop_s / self.workers

    @property
    def cost_share(self) -> float:
        """Return the cost relative to the time of the loops divided by the workers."""
        return self.cost_s * self.workers / self.loop_s


def bench_overhead(
    config: CompareConfig, seeds: Sequence[int], *, workers: int
) -> Iterator[Overhead]:
    """Run comparisons, each on a cluster of its own, and again in plain loops.

    All time that the cluster needs beyond the loops counts as its cost. That includes reading the
    images, which the loops find decoded.

    Args:
        config: Configuration of the comparisons; its `out` and `seeds` are ignored.
        seeds: Numbers of seeds, one per comparison.
        workers: Number of CPUs of the cluster, with one worker each.

    Raises:
        RuntimeError: The predictions of the cluster and the loops differ.
    """
    for n_seeds in seeds:
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            wanted = {"out": str(root / "cluster"), "seeds": n_seeds}
            yield _compare_both(config.model_copy(update=wanted), root / "loop", workers)


def _compare_both(config: CompareConfig, loop: Path, workers: int) -> Overhead:
    started = time.perf_counter()
    with connect(cpus=workers):
        outcome = compare(config, quiet(), write_report=write_report)
    cluster_s = time.perf_counter() - started
    if outcome.failures:
        raise RuntimeError(f"A training failed: {outcome.failures[0]}")
    return repeat_in_loops(config, outcome.run, loop, cluster_s=cluster_s, workers=workers)


def repeat_in_loops(
    config: CompareConfig, run: Run, loop: Path, *, cluster_s: float, workers: int
) -> Overhead:
    """Repeat a comparison in plain loops, on the decoded images of its run.

    Args:
        config: Configuration of the comparison.
        run: The comparison on the cluster.
        loop: New directory for the repetition.
        cluster_s: Time that the cluster took, in seconds.
        workers: Number of workers of the cluster.

    Raises:
        RuntimeError: The predictions of the cluster and the loops differ.
    """
    shutil.copytree(str(run.root), loop, ignore=shutil.ignore_patterns(*_MADE))
    finished, loop_s = run_loops(config, Run(loop))
    if not read_table(run.predictions).equals(read_table(Run(loop).predictions)):
        raise RuntimeError("The predictions of the cluster and the loops differ.")
    first, second = plan_trials(finished.experiment)
    explanations = list_explanations(finished.experiment, second)
    return Overhead(
        n_seeds=config.seeds,
        n_trainings=len(first) + len(second),
        n_explanations=sum(len(one.wanted) for one in explanations.values()),
        loop_s=loop_s,
        cluster_s=cluster_s,
        workers=workers,
        stages=read_json(run.environment)["durations_s"],
    )


def run_loops(config: CompareConfig, run: Run) -> tuple[Finished, float]:
    """Run a comparison on the decoded images of a run, in this process; also return its time."""
    # Imported here, because it imports PyTorch, which drivers do without.
    from osteo_ray.pipeline.compare.in_process import run_in_process

    started = time.perf_counter()
    experiment = describe_experiment(run, config, read_dataset(run, config))
    run_in_process(
        experiment,
        read_pixels(run, experiment.image_ids.tolist(), config.image_size),
        n_threads=config.resources.cpus_per_worker,
    )
    finished = Finished(experiment, [], Clock())
    conclude(finished)
    write_report(run)
    return finished, time.perf_counter() - started


def quiet() -> JobProgress:
    """Return a progress display that prints to nowhere."""
    return JobProgress(Console(file=io.StringIO()))


def fit_cost(found: Sequence[Overhead]) -> tuple[float, float] | None:
    """Fit the fixed cost and the cost per seed, in seconds; None for a single number of seeds."""
    if len({one.n_seeds for one in found}) < 2:
        return None
    slope, fixed = np.polyfit([one.n_seeds for one in found], [one.cost_s for one in found], 1)
    return float(fixed), float(slope)
