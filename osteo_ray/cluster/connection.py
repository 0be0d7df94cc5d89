"""Connect to a Ray cluster, see what it has, and refuse at once what it cannot run."""

import contextlib
import importlib.metadata
import os
import platform
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray._private.resource_and_label_spec import ResourceAndLabelSpec
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from osteo_ray.base.errors import IncompleteError, InputError
from osteo_ray.base.interruption import end_on
from osteo_ray.base.machine import describe_machine, hash_code
from osteo_ray.cluster.joining import join
from osteo_ray.cluster.placement import Layout, describe_shortage, lay_out
from osteo_ray.cluster.settings import ResourceSettings
from osteo_ray.cluster.waiting import wait_for_room

_PACKAGES = (
    *("osteo-ray", "ray", "torch", "torchvision", "timm", "safetensors", "openvino"),
    *("scikit-image", "opencv-python-headless", "pillow", "pydicom", "python-gdcm", "faiss-cpu"),
    *("scikit-learn", "scipy", "statsmodels", "numpy", "pandas", "pyarrow", "lime"),
)
_ASKING_S = 60.0  # to wait for the nodes to describe themselves
_ADDRESS = "RAY_ADDRESS"


def is_cluster_given() -> bool:
    """Tell whether there is a cluster already, so that none is started on this machine."""
    return ray.is_initialized() or _find_address() != "local"


def _find_address() -> str:
    """Return the address that the user names; an empty one counts as none, as in most shells."""
    return os.environ.get(_ADDRESS) or "local"


def check_machine(settings: ResourceSettings) -> None:
    """Refuse what a cluster on this machine will not have room for, before it is started.

    Raises:
        InputError: A training, or a worker, needs more than there is.
    """
    found = ResourceAndLabelSpec()
    found.resolve(is_head=True)  # as Ray will: within the limits of a container, for instance
    node = {"CPU": float(found.num_cpus or 0), "GPU": float(found.num_gpus or 0)}
    layout = lay_out([node], settings)
    if not layout.fits:
        raise InputError(describe_shortage(layout))


@contextlib.contextmanager
def connect(*, cpus: int | None = None) -> Iterator[None]:
    """Join the cluster that RAY_ADDRESS names, or start one on this machine for the block.

    Args:
        cpus: If given, start a cluster here in any case, with so many logical CPUs.

    Raises:
        InputError: The address or the token cannot be used, or the cluster runs another Ray.
        IncompleteError: No cluster answers there, or none can be started here.
    """
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # trials store their own artifacts
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C ends the command, not a sweep
    if ray.is_initialized():
        yield
        return
    address = _find_address() if cpus is None else "local"
    join(address, cpus)
    try:
        with end_on(signal.SIGTERM, _tell_terminated):  # `ray job stop` sends it before SIGKILL
            yield
    finally:
        ray.shutdown()


def _tell_terminated() -> IncompleteError:
    return IncompleteError(
        "Stopped by SIGTERM. What finished is kept; run the same command again to resume."
    )


def plan_resources(
    settings: ResourceSettings, say: Callable[[str], None] = lambda text: None
) -> Layout:
    """Lay a run out on the connected cluster; wait for nodes if more are expected.

    Args:
        settings: What each worker gets, how many workers a training has, and how long to wait.
        say: Receives a message about what is being waited for.

    Raises:
        InputError: One training needs more than the whole cluster has, or a worker more than any
            single node has, and no autoscaler can add it; it would wait forever.
        IncompleteError: Nodes were waited for, and did not come in time.
    """

    def look() -> Layout:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return lay_out(nodes, settings)

    layout = look()
    return layout if layout.fits else wait_for_room(look, settings.wait_for_nodes, say)


@contextlib.contextmanager
def allow_lost_blocks(most: int) -> Iterator[None]:
    """Let Ray Data continue without blocks whose process died at every attempt.

    Ray Data counts errors that a task raises as lost blocks, too, so tasks must not raise any.

    Args:
        most: How many blocks may be lost.
    """
    import ray.data

    context = ray.data.DataContext.get_current()
    before = context.max_errored_blocks
    context.max_errored_blocks = most
    try:
        with warnings.catch_warnings():
            # Ray 2.60 does not have named parameters for the limits on restarts yet.
            warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
            yield
    finally:
        context.max_errored_blocks = before


def name_worker() -> str:
    """Return the name of this worker, made of the address of its node and its process id."""
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


def describe_environment(layout: Layout) -> dict[str, Any]:
    """Return when, with which versions, and on which hardware a run began, for its record."""
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": {
            "python": platform.python_version(),
            "osteo-ray code": hash_code(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        "hardware": {**describe_cluster(), **describe_workers(layout)},
    }


def describe_workers(layout: Layout) -> dict[str, Any]:
    """Return what the workers run on, as far as results may depend on it.

    Returns:
        `device`, `explaining_device` if it is another, `threads_per_worker`, `gpu`, and the
        entries of `machine.describe_machine` for the nodes that have room for a worker. If nodes
        differ, an entry lists all values; it is None if a node did not answer.
    """
    slot = layout.slot
    nodes = [node for node in ray.nodes() if node["Alive"] and slot.count_on(node["Resources"])]
    gpus = {
        name.removeprefix("accelerator_type:")
        for node in nodes
        for name in node["Resources"]
        if slot.gpus and name.startswith("accelerator_type:")
    }
    explaining = layout.explainer.device
    return {
        "device": slot.device,
        **({} if explaining == slot.device else {"explaining_device": explaining}),
        "threads_per_worker": slot.cpus,
        "gpu": "; ".join(sorted(gpus)),
        **_ask_machines([str(node["NodeID"]) for node in nodes]),
    }


def _ask_machines(nodes: list[str]) -> dict[str, str | None]:
    """Have each node describe itself: workers compute there, and the driver may be elsewhere."""
    asked = [
        _describe_machine.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
        ).remote()
        for node in nodes
    ]
    ready, _ = ray.wait(asked, num_returns=len(asked), timeout=_ASKING_S)
    found: list[dict[str, str]] = []
    for one in ready:
        with contextlib.suppress(ray.exceptions.RayError):  # the node has left meanwhile
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
    """Wait for a check that runs on a worker.

    Args:
        check: Result of the check: what is wrong, in words for the user; empty if nothing is.

    Raises:
        InputError: Something is wrong.
    """
    problems = ray.get(check)
    if problems:
        raise InputError("\n".join(problems))
