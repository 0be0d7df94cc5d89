"""The driver, the head and the network struck while the whole command runs, and run again.

The runs are those of the command line, on clusters of several nodes; see test_faults.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from clusters import (
    HOOK,
    LONGEST_S,
    QUICK_TO_NOTICE,
    WORKER_PATH,
    Event,
    Log,
    assert_equal_masks,
    assert_equal_trials,
    list_inodes,
    start_cluster,
)
from namespaces import separate_machines

from osteo_ray.base.runs import Run
from osteo_ray.config.build import build, read_yaml
from osteo_ray.config.compare import CompareConfig
from osteo_ray.experiment.dataset import read_dataset, read_pixels
from osteo_ray.experiment.trials import Experiment, describe_experiment, plan_trials
from osteo_ray.pipeline.compare.in_process import run_in_process

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]
FLAGS = [
    *("--models", "test_byobnet", "--arms", "original", "lime", "random_mask"),
    *("--crossfit-folds", "2", "--seeds", "2", "--epochs", "3", "--image-size", "32"),
    *("--lime-samples", "12", "--lime.top-k", "2"),
    *("--phantom.n-images", "48", "--phantom.size-px", "48"),
]
Place = Callable[[], bool]


def make_environment(address: str, log: Log) -> dict[str, str]:
    """Return the environment of a driver whose workers log what they do, slowly."""
    variables = {"FAULT_LOG": str(log.path), "FAULT_PAUSE_S": "0.3"}
    job = {"runtime_env": {"worker_process_setup_hook": HOOK, "env_vars": variables}}
    return {
        **os.environ,
        **WORKER_PATH,
        "RAY_ADDRESS": address,
        "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps(job),
    }


def start(out: Path, environment: dict[str, str], *inside: str) -> "subprocess.Popen[str]":
    command = [
        *inside,
        sys.executable,
        "-m",
        "osteo_ray.commands.main",
        "compare",
        "--out",
        str(out),
    ]
    return subprocess.Popen(
        [*command, *FLAGS],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(driver: "subprocess.Popen[str]", there: Place) -> None:
    until = time.monotonic() + LONGEST_S
    while not there():
        assert driver.poll() is None, driver.stdout.read() if driver.stdout else ""
        assert time.monotonic() < until
        time.sleep(0.02)


def finish(out: Path, environment: dict[str, str], *inside: str) -> None:
    driver = start(out, environment, *inside)
    printed, _ = driver.communicate(timeout=600)
    assert driver.returncode == 0, printed


def run_plainly(out: Path, place: Path) -> tuple[Experiment, Experiment]:
    """Return a finished run, and the same one run in plain loops."""
    run = Run(out)
    config = build(CompareConfig, read_yaml(run.config))
    data = read_dataset(run, config)
    struck = describe_experiment(run, config, data)
    plain = replace(struck, run=Run(place))
    shutil.copytree(run.pixels, plain.run.pixels)
    run_in_process(plain, read_pixels(run, plain.image_ids.tolist(), config.image_size))
    return struck, plain


def assert_undisturbed(out: Path, place: Path) -> None:
    struck, plain = run_plainly(out, place)
    first, second = plan_trials(plain)
    assert_equal_trials(struck, plain, [*first, *second])
    assert_equal_masks(struck, plain)
    comparison = json.loads(struck.run.comparison.read_text())
    assert comparison["missing"] == []


def assert_nothing_twice(log: Log, *, strikes: int, slots: int = 2) -> None:
    """Check that no more was begun anew than what was in flight when a fault struck."""
    for kind in ("train", "explain"):
        begun, ended = log.count(kind, "start"), log.count(kind, "end")
        assert set(ended.values()) == {1}
        assert set(begun) == set(ended)
        assert sum(begun.values()) <= sum(ended.values()) + strikes * slots


def list_artifacts(out: Path) -> dict[Path, tuple[int, int]]:
    """Return the finished artifacts of a run, which no rerun may write again."""
    folders = (out / name for name in ("pixels", "trials", "masks", "faithfulness", "heatmaps"))
    return {path: found for folder in folders for path, found in list_inodes(folder).items()}


def seen(log: Log, kind: str, event: str, arm: str = "") -> Place:
    """Return what tells whether a unit of an arm has begun or ended."""

    def look(event_: Event) -> bool:
        return (event_.kind, event_.event) == (kind, event) and event_.unit.endswith(arm)

    return lambda: any(look(one) for one in log.read())


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log")


def test_driver_killed_in_every_stage(log: Log, tmp_path: Path) -> None:
    out = tmp_path / "run"
    stages: list[tuple[str, Place, signal.Signals]] = [
        ("read", lambda: any((out / "pixels").glob("*")), signal.SIGKILL),
        ("first sweep", seen(log, "train", "end"), signal.SIGKILL),
        ("explain", seen(log, "explain", "end"), signal.SIGTERM),
        ("explain", lambda: len(log.read("explain", "end")) >= 8, signal.SIGKILL),
        ("second sweep", seen(log, "train", "end", "lime"), signal.SIGKILL),
        ("statistics", lambda: (out / "predictions.parquet").exists(), signal.SIGKILL),
    ]
    with start_cluster(1) as cluster:
        environment = make_environment(cluster.address, log)
        kept: dict[Path, tuple[int, int]] = {}
        for stage, there, number in stages:
            driver = start(out, environment)
            wait_for(driver, there)
            driver.send_signal(number)
            sent = time.monotonic()
            printed, _ = driver.communicate(timeout=60)
            assert not (out / "comparison.json").exists(), stage
            assert kept.items() <= list_artifacts(out).items(), stage
            kept = {} if stage == "read" else list_artifacts(out)
            if number == signal.SIGTERM:
                assert driver.returncode == 1
                assert "Failed: Stopped by SIGTERM. What finished is kept" in printed
                assert time.monotonic() - sent < 20
            assert (out / "config.yaml").exists() == (stage != "read")
        finish(out, environment)
        assert kept.items() <= list_artifacts(out).items()
    assert_nothing_twice(log, strikes=4, slots=1)
    assert_undisturbed(out, tmp_path / "plain")


def test_head_lost_and_started_again(log: Log, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with start_cluster(1, 1) as cluster:
        driver = start(out, make_environment(cluster.address, log))
        wait_for(driver, seen(log, "explain", "end"))
        cluster.remove_node(cluster.head_node, allow_graceful=False)
        printed, _ = driver.communicate(timeout=200)
        assert driver.returncode not in (0, 2), printed
    kept = list_artifacts(out)
    with start_cluster(1, 1) as cluster:
        finish(out, make_environment(cluster.address, log))
    assert kept.items() <= list_artifacts(out).items()
    assert_nothing_twice(log, strikes=1)
    assert_undisturbed(out, tmp_path / "plain")


@pytest.mark.parametrize("cut_s", [4, 40])
def test_network_cut_and_healed(log: Log, tmp_path: Path, cut_s: int) -> None:
    out = tmp_path / "run"
    open_ray = {"RAY_AUTH_MODE": "disabled"}  # nobody else is on that network
    with separate_machines(os.environ | QUICK_TO_NOTICE | WORKER_PATH | open_ray) as machines:
        environment = make_environment(machines.address, log) | open_ray
        driver = start(out, environment, *machines.inside)
        wait_for(driver, lambda: len({one.node for one in log.read("explain")}) == 2)
        machines.pull()
        time.sleep(cut_s)
        machines.plug()
        printed, _ = driver.communicate(timeout=600)
        assert driver.returncode == 0, printed
    struck = log.count("explain", "start") - log.count("explain", "end")
    assert sum(struck.values()) <= 3
    assert_undisturbed(out, tmp_path / "plain")


def test_two_clusters_on_one_run(log: Log, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with start_cluster(1, 1) as mine, start_cluster(1) as other:
        driver = start(out, make_environment(mine.address, log))
        wait_for(driver, seen(log, "train", "end"))
        second = start(out, make_environment(other.address, Log(tmp_path / "other log")))
        printed, _ = second.communicate(timeout=LONGEST_S)
        assert second.returncode == 2, printed
        assert "Expected an --out that no other process works on" in " ".join(printed.split())
        printed, _ = driver.communicate(timeout=600)
        assert driver.returncode == 0, printed
    assert_nothing_twice(log, strikes=0)
    assert_undisturbed(out, tmp_path / "plain")
