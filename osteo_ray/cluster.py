"""The Ray cluster: connect, see what it has, and refuse at once what it cannot run."""

import contextlib
import importlib.metadata
import math
import os
import platform
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ray

from osteo_ray.config import ResourceSettings
from osteo_ray.errors import InputError

_PACKAGES = ("osteo-ray", "ray", "torch", "timm", "scikit-image", "scikit-learn", "numpy", "lime")


@dataclass(frozen=True)
class Slot:
    """What one worker gets: a trial has one or more, an explaining actor one.

    Attributes:
        cpus: CPUs, and threads.
        gpus: GPUs, possibly a fraction; 0 means that the worker computes on the CPU, whatever
            the node has.
    """

    cpus: int
    gpus: float

    @property
    def device(self) -> str:
        """Name of the device to compute on."""
        return "cuda" if self.gpus else "cpu"


@dataclass(frozen=True)
class Plan:
    """How a run is laid out on the cluster.

    Attributes:
        slot: What each worker gets.
        workers: Workers per training.
        slots: Workers that fit at once.
    """

    slot: Slot
    workers: int
    slots: int

    @property
    def concurrent_trials(self) -> int:
        """Trainings that run at once."""
        return max(1, self.slots // self.workers)


@contextlib.contextmanager
def connect() -> Iterator[None]:
    """Join the cluster named by RAY_ADDRESS, or start one on this machine for as long as needed."""
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # trials store their own artifacts
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C ends the job, not one sweep of it
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS", "local")
    with warnings.catch_warnings():
        # Ray announces a future default about accelerator variables; this code sets devices itself.
        warnings.simplefilter("ignore", FutureWarning)
        ray.init(address=address, log_to_driver=True, include_dashboard=False)
    try:
        yield
    finally:
        ray.shutdown()


def plan_resources(settings: ResourceSettings) -> Plan:
    """Lay a run out on the cluster that is connected.

    Raises:
        InputError: One training needs more than the whole cluster, or a worker more than any node,
            has; it would wait for ever.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    total_gpus = sum(node.get("GPU", 0) for node in nodes)
    gpus = settings.gpus_per_worker
    if gpus is None:
        gpus = 1.0 if total_gpus else 0.0
    slot = Slot(settings.cpus_per_worker, gpus)
    slots = sum(_count_slots(node, slot) for node in nodes)
    if slots < settings.workers:
        has = f"{sum(node.get('CPU', 0) for node in nodes):g} CPUs and {total_gpus:g} GPUs"
        raise InputError(
            f"Expected a cluster with room for {settings.workers} worker(s) of {slot.cpus} CPU(s) "
            f"and {slot.gpus:g} GPU(s) each, but it has {has} on {len(nodes)} node(s), room for "
            f"{slots}. Lower {'--workers, ' if settings.workers > 1 else ''}"
            "--resources.cpus-per-worker or --resources.gpus-per-worker, or add nodes."
        )
    return Plan(slot, settings.workers, slots)


def _count_slots(node: dict[str, float], slot: Slot) -> int:
    by_cpu = node.get("CPU", 0) / slot.cpus
    by_gpu = node.get("GPU", 0) / slot.gpus if slot.gpus else math.inf
    return int(min(by_cpu, by_gpu))


def name_worker() -> str:
    """Return which worker this is, as node and process."""
    return f"{ray.util.get_node_ip_address()}/{os.getpid()}"


def describe_cluster() -> dict[str, Any]:
    """Return what the cluster has, for the record of a run."""
    resources = ray.cluster_resources()
    return {
        "platform": platform.platform(),
        "nodes": len(ray.nodes()),
        "cpus": resources.get("CPU", 0),
        "gpus": resources.get("GPU", 0),
        "memory_gib": round(resources.get("memory", 0) / 2**30, 1),
    }


def describe_environment() -> dict[str, Any]:
    """Return when, with which versions and on what a run was begun, for its record."""
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        "hardware": describe_cluster(),
    }


def confirm(check: "ray.ObjectRef[list[str]]") -> None:
    """Wait for a check that a worker makes; it returns what is wrong, in words for the user.

    Raises:
        InputError: Something is wrong.
    """
    problems = ray.get(check)
    if problems:
        raise InputError("\n".join(problems))
