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
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from osteo_ray.config import ResourceSettings
from osteo_ray.errors import InputError
from osteo_ray.machine import describe_machine, hash_code

_PACKAGES = (
    *("osteo-ray", "ray", "torch", "torchvision", "timm", "safetensors", "openvino"),
    *("scikit-image", "opencv-python-headless", "pillow", "pydicom", "python-gdcm", "faiss-cpu"),
    *("scikit-learn", "scipy", "statsmodels", "numpy", "pandas", "pyarrow", "lime"),
)
_ASKING_S = 60.0  # after which a node that does not say what it is stays unknown


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


def describe_environment(plan: Plan) -> dict[str, Any]:
    """Return when, with which versions and on what a run was begun, for its record."""
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": {
            "python": platform.python_version(),
            "osteo-ray code": hash_code(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        "hardware": {**describe_cluster(), **describe_workers(plan)},
    }


def describe_workers(plan: Plan) -> dict[str, Any]:
    """Return what the work runs on, as far as numbers depend on it.

    Returns:
        device, threads_per_worker, explaining_actors (which share the images out, and with them
        what is classified at once), gpu, and what `machine.describe_machine` says of the nodes that
        have room for a worker; where these differ, each of them, and None where one did not say.
    """
    slot = plan.slot
    nodes = [
        node for node in ray.nodes() if node["Alive"] and _count_slots(node["Resources"], slot)
    ]
    gpus = {
        name.removeprefix("accelerator_type:")
        for node in nodes
        for name in node["Resources"]
        if slot.gpus and name.startswith("accelerator_type:")
    }
    return {
        "device": slot.device,
        "threads_per_worker": slot.cpus,
        "explaining_actors": plan.slots,
        "gpu": "; ".join(sorted(gpus)),
        **_ask_machines([str(node["NodeID"]) for node in nodes]),
    }


def _ask_machines(nodes: list[str]) -> dict[str, str | None]:
    """Ask each node what it is: its workers compute, and the driver may be another machine."""
    asked = [
        _describe_machine.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
        ).remote()
        for node in nodes
    ]
    ready, _ = ray.wait(asked, num_returns=len(asked), timeout=_ASKING_S)
    found: list[dict[str, str]] = []
    for one in ready:
        with contextlib.suppress(ray.exceptions.RayError):  # the node went meanwhile
            found.append(ray.get(one))
    known = len(found) == len(nodes)
    return {
        name: "; ".join(sorted({one[name] for one in found})) if known else None
        for name in describe_machine()
    }


@ray.remote(num_cpus=0)
def _describe_machine() -> dict[str, str]:
    return describe_machine()


def confirm(check: "ray.ObjectRef[list[str]]") -> None:
    """Wait for a check that a worker makes; it returns what is wrong, in words for the user.

    Raises:
        InputError: Something is wrong.
    """
    problems = ray.get(check)
    if problems:
        raise InputError("\n".join(problems))
