"""Exported data sets: what they hold, in every form, and what is refused. Free of Ray."""

import csv
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image
from planted import give_regions

from osteo_ray.arms.registry import ARMS
from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import IMAGES, MASKS, PIXELS, SPLITS, read_json, write_json, write_table
from osteo_ray.commands.main import main
from osteo_ray.config.build import build_config
from osteo_ray.data.decoding.content import decode
from osteo_ray.data.fresh_masks import FreshMasks
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.masks import pack_mask
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.data.splits.assignment import SPLIT_NAMES
from osteo_ray.experiment.dataset import read_dataset
from osteo_ray.experiment.keep_masks import read_keep_masks
from osteo_ray.experiment.superpixel_files import list_divisions
from osteo_ray.experiment.trials import Experiment, MaskJob, Trial, describe_experiment, plan_trials
from osteo_ray.explain.superpixel_files import write_superpixels
from osteo_ray.pipeline.compare.mask_jobs import list_explanations
from osteo_ray.pipeline.compare.one_trial import make_set
from osteo_ray.pipeline.export.exports import export_run
from osteo_ray.pipeline.export.forms import FORMS, Form
from osteo_ray.pipeline.export.read_back import read_export

SIZE = 32
N_IMAGES = 20
CLASSES = ("normal", "worn: 50%/more")  # the second cannot be a folder's name as it is
MODELS = ("resnet18", "test_byobnet")
FAILED, SET_ASIDE = 4, 7  # an image that could not be explained; one without a split
SPLIT = [*["train"] * 7, *["validation"] * 2, *["test"] * 2, *["train"] * 7, *["validation"] * 2]
ERROR = 'one superpixel, "flat", so there is nothing to explain'
WEIGHTS = b"not really weights"
IDS = [hashlib.sha256(bytes([number])).hexdigest()[:16] for number in range(N_IMAGES)]  # unsorted
FILES = {
    "folder": "manifest.csv",
    "npz": "data.npz",
    "parquet": "data/train-00000-of-00001.parquet",
}
LIME = Trial(MODELS[0], 0, "lime")


def draw_pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (N_IMAGES, SIZE, SIZE), np.uint8)


GROUPED = {0: 0, 2: 0}  # both for training, with either seed


def make_run(root: Path, grouped: dict[int, int] = GROUPED, **settings: Any) -> Run:
    """Write what `compare` leaves once every mask is there, by hand."""
    run = Run(root)
    root.mkdir(parents=True)
    config = build_config(
        {"models": MODELS, "seeds": 2, "image_size": SIZE, "arms": list(ARMS), **settings}
    )
    run.config.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    images = [
        {
            "image_id": IDS[i],
            "path": f"{CLASSES[i % 2]}/knee {i}.png",
            "label": CLASSES[i % 2],
            "group": grouped.get(i, i),
            "width": 100 + i,
            "height": 90,
            "digest": f"digest {i}",
            "conflict": i == SET_ASIDE,
        }
        for i in range(N_IMAGES)
    ]
    splits = [
        {"seed": seed, "image_id": IDS[i], "split": np.roll(SPLIT, 2 * seed)[i]}
        for seed in config.seed_numbers
        for i in range(N_IMAGES)
        if i != SET_ASIDE
    ]
    pixels = [
        {"image_id": image_id, "digest": "", "pixels": image.tobytes()}
        for image_id, image in zip(IDS, draw_pixels(), strict=True)
    ]
    write_table(run.images, pa.Table.from_pylist(images, IMAGES))
    write_table(run.splits, pa.Table.from_pylist(splits, SPLITS))
    write_table(run.pixels / "a.parquet", pa.Table.from_pylist(pixels[::-1], PIXELS))
    inside = np.random.default_rng(2).random((N_IMAGES, SIZE, SIZE)) < 0.4
    give_regions(open_experiment(run), inside)
    experiment = open_experiment(run)
    rng = np.random.default_rng(1)
    first, second = plan_trials(experiment)
    for trial in first:
        path = experiment.path_of(trial)
        path.mkdir(parents=True)
        (path / "model.safetensors").write_bytes(WEIGHTS + str(trial).encode())
    for job, one in list_explanations(experiment, second).items():
        masks = [
            {
                "model": one.model,
                "seed": one.seed,
                "teacher": one.teacher,
                "target": job.target,
                "kind": kind,
                "image_id": image_id,
                "keep_mask": b"" if failed else pack_mask(rng.random((SIZE, SIZE)) < 0.3),
                "error": ERROR if failed else None,
            }
            for image_id in sorted(one.wanted)
            for kind in one.kinds
            for failed in [image_id == IDS[FAILED]]
        ]
        first_three = 3 * len(one.kinds)
        for name, part in (("b", masks[:first_three]), ("a", masks[first_three:])):
            table = pa.Table.from_pylist(part, MASKS)
            write_table(one.masks / f"{name}.parquet", table)
    for division in list_divisions(experiment, second):
        write_superpixels(division.pixels, division.target, config.lime, ImageSize.square(SIZE))
    return run


def open_experiment(run: Run) -> Experiment:
    config = build_config(yaml.safe_load(run.config.read_text()))
    return describe_experiment(run, config, read_dataset(run, config))


def export_one(run: Run, form: Form, out: Path, arm: str = "lime") -> Path:
    """Export one arm of the first model and seed; return where it lies."""
    (written,) = export_run(run, arm, form, out=out, models=MODELS[:1], seeds=[0])
    assert written.is_new
    return written.path


def read_manifest(path: Path) -> dict[str, dict[str, str]]:
    with (path / "manifest.csv").open(newline="") as file:
        return {row["image_id"]: row for row in csv.DictReader(file)}


def list_files(path: Path) -> dict[str, bytes]:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that tests only read."""
    return make_run(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture
def own_run(run: Run, tmp_path: Path) -> Run:
    """A run that a test may change."""
    shutil.copytree(run.root, tmp_path / "own")
    return Run(tmp_path / "own")


@pytest.fixture(scope="module")
def exported(run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The arm lime in each form."""
    root = tmp_path_factory.mktemp("out")
    return {form: export_one(run, form, root / form) for form in FORMS}


# What a data set holds


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("arm", tuple(ARMS))
def test_every_form_holds_what_training_saw(run: Run, tmp_path: Path, arm: str, seed: int) -> None:
    experiment = open_experiment(run)
    trial = Trial(MODELS[1], seed, arm)
    masks = read_keep_masks(experiment, trial)
    sets = {
        split: make_set(trial, experiment, draw_pixels(), masks, split) for split in SPLIT_NAMES
    }
    for form in FORMS:
        out = tmp_path / form
        (written,) = export_run(run, arm, form, out=out, models=MODELS[1:], seeds=[seed])
        found = read_export(written.path)
        assert found.image_ids.tolist() == sorted(set(IDS) - {IDS[SET_ASIDE]})
        assert found.images.dtype == np.uint8
        assert found.keep_masks.dtype == bool
        assert found.images.shape == found.keep_masks.shape == (N_IMAGES - 1, SIZE, SIZE)
        for split, (rows, seen) in sets.items():
            at = np.searchsorted(found.image_ids, experiment.image_ids[rows])
            batch = seen.make_batch(np.arange(len(rows)), torch.device("cpu"))[:, 0].numpy()
            # As float32 / 255, to the bit: what training got can be made from what is exported.
            np.testing.assert_array_equal(found.images[at].astype(np.float32) / 255, batch)
            shown = seen.keep_masks
            if isinstance(shown, FreshMasks):
                shown = shown.draw(np.arange(len(rows)), epoch=0)
            kept = np.ones(batch.shape, bool) if shown is None else shown
            np.testing.assert_array_equal(found.keep_masks[at], kept)
            assert set(found.splits[at]) == {split}
            assert found.labels[at].tolist() == [CLASSES[number] for number in seen.labels]
        assert sum(len(rows) for rows, _ in sets.values()) == len(found.image_ids)


def test_arms_differ(run: Run, tmp_path: Path) -> None:
    found = [read_export(export_one(run, "npz", tmp_path / arm, arm)).images for arm in ARMS]
    # Retrained on the same images, or guided by a penalty; and the box of such a mask, which is
    # noise, is the whole image.
    guided = [arm for arm in ARMS.values() if arm.guidance]
    assert len({images.tobytes() for images in found}) == len(ARMS) - len(guided) - 2


def test_masked_pixels_are_black_and_the_others_untouched(exported: dict[str, Path]) -> None:
    found = read_export(exported["npz"])
    pixels = draw_pixels()[[IDS.index(image_id) for image_id in found.image_ids]]
    np.testing.assert_array_equal(found.images, np.where(found.keep_masks, pixels, 0))
    assert 0.2 < found.keep_masks.mean() < 0.5


def test_folder(exported: dict[str, Path]) -> None:
    path = exported["folder"]
    rows = read_manifest(path)
    assert list(rows) == sorted(set(IDS) - {IDS[SET_ASIDE]})
    folder = "worn%3A 50%25%2Fmore"
    row = rows[IDS[1]]
    assert row == {
        "path": f"train/{folder}/{IDS[1]}.png",
        "label": CLASSES[1],
        "split": "train",
        "patient_id": "group-1",
        "image_id": IDS[1],
        "source_path": f"{CLASSES[1]}/knee 1.png",
        "source_digest": "digest 1",
        "mask": f"masks/{IDS[1]}.png",
        "error": "",
    }
    for name in ("train", "validation", "test"):
        assert sorted(part.name for part in (path / name).iterdir()) == ["normal", folder]
    with Image.open(path / row["path"]) as image, Image.open(path / row["mask"]) as mask:
        assert image.mode == mask.mode == "L"
        assert image.size == mask.size == (SIZE, SIZE)
        assert set(np.unique(mask)) == {0, 255}
    shown = {file.name for file in path.glob("*/*/*.png")}
    assert shown == {file.name for file in (path / "masks").iterdir()}
    assert shown == {f"{image_id}.png" for image_id in rows}


def test_npz_holds_no_pickles(exported: dict[str, Path]) -> None:
    with np.load(exported["npz"] / "data.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    names = {
        f"{split}_{what}"
        for split in ("train", "val", "test")
        for what in ("images", "labels", "masks", "ids", "patients")
    }
    assert set(arrays) == names | {"classes"}
    assert tuple(arrays["classes"]) == CLASSES
    for split, n in (("train", 14), ("val", 3), ("test", 2)):
        assert arrays[f"{split}_images"].shape == (n, SIZE, SIZE)
        assert arrays[f"{split}_images"].dtype == np.uint8
        assert arrays[f"{split}_labels"].shape == (n, 1)
        assert arrays[f"{split}_labels"].dtype == np.int64
        assert arrays[f"{split}_masks"].shape == (n, SIZE, SIZE)
        assert arrays[f"{split}_masks"].dtype == bool
        numbers = [IDS.index(image_id) for image_id in arrays[f"{split}_ids"]]
        assert arrays[f"{split}_labels"][:, 0].tolist() == [number % 2 for number in numbers]
        assert arrays[f"{split}_patients"].tolist() == [
            f"group-{0 if number in (0, 2) else number}" for number in numbers
        ]


def read_parquet(path: Path) -> list[dict[str, Any]]:
    return [row for file in sorted(path.glob("data/*")) for row in pq.read_table(file).to_pylist()]


def test_parquet(exported: dict[str, Path]) -> None:
    table = pq.read_table(exported["parquet"] / FILES["parquet"])
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    names = ["split", "patient_id", "image_id", "source_path", "source_digest"]
    assert table.schema.names == ["image", "label", *names, "mask", "error"]
    assert table.schema.field("image").type == table.schema.field("mask").type == picture
    assert table.schema.field("label").type == pa.int64()
    assert {table.schema.field(name).type for name in (*names, "error")} == {pa.string()}
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == table.schema.names
    assert [name for name, kind in features.items() if kind["_type"] == "Image"] == [
        "image",
        "mask",
    ]
    assert features["label"] == {"names": list(CLASSES), "_type": "ClassLabel"}
    row = table.to_pylist()[0]
    assert CLASSES[row["label"]] == CLASSES[IDS.index(row["image_id"]) % 2]
    assert row["image"]["bytes"].startswith(b"\x89PNG")
    assert row["image"]["path"] == f"{row['image_id']}.png"


def test_images_of_one_group_have_one_patient(exported: dict[str, Path]) -> None:
    rows = read_manifest(exported["folder"])
    patients = {image_id: row["patient_id"] for image_id, row in rows.items()}
    assert patients[IDS[0]] == patients[IDS[2]] == "group-0"
    assert len(set(patients.values())) == len(patients) - 1
    rows = read_parquet(exported["parquet"])
    assert {row["image_id"]: row["patient_id"] for row in rows} == patients


def test_image_without_explanation_has_the_mask_of_another_and_is_listed(
    exported: dict[str, Path],
) -> None:
    for path in exported.values():
        found = read_export(path)
        row = found.image_ids.tolist().index(IDS[FAILED])
        mask, same_part = found.keep_masks[row], found.splits == found.splits[row]
        lent = (found.keep_masks == mask).all((1, 2))
        assert np.sum(lent & same_part) == 2  # its own row, and that of the image it comes from
        np.testing.assert_array_equal(found.images[row], draw_pixels()[FAILED] * mask)
        assert read_json(path / "provenance.json")["unexplained"] == "borrowed"
        text = " ".join((path / "DATASHEET.md").read_text().split())
        assert "1 image(s) have no explanation of their own. As in training, they are shown" in text
        assert read_json(path / "provenance.json")["not_explained"] == {IDS[FAILED]: ERROR}
        assert f"- `{IDS[FAILED]}`: {ERROR}" in (path / "DATASHEET.md").read_text()
    rows = read_manifest(exported["folder"])
    assert {i: row["error"] for i, row in rows.items() if row["error"]} == {IDS[FAILED]: ERROR}
    pictures = read_parquet(exported["parquet"])
    assert {r["image_id"]: r["error"] for r in pictures if r["error"]} == {IDS[FAILED]: ERROR}


def test_original_has_no_masks(run: Run, tmp_path: Path) -> None:
    path = export_one(run, "folder", tmp_path / "folder", "original")
    assert {row["mask"] for row in read_manifest(path).values()} == {""}
    assert not (path / "masks").exists()
    path = export_one(run, "parquet", tmp_path / "parquet", "original")
    rows = read_parquet(path)
    assert {row["mask"] for row in rows} == {row["error"] for row in rows} == {None}
    assert len(rows) == N_IMAGES - 1
    assert read_json(path / "provenance.json")["mask_models_sha256"] == {}


def test_given_regions_come_from_no_classifier(run: Run, tmp_path: Path) -> None:
    path = export_one(run, "npz", tmp_path / "out", "given_region")
    provenance = read_json(path / "provenance.json")
    assert provenance["masks"]["teacher"] == "given"
    assert provenance["mask_models_sha256"] == {}
    assert provenance["lime"] is provenance["unexplained"] is None
    text = " ".join((path / "DATASHEET.md").read_text().split())
    assert "keeps the region that was given with the image; no classifier was explained" in text
    assert "no explanation of their own" not in text
    assert "The classifier, a" not in text
    path = export_one(run, "npz", tmp_path / "random", "random_region")
    assert "random superpixels of exactly the same area" in (path / "DATASHEET.md").read_text()


def test_original_needs_no_masks(own_run: Run) -> None:
    shutil.rmtree(own_run.masks)
    shutil.rmtree(own_run.trials)
    assert all(data_set.is_new for data_set in export_run(own_run, "original", "npz"))


def test_provenance(run: Run, exported: dict[str, Path]) -> None:
    experiment = open_experiment(run)
    found = read_json(exported["npz"] / "provenance.json")
    weights = WEIGHTS + str(Trial(MODELS[0], 0, "original")).encode()
    expected = {
        "form": "npz",
        "arm": "lime",
        "view": "masked",
        "masks": {
            "teacher": "original",
            "kind": "lime",
            "target": "predicted",
            "change": "none",
        },
        "background": "black",
        "model": MODELS[0],
        "seed": 0,
        "mask_models_sha256": {"original": hashlib.sha256(weights).hexdigest()},
        "data_fingerprint": experiment.fingerprint,
        "lime": experiment.settings.lime.model_dump(mode="json"),
        "split": {"protocol": "clean", "kind": "grouped", "ratio": [7, 2, 1], "folds": None},
        "image_size": SIZE,
        "classes": list(CLASSES),
        "counts": {
            "train": dict.fromkeys(CLASSES, 7),
            "validation": {CLASSES[0]: 2, CLASSES[1]: 1},
            "test": dict.fromkeys(CLASSES, 1),
        },
        "set_aside": 1,
    }
    assert {name: found[name] for name in expected} == expected
    assert found["settings_hash"]
    assert found["osteo_ray"]
    assert found["created"]
    assert str(run.root) not in json.dumps(found)  # no path of this machine


# The datasheet


def flatten(path: Path) -> str:
    return " ".join((path / "DATASHEET.md").read_text().split())


@pytest.mark.parametrize("arm", tuple(ARMS))
def test_datasheet_has_every_section(run: Run, tmp_path: Path, arm: str) -> None:
    path = export_one(run, "npz", tmp_path, arm)
    text = flatten(path)
    for title in (
        *("Motivation", "Composition", "Collection", "Preprocessing", "Splits and groups"),
        *("Uses", "Distribution", "Maintenance"),
    ):
        assert f"## {title} " in text
    assert "may carry the label" in text
    assert "silhouette" in text
    assert "1 image(s) of the source were set aside" in text
    assert "train: 14 (`normal` 7, `worn: 50%/more` 7) - validation: 3 (" in text
    assert "18 groups" in text
    assert "license of the source images applies" in text
    assert "The run had no verdict yet" in text
    assert f"osteo-ray export {run.root} --arm {arm} --as npz" in text
    assert "\\" not in text
    assert "\n\n\n" not in (path / "DATASHEET.md").read_text()


def test_datasheet_says_what_black_is_and_what_leaks(exported: dict[str, Path]) -> None:
    text = flatten(exported["folder"])
    assert "a black pixel (0) was masked out, or was black in the source" in text
    assert "the class that a classifier predicted" in text
    assert "1 group(s) are in more than one part" not in text
    assert "in another split's test set they would leak" in text


def test_datasheet_quotes_the_verdict(own_run: Run, tmp_path: Path) -> None:
    verdicts = [
        {"model": model, "verdict": "leakage", "reason": f"As {model} shows."} for model in MODELS
    ]
    overall = {"verdict": "leakage", "reason": "All agree."}
    comparison = {"metric": "accuracy", "verdicts": verdicts, "verdict": overall, "contrasts": []}
    write_json(own_run.comparison, {**comparison, "judged": "given_region"})
    text = flatten(export_one(own_run, "npz", tmp_path / "out"))
    label = ARMS["given_region"].label
    assert f"run on the arm `given_region` ({label}) beside `original`, in accuracy" in text
    assert "LIME masks, in accuracy" not in text
    assert "**leakage.** All agree." in text
    assert "`resnet18`: **leakage.** As resnet18 shows." in text
    assert "test_byobnet" not in text


@pytest.mark.parametrize(
    ("background", "shown"),
    [
        ("mean", "show the mean of the image**"),
        ("blur", "show the blurred image**"),
        ("imputed", "show what their neighbours suggest, with a little noise**"),
    ],
)
def test_datasheet_says_what_masked_pixels_show(
    tmp_path: Path, background: str, shown: str
) -> None:
    filled = make_run(tmp_path / "own", background=background)
    text = flatten(export_one(filled, "npz", tmp_path / "lime"))
    assert f"**pixels that were masked out {shown}, and only the mask tells them" in text
    assert "a black pixel (0)" not in text
    outlines = flatten(export_one(filled, "npz", tmp_path / "silhouette", "silhouette"))
    assert "**white (255) is kept, black (0) masked out**" in outlines  # whatever the background


def test_datasheet_calls_only_arms_without_masks_as_the_baseline_is(
    run: Run, tmp_path: Path
) -> None:
    text = flatten(export_one(run, "npz", tmp_path / "original", "original"))
    assert "Nothing was masked: this is how the baseline sees them." in text
    text = flatten(export_one(run, "npz", tmp_path / "guided", "guided_gradients"))
    assert "Nothing was masked: the images are shown whole." in text


@pytest.mark.parametrize(
    ("settings", "split", "aside"),
    [
        ({}, "as 7 : 2 : 1, stratified by class, anew", "because they have copies in another"),
        (
            {"split": "given"},
            "kind `given`: the source says which images are for training",
            "another class, or because the source names no part of the split for them.",
        ),
        (
            {"split": "site", "conflicts": "majority"},
            "kind `site`: each seed tests all images of one site",
            "because their copies have no class in the majority, or because they are copies of "
            "images of the tested site, or of its patients, but come from another site.",
        ),
        ({"folds": 2}, "dealt into 2 folds of equal size", "in another class. 0 file(s)"),
        ({"split": "random"}, "each on its own", "are not included. 0 file(s)"),
    ],
)
def test_datasheet_says_how_images_were_divided_and_why_some_were_set_aside(
    tmp_path: Path, settings: dict[str, Any], split: str, aside: str
) -> None:
    text = flatten(export_one(make_run(tmp_path / "own", **settings), "npz", tmp_path / "out"))
    assert split in text
    assert aside in text
    assert ("7 : 2 : 1" in text) == (settings in ({}, {"split": "random"}))


def test_datasheet_tells_of_groups_that_stand_in_two_parts(tmp_path: Path) -> None:
    leaky = make_run(tmp_path / "own", split="random", grouped={0: 0, 9: 0})
    text = flatten(export_one(leaky, "npz", tmp_path / "out"))
    assert "1 group(s) are in more than one part of this split, so it leaks." in text


# Where it goes, and doing it again


def test_all_models_and_seeds_go_into_the_run_by_default(own_run: Run) -> None:
    written = export_run(own_run, "silhouette", "npz")
    places = [f"{model}/seed-{seed}" for model in MODELS for seed in (0, 1)]
    root = own_run.root / "exports" / "silhouette-npz"
    assert [data_set.path for data_set in written] == [root / place for place in places]
    for path in root.glob("*/*"):
        names = sorted(file.name for file in path.iterdir())
        assert names == ["DATASHEET.md", "README.md", "data.npz", "provenance.json"]


@pytest.mark.parametrize("form", FORMS)
def test_same_run_gives_the_same_bytes(
    run: Run, exported: dict[str, Path], tmp_path: Path, form: Form
) -> None:
    again = list_files(export_one(run, form, tmp_path / form))
    before = list_files(exported[form])
    assert list(again) == list(before)
    for name in set(again) - {"provenance.json", "DATASHEET.md"}:  # they name date and place
        assert again[name] == before[name], name


def test_finished_export_is_left_as_it_is(run: Run, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    before = list_files(export_one(run, "npz", out))
    written = export_run(run, "lime", "npz", out=out, models=MODELS[:1])
    assert [data_set.is_new for data_set in written] == [False, True]
    after = list_files(out)
    assert {name: after[f"{MODELS[0]}/seed-0/{name}"] for name in before} == before
    command = ["export", str(run.root), "--as", "npz", "--out", str(out)]
    assert main([*command, "--models", MODELS[0], "--seeds", "0", "1"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("Already there, left unchanged: ") == 2
    assert list_files(out) == after


def test_cut_off_export_leaves_nothing_and_is_made_whole(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("osteo_ray.pipeline.export.exports.write_json", fail)
        with pytest.raises(InputError, match=r"can be written to.*No space left on device"):
            export_one(run, "folder", tmp_path)
    assert list_files(tmp_path) == {}
    assert len(read_export(export_one(run, "folder", tmp_path)).images) == N_IMAGES - 1


# What is refused


def refuse(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run the command, which must end with exit code 2; return what it said."""
    code = main(["export", *map(str, arguments)])
    printed = " ".join("".join(capsys.readouterr()).split())
    assert code == 2, printed
    assert "Traceback" not in printed
    return printed


def test_no_run(capsys, tmp_path: Path) -> None:
    said = refuse(capsys, tmp_path / "nowhere")
    assert "Expected a finished run, but" in said
    assert "nowhere does not exist" in said
    assert "lacks config.yaml, images.parquet, splits.parquet, pixels" in refuse(capsys, tmp_path)


def test_unknown_words_suggest_the_nearest(capsys, run: Run) -> None:
    said = refuse(capsys, run.root, "--arm", "lmie")
    assert "among those of the run, original, original_retrained, lime, " in said
    assert "Did you mean `lime`?" in said
    assert "Did you mean `resnet18`?" in refuse(capsys, run.root, "--models", "resnet81")
    assert "Expected --seeds among those of the run, 0, 1, but got `7`" in refuse(
        capsys, run.root, "--seeds", "7"
    )
    assert "nzp" in refuse(capsys, run.root, "--as", "nzp")


def test_arm_that_the_run_went_without(capsys, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", arms=["original", "lime"])
    said = refuse(capsys, run.root, "--arm", "silhouette")
    assert "of the run, original, lime, but got `silhouette`" in said


def test_missing_masks_are_named_and_nothing_is_written(capsys, own_run: Run) -> None:
    experiment = open_experiment(own_run)
    shutil.rmtree(experiment.masks_of(MaskJob(Trial(MODELS[0], 1, "original"))))
    (experiment.masks_of(MaskJob(Trial(MODELS[1], 0, "original"))) / "b.parquet").unlink()
    shutil.rmtree(experiment.path_of(Trial(MODELS[1], 1, "original")))
    said = refuse(capsys, own_run.root)
    assert "resnet18, seed 1: 19 of 19 images lack one" in said
    assert "test_byobnet, seed 0: 3 of 19 images lack one" in said
    assert "test_byobnet, seed 1: its first model is missing" in said
    assert "resnet18, seed 0" not in said
    assert not (own_run.root / "exports").exists()
    assert main(["export", str(own_run.root), "--models", MODELS[0], "--seeds", "0"]) == 0


def test_masks_of_another_kind_are_not_enough(capsys, own_run: Run) -> None:
    experiment = open_experiment(own_run)
    for part in experiment.masks_of(MaskJob(Trial(MODELS[0], 1, "original"))).glob("*.parquet"):
        table = pq.read_table(part)
        write_table(part, table.filter(pc.not_equal(table["kind"], "random")))
    said = refuse(capsys, own_run.root, "--arm", "random_mask")
    assert "resnet18, seed 1: 19 of 19 images lack one" in said
    assert "seed 0" not in said


def test_damaged_masks_are_named(capsys, own_run: Run) -> None:
    path = open_experiment(own_run).masks_of(MaskJob(replace(LIME, arm="original"))) / "a.parquet"
    rows = pq.read_table(path).to_pylist()
    damaged = [{**row, "keep_mask": row["keep_mask"][:5]} for row in rows]
    write_table(path, pa.Table.from_pylist(damaged, MASKS))
    said = refuse(capsys, own_run.root, "--models", MODELS[0], "--seeds", "0")
    assert "The masks of resnet18, seed 0, cannot be used: Expected 128 bytes" in said


def test_missing_first_weights_are_named(capsys, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"weights")
    run = make_run(tmp_path / "run", weights=[f"{MODELS[0]}={file}"])
    file.unlink()
    said = refuse(capsys, run.root)
    assert f"{file}: No such file or directory. Put the file back." in said


def test_out_in_use(capsys, run: Run, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    assert "holds something else: thesis.txt" in refuse(capsys, run.root, "--out", tmp_path)
    assert list_files(tmp_path) == {"thesis.txt": b"precious"}
    place = tmp_path / "out" / MODELS[0] / "seed-0"
    place.mkdir(parents=True)
    said = refuse(capsys, run.root, "--out", tmp_path / "out")
    assert "seed-0 to be new or an export of this run, but it holds no readable prov" in said


def test_out_holds_another_export(capsys, run: Run, tmp_path: Path) -> None:
    path = export_one(run, "npz", tmp_path / "out")
    before = list_files(path)
    command = (run.root, "--out", tmp_path / "out", "--models", MODELS[0], "--seeds", "0")
    said = refuse(capsys, *command, "--as", "npz", "--arm", "random_mask")
    assert "holds another one, which differs in arm, masks. Choose another --out" in said
    assert "differs in form." in refuse(capsys, *command, "--as", "parquet")
    assert list_files(path) == before
    (path / "data.npz").unlink()
    assert "data.npz is missing from it" in refuse(capsys, *command, "--as", "npz")


def test_out_inside_a_run_or_the_source(capsys, run: Run, tmp_path: Path) -> None:
    for place in (run.root, run.masks, run.trials / MODELS[0], run.root / "new"):
        before = list_files(run.root)
        assert "where a run keeps its own files" in refuse(capsys, run.root, "--out", place)
        assert list_files(run.root) == before
    source = tmp_path / "knees"
    other = make_run(tmp_path / "run", data=str(source))
    said = refuse(capsys, other.root, "--out", source / "masked")
    assert "would become part of the source" in said
    assert not source.exists()


def test_out_that_cannot_be_written(capsys, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    for out in (file, file / "below"):
        said = refuse(capsys, run.root, "--out", out)
        assert "Expected --out to be a folder that can be written to" in said
        assert "Not a directory" in said
    assert file.read_text() == "precious"


def test_reading_back_what_is_no_export(exported: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected an exported data set"):
        read_export(tmp_path)
    with pytest.raises(InputError, match="one model and seed"):
        read_export(exported["npz"].parent)


@pytest.mark.parametrize("form", FILES)
def test_an_export_is_a_source_with_groups_and_split(form: str, exported: dict[str, Path]) -> None:
    path = exported[form]
    source = open_source(str(path))
    assert len(source.refused) == 0
    export = read_export(path)
    by_id = {}
    for item in source.items.itertuples():
        content = source.reader.read(item.path, item.position)
        by_id[decode(content).pixels.tobytes()] = (item.label, item.split, item.patient_id)
    for row, image in enumerate(export.images):
        label, split, patient = by_id[image.tobytes()]
        assert (label, split) == (export.labels[row], export.splits[row])
        assert patient.startswith("group-")
