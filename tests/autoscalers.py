"""Ray clusters with an autoscaler, whose nodes are processes of this machine.

Ray's `AutoscalingCluster` does the same, but begins and ends with `ray stop --force`, which ends
every Ray of the machine, and needs a file that Ray's wheel does not hold.
"""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ray.autoscaler._private.fake_multi_node.node_provider import (
    FAKE_HEAD_NODE_ID,
    FakeMultiNodeProvider,
)
from ray.util import get_node_ip_address
from ray_heads import BIN, ROOT, find_free_ports, stop_process

_HEAD = "ray.head.default"  # the name that Ray's fake provider gives it
_IP = get_node_ip_address()  # Ray takes it for 127.0.0.1 whatever the head listens at
_PORTS = ("port", "dashboard-port", "dashboard-agent-listen-port", "ray-client-server-port")


@contextlib.contextmanager
def start_autoscaler(
    worker: Mapping[str, float], most: int, *, version: int, idle_minutes: float = 5
) -> Iterator[str]:
    """Start a head without CPUs, and an autoscaler that may add workers; stop all at the end.

    Args:
        worker: What each worker has.
        most: The most workers.
        version: Of Ray's autoscaler, 1 or 2.
        idle_minutes: Time after which an idle worker goes.

    Yields:
        The address of the cluster.
    """
    with _start_head(
        lambda port: _describe(worker, most, version, idle_minutes, port), version
    ) as address:
        yield address


@contextlib.contextmanager
def start_fixed(*, version: int) -> Iterator[str]:
    """Start a head without CPUs to which nobody adds nodes, as `ray start --head` does."""
    with _start_head(None, version) as address:
        yield address


def _describe(
    worker: Mapping[str, float], most: int, version: int, idle_minutes: float, port: int
) -> dict[str, Any]:
    provider: dict[str, Any] = {
        "type": "external",  # or Ray looks for a file of defaults that its wheel lacks
        "module": f"{FakeMultiNodeProvider.__module__}.{FakeMultiNodeProvider.__name__}",
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
        "gcs_address": f"{_IP}:{port}",
        "head_node_id": FAKE_HEAD_NODE_ID,
        "use_node_id_as_ip": True,  # all nodes have one address
    }
    if version == 2:
        provider["launch_multiple"] = True
    return {
        "cluster_name": "osteo-ray-test",
        "max_workers": most,
        "idle_timeout_minutes": idle_minutes,
        "upscaling_speed": 1,
        "provider": provider,
        "available_node_types": {
            "worker": {
                "resources": {**worker, "object_store_memory": 10**8},
                "node_config": {},
                "min_workers": 0,
                "max_workers": most,
            },
            _HEAD: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        },
        "head_node_type": _HEAD,
        **{
            name: []
            for name in (
                *("initialization_commands", "setup_commands", "head_setup_commands"),
                *("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands"),
            )
        },
        "auth": {},
        "cluster_synced_files": [],
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
    }


@contextlib.contextmanager
def _start_head(describe: Any, version: int) -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="rayauto", dir="/tmp"))  # short: Ray puts sockets in it
    ports = dict(zip(_PORTS, find_free_ports(len(_PORTS)), strict=True))
    foreign = ("RAY_A", "RAY_e", "PYTEST_")  # another cluster's address and token, a version
    environment = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    environment |= {
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "PATH": f"{BIN}{os.pathsep}{environment['PATH']}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "RAY_AUTH_MODE": "disabled",
        "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": str(version - 1),
    }
    command = [str(BIN / "ray"), "start", "--head", "--block", "--disable-usage-stats"]
    command += ["--num-cpus=0", "--num-gpus=0", "--object-store-memory=100000000"]
    command += ["--include-dashboard=false"]
    command += [f"--temp-dir={folder / 'ray'}"]
    command += [f"--{name}={port}" for name, port in ports.items()]
    if describe is not None:
        (folder / "cluster.json").write_text(json.dumps(describe(ports["port"])))
        command += [f"--autoscaling-config={folder / 'cluster.json'}"]
    with (folder / "start.log").open("wb") as log:
        start = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_until_started(start, folder / "start.log")
        yield f"{_IP}:{ports['port']}"
    finally:
        stop_process(start)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_started(start: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and start.poll() is None:
        if "Ray runtime started" in log.read_text():
            return
        time.sleep(0.2)
    pytest.fail(f"Ray did not start:\n{log.read_text()}")
