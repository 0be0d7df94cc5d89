"""The Ray cluster: connect, see what it has, and refuse at once what it cannot run."""

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
from ray.autoscaler.sdk import request_resources
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from osteo_ray.base.errors import IncompleteError, InputError
from osteo_ray.base.interruption import end_on
from osteo_ray.base.machine import describe_machine, hash_code
from osteo_ray.cluster.placement import Layout, Resources, describe_shortage, lay_out
from osteo_ray.cluster.settings import ResourceSettings

_PACKAGES = (
    *("osteo-ray", "ray", "torch", "torchvision", "timm", "safetensors", "openvino"),
    *("scikit-image", "opencv-python-headless", "pillow", "pydicom", "python-gdcm", "faiss-cpu"),
    *("scikit-learn", "scipy", "statsmodels", "numpy", "pandas", "pyarrow", "lime"),
)
_ASKING_S = 60.0  # after which a node that does not say what it is stays unknown
_WAIT_FOR_AUTOSCALER_S = 900.0
_LOOK_INTERVAL_S = 1.0


@contextlib.contextmanager
def connect(*, cpus: int | None = None) -> Iterator[None]:
    """Join the cluster named by RAY_ADDRESS, or start one on this machine for as long as needed.

    Args:
        cpus: Logical CPUs of one that is started here in any case; by default those of the machine.
    """
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # trials store their own artifacts
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C ends the job, not one sweep of it
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS", "local") if cpus is None else "local"
    with warnings.catch_warnings():
        # Ray announces a future default about accelerator variables; this code sets devices itself.
        warnings.simplefilter("ignore", FutureWarning)
        ray.init(address=address, num_cpus=cpus, log_to_driver=True, include_dashboard=False)
    try:
        with end_on(signal.SIGTERM, _tell_terminated):  # which `ray job stop` sends before SIGKILL
            yield
    finally:
        ray.shutdown()


def _tell_terminated() -> IncompleteError:
    return IncompleteError(
        "Stopped by SIGTERM. A run keeps what it finished: the same command goes on from there."
    )


def plan_resources(
    settings: ResourceSettings, say: Callable[[str], None] = lambda text: None
) -> Layout:
    """Lay a run out on the cluster that is connected; wait for nodes where some are to come.

    Args:
        settings: What each worker is to have, how many a training has, how long to wait.
        say: Told what is waited for.

    Raises:
        InputError: One training needs more than the whole cluster, or a worker more than any node,
            has; it would wait for ever.
    """
    to_come = _ask_autoscaler()
    gpus_to_come = 0 if to_come is None else to_come.get("GPU", 0)

    def look() -> Layout:
        return lay_out(_list_nodes(), settings, gpus_to_come=gpus_to_come)

    plan = look()
    if plan.fits:
        return plan
    wait_s = settings.wait_for_nodes
    if wait_s is None:
        wait_s = _WAIT_FOR_AUTOSCALER_S if to_come is not None and _may_fit(plan, to_come) else 0
    if wait_s:
        say(f"wait up to {wait_s:g} s for nodes: {plan.workers} × ({plan.slot})")
        plan = _wait_for_nodes(plan, look, wait_s)
    if not plan.fits:
        raise InputError(describe_shortage(plan, to_come, wait_s))
    return plan


def _list_nodes() -> list[Resources]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _ask_autoscaler() -> Resources | None:
    """Return what the cluster may have at most; None where no autoscaler says."""
    # Only the autoscalers of the cluster launcher and of KubeRay say it, and only to this function,
    # which Ray Data and Ray Train ask, too.
    most = ray._private.state.state.get_max_resources_from_cluster_config()
    return None if most is None else {name: float(amount) for name, amount in most.items()}


def _may_fit(plan: Layout, most: Resources) -> bool:
    bundle = plan.slot.bundle
    return all(most.get(name, 0) >= amount * plan.workers for name, amount in bundle.items())


def _wait_for_nodes(plan: Layout, look_again: Callable[[], Layout], wait_s: float) -> Layout:
    """Ask an autoscaler, if there is one, for what a plan lacks, and wait for it."""
    until = time.monotonic() + wait_s
    request_resources(bundles=[*[plan.slot.bundle] * plan.workers, plan.explainer.bundle])
    try:
        while not plan.fits and time.monotonic() < until:
            time.sleep(_LOOK_INTERVAL_S)
            plan = look_again()
    finally:
        request_resources(bundles=[])  # from here on the work itself asks
    return plan


@contextlib.contextmanager
def allow_lost_blocks(most: int) -> Iterator[None]:
    """Have Ray Data go on without blocks whose process died at each try, up to so many.

    What a task raises must not end it, then: Ray Data would count that as a lost block, too.
    """
    import ray.data

    context = ray.data.DataContext.get_current()
    before = context.max_errored_blocks
    context.max_errored_blocks = most
    try:
        with warnings.catch_warnings():
            # Ray 2.60 has no named parameters yet for the bounds on restarts.
            warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
            yield
    finally:
        context.max_errored_blocks = before


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


def describe_environment(plan: Layout) -> dict[str, Any]:
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


def describe_workers(plan: Layout) -> dict[str, Any]:
    """Return what the work runs on, as far as numbers depend on it.

    Returns:
        device, threads_per_worker, gpu, and what `machine.describe_machine` says of the nodes that
        have room for a worker; where these differ, each of them, and None where one did not say.
    """
    slot = plan.slot
    nodes = [node for node in ray.nodes() if node["Alive"] and slot.count_on(node["Resources"])]
    gpus = {
        name.removeprefix("accelerator_type:")
        for node in nodes
        for name in node["Resources"]
        if slot.gpus and name.startswith("accelerator_type:")
    }
    return {
        "device": slot.device,
        "threads_per_worker": slot.cpus,
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
