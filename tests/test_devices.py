"""Keys know on what a run computes, and a run does not go on on another class of device."""

from dataclasses import replace
from pathlib import Path

import pytest
from test_trials import FIRST, make_experiment

from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import write_json
from osteo_ray.cluster.placement import Layout, lay_out
from osteo_ray.cluster.settings import ResourceSettings
from osteo_ray.config.parts import Devices
from osteo_ray.experiment.dataset import read_devices
from osteo_ray.experiment.reproduction.environment import compare_environments
from osteo_ray.experiment.trials import Experiment, MaskJob
from osteo_ray.pipeline.output import check_devices

GPU_NODE = {"CPU": 16, "GPU": 1}


def put_on(experiment: Experiment, training: str, explaining: str) -> Experiment:
    devices = Devices(training, explaining)
    return replace(experiment, settings=replace(experiment.settings, devices=devices))


def test_keys_know_the_class_of_device(tmp_path: Path) -> None:
    experiment = make_experiment(tmp_path)
    job = MaskJob(FIRST)
    keys = {
        (training, explaining): (one.key_of(FIRST), one.key_of_job(job))
        for training in ("cpu", "cuda")
        for explaining in ("cpu", "cuda")
        for one in [put_on(experiment, training, explaining)]
    }
    assert keys["cpu", "cpu"] == (experiment.key_of(FIRST), experiment.key_of_job(job))
    assert len({trained for trained, _ in keys.values()}) == 2
    assert keys["cuda", "cpu"][0] == keys["cuda", "cuda"][0]
    assert len({masks for _, masks in keys.values()}) == 4


def test_keys_of_masks_know_precision_and_batches(tmp_path: Path) -> None:
    keys = {
        make_experiment(tmp_path, lime=changes).key_of_job(MaskJob(FIRST))
        for changes in ({}, {"precision": "bf16"}, {"precision": "fp16"}, {"batch_size": 8})
    }
    assert len(keys) == 4


def lay(nodes: list[dict[str, float]], **settings: float) -> Layout:
    return lay_out(nodes, ResourceSettings(**settings))


def record(root: Path, **hardware: str) -> Run:
    run = Run(root)
    write_json(run.environment, {"hardware": hardware})
    return run


def test_devices_are_read_from_the_record(tmp_path: Path) -> None:
    assert read_devices(Run(tmp_path / "none")) == Devices("cpu", "cpu")
    assert read_devices(record(tmp_path / "a", device="cuda")) == Devices("cuda", "cuda")
    mixed = record(tmp_path / "b", device="cuda", explaining_device="cpu")
    assert read_devices(mixed) == Devices("cuda", "cpu")


def test_a_run_goes_on_only_on_the_device_on_which_it_began(tmp_path: Path) -> None:
    on_cpu = record(tmp_path / "cpu", device="cpu")
    on_gpu = record(tmp_path / "gpu", device="cuda")
    mixed = record(tmp_path / "mixed", device="cuda", explaining_device="cpu")
    check_devices(on_cpu, lay([{"CPU": 2}]))
    check_devices(on_cpu, lay([GPU_NODE], gpus_per_worker=0))
    check_devices(on_gpu, lay([GPU_NODE]))
    check_devices(mixed, lay([GPU_NODE], gpus_per_explainer=0))
    with pytest.raises(InputError, match=r"began \(cpu\), but this cluster would use cuda"):
        check_devices(on_cpu, lay([GPU_NODE]))
    with pytest.raises(InputError, match=r"began \(cuda\), but this cluster would use cpu"):
        check_devices(on_gpu, lay([{"CPU": 2}]))
    with pytest.raises(InputError, match=r"began \(cuda, and cpu for explaining\)"):
        check_devices(mixed, lay([GPU_NODE]))


def test_reproducing_on_another_device_says_so() -> None:
    changes = compare_environments(
        {"hardware": {"device": "cpu"}}, {"hardware": {"device": "cuda"}}
    )
    assert [str(change) for change in changes] == ["device cpu → cuda"]
    assert changes[0].matters
