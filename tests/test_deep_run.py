"""A whole comparison of images that are no squares, in 16 bits: what every command makes of it."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tiny_runs import TINY, stay_quiet
from without_ray import compare_here

import osteo_ray
from osteo_ray.base.mappings import merge_settings
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import PIXELS, list_parts, read_parts
from osteo_ray.commands.main import main
from osteo_ray.config.build import build_config
from osteo_ray.data.decoding.resizing import resize_image
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.phantoms.sets import make_phantoms
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.models.checkpoint import describe_checkpoint
from osteo_ray.pipeline.compare import stages
from osteo_ray.pipeline.export.read_back import read_export
from osteo_ray.report.page import write_report

SIZE = ImageSize(48, 32)
SHAPE = SIZE.shape
DARKEST, BRIGHTEST = 500, 3500  # of twelve bits


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with phantoms of twelve bits (`data`) and a finished run (`run`), made once."""
    root = tmp_path_factory.mktemp("deep")
    rng = np.random.default_rng(0)
    settings = PhantomSettings(n_images=32, size_px=56, duplicate_share=0.0)
    for phantom in make_phantoms(settings):
        low = rng.integers(0, 16, phantom.image.shape)  # the bits that 8 bits have no room for
        deep = phantom.image.astype(np.uint16) * 11 + DARKEST + low
        deep.ravel()[:2] = DARKEST, BRIGHTEST
        path = root / "data" / phantom.name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(deep.astype(np.uint16)).save(path)
    changes = {
        "data": str(root / "data"),
        "image_size": "48x32",
        "bits": 16,
        "arms": ["original", "lime", "random_mask", "centre_mask", "silhouette"],
        "seeds": 1,
        "weights": "none",
        "out": str(root / "run"),
    }
    with pytest.MonkeyPatch.context() as patch:
        compare_here(patch)
        config = build_config(merge_settings(TINY, changes))
        outcome = stages.compare(config, stay_quiet(), write_report=write_report)
    assert outcome.failures == []
    return root


@pytest.fixture
def run(root: Path) -> Run:
    return Run(root / "run")


def read_source(root: Path, name: str) -> np.ndarray:
    """Read an image as a run should have it, by another way than the product does."""
    stored = np.array(Image.open(root / "data" / name)).astype(float)
    full = np.round((stored - DARKEST) / (BRIGHTEST - DARKEST) * 65_535).astype(np.uint16)
    return resize_image(full, SIZE)


def test_pixels_have_the_bits_of_the_source(root: Path, run: Run) -> None:
    opened = osteo_ray.open_run(run.root)
    ids, pixels = opened.pixels()
    assert (pixels.shape, pixels.dtype) == ((32, *SHAPE), np.uint16)
    path_of = dict(zip(opened.images["image_id"], opened.images["path"], strict=True))
    for image_id, shown in zip(ids[:5], pixels[:5], strict=True):
        np.testing.assert_array_equal(shown, read_source(root, path_of[image_id]))
    assert len(np.unique(pixels[0])) > 1_000
    (cell, *_) = read_parts(run.pixels, PIXELS)["pixels"].to_pylist()
    assert len(cell) == 2 * SIZE.area_px
    assert opened.image_size == SIZE


def test_masks_have_the_shape_and_the_area(run: Run) -> None:
    opened = osteo_ray.open_run(run.root)
    shown = {kind: opened.masks("test_byobnet", 0, kind=kind) for kind in ("lime", "random")}
    areas = []
    for found in shown.values():
        assert found.keep_masks.shape[1:] == SHAPE
        areas.append(dict(zip(found.image_ids, found.keep_masks.sum((1, 2)), strict=True)))
    assert areas[0] == areas[1]
    assert 0 < np.mean(list(areas[0].values())) < SIZE.area_px


def test_checkpoints_name_both(run: Run) -> None:
    found = [describe_checkpoint(path) for path in run.root.rglob("model.safetensors")]
    assert {(one.image_size, one.bits) for one in found} == {(SIZE, 16)}


def test_report_says_both(run: Run) -> None:
    page = run.report.read_text(encoding="utf-8")
    assert "images of 48 × 32 pixels (height × width), 16 bits," in page
    assert "--shape: 32 / 48" in page


@pytest.mark.parametrize("arm", ["original", "lime", "centre_mask"])
def test_exports_keep_the_bits(run: Run, tmp_path: Path, arm: str) -> None:
    opened = osteo_ray.open_run(run.root)
    pixels = dict(zip(*opened.pixels(), strict=True))
    found: dict[str, dict[str, np.ndarray]] = {}
    for form in ("folder", "npz", "parquet"):
        out = tmp_path / form
        words = ["export", str(run.root), "--arm", arm, "--as", form, "--out", str(out)]
        assert main(words) == 0
        (place,) = (one for one in out.rglob("provenance.json"))
        said = json.loads(place.read_text())
        assert (said["image_size"], said["bits"]) == ("48x32", 16)
        assert "48 px high, 32 px wide, with 16 bits" in (place.parent / "DATASHEET.md").read_text()
        found[form] = READERS[form](place.parent)
        again = read_export(place.parent)
        assert again.images.dtype == np.uint16
        for image_id, image in zip(again.image_ids, again.images, strict=True):
            np.testing.assert_array_equal(image, found[form][str(image_id)])
        assert ("have 16 bits" in (place.parent / "README.md").read_text()) == (form != "npz")
    for image_id, shown in found["npz"].items():
        assert (shown.dtype, shown.shape) == (np.uint16, SHAPE)
        np.testing.assert_array_equal(shown, found["folder"][image_id])
        np.testing.assert_array_equal(shown, found["parquet"][image_id])
        whole = pixels[image_id]
        kept = shown != 0
        np.testing.assert_array_equal(shown[kept], whole[kept])
        if arm == "original":
            np.testing.assert_array_equal(shown, whole)
        else:
            assert kept.mean() < 1
    assert len(found["npz"]) == 32


def read_folder(place: Path) -> dict[str, np.ndarray]:
    files = [one for one in place.rglob("*.png") if "masks" not in one.parts]
    return {file.stem: np.array(Image.open(file)) for file in files}


def read_npz(place: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(place / "data.npz") as archive:
        arrays = {
            name.removesuffix(".npy"): np.lib.format.read_array(io.BytesIO(archive.read(name)))
            for name in archive.namelist()
        }
    return {
        str(image_id): image
        for part in ("train", "val", "test")
        for image_id, image in zip(arrays[f"{part}_ids"], arrays[f"{part}_images"], strict=True)
    }


def read_parquet(place: Path) -> dict[str, np.ndarray]:
    rows = [row for file in place.rglob("*.parquet") for row in pq.read_table(file).to_pylist()]
    return {
        row["image_id"]: np.array(Image.open(io.BytesIO(row["image"]["bytes"]))) for row in rows
    }


READERS = {"folder": read_folder, "npz": read_npz, "parquet": read_parquet}


def test_predictions_of_new_files_are_those_of_the_run(
    root: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = osteo_ray.open_run(run.root)
    tested = opened.predictions
    tested = tested[(tested["split"] == "test") & (tested["arm"] == "original")]
    path_of = dict(zip(opened.images["image_id"], opened.images["path"], strict=True))
    files = [str(root / "data" / path_of[image_id]) for image_id in tested["image_id"]]
    capsys.readouterr()
    assert main(["predict", str(run.root), *files, "--json", "--masks", str(root / "shown")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["ensemble"]["arm"] == "original"
    for row, known in zip(said["images"], tested["p_osteoporosis"], strict=True):
        raw = np.log([row["p_normal"], row["p_osteoporosis"]])
        logit = (raw[1] - raw[0]) * said["members"][0]["temperature"]
        assert 1 / (1 + np.exp(-logit)) == pytest.approx(known, abs=1e-5)
    assert np.array(Image.open(said["masks"][0])).shape == SHAPE


def test_verification_finds_it_sound(run: Run) -> None:
    assert main(["verify", str(run.root)]) == 0
    assert len(list_parts(run.pixels)) >= 1
