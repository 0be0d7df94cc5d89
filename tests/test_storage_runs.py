"""Whole runs in object storage on a real local Ray cluster, compared with runs in a folder."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from tiny_runs import MODEL, N_IMAGES, N_THREADS, compute_here, configure, run_quietly

from osteo_ray.base.lock import HeldError, Holder, hold
from osteo_ray.base.remote import RemotePath
from osteo_ray.base.runs import Run, open_run
from osteo_ray.base.storage import LOCK, UNFINISHED, local_copy, locate, remove_tree
from osteo_ray.base.tables import (
    FAITHFULNESS,
    IMAGES,
    MASKS,
    PIXELS,
    read_json,
    read_parts,
    read_table,
)
from osteo_ray.commands.main import main
from osteo_ray.config.build import build_config, read_yaml
from osteo_ray.experiment.dataset import read_dataset
from osteo_ray.experiment.keep_masks import UNEXPLAINED
from osteo_ray.experiment.trials import Trial, describe_experiment
from osteo_ray.pipeline.compare.stages import Outcome
from osteo_ray.pipeline.export.exports import export_run
from osteo_ray.pipeline.export.read_back import read_export

pytestmark = [pytest.mark.ray, pytest.mark.long]  # each begins with a run in storage

BUCKET = "runs"
FIRST = Trial(MODEL, 0, "original")
Locate = Callable[[str], str]


@pytest.fixture(scope="module")
def client(s3_server: str, s3_keys: None):
    found = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1")
    found.create_bucket(Bucket=BUCKET)
    return found


@pytest.fixture(scope="module")
def locate_there(client, s3_server: str) -> Locate:
    """Say what the URI of a run is."""
    return lambda name: (
        f"s3://{BUCKET}/{name}?endpoint_override={quote(s3_server, safe='')}&scheme=http"
    )


@pytest.fixture(scope="module")
def here(finished: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of the finished comparison in a folder, to export from."""
    root = tmp_path_factory.mktemp("here") / "knees"
    return Run(Path(shutil.copytree(str(finished.run.root), root)))


@pytest.fixture(scope="module")
def there(local_ray: None, locate_there: Locate) -> Outcome:
    """The same comparison in object storage, in whose place an earlier try was cut off."""
    root = locate(locate_there("knees"))
    (root / UNFINISHED).write_text("")
    (root / "pixels" / "part-old.parquet").write_text("of another set")
    return run_quietly(configure(locate_there("knees")))


def list_objects(client, prefix: str) -> dict[str, Any]:
    """When each object was written."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
    return {
        entry["Key"].removeprefix(f"{prefix}/"): entry["LastModified"]
        for page in pages
        for entry in page.get("Contents", [])
        if not entry["Key"].endswith("/")  # what PyArrow leaves for folders
    }


def sort_rows(table: pa.Table) -> list[dict[str, Any]]:
    return sorted(table.to_pylist(), key=str)


def test_equals_the_run_in_a_folder(finished: Outcome, there: Outcome) -> None:
    here = finished
    assert there.failures == []
    assert there.comparison == here.comparison
    assert read_table(there.run.predictions).equals(read_table(here.run.predictions))
    assert read_table(there.run.images).equals(read_table(here.run.images))
    assert read_table(there.run.splits).equals(read_table(here.run.splits))
    for schema, name in ((MASKS, "masks"), (FAITHFULNESS, "faithfulness"), (PIXELS, "pixels")):
        tables = [read_parts(getattr(run, name), schema) for run in (there.run, here.run)]
        assert tables[0].num_rows > 0
        assert sort_rows(tables[0]) == sort_rows(tables[1])


def test_it_holds_the_same_artifacts(finished: Outcome, there: Outcome, client) -> None:
    root = finished.run.root
    assert isinstance(root, Path)
    folder = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    # What Ray writes of sweeps stays on the machine of the driver; logs are of one job each.
    kept = {name for name in folder if not name.startswith("logs/")}
    assert len(kept) > 100
    found = set(list_objects(client, "knees"))
    assert {name for name in found if not name.startswith("logs/")} == kept
    assert any(name.startswith("logs/events-") for name in found)


def test_no_key_is_in_any_file(there: Outcome, client) -> None:
    for name in list_objects(client, "knees"):
        if name.endswith((".yaml", ".json", ".html")):
            content = client.get_object(Bucket=BUCKET, Key=f"knees/{name}")["Body"].read()
            assert b"secret" not in content, name


def test_a_rerun_makes_what_was_removed_and_nothing_else(there: Outcome, client) -> None:
    assert isinstance(there.run.root, RemotePath)
    config = build_config(read_yaml(there.run.config))
    experiment = describe_experiment(there.run, config, read_dataset(there.run, config))
    removed = experiment.path_of(Trial(MODEL, 1, "lime"))
    before = list_objects(client, "knees")
    predictions = read_table(removed / "predictions.parquet")
    # As an upload that was cut off leaves it: all but the last file.
    (removed / "history.json").unlink()
    again = run_quietly(config)
    assert again.failures == []
    assert again.comparison == there.comparison
    assert read_table(removed / "predictions.parquet").equals(predictions)
    after = list_objects(client, "knees")
    assert {name for name in after.keys() ^ before.keys() if not name.startswith("logs/")} == set()
    changed = {name for name in after if after[name] != before.get(name)}
    lasting = ("trials/", "masks/", "faithfulness/", "pixels/", "images", "splits", "heatmaps/")
    trial = removed.key.removeprefix("knees/")
    assert {name for name in changed if name.startswith(lasting)} <= {
        f"{trial}/{name}"
        for name in (
            *("model.safetensors", "predictions.parquet", UNEXPLAINED, "history.json"),
            ".digests.json",
        )
    }
    assert f"{trial}/history.json" in changed


def test_a_second_run_is_refused(there: Outcome) -> None:
    config = build_config(read_yaml(there.run.config))
    with hold(there.run.root), pytest.raises(HeldError, match="Expected an --out that no other"):
        run_quietly(config)
    assert not (there.run.root / LOCK).exists()


def test_bad_input_leaves_nothing(local_ray: None, locate_there: Locate, client, tmp_path) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(20):
            noise = np.random.default_rng(number).integers(0, 256, (40, 40), np.uint8)
            Image.fromarray(noise).save(tmp_path / label / f"{number}.png")
        (tmp_path / label / "broken.png").write_text("no image")
    code = main(
        [
            *("compare", "--data", str(tmp_path), "--out", locate_there("bad"), "--weights"),
            *("none", "--models", MODEL, "--max-reject-share", "0", "--image-size", "32"),
        ]
    )
    assert code == 2
    assert list_objects(client, "bad") == {}


def test_the_report_is_written_again(there: Outcome, capfd) -> None:
    before = there.run.report.read_text()
    there.run.report.unlink()
    assert main(["report", str(there.run.root)]) == 0
    assert there.run.report.read_text() == before
    assert before.count("data:image/") > 4
    assert f"Report: {there.run.report}" in capfd.readouterr().out


@pytest.mark.parametrize("form", ["folder", "npz", "parquet"])
def test_exports_equal_those_of_a_folder(here: Run, there: Outcome, tmp_path, form) -> None:
    options = {"models": [MODEL], "seeds": [0]}
    (of_here,) = export_run(here, "lime", form, **options)
    (of_there,) = export_run(there.run, "lime", form, **options)
    assert of_there.is_new
    assert of_there.path == there.run.root / f"exports/lime-{form}" / MODEL / "seed-0"
    fetched = tmp_path / "fetched"
    assert isinstance(of_there.path, RemotePath)
    for file, _ in of_there.path.list_files():
        target = fetched / file.key.removeprefix(of_there.path.key + "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    assert isinstance(of_here.path, Path)
    found, expected = read_export(fetched), read_export(of_here.path)
    for name, values in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), values)
    (again,) = export_run(there.run, "lime", form, **options)
    assert not again.is_new
    # As an upload that was cut off leaves it.
    (of_there.path / "provenance.json").unlink()
    (of_there.path / UNFINISHED).write_text("")
    (of_there.path / "old.png").write_text("")
    (anew,) = export_run(there.run, "lime", form, **options)
    assert anew.is_new
    assert not (of_there.path / "old.png").exists()
    assert (of_there.path / "provenance.json").is_file()
    assert not (of_there.path / UNFINISHED).exists()


def test_explanations_equal_those_in_a_folder(
    there: Outcome,
    locate_there: Locate,
    client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Read the images and the classifier from storage, and write the masks there."""
    config = build_config(read_yaml(there.run.config))
    experiment = describe_experiment(there.run, config, read_dataset(there.run, config))
    checkpoint = experiment.path_of(FIRST) / "model.safetensors"
    with local_copy(checkpoint) as file:
        content = file.read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content)
    images = ["explain", str(there.run.phantom / "images")]
    settings = ["--lime-samples", "12", "--lime.top-k", "2"]
    settings += ["--resources.cpus-per-worker", str(N_THREADS)]  # as in this process
    out = locate_there("explained")
    words = [*images, *settings, "--checkpoint", str(checkpoint), "--out", out]
    assert main(words) == 0
    with monkeypatch.context() as patch:
        compute_here(patch)
        copy = ["--checkpoint", str(tmp_path / "model.safetensors")]
        assert main([*images, *settings, *copy, "--out", str(tmp_path / "out")]) == 0
    theirs, ours = open_run(out), open_run(str(tmp_path / "out"))
    masks = sort_rows(read_parts(theirs.masks, MASKS))
    assert len(masks) == 3 * N_IMAGES
    assert masks == sort_rows(read_parts(ours.masks, MASKS))
    assert read_json(theirs.environment)["checkpoint"] == read_json(ours.environment)["checkpoint"]
    before = list_objects(client, "explained/masks")
    assert main(words) == 0
    assert list_objects(client, "explained/masks") == before


def test_a_source_in_storage_gives_the_same_images(finished: Outcome, there: Outcome) -> None:
    # The phantoms of the one were read from a folder, those of the other from storage.
    assert read_table(there.run.images).schema.equals(IMAGES)
    frames = [pd.DataFrame(read_table(run.images).to_pylist()) for run in (finished.run, there.run)]
    pd.testing.assert_frame_equal(*frames)


def test_two_workers_share_a_training_in_storage(local_ray: None, locate_there: Locate) -> None:
    wide = {
        "seeds": 1,
        "arms": ["original"],
        "resources": {"workers": 2, "cpus_per_worker": 1},
    }
    outcome = run_quietly(configure(locate_there("wide"), **wide))
    assert outcome.failures == []
    assert read_table(outcome.run.predictions).num_rows > 0


@pytest.mark.faults
def test_a_run_that_is_taken_over_stops(tmp_path: Path) -> None:
    out = tmp_path / "knees"
    flags = ["--models", MODEL, "--seeds", "2", "--image-size", "32", "--epochs", "300"]
    process = subprocess.Popen(
        [sys.executable, "-m", "osteo_ray.commands.main", "compare", "--out", str(out), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not (out / "config.yaml").exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    thief = replace(Holder.describe_self(), host="elsewhere")
    (out / LOCK).write_text(thief.write())
    printed = " ".join(process.communicate()[0].split())
    assert process.returncode == 1
    assert f"{out} was taken over by process {thief.pid} on elsewhere" in printed
    assert "Traceback" not in printed
    assert Holder.parse((out / LOCK).read_text()) == thief
    assert not (out / "comparison.json").exists()
    assert not (out / "logs" / "driver.log").exists()


def test_a_tree_of_a_run_is_removed(there: Outcome, locate_there: Locate, client) -> None:
    copy = Run(locate(locate_there("copy")))
    (copy.logs / "x").write_text("x")
    remove_tree(copy.root)
    assert list_objects(client, "copy") == {}


def test_audit_equals_that_in_a_folder(
    local_ray: None, client, locate_there: Locate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute_here(monkeypatch)
    flags = ("--phantom.n-images", "48", "--phantom.size-px", "48", "--image-size", "32")
    leak = ("--measure-leak", "--models", MODEL, "--seeds", "2", "--epochs", "1")
    there, here = locate(locate_there("audit")), tmp_path / "audit"
    assert main(["audit", "--out", locate_there("audit"), *flags, *leak]) == 3
    assert main(["audit", "--out", str(here), *flags]) == 3
    found = read_json(there / "audit.json")
    assert [model["seeds"] for model in found.pop("leak")["models"]] == [2]
    assert found == read_json(here / "audit.json")
    for name in ("images.parquet", "rejects.parquet"):
        assert read_table(there / name).equals(read_table(here / name))
    assert "How much copies inflate accuracy" in (there / "audit.html").read_text()
    names = list_objects(client, "audit")
    assert sum(name.endswith("predictions.parquet") for name in names) == 4
    assert {name for name in names if not name.startswith("leak/")} == {
        *("audit.json", "audit.html", "images.parquet", "rejects.parquet"),
    }
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix=".audit").get("Contents", [])
    assert [entry for entry in listed if not entry["Key"].endswith("/")] == []
