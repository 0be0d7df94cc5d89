"""A cluster that grows from nothing: asking, waiting, refusing, and a whole run, by both versions.

The autoscalers are Ray's own; only the machines are processes of this one.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from autoscalers import SPOT, DroughtProvider, start_autoscaler
from ray_heads import ROOT, copy_environment_without

from osteo_ray.pipeline.submit.outcome import JobOutcome

SMALLEST = [
    *("--models", "test_byobnet", "--arms", "original", "lime", "--crossfit-folds", "2"),
    *("--epochs", "1", "--image-size", "32", "--lime-samples", "8"),
    *("--phantom.n-images", "40", "--phantom.size-px", "48", "--seeds", "2"),
]


def run_on(address: str, *words: str, timeout_s: float = 280) -> "subprocess.CompletedProcess[str]":
    """Run Python with these words as a driver of a cluster."""
    environment = copy_environment_without("RAY_A", "RAY_e")
    environment |= {
        "PYTHONPATH": str(ROOT),
        "RAY_ADDRESS": address,
        "RAY_AUTH_MODE": "disabled",
        "RAY_SCHEDULER_EVENTS": "0",  # lines of the autoscaler's own
    }
    return subprocess.run(
        [sys.executable, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


PLAN = """
from osteo_ray.base.errors import IncompleteError, InputError
from osteo_ray.cluster import waiting
from osteo_ray.cluster.connection import connect, plan_resources
from osteo_ray.cluster.settings import ResourceSettings

def plan(**settings):
    try:
        layout = plan_resources(ResourceSettings(**settings), lambda text: print("said:", text))
    except (InputError, IncompleteError) as error:
        print(f"{type(error).__name__}:", error)
    else:
        print("plan:", layout.describe())

with connect():
"""
AGAIN = """
 from ray.util import placement_group_table
 print("asked for yet:", {one["state"] for one in placement_group_table().values()} - {"REMOVED"})
 from ray.autoscaler.v2.utils import is_autoscaler_v2
 if is_autoscaler_v2():
  plan(cpus_per_worker=3)
"""


NEEDED = "nodes: 1 × {} needed, {} CPUs, {} GPUs on {} node(s) there; "


@pytest.mark.ray
@pytest.mark.parametrize("version", [2, pytest.param(1, marks=pytest.mark.faults)])
def test_nodes_are_asked_for_and_come(version: int) -> None:
    kinds = {"worker": {"CPU": 2, "GPU": 1}}
    with start_autoscaler(kinds, 1, version=version) as address:
        ended = run_on(
            address, "-c", f"{PLAN} plan()\n plan(cpus_per_worker=3, wait_for_nodes=3)\n{AGAIN}"
        )
    assert ended.returncode == 0, ended.stderr
    said, plan, waited, short, left, *refused = ended.stdout.splitlines()
    assert NEEDED.format("(1 CPU)", 0, 0, 1) in said
    assert said.startswith(("said: wait up to 900 s", "said: wait up to 899 s"))
    # The nodes that come have GPUs, so the work is laid out on these.
    assert plan.startswith("plan: 1 training at a time (1 CPU, 1 GPU each), then 2 explaining")
    # Three CPUs on one node never come: that was waited for, so another attempt may help.
    assert waited.startswith(
        "said: wait up to 3 s for " + NEEDED.format("(3 CPUs, 1 GPU)", 2, 1, 2)
    )
    assert short.startswith("IncompleteError: Expected a cluster with room for 1 worker(s) of 3")
    assert "on 2 node(s) after waiting 3 s for nodes (" in short
    assert left == "asked for yet: set()"  # or its nodes would never go
    if version == 2:  # the first version does not tell what is impossible
        assert refused[-1].startswith("InputError: Expected a cluster with room"), refused
        assert "2 node(s) (no autoscaler that may add a node with enough room)" in refused[-1]


@pytest.mark.faults
def test_machines_on_demand_come_where_there_is_no_spot() -> None:
    """As in cluster.yaml: the first kind has priority, and cannot be had."""
    kinds = {SPOT: {"CPU": 2}, "on-demand": {"CPU": 1}}
    with start_autoscaler(kinds, 2, version=2, provider=DroughtProvider) as address:
        ended = run_on(address, "-c", f"{PLAN} plan()")
    assert ended.returncode == 0, ended.stderr
    assert "plan: 1 training at a time (1 CPU each)" in ended.stdout, ended.stdout


@pytest.mark.faults
def test_drought_ends_with_1_and_submit_tries_again(tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["-m", "osteo_ray.commands.main", "compare", "--out", str(out), *SMALLEST]
    words += ["--resources.wait-for-nodes", "8"]
    with start_autoscaler({SPOT: {"CPU": 1}}, 2, version=2, provider=DroughtProvider) as address:
        ended = run_on(address, *words)
    said = " ".join(ended.stderr.split())
    assert ended.returncode == 1, said
    assert "Failed: Expected a cluster with room for 1 worker(s)" in said
    assert "after waiting 8 s for nodes (" in said
    assert JobOutcome("failed", ended.returncode).may_be_tried_again
    assert not out.exists()


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", [1, 2])
def test_comparison_from_no_worker(version: int, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["-m", "osteo_ray.commands.main", "compare", "--out", str(out), *SMALLEST]
    with start_autoscaler({"worker": {"CPU": 1}}, 2, version=version) as address:
        ended = run_on(address, *words, timeout_s=500)
    said = " ".join(ended.stderr.split())
    assert ended.returncode == 0, said
    assert NEEDED.format("(1 CPU)", 0, 0, 1) in said
    assert json.loads((out / "comparison.json").read_text())["missing"] == []
