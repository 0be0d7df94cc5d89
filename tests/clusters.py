"""Clusters of several nodes on this machine, runs on them, and what is done to those."""

import contextlib
import io
import json
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import ray
from ray.cluster_utils import Cluster
from rich.console import Console
from test_trials import make_experiment, make_pixels, read_masks, write_pixels

from osteo_ray.base.progress import Clock, JobProgress
from osteo_ray.base.time_left import Stage
from osteo_ray.cluster.connection import plan_resources
from osteo_ray.cluster.observer import Observer
from osteo_ray.cluster.settings import ResourceSettings
from osteo_ray.experiment.trials import Experiment, Trial, plan_trials
from osteo_ray.explain.jobs import plan_job
from osteo_ray.pipeline.compare.in_process import run_in_process
from osteo_ray.pipeline.compare.mask_jobs import list_explanations
from osteo_ray.pipeline.compare.shared_pixels import share_pixels
from osteo_ray.pipeline.compare.sweeps import Failure, run_sweep
from osteo_ray.pipeline.explain.pool import Pool, explain_images
from osteo_ray.pipeline.site import Site

ROOT = Path(__file__).parents[1]
LIGHT = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
WORKER_PATH = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
QUICK_TO_NOTICE = {  # a node that is cut off: after 15 s, not after a minute
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
}
HOOK = "fault_hooks.install"
LONGEST_S = 240  # that a test waits for something to happen


@contextlib.contextmanager
def start_cluster(*cpus: int, gpus: float = 0) -> Iterator[Cluster]:
    """Start a head without CPUs and a node for each number of CPUs; stop all of them at the end."""
    folder = Path(tempfile.mkdtemp(prefix="rc", dir="/tmp"))  # short: Ray puts sockets in it
    variables = {
        **WORKER_PATH,
        "RAY_prestart_worker_first_driver": "0",
        "RAY_enable_worker_prestart": "0",
        **QUICK_TO_NOTICE,
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    cluster = None
    try:
        cluster = _persist(
            lambda: Cluster(
                initialize_head=True,
                shutdown_at_exit=False,  # whose handler bars threads
                head_node_args={"num_cpus": 0, "temp_dir": str(folder), **LIGHT},
            )
        )
        for number in cpus:
            add_node(cluster, number, gpus)
        yield cluster
    finally:
        if cluster is not None:
            cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def add_node(cluster: Cluster, cpus: int, gpus: float = 0) -> Any:
    """Add a node to a cluster."""
    return _persist(lambda: cluster.add_node(num_cpus=cpus, num_gpus=gpus, **LIGHT))


def remove_node(cluster: Cluster, node_id: str) -> None:
    """Kill a node and all its processes, by the name that its workers log."""
    (node,) = [one for one in cluster.worker_nodes if one.node_id == node_id]
    cluster.remove_node(node, allow_graceful=False)


def _persist(start: Callable[[], Any]) -> Any:
    """Start a node, which on a busy machine may take longer than the 30 s that Ray allows."""
    for _ in range(2):
        with contextlib.suppress(Exception):
            return start()
    return start()


@dataclass(frozen=True)
class Event:
    """A line of the log of `fault_hooks`."""

    pid: int
    node: str
    kind: str
    unit: str
    event: str
    at: float


@dataclass
class Log:
    """What the workers of a run did."""

    path: Path

    def read(self, kind: str | None = None, event: str | None = None) -> list[Event]:
        """Return events in order."""
        if not self.path.exists():
            return []
        events = [Event(**json.loads(line)) for line in self.path.read_text().splitlines()]
        return [
            one
            for one in events
            if (kind is None or one.kind == kind) and (event is None or one.event == event)
        ]

    def count(self, kind: str, event: str) -> "Counter[str]":
        """Return how often each unit began or ended."""
        return Counter(one.unit for one in self.read(kind, event))


@contextlib.contextmanager
def connected(cluster: Cluster, log: Log, **faults: str) -> Iterator[None]:
    """Join a cluster as a driver whose workers log what they do, and have faults."""
    variables = {"FAULT_LOG": str(log.path), **faults}
    ray.init(
        address=cluster.address,
        log_to_driver=False,
        runtime_env={"worker_process_setup_hook": HOOK, "env_vars": variables},
    )
    try:
        yield
    finally:
        ray.shutdown()


@dataclass
class Saboteur(threading.Thread):
    """Waits for evidence in a log, then does something, some number of times.

    Attributes:
        log: Of the workers.
        when: Returns the event to act on, or None if it is not yet time.
        act: What is done to it.
        times: How often.
    """

    log: Log
    when: Callable[[list[Event]], Event | None]
    act: Callable[[Event], object]
    times: int = 1
    struck: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        until = time.monotonic() + LONGEST_S
        while len(self.struck) < self.times and time.monotonic() < until:
            seen = {one.pid for one in self.struck}
            event = self.when([one for one in self.log.read() if one.pid not in seen])
            if event is not None:
                self.struck.append(event)
                self.act(event)
            time.sleep(0.1)


def first_of(kind: str, event: str) -> Callable[[list[Event]], Event | None]:
    """Return what finds the first event of a kind."""

    def find(events: list[Event]) -> Event | None:
        found = [one for one in events if (one.kind, one.event) == (kind, event)]
        return found[0] if found else None

    return find


@dataclass
class ChangeOfNodes:
    """Kills the node of an event, adds others, and holds all work until these have joined in.

    Attributes:
        cluster: Whose nodes.
        log: Of its workers.
        hold: File that makes them pause.
        n_added: Nodes to add.
        lost: Whether one is killed at all.
        added: Their names.
    """

    cluster: Cluster
    log: Log
    hold: Path
    n_added: int
    lost: bool = True
    added: list[str] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        self.hold.touch()
        if self.lost:
            remove_node(self.cluster, event.node)
        self.added += [add_node(self.cluster, 1).node_id for _ in range(self.n_added)]
        until = time.monotonic() + LONGEST_S / 2
        while time.monotonic() < until:
            if set(self.added) <= {one.node for one in self.log.read(event="start")}:
                break
            time.sleep(0.1)
        self.hold.unlink()


# Runs without a command around them


def make_site(experiment: Experiment, **resources: Any) -> Site:
    """Lay an experiment out on the cluster that is connected, with no display."""
    settings = ResourceSettings(**{"workers": experiment.settings.workers, **resources})
    progress = JobProgress(Console(file=io.StringIO()))
    observer = Observer(experiment.run.logs)
    return Site(plan_resources(settings), settings, progress, Clock(), observer)


def train(experiment: Experiment, trials: list[Trial], **resources: Any) -> list[Failure]:
    """Run those trials that are missing as one sweep."""
    site = make_site(experiment, **resources)
    ids, size_px = experiment.image_ids.tolist(), experiment.settings.image_size
    pixels = share_pixels(experiment.run, ids, size_px, site.layout.pixels_bytes)
    pending = [trial for trial in trials if not experiment.is_done(trial)]
    stage = Stage("sweep", "trainings", len(pending), 1.0)
    with site.progress.showing([stage]), site.stage("sweep") as listener:
        return run_sweep(pending, experiment, pixels, site, listener)


def explain(experiment: Experiment, **resources: Any) -> int:
    """Explain what is missing; return the number of explanations made."""
    _, second = plan_trials(experiment)
    site = make_site(experiment, **resources)
    told = []
    explain_images(
        experiment.run.pixels,
        plan_job(
            list_explanations(experiment, second).values(),
            experiment.settings.lime,
            n_classes=2,
            image_size=experiment.settings.image_size,
        ),
        pool=Pool.on(site.layout, site.resources.stall_timeout),
        on_explained=lambda found: told.append(found.n_images),
    )
    return sum(told)


def make_reference(root: Path, **changes: Any) -> tuple[Experiment, np.ndarray]:
    """Run an experiment in plain loops in this process: what a cluster must come to."""
    experiment, pixels = make_experiment(root, **changes), make_pixels()
    write_pixels(experiment, pixels)
    run_in_process(experiment, pixels)
    return experiment, pixels


def assert_equal_trials(one: Experiment, other: Experiment, trials: list[Trial]) -> None:
    """Compare the files of trials, bit by bit."""
    for trial in trials:
        for name in ("model.safetensors", "predictions.parquet", "history.json"):
            found = (one.path_of(trial) / name).read_bytes()
            assert found == (other.path_of(trial) / name).read_bytes(), f"{trial}: {name}"


def assert_equal_masks(one: Experiment, other: Experiment, but: frozenset[str] = frozenset()):
    """Compare all masks, bit by bit, whatever the files they lie in."""
    folders = _list_folders(one)
    assert folders == _list_folders(other)
    assert folders
    for folder in folders:
        tables = [read_masks(each.run.masks / folder) for each in (one, other)]
        tables = [table[~table["image_id"].isin(but)].reset_index(drop=True) for table in tables]
        assert len(tables[0]) > 0
        pd.testing.assert_frame_equal(*tables, check_exact=True, check_dtype=False)


def _list_folders(experiment: Experiment) -> list[Path]:
    masks = experiment.run.masks
    return sorted({path.parent.relative_to(masks) for path in masks.rglob("part-*.parquet")})


def list_inodes(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return which file each finished artifact is, and when it was written."""
    return {
        path: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*.*")
        if path.is_file() and not any(part.startswith(".") for part in path.parts)
    }
