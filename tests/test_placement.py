"""Where work goes: plans for all kinds of cluster, waiting for nodes, and no waiting for ever."""

import contextlib
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ray_heads import copy_environment_without

from osteo_ray.base.errors import IncompleteError, InputError
from osteo_ray.base.progress import listening, tell_progress
from osteo_ray.cluster import waiting
from osteo_ray.cluster.autoscaler import Answer
from osteo_ray.cluster.placement import Slot, describe_shortage, lay_out
from osteo_ray.cluster.settings import ResourceSettings
from osteo_ray.config.build import build_config

CPU_NODE = {"CPU": 16.0, "memory": 1e9}
GPU_NODE = {"CPU": 8.0, "GPU": 4.0}
HEAD = {"CPU": 0.0}

# Plans


@pytest.mark.parametrize(
    ("nodes", "settings", "expected"),
    [
        ([{"CPU": 1}], {}, (1, 1)),
        ([{"CPU": 3}], {"workers": 2}, (1, 3)),
        ([{"CPU": 8}], {"workers": 2, "cpus_per_worker": 2}, (2, 4)),
        ([{"CPU": 4, "GPU": 1}], {}, (1, 4)),
        ([{"CPU": 1, "GPU": 1}], {}, (1, 1)),
        ([{"CPU": 4, "GPU": 1}], {"gpus_per_worker": 1}, (1, 1)),
        ([{"CPU": 4, "GPU": 1}], {"gpus_per_worker": 0.5}, (2, 2)),
        ([{"CPU": 4, "GPU": 1}], {"gpus_per_worker": 0}, (4, 4)),
        ([GPU_NODE, GPU_NODE], {"workers": 2}, (4, 16)),
        ([GPU_NODE], {"gpus_per_worker": 1, "gpus_per_explainer": 0.5}, (4, 8)),
        ([CPU_NODE, GPU_NODE], {}, (4, 8)),
        ([CPU_NODE, GPU_NODE], {"gpus_per_worker": 0}, (24, 24)),
        ([CPU_NODE, GPU_NODE], {"gpus_per_explainer": 0}, (4, 24)),
        ([HEAD, CPU_NODE], {"cpus_per_worker": 5}, (3, 3)),
    ],
)
def test_plan_counts_what_fits(
    nodes: list[dict[str, float]], settings: dict[str, Any], expected: tuple[int, int]
) -> None:
    plan = lay_out(nodes, ResourceSettings(**settings))
    assert plan.fits
    assert (plan.concurrent_trials, plan.explainers) == expected


@pytest.mark.parametrize(
    ("nodes", "cpus_per_worker", "each", "n_actors"),
    [
        ([{"CPU": 16, "GPU": 1}], 1, "4 CPUs, 0.25 GPU", 4),
        ([{"CPU": 64, "GPU": 8}], 1, "2 CPUs, 0.25 GPU", 32),
        ([{"CPU": 6, "GPU": 1}], 1, "2 CPUs, 0.333333 GPU", 3),
        ([{"CPU": 3, "GPU": 1}], 1, "1 CPU, 0.333333 GPU", 3),
        ([{"CPU": 12, "GPU": 1}], 5, "6 CPUs, 0.5 GPU", 2),
        ([{"CPU": 4, "GPU": 4}], 1, "1 CPU, 1 GPU", 4),
        ([{"CPU": 16, "GPU": 1}, {"CPU": 4, "GPU": 2}, {"CPU": 9}], 1, "1 CPU, 0.5 GPU", 6),
    ],
)
def test_explaining_actors_share_a_gpu_and_the_cpus_beside_it(
    nodes: list[dict[str, float]], cpus_per_worker: int, each: str, n_actors: int
) -> None:
    plan = lay_out(nodes, ResourceSettings(cpus_per_worker=cpus_per_worker))
    assert (str(plan.explainer), plan.explainers) == (each, n_actors)
    assert plan.slot == Slot(cpus_per_worker, 1.0)  # trainings do not share
    assert plan.explaining_speed == pytest.approx(n_actors * plan.explainer.gpus)


def test_classifiers_get_a_quarter_of_the_memory_of_their_actor() -> None:
    gib = 2**30
    nodes = [
        {"CPU": 2, "memory": 16 * gib},
        {"CPU": 8, "memory": 32 * gib},
        {"CPU": 0, "memory": 1},
    ]
    assert lay_out(nodes, ResourceSettings()).classifiers_bytes == gib
    assert lay_out(nodes, ResourceSettings(cpus_per_worker=2)).classifiers_bytes == 2 * gib
    assert lay_out(nodes, ResourceSettings(classifiers_gib=0.5)).classifiers_bytes == gib // 2
    assert lay_out([{"CPU": 2}], ResourceSettings()).classifiers_bytes == gib


def test_pixels_are_shared_in_a_quarter_of_the_smallest_node_or_less() -> None:
    nodes, gib = [{"CPU": 2, "memory": 16 * 2**30}, {"CPU": 2, "memory": 8 * 2**30}], 2**30
    assert lay_out(nodes[:1], ResourceSettings()).pixels_bytes == 2 * gib  # not 4
    nodes[1]["memory"] = 4 * gib
    assert lay_out(nodes, ResourceSettings()).pixels_bytes == gib
    assert lay_out(nodes, ResourceSettings(pixels_gib=0.5)).pixels_bytes == gib // 2
    assert lay_out([{"CPU": 2}], ResourceSettings()).pixels_bytes == gib
    # Trainings of several workers are fed from disk.
    assert lay_out(nodes, ResourceSettings(workers=2)).pixels_bytes == 0


def test_workers_that_share_a_gpu_lie_on_one() -> None:
    assert Slot(1, 0.6).count_on(GPU_NODE) == 4  # not 4 / 0.6
    assert Slot(1, 0.1).count_on({"CPU": 100, "GPU": 1}) == 10
    assert Slot(1, 0.1).count_on({"CPU": 5, "GPU": 1}) == 5


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"gpus_per_worker": 1.5}, r"since a worker computes on one, but got 1\.5\..*--workers"),
        ({"gpus_per_worker": 2}, r"one GPU or a part of one.*but got 2\."),
        ({"workers": 2, "gpus_per_worker": 2}, r"one GPU or a part of one.*but got 2\."),
        ({"gpus_per_explainer": 1.5}, r"gpus_per_explainer to be at most 1, but got 1\.5"),
        (
            {"workers": 2, "gpus_per_worker": 0.5},
            r"whole GPU for each of 2 workers.*NCCL refuses two.*got 0\.5.*"
            r"Set that to 1; or train with --workers 1",
        ),
    ],
)
def test_gpus_that_a_worker_cannot_use_are_refused(
    resources: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        build_config({"out": "run", "resources": resources})


@pytest.mark.parametrize(
    "resources",
    [
        {"gpus_per_worker": 0.5},
        {"workers": 2, "gpus_per_worker": 0},
        {"workers": 2, "gpus_per_worker": 1},
        {"workers": 2, "gpus_per_worker": 1, "gpus_per_explainer": 0.25},
    ],
)
def test_gpus_that_a_worker_can_use_are_accepted(resources: dict[str, float]) -> None:
    build_config({"out": "run", "resources": resources})


def test_plan_is_told_in_a_line() -> None:
    nodes = [HEAD, CPU_NODE, GPU_NODE, GPU_NODE]
    assert lay_out([{"CPU": 16, "GPU": 1}], ResourceSettings()).describe() == (
        "1 training at a time (1 CPU, 1 GPU each), then 4 explaining actors (4 CPUs, 0.25 GPU "
        "each), on 1 of 1 node"
    )
    assert lay_out(nodes, ResourceSettings(workers=2, gpus_per_explainer=0.25)).describe() == (
        "4 trainings at a time (2 workers of 1 CPU, 1 GPU each), then 16 explaining actors "
        "(1 CPU, 0.25 GPU each), on 2 of 4 nodes; the rest, 16 CPUs, only reads images"
    )
    assert lay_out([{"CPU": 1}], ResourceSettings()).describe() == (
        "1 training at a time (1 CPU each), then 1 explaining actor (1 CPU each), on 1 of 1 node"
    )


def test_shortage_is_told() -> None:
    plan = lay_out([HEAD], ResourceSettings(workers=3))
    assert not plan.fits
    said = describe_shortage(plan)
    assert "0 CPUs, 0 GPUs on 1 node(s), room for 0 worker(s)" in said
    assert "Lower --workers, --resources.cpus-per-worker" in said
    assert "on 1 node(s) after a wait, room" in describe_shortage(plan, " after a wait")


@pytest.mark.parametrize(
    ("settings", "least"),
    [
        ({}, [{"CPU": 1}]),
        ({"workers": 3, "cpus_per_worker": 2}, [{"CPU": 2}] * 3),
        (
            {"workers": 2, "gpus_per_worker": 1, "gpus_per_explainer": 0.25},
            [{"CPU": 1, "GPU": 1}] * 2,
        ),
        ({"gpus_per_worker": 0, "gpus_per_explainer": 0.5}, [{"CPU": 1, "GPU": 0.5}]),
    ],
)
def test_least_is_what_one_stage_after_the_other_needs(
    settings: dict[str, Any], least: list[dict[str, float]]
) -> None:
    plan = lay_out([HEAD], ResourceSettings(**settings))
    assert list(plan.least) == least
    nodes = [{name: math.ceil(amount) for name, amount in one.items()} for one in least]
    assert lay_out(nodes, ResourceSettings(**settings)).fits
    assert not lay_out(nodes[1:], ResourceSettings(**settings)).fits


# The outlook, from what autoscalers report


class _Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def wait(
    monkeypatch: pytest.MonkeyPatch,
    answers: list[Answer],
    given_s: float | None = None,
    came: Sequence[tuple[float, dict[str, float]]] = (),
    **settings: Any,
) -> tuple[Any, list[str], float, list[list[dict[str, float]]]]:
    """Wait for room while an autoscaler answers, and nodes come at their times.

    The last answer is repeated for ever.

    Returns:
        What came of it, what was said, when it ended, and what was asked for, one after the other.
    """
    clock, said, left = _Clock(), [], list(answers)
    asked: list[list[dict[str, float]]] = []

    class Demand:
        def hear(self) -> Answer:
            return left.pop(0) if len(left) > 1 else left[0]

    @contextlib.contextmanager
    def asking_for(bundles: Any) -> Iterator[Demand]:
        asked.append(list(bundles))
        yield Demand()

    def look() -> Any:
        nodes = [node for after_s, node in came if clock.now >= 100 + after_s]
        return lay_out([HEAD, *nodes], ResourceSettings(**settings))

    monkeypatch.setattr(waiting, "time", clock)
    monkeypatch.setattr(waiting, "asking_for", asking_for)
    try:
        found = waiting.wait_for_room(look, given_s, said.append)
    except (InputError, IncompleteError) as error:
        found = error
    return found, said, clock.now - 100, asked


@pytest.mark.parametrize(
    ("answers", "given_s", "error", "after_s", "words"),
    [
        ([Answer.ABSENT], None, InputError, 0, "on 1 node(s) (it has no autoscaler), room"),
        ([Answer.SILENT], None, InputError, 31, "(no autoscaler has reported to it)"),
        ([Answer.SILENT, Answer.ABSENT], None, InputError, 1, "(it has no autoscaler)"),
        ([Answer.BUSY, Answer.IMPOSSIBLE], None, InputError, 1, "may add a node with enough room"),
        ([Answer.PRESENT], 0, InputError, 0, "on 1 node(s), room"),
        ([Answer.STARTING], None, IncompleteError, 900, "after waiting 900 s for nodes (the auto"),
        ([Answer.BUSY], None, IncompleteError, 900, "has not looked at it yet)"),
        ([Answer.PRESENT] * 40 + [Answer.IMPOSSIBLE], None, IncompleteError, 900, "waiting 900 s"),
        ([Answer.ABSENT], 7.5, IncompleteError, 7.5, "after waiting 7.5 s for nodes (it has no"),
        ([Answer.IMPOSSIBLE], 20, IncompleteError, 20, "after waiting 20 s"),
    ],
)
def test_waiting_ends_as_the_autoscaler_lets_hope(
    monkeypatch: pytest.MonkeyPatch,
    answers: list[Answer],
    given_s: float | None,
    error: type[Exception],
    after_s: float,
    words: str,
) -> None:
    found, _, passed_s, asked = wait(monkeypatch, answers, given_s)
    assert type(found) is error
    assert asked == ([] if given_s == 0 else [[{"CPU": 1}]])
    assert words in str(found)
    assert passed_s == pytest.approx(after_s)


def test_what_is_waited_for_is_said_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    found, said, passed_s, _ = wait(monkeypatch, [Answer.STARTING], came=[(150, {"CPU": 1})])
    assert (found.fits, passed_s) == (True, 150)
    assert [line[:28] for line in said] == [
        "wait up to 900 s for nodes: ",
        "wait up to 840 s for nodes: ",
        "wait up to 780 s for nodes: ",
    ]
    assert said[0].endswith(
        "1 × (1 CPU) needed, 0 CPUs, 0 GPUs on 1 node(s) there; the autoscaler is starting nodes"
    )


def test_what_the_first_node_calls_for_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """No node says beforehand that it has a GPU; with the first one, each worker gets one."""
    machine = {"CPU": 8.0, "GPU": 1.0}
    found, said, passed_s, asked = wait(
        monkeypatch, [Answer.STARTING], came=[(200, machine), (500, machine)], workers=2
    )
    assert (found.fits, found.slot, passed_s) == (True, Slot(1, 1.0), 500)
    # The explaining actors share the GPU, and the CPUs beside it.
    assert asked == [[{"CPU": 1}] * 2, [{"CPU": 2, "GPU": 1}, {"CPU": 1, "GPU": 1}]]
    assert "wait up to 700 s for nodes: 2 × (1 CPU, 1 GPU), and" in "\n".join(said)


def test_what_the_first_node_calls_for_may_be_impossible(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [Answer.STARTING] * 200 + [Answer.IMPOSSIBLE]
    came = [(200.0, {"CPU": 8.0, "GPU": 1.0})]
    found, _, passed_s, _ = wait(monkeypatch, answers, came=came, workers=2)
    assert type(found) is InputError
    assert passed_s == pytest.approx(200)


# Clusters, each in a process of its own: this one may be connected to another

ROOT = Path(__file__).parents[1]


def run_python(code: str, *words: str, timeout_s: float = 240) -> str:
    """Run code in a process with a cluster of its own; return what it printed."""
    path = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    environment = copy_environment_without("RAY_")
    ended = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environment | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout


LATE_NODE = """
import threading, time
import ray
from clusters import add_node, start_cluster
from osteo_ray.base.errors import IncompleteError, InputError
from osteo_ray.cluster.connection import plan_resources
from osteo_ray.cluster.settings import ResourceSettings

with start_cluster() as cluster:
    ray.init(address=cluster.address, log_to_driver=False)
    for wait_s in (0, 2):
        try:
            plan_resources(ResourceSettings(wait_for_nodes=wait_s))
        except (IncompleteError, InputError) as error:
            print(f"{type(error).__name__}:", error)
    late = threading.Timer(2, add_node, (cluster, 1))
    late.start()
    said = []
    plan = plan_resources(ResourceSettings(wait_for_nodes=100), said.append)
    print("plan:", plan.concurrent_trials, plan.explainers, said)
    ray.shutdown()
    late.join()  # or the cluster does not know its node yet, and leaves it running
"""


@pytest.mark.long
@pytest.mark.ray
def test_nodes_are_waited_for_if_told_so() -> None:
    printed = run_python(LATE_NODE).splitlines()
    refused, short = (line for line in printed if "Error: Expected a cluster" in line)
    assert refused.startswith("InputError:")
    assert "but it has 0 CPUs, 0 GPUs on 1 node(s), room" in refused
    assert short.startswith("IncompleteError:")  # another attempt may find more nodes
    assert "after waiting 2 s for nodes (no autoscaler has reported to it), room" in short
    (plan,) = (line for line in printed if line.startswith("plan: 1 1 ['wait up to 100 s"))
    assert "1 × (1 CPU) needed, 0 CPUs, 0 GPUs on 1 node(s) there" in plan


SMALLEST = [
    *("--models", "test_byobnet", "--arms", "original", "lime", "--crossfit-folds", "2"),
    *("--epochs", "1", "--image-size", "32", "--lime-samples", "8"),
    *("--phantom.n-images", "40", "--phantom.size-px", "48", "--seeds", "2"),
]


def compare(
    out: Path, n_cpus: int, workers: int, timeout_s: float
) -> "subprocess.CompletedProcess[str]":
    """Run a comparison on this machine as if it had so many CPUs."""
    environment = copy_environment_without("RAY_")
    environment["RAY_OVERRIDE_RESOURCES"] = json.dumps({"CPU": n_cpus})
    command = [
        sys.executable,
        "-m",
        "osteo_ray.commands.main",
        "compare",
        "--out",
        str(out),
        *SMALLEST,
    ]
    return subprocess.run(
        [*command, "--workers", str(workers)],
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@pytest.mark.ray
def test_wide_training_on_one_cpu_is_refused_at_the_start(tmp_path: Path) -> None:
    ended = compare(tmp_path / "run", n_cpus=1, workers=2, timeout_s=120)
    assert ended.returncode == 2, ended.stderr
    said = " ".join(ended.stderr.split())
    assert "Expected a cluster with room for 2 worker(s) of 1 CPU(s)" in said
    assert "but it has 1 CPUs, 0 GPUs on 1 node(s)" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("n_cpus", "workers"), [(1, 1), (2, 2), (3, 2), (8, 2)])
def test_no_stage_waits_for_ever(tmp_path: Path, n_cpus: int, workers: int) -> None:
    ended = compare(tmp_path / "run", n_cpus, workers, timeout_s=580)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    at_once = n_cpus // workers
    said = " ".join(ended.stderr.split())
    assert f"images; {at_once} training{'s' if at_once > 1 else ''} at a time (" in said
    assert json.loads((tmp_path / "run" / "comparison.json").read_text())["missing"] == []


# The watchdog


@pytest.mark.ray
def test_stage_in_which_nothing_is_computed_ends(local_ray: None) -> None:
    from osteo_ray.cluster.watchdog import watch

    began = time.monotonic()
    with (
        pytest.raises(IncompleteError, match=r"computed for 1 s, during: the wait\. The cluster"),
        watch("the wait", 1),
    ):
        time.sleep(60)
    assert time.monotonic() - began < 30


@pytest.mark.ray
def test_stage_that_beats_goes_on(local_ray: None) -> None:
    import ray

    from osteo_ray.cluster.watchdog import watch

    @ray.remote(num_cpus=0)
    def work(beat: Any) -> int:
        for _ in range(30):
            time.sleep(0.2)
            beat()
        return 30

    with watch("the work", 4) as beat:
        ray.get(ray.remote(num_cpus=0)(lambda: None).remote())  # a process is there
        beat()
        assert ray.get(work.remote(beat)) == 30


@pytest.mark.ray
def test_what_a_watched_block_tells_is_a_beat_and_is_heard(local_ray: None) -> None:
    from osteo_ray.cluster.watchdog import watch

    told: list[tuple[str, int, int]] = []
    with listening(lambda *what: told.append(what)), watch("the reading", 60) as beat:
        assert beat.told_at == float("-inf")
        tell_progress("read images", 1, 2)
        assert beat.told_at > float("-inf")
    tell_progress("read images", 2, 2)
    assert told == [("read images", 1, 2)]


@pytest.mark.ray
def test_watchdog_leaves_no_thread_and_no_handler(local_ray: None) -> None:
    import signal

    from osteo_ray.cluster.watchdog import watch

    before = signal.getsignal(signal.SIGUSR2)
    with pytest.raises(ValueError, match="mine"), watch("what fails", 30):
        raise ValueError("mine")
    assert signal.getsignal(signal.SIGUSR2) is before
    assert "watchdog" not in {thread.name for thread in threading.enumerate()}
