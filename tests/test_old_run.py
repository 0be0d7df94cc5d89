"""A run that an earlier version made is opened, extended, reported, exported and reproduced.

`old_run.tar.xz` was made by version 0.1.0 (code 2962d112db6f), before its modules moved:

    osteo-ray compare --phantom.n-images 60 --phantom.size-px 64 --image-size 48 \
        --models test_byobnet --seeds 2 --training.epochs 2 --lime-samples 48 --crossfit-folds 2 \
        --arms original original_retrained lime lime_crossfit random_mask silhouette gradcam

`run/` is that run, without Ray's logs and without the weights that nothing starts from;
`extended/` holds what the same version then made of three more arms, `keys.json` the addresses it
gave to trainings and masks under other settings, `explained-*/` what `osteo-ray explain` wrote.
"""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from osteo_ray.base.machine import describe_machine
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import MASKS, read_json, read_parts, read_table
from osteo_ray.commands.main import main
from osteo_ray.config.build import build, read_yaml
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.variants import VarianceConfig
from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.comparison import analyse
from osteo_ray.experiment.dataset import read_dataset, read_pixels
from osteo_ray.experiment.trials import Experiment, describe_experiment, plan_trials
from osteo_ray.pipeline.compare.in_process import run_in_process
from osteo_ray.report.page import write_report

ARCHIVE = Path(__file__).with_name("old_run.tar.xz")
MORE = ("complement", "lime_true_label", "untrained_lime")
QUICKSHIFT = ("--lime.kernel-size", "1.5", "--lime.max-dist", "200", "--lime.ratio", "0.2")
"""The defaults for phantoms, before they grew with the size of the image."""
CLOSE = 5e-3  # of a probability, where a processor of another kind has trained the classifier


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive, for tests that only read it."""
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the archive, for tests that write into it."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def open_old(run: Run, **changes: Any) -> Experiment:
    settings = {**read_yaml(run.config), "out": str(run.root), **changes}
    config = build(CompareConfig, settings)
    return describe_experiment(run, config, read_dataset(run, config))


def is_same_machine(run: Run) -> bool:
    hardware = read_json(run.environment)["hardware"]
    here = describe_machine()
    return all(hardware[name] == here[name] for name in ("cpu", "isa", "libc", "settings"))


def list_files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def _read_keys() -> dict[str, Any]:
    with tarfile.open(ARCHIVE) as archive:
        file = archive.extractfile("./keys.json")
        assert file is not None
        return dict(json.load(file))


KEYS = _read_keys()


@pytest.mark.parametrize("name", [name for name in KEYS if name != "variance"])
def test_addresses_are_those_of_the_earlier_version(unpacked: Path, name: str) -> None:
    expected, run = KEYS[name], Run(unpacked / "run")
    settings = {**read_yaml(run.config), **expected["settings"]}
    experiment = open_old(run, **{**expected["settings"], "arms": expected["arms"]})
    first, second = plan_trials(experiment)
    trials = dict.fromkeys([*first, *second])
    assert {str(trial): experiment.key_of(trial) for trial in trials} == expected["trials"]
    masks = {
        experiment.masks_of(job).name: f"{job.teacher} {job.target}"
        for trial in second
        for job in experiment.list_jobs(trial)
    }
    assert masks == expected["masks"]
    assert experiment.plan_hash == expected["plan"]
    presets = build(CompareConfig, settings)
    assert set(expected["arms"]) <= set(presets.arms)  # a preset may have grown since


def test_variance_reruns_are_those_of_the_earlier_version(unpacked: Path) -> None:
    stored = read_yaml(Run(unpacked / "run").config)
    settings = {
        key: value for key, value in stored.items() if key not in ("seeds", "mlflow", "out")
    }
    changes = {"arms": ["original", "lime"], "repeats": 2}
    config = build(VarianceConfig, {**settings, **changes})
    assert config.plan_hash() == KEYS["variance"]["plan"]
    seeds = {str(number): list(config.seeds_of(number)) for number in config.seed_numbers}
    assert seeds == KEYS["variance"]["seeds"]


def test_results_are_computed_again_bit_for_bit(unpacked: Path) -> None:
    run = Run(unpacked / "run")
    experiment = open_old(run)
    images = read_table(run.images).to_pandas()[["image_id", "group"]]
    results, _ = analyse(read_table(run.predictions), images, Analysis.of(experiment))
    stored = read_table(run.results).to_pandas()
    pd.testing.assert_frame_equal(results[stored.columns.tolist()], stored, check_exact=True)


def test_old_run_is_extended_as_the_earlier_version_did(old: Path) -> None:
    run = Run(old / "run")
    before = list_files(old / "run")
    stored = read_yaml(run.config)["arms"]
    experiment = open_old(run, arms=[*stored, *MORE])
    size_px = experiment.settings.image_size
    run_in_process(experiment, read_pixels(run, experiment.image_ids.tolist(), size_px))

    # What was there is found and left alone: no training of the earlier version is repeated.
    after = list_files(old / "run")
    assert {name: after[name] for name in before} == before
    made = {path.name.partition("-")[0] for path in (old / "run" / "trials").glob("*/*/*")}
    assert made == {*stored, *MORE, "fold", "untrained"}

    exact = is_same_machine(run)
    expected = read_table(old / "extended" / "predictions.parquet").to_pandas()
    for arm in MORE:
        for seed in (0, 1):
            (path,) = (old / "run" / "trials").glob(f"*/seed-{seed}/{arm}-*/predictions.parquet")
            found = pq.read_table(path).to_pandas()
            wanted = expected[(expected["arm"] == arm) & (expected["seed"] == seed)]
            keys = ["split", "image_id"]
            found, wanted = (
                one.sort_values(keys).reset_index(drop=True) for one in (found, wanted)
            )
            pd.testing.assert_frame_equal(
                found, wanted[found.columns.tolist()], check_exact=exact, atol=CLOSE, rtol=0
            )

    for folder in (old / "extended" / "masks").glob("seed-*/*"):
        wanted = read_masks(folder)
        found = read_masks(
            old / "run" / "masks" / "test_byobnet" / folder.parent.name / folder.name
        )
        same = [a == b for a, b in zip(found, wanted, strict=True)]
        assert all(same) if exact else np.mean(same) > 0.95


def read_masks(folder: Path) -> list[tuple[Any, ...]]:
    columns = ["image_id", "kind", "keep_mask"]
    rows = read_parts(folder, MASKS, columns).to_pylist()
    assert rows
    return sorted(tuple(row[name] for name in columns) for row in rows)


def test_old_run_is_reported_and_exported(old: Path) -> None:
    run = Run(old / "run")
    (old / "run" / "report.html").unlink()
    assert write_report(run) == run.report
    page = (old / "run" / "report.html").read_text(encoding="utf-8")
    assert "test_byobnet" in page
    assert "<i>paper</i>, changed in" in page  # as phantoms have a smaller recipe
    assert "chosen twice on one set of validation images" in page  # `original_retrained` is
    assert "No curves were found in this run." in page

    assert main(["export", str(old / "run"), "--arm", "lime", "--as", "npz"]) == 0
    files = list((old / "run" / "exports").rglob("*.npz"))
    assert len(files) == 2
    experiment = open_old(run)
    ids = experiment.image_ids.tolist()
    pixels = dict(zip(ids, read_pixels(run, ids, experiment.settings.image_size), strict=True))
    for file in files:
        data = np.load(file)
        for split in ("train", "val", "test"):
            names = (f"{split}_{what}" for what in ("ids", "images", "masks"))
            for image_id, image, keep in zip(*(data[name] for name in names), strict=True):
                kept = keep.reshape(image.shape).astype(bool)
                np.testing.assert_array_equal(image, pixels[str(image_id)] * kept)


@pytest.mark.parametrize("method", ["lime", "gradcam"])
def test_old_explanations_are_found_again(
    old: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = old / f"explained-{method}"
    before = list_files(out)
    (checkpoint,) = (old / "run").glob("trials/*/seed-0/original-*/model.safetensors")
    flags = ["--phantom.n-images", "12", "--phantom.size-px", "64", "--lime-samples", "48"]
    flags += [*QUICKSHIFT, "--checkpoint", str(checkpoint), "--out", str(out), "--method", method]
    assert main(["explain", *flags]) == 0  # without Ray: nothing is missing
    after = list_files(out)
    assert {name: after[name] for name in before if "logs" not in name} == {
        name: content for name, content in before.items() if "logs" not in name
    }


@pytest.mark.long
@pytest.mark.ray
def test_old_run_is_resumed_and_reproduced(old: Path, local_ray: None) -> None:
    trials = list_files(old / "run" / "trials")
    flags = ["--phantom.n-images", "60", "--phantom.size-px", "64", "--image-size", "48"]
    flags += ["--models", "test_byobnet", "--seeds", "2", "--training.epochs", "2"]
    flags += ["--lime-samples", "48", "--crossfit-folds", "2", "--out", str(old / "run")]
    flags += ["--resources.cpus-per-worker", "2", "--no-grid", *QUICKSHIFT]
    arms = read_yaml(Run(old / "run").config)["arms"]
    assert main(["compare", *flags, "--arms", *arms]) == 0
    assert list_files(old / "run" / "trials") == trials
    assert main(["reproduce", str(old / "run"), "--sample", "1"]) == 0
