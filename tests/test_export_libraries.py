"""Exported data sets as the libraries load them that people train with; free of Ray.

Libraries that are not installed are skipped; what they are documented to expect is tested always.
"""

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from osteo_ray.data.packed_masks import PackedMasks
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.pipeline.export.card import write_card
from osteo_ray.pipeline.export.forms import (
    FORMS,
    Content,
    Form,
    write_content,
)
from osteo_ray.pipeline.export.read_back import read_export

SIZE = 16
# Called like a part of a split; and two that no folder can be called as they are.
CLASSES = ("..normal", "test", "worn: 50%/more")
FOLDERS = ("%2E.normal", "test", "worn%3A 50%25%2Fmore")
COUNTS = {"train": (5, 4, 3), "validation": (2, 2, 0), "test": (1, 2, 2)}  # one part lacks a class


def make_content(masked: bool = True) -> Content:
    rng = np.random.default_rng(0)
    pairs = [
        (label, split)
        for split, counts in COUNTS.items()
        for label, n in zip(CLASSES, counts, strict=True)
        for _ in range(n)
    ]
    rows = [
        {
            "label": label,
            "split": split,
            "patient_id": f"group-{number // 2}",
            "image_id": hashlib.sha256(bytes([number])).hexdigest()[:16],
            "source_path": f"{label}/{number}.png",
            "source_digest": f"digest {number}",
            "error": None,
        }
        for number, (label, split) in enumerate(pairs)
    ]
    rows.sort(key=lambda row: row["image_id"])
    images = rng.integers(0, 256, (len(rows), SIZE, SIZE), np.uint8)
    masks = PackedMasks.pack(rng.random(images.shape) < 0.4) if masked else None
    return Content(rows, images, masks, np.arange(len(rows)), CLASSES)


@pytest.fixture(scope="module")
def content() -> Content:
    return make_content()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, content: Content) -> dict[Form, Path]:
    """The content in each form; in a folder called like a part of a split, to mislead readers."""
    found = {}
    for form in FORMS:
        found[form] = tmp_path_factory.mktemp("test") / "train"
        found[form].mkdir()
        write_content(found[form], content, form)
        (found[form] / "README.md").write_text(write_card(content, form))
    return found


def rows_of(content: Content, split: str) -> list[int]:
    return [number for number, row in enumerate(content.rows) if row["split"] == split]


def read_head(path: Path) -> dict:
    return yaml.safe_load((path / "README.md").read_text().split("---\n")[1])


# What the libraries are documented to expect


@pytest.mark.parametrize("form", ["folder", "parquet"])
def test_card_names_the_files_of_each_part_and_no_others(
    form: Form, content: Content, written: dict[Form, Path]
) -> None:
    (choices,) = read_head(written[form])["configs"]
    assert [part["split"] for part in choices["data_files"]] == list(COUNTS)
    named = []
    for part in choices["data_files"]:
        files = list(written[form].glob(part["path"]))
        named += files
        if form == "folder":
            found = {file.stem for file in files}
        else:
            found = {name for file in files for name in pq.read_table(file)["image_id"].to_pylist()}
        assert found == {content.rows[k]["image_id"] for k in rows_of(content, part["split"])}
    assert len(named) == len(set(named))


def test_every_part_has_a_folder_of_every_class(written: dict[Form, Path]) -> None:
    for split in COUNTS:
        assert tuple(sorted(p.name for p in (written["folder"] / split).iterdir())) == FOLDERS


def test_data_list_has_the_items_of_the_manifest(written: dict[Form, Path]) -> None:
    path = written["folder"]
    found = json.loads((path / "dataset.json").read_text())
    assert found["labels"] == {"0": CLASSES[0], "1": CLASSES[1], "2": CLASSES[2]}
    assert (found["numTraining"], found["numTest"]) == (12, 5)
    with (path / "manifest.csv").open(newline="") as file:
        manifest = {row["path"]: row for row in csv.DictReader(file)}
    for part, split in {"training": "train", "validation": "validation", "test": "test"}.items():
        assert len(found[part]) == sum(COUNTS[split])
        for item in found[part]:
            row = manifest.pop(item["image"])
            assert (row["split"], row["label"]) == (split, CLASSES[item["label"]])
            assert (row["mask"], row["patient_id"]) == (item["mask"], item["patient_id"])
            assert (path / item["image"]).is_file()
            assert (path / item["mask"]).is_file()
    assert not manifest


def test_parquet_names_classes_and_has_a_file_for_each_part(
    content: Content, written: dict[Form, Path]
) -> None:
    files = sorted((written["parquet"] / "data").iterdir())
    assert [file.name for file in files] == [
        f"{split}-00000-of-00001.parquet" for split in ("test", "train", "validation")
    ]
    for file in files:
        table = pq.read_table(file)
        split = file.name.partition("-")[0]
        assert set(table["split"].to_pylist()) == {split}
        features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
        assert features["label"] == {"names": list(CLASSES), "_type": "ClassLabel"}
        numbers = content.number_labels()[rows_of(content, split)]
        assert table["label"].to_pylist() == numbers.tolist()


def test_a_part_without_images_has_no_files(tmp_path: Path, content: Content) -> None:
    kept = [number for number, row in enumerate(content.rows) if row["split"] != "validation"]
    rows = [content.rows[number] for number in kept]
    fewer = Content(rows, content.images[kept], None, np.array(kept), CLASSES)
    for form in ("folder", "parquet"):
        (tmp_path / form).mkdir()
        write_content(tmp_path / form, fewer, form)
        assert not list(tmp_path.rglob("validation*"))
        assert "validation" not in write_card(fewer, form)
        assert read_export(tmp_path / form).splits.tolist() == fewer.column("split")


@pytest.mark.parametrize("form", FORMS)
def test_our_own_reader_finds_labels_parts_and_patients(
    form: Form, content: Content, written: dict[Form, Path]
) -> None:
    items = open_source(str(written[form])).items
    found = sorted(map(tuple, items[["label", "split", "patient_id"]].to_numpy().tolist()))
    expected = [(row["label"], row["split"], row["patient_id"]) for row in content.rows]
    assert found == sorted(expected)


# The libraries themselves


def test_torchvision(content: Content, written: dict[Form, Path]) -> None:
    from torchvision.datasets import ImageFolder

    for split in ("train", "test"):
        found = ImageFolder(str(written["folder"] / split))
        assert tuple(found.classes) == FOLDERS
        rows = {content.rows[k]["image_id"]: k for k in rows_of(content, split)}
        assert len(found) == len(rows)
        for (image, label), (path, _) in zip(found, found.samples, strict=True):
            row = rows[Path(path).stem]
            assert CLASSES[label] == content.rows[row]["label"]
            np.testing.assert_array_equal(np.asarray(image)[..., 0], content.images[row])
    # Numbers of classes that silently shift would be worse than this.
    with pytest.raises(FileNotFoundError, match="worn"):
        ImageFolder(str(written["folder"] / "validation"))
    assert len(ImageFolder(str(written["folder"] / "validation"), allow_empty=True)) == 4


@pytest.mark.parametrize("form", ["folder", "parquet"])
@pytest.mark.parametrize("masked", [True, False])
def test_datasets(
    form: Form, masked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    content = make_content(masked)
    path = tmp_path / "test" / "train"
    path.mkdir(parents=True)
    write_content(path, content, form)
    (path / "README.md").write_text(write_card(content, form))
    found = datasets.load_dataset(str(path), cache_dir=str(tmp_path / "cache"))
    assert list(found) == list(COUNTS)
    for split, part in found.items():
        assert isinstance(part.features["image"], datasets.Image)
        assert isinstance(part.features["label"], datasets.ClassLabel)
        names = part.features["label"].names
        assert tuple(names) == (FOLDERS if form == "folder" else CLASSES)
        rows = {content.images[k].tobytes(): k for k in rows_of(content, split)}
        assert len(part) == len(rows)
        for item in part:
            row = rows.pop(np.asarray(item["image"]).tobytes())
            assert CLASSES[item["label"]] == content.rows[row]["label"]
            if form == "parquet":
                assert item["patient_id"] == content.rows[row]["patient_id"]
                mask = content.keep_masks[row] * 255 if masked else None
                np.testing.assert_array_equal(item["mask"] and np.asarray(item["mask"]), mask)


def test_monai(content: Content, written: dict[Form, Path]) -> None:
    from monai.data import load_decathlon_datalist as load

    parts = {"training": "train", "validation": "validation", "test": "test"}
    for key, split in parts.items():
        found = load(written["folder"] / "dataset.json", is_segmentation=False, data_list_key=key)
        rows = {content.rows[k]["image_id"]: k for k in rows_of(content, split)}
        assert len(found) == len(rows)
        for item in found:
            row = rows[Path(item["image"]).stem]
            assert CLASSES[item["label"]] == content.rows[row]["label"]
            assert item["patient_id"] == content.rows[row]["patient_id"]
            with Image.open(item["image"]) as image, Image.open(item["mask"]) as mask:
                np.testing.assert_array_equal(image, content.images[row])
                np.testing.assert_array_equal(np.asarray(mask) > 0, content.keep_masks[row])


def test_medmnist(
    content: Content, written: dict[Form, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import medmnist

    counts = {"train": 12, "val": 4, "test": 5}
    known = {"n_samples": counts, "n_channels": 1, "task": "multi-class"}
    monkeypatch.setitem(medmnist.INFO, "data", {**known, "label": dict(enumerate(CLASSES))})
    ours = type("Ours", (medmnist.dataset.MedMNIST2D,), {"flag": "data"})
    for name, split in {"train": "train", "val": "validation", "test": "test"}.items():
        found = ours(split=name, root=str(written["npz"]))
        rows = rows_of(content, split)
        assert len(found) == len(rows)
        for (image, label), row in zip(found, rows, strict=True):
            np.testing.assert_array_equal(image, content.images[row])
            assert [CLASSES[number] for number in label] == [content.rows[row]["label"]]
