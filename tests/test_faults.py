"""What strikes a run on a cluster of several nodes, and that it ends as if nothing had.

Each fault is injected when the log of the workers shows that the run is where it shall strike. The
reference is computed in plain loops, without a cluster. docs/faults.md has the results.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import (
    ChangeOfNodes,
    Log,
    Saboteur,
    assert_equal_masks,
    assert_equal_trials,
    connected,
    explain,
    first_of,
    list_inodes,
    make_reference,
    remove_node,
    start_cluster,
    train,
)
from fault_hooks import make_moving_clock
from test_trials import read_masks

from osteo_ray.base.errors import IncompleteError
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import PIXELS, read_parts
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.phantoms.sets import write_phantoms
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.experiment.trials import Experiment, plan_trials
from osteo_ray.pipeline.ingest.reading import ingest_images

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
ARMS = ["original", "lime", "lime_crossfit", "permuted_labels"]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, np.ndarray]:
    return make_reference(tmp_path_factory.mktemp("reference"), arms=ARMS, training={"epochs": 4})


@pytest.fixture(scope="module")
def cluster():
    with start_cluster(1, 1) as cluster:
        yield cluster


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log")


def begin(reference: Experiment, root: Path, *parts: str, workers: int = 1) -> Experiment:
    """Make a run of which only some parts are there, copied from the reference."""
    for part in ("pixels", *parts):
        shutil.copytree(reference.run.root / part, root / part)
    return replace(reference, run=Run(root), settings=replace(reference.settings, workers=workers))


def kill(event: Any) -> None:
    os.kill(event.pid, signal.SIGKILL)


def test_trial_process_killed(cluster, reference, log: Log, tmp_path: Path) -> None:
    whole, _ = reference
    experiment = begin(whole, tmp_path / "run")
    trials, _ = plan_trials(experiment)
    saboteur = Saboteur(log, first_of("epoch", "end"), kill)
    with connected(cluster, log, FAULT_PAUSE_S="0.3"):
        saboteur.start()
        assert train(experiment, trials) == []
    assert_equal_trials(experiment, whole, trials)
    struck = saboteur.struck[0].unit.split(", epoch")[0]
    begun = log.count("train", "start")
    assert begun == {str(trial): 1 + (str(trial) == struck) for trial in trials}
    assert log.count("train", "end") == {str(trial): 1 for trial in trials}


def test_explaining_actors_killed_again_and_again(
    cluster, reference, log: Log, tmp_path: Path
) -> None:
    whole, _ = reference
    experiment = begin(whole, tmp_path / "run", "trials")
    saboteur = Saboteur(log, first_of("explain", "start"), kill, times=3)
    with connected(cluster, log, FAULT_PAUSE_S="0.3"):
        saboteur.start()
        explain(experiment)
    assert len(saboteur.struck) == 3
    assert_equal_masks(experiment, whole)
    struck = [event.unit for event in saboteur.struck]
    begun, ended = log.count("explain", "start"), log.count("explain", "end")
    assert set(ended.values()) == {1}
    assert sum(begun.values()) == sum(ended.values()) + len(struck)


def test_node_lost_while_training_and_one_added(
    cluster, reference, log: Log, tmp_path: Path
) -> None:
    whole, _ = reference
    experiment = begin(whole, tmp_path / "run")
    trials, _ = plan_trials(experiment)
    change = ChangeOfNodes(cluster, log, tmp_path / "hold", n_added=1)
    saboteur = Saboteur(log, first_of("epoch", "end"), change)
    with connected(cluster, log, FAULT_PAUSE_S="0.3", FAULT_HOLD=str(change.hold)):
        saboteur.start()
        assert train(experiment, trials) == []
    assert_equal_trials(experiment, whole, trials)
    begun, ended = log.count("train", "start"), log.count("train", "end")
    assert set(ended.values()) == {1}
    assert sum(begun.values()) == len(trials) + 1
    assert set(change.added) <= {event.node for event in log.read("train", "end")}


@pytest.mark.parametrize("lost", [True, False])
def test_node_lost_and_added_while_explaining(
    cluster, reference, log: Log, tmp_path: Path, lost: bool
) -> None:
    whole, _ = reference
    experiment = begin(whole, tmp_path / "run", "trials")
    change = ChangeOfNodes(cluster, log, tmp_path / "hold", n_added=1, lost=lost)
    saboteur = Saboteur(log, first_of("explain", "end"), change)
    with connected(cluster, log, FAULT_PAUSE_S="0.3", FAULT_HOLD=str(change.hold)):
        saboteur.start()
        explain(experiment)
    assert_equal_masks(experiment, whole)
    begun, ended = log.count("explain", "start"), log.count("explain", "end")
    assert set(ended.values()) == {1}
    assert sum(begun.values()) <= sum(ended.values()) + lost
    assert set(change.added) <= {event.node for event in log.read("explain", "end")}
    if not lost:
        remove_node(cluster, change.added[0])


def test_image_that_kills_its_process_is_set_aside(
    cluster, reference, log: Log, tmp_path: Path
) -> None:
    whole, _ = reference
    experiment = begin(whole, tmp_path / "run", "trials")
    poison = "image-07"
    with connected(cluster, log, FAULT_POISON=poison):
        explain(experiment)
    assert_equal_masks(experiment, whole, but=frozenset({poison}))
    rows = [
        row
        for path in sorted((experiment.run.masks).glob("*/*/*"))
        for row in read_masks(path).to_dict("records")
        if row["image_id"] == poison
    ]
    assert len(rows) == 3 + 1 + 1  # three kinds of one job, one of two others
    assert {row["error"] for row in rows} == {
        "The process that explained this image alone died 3 times."
    }
    begun, ended = log.count("explain", "start"), log.count("explain", "end")
    deaths = sum(begun.values()) - sum(ended.values())
    assert 6 <= deaths <= 12  # 3 in company, which may be in another's, 3 alone
    assert set(ended.values()) == {1}


def test_image_that_kills_the_process_that_reads_it_is_refused(
    cluster, log: Log, tmp_path: Path
) -> None:
    write_phantoms(tmp_path / "knees", PhantomSettings(n_images=40, size_px=48, seed=1))
    source = open_source(str(tmp_path / "knees" / "images"))
    poison = sorted(source.items["path"])[7]
    with connected(cluster, log, FAULT_POISON=poison):
        found = ingest_images(
            source, tmp_path, pixels=tmp_path / "pixels", image_size=ImageSize.square(32)
        )
    (refused,) = found.rejects.to_dict("records")
    assert refused == {
        "path": poison,
        "reason": "the process that read only this image died 3 times",
    }
    assert sorted([*found.images["path"], poison]) == sorted(source.items["path"])
    assert len(read_parts(tmp_path / "pixels", PIXELS)) == len(found.images)
    # Three tries of its block, then each image alone, and two more tries of this one. The other
    # block, of eight images, may have been read before the first gave up.
    counted = log.count("read", "start")
    assert counted["32 images"] == 3
    assert counted["1 images"] == 40 + 2 - 8 * counted["8 images"]


def test_loss_that_is_no_number_fails_its_trial_only(
    cluster, reference, log: Log, tmp_path: Path
) -> None:
    whole, _ = reference
    experiment = begin(whole, tmp_path / "run")
    trials, _ = plan_trials(experiment)
    with connected(cluster, log, FAULT_NAN="fold-0"):
        (failure,) = train(experiment, trials)
    assert failure.trial.arm == "fold-0"
    assert "The loss is no longer finite in epoch 1 (training nan" in failure.reason
    others = [trial for trial in trials if trial != failure.trial]
    assert_equal_trials(experiment, whole, others)
    assert log.count("train", "start") == {str(trial): 1 for trial in trials}  # no retry


def test_worker_of_a_wide_training_killed(cluster, reference, log: Log, tmp_path: Path) -> None:
    whole, _ = reference
    calm = begin(whole, tmp_path / "calm", workers=2)
    trials = [trial for trial in plan_trials(calm)[0] if trial.arm == "original"]
    streamed = begin(whole, tmp_path / "streamed")
    with connected(cluster, Log(tmp_path / "calm log")):
        assert train(calm, trials) == []
        assert train(streamed, trials, pixels_gib=0) == []  # and fed by Ray Data, as `calm` is
    assert_equal_trials(streamed, whole, trials)
    struck = begin(whole, tmp_path / "struck", workers=2)

    def find(events: list[Any]) -> Any:
        return first_of("epoch", "end")([one for one in events if "rank 1" in one.unit])

    saboteur = Saboteur(log, find, kill)
    with connected(cluster, log, FAULT_PAUSE_S="1"):
        saboteur.start()
        assert train(struck, trials) == []
    assert len(saboteur.struck) == 1
    assert_equal_trials(struck, calm, trials)
    assert log.count("train", "start")[f"{trials[0]}, rank 1"] == 2
    assert log.count("train", "end")[f"{trials[0]}, rank 0"] == 1


def test_processes_that_hang_end_the_stage(cluster, reference, log: Log, tmp_path: Path) -> None:
    whole, _ = reference
    experiment = begin(whole, tmp_path / "run")
    trials, _ = plan_trials(experiment)

    def hang(event: Any) -> None:
        os.kill(event.pid, signal.SIGSTOP)

    saboteur = Saboteur(log, first_of("epoch", "end"), hang, times=2)
    with connected(cluster, log, FAULT_PAUSE_S="1"):
        saboteur.start()
        with pytest.raises(IncompleteError) as raised:
            train(experiment, trials, stall_timeout=60)
    said = str(raised.value)
    assert "Nothing was computed for 60 s, during: sweep. The cluster has" in said
    assert "0 of 2 CPUs are free" in said
    before = list_inodes(experiment.run.trials)
    with connected(cluster, log):
        assert train(experiment, trials) == []
    assert_equal_trials(experiment, whole, trials)
    assert before.items() <= list_inodes(experiment.run.trials).items()


def test_moved_clock_changes_nothing(
    cluster, reference, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = reference
    experiment = begin(whole, tmp_path / "run")
    trials, _ = plan_trials(experiment)
    monkeypatch.setattr(time, "time", make_moving_clock())
    with connected(cluster, log, FAULT_CLOCK="1"):
        assert train(experiment, trials) == []
        explain(experiment)
    assert_equal_trials(experiment, whole, trials)
    assert_equal_masks(experiment, whole)
    assert set(log.count("train", "end").values()) == {1}
    assert set(log.count("explain", "end").values()) == {1}
    at = [event.at for event in log.read()]
    assert max(at) - min(at) > 80_000  # it did move


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which may be filled or made read-only."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_full_disk_while_explaining(cluster, reference, log: Log, small_disk: Path) -> None:
    whole, _ = reference
    experiment = begin(whole, small_disk / "run", "trials")
    filler = small_disk / "filler"

    def fill(event: Any) -> None:
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(1 << 12))
                file.flush()

    saboteur = Saboteur(log, first_of("explain", "end"), fill)
    with connected(cluster, log, FAULT_PAUSE_S="0.3"):
        saboteur.start()
        with pytest.raises(IncompleteError, match="No space left on device"):
            explain(experiment)
    before = list_inodes(experiment.run.masks)
    assert 0 < len(before) < 64
    filler.unlink()
    with connected(cluster, log):
        explain(experiment)
    assert_equal_masks(experiment, whole)
    assert before.items() <= list_inodes(experiment.run.masks).items()


def test_storage_that_refuses_writes_while_training(
    cluster, reference, log: Log, small_disk: Path
) -> None:
    whole, _ = reference
    experiment = begin(whole, small_disk / "run")
    trials, _ = plan_trials(experiment)

    def refuse(event: Any) -> None:
        remount(small_disk, "ro")

    saboteur = Saboteur(log, first_of("train", "end"), refuse)
    with connected(cluster, log, FAULT_PAUSE_S="0.3"):
        saboteur.start()
        failures = train(experiment, trials)
    assert failures
    assert [one for one in failures if "Read-only file system" not in one.reason] == []
    before = list_inodes(experiment.run.trials)
    assert before
    remount(small_disk, "rw")
    with connected(cluster, log):
        assert train(experiment, trials) == []
    assert_equal_trials(experiment, whole, trials)
    assert before.items() <= list_inodes(experiment.run.trials).items()


def remount(place: Path, mode: str) -> None:
    """Have a file system take writes or refuse them; it is busy as long as a file is written."""
    for _ in range(50):
        command = ["mount", "-o", f"remount,{mode}", str(place)]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)
    raise AssertionError(f"{place} could not be made {mode}")
