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
from ray.autoscaler.tags import TAG_RAY_USER_NODE_TYPE
from ray.util import get_node_ip_address
from ray_heads import BIN, ROOT, copy_environment_without, find_free_ports, stop_process

_HEAD = "ray.head.default"  # the name that Ray's fake provider gives it
SPOT = "spot"


class DroughtProvider(FakeMultiNodeProvider):
    """A cloud that has no spot machine left."""

    def _create_node_with_resources_and_labels(
        self, node_config: Any, tags: dict[str, str], *rest: Any
    ) -> None:
        if tags[TAG_RAY_USER_NODE_TYPE] == SPOT:
            raise RuntimeError("There is no spot capacity in this zone.")
        super()._create_node_with_resources_and_labels(node_config, tags, *rest)


@contextlib.contextmanager
def start_autoscaler(
    kinds: Mapping[str, Mapping[str, float]],
    most: int,
    *,
    version: int,
    provider: type[FakeMultiNodeProvider] = FakeMultiNodeProvider,
) -> Iterator[str]:
    """Start a head without CPUs, and an autoscaler that may add workers; stop all at the end.

    Args:
        kinds: What each kind of worker has; the first has priority.
        most: The most workers.
        version: Of Ray's autoscaler, 1 or 2.
        provider: Where workers come from.

    Yields:
        The address of the cluster.
    """
    folder = Path(tempfile.mkdtemp(prefix="rayauto", dir="/tmp"))  # short: Ray puts sockets in it
    names = ("port", "dashboard-port", "dashboard-agent-listen-port", "ray-client-server-port")
    ports = dict(zip(names, find_free_ports(len(names)), strict=True))
    address = f"{get_node_ip_address()}:{ports['port']}"  # which Ray takes 127.0.0.1 for
    # Another cluster's address and token, and a version.
    environment = copy_environment_without("RAY_A", "RAY_e", "PYTEST_")
    environment |= {
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "PATH": f"{BIN}{os.pathsep}{environment['PATH']}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "RAY_AUTH_MODE": "disabled",
        "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": str(version - 1),
    }
    described = {
        **_describe(kinds, most),
        "provider": {
            "type": "external",  # or Ray looks for a file of defaults that its wheel lacks
            "module": f"{provider.__module__}.{provider.__name__}",
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "gcs_address": address,
            "head_node_id": FAKE_HEAD_NODE_ID,
            "use_node_id_as_ip": True,  # all nodes have one address
            "launch_multiple": version == 2,
        },
    }
    (folder / "cluster.json").write_text(json.dumps(described))
    command = [str(BIN / "ray"), "start", "--head", "--block", "--disable-usage-stats"]
    command += ["--num-cpus=0", "--num-gpus=0", "--object-store-memory=100000000"]
    command += ["--include-dashboard=false", f"--autoscaling-config={folder / 'cluster.json'}"]
    command += [f"--temp-dir={folder / 'ray'}"]
    command += [f"--{name}={port}" for name, port in ports.items()]
    with (folder / "start.log").open("wb") as log:
        start = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_until_started(start, folder / "start.log")
        yield address
    finally:
        stop_process(start)
        shutil.rmtree(folder, ignore_errors=True)


def _describe(kinds: Mapping[str, Mapping[str, float]], most: int) -> dict[str, Any]:
    workers = {
        name: {
            "resources": {**resources, "object_store_memory": 10**8},
            "node_config": {},
            "min_workers": 0,
            "max_workers": most,
            "priority": -number,
        }
        for number, (name, resources) in enumerate(kinds.items())
    }
    steps = ("initialization_commands", "setup_commands", "head_setup_commands")
    steps += ("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands")
    return {
        "cluster_name": "osteo-ray-test",
        "max_workers": most,
        "idle_timeout_minutes": 5,
        "upscaling_speed": 1,
        "available_node_types": {
            **workers,
            _HEAD: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        },
        "head_node_type": _HEAD,
        **{name: [] for name in (*steps, "cluster_synced_files", "rsync_exclude", "rsync_filter")},
        "auth": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
    }


def _wait_until_started(start: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and start.poll() is None:
        if "Ray runtime started" in log.read_text():
            return
        time.sleep(0.2)
    pytest.fail(f"Ray did not start:\n{log.read_text()}")
