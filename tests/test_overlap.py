"""What two sets share: counted by hand, and found by the command in two folders."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from test_audit import make_ingest

from osteo_ray.commands.main import main
from osteo_ray.data.copies.thumbnails import SIDE, Thumbnails
from osteo_ray.data.phantoms.knee import render_knee
from osteo_ray.pipeline.ingest import overlap
from osteo_ray.pipeline.ingest.overlap import describe_overlap
from osteo_ray.pipeline.ingest.reading import Ingest


def _make(tmp_path: Path, labels: str, patients: list[str], **columns: Any) -> Ingest:
    made = make_ingest(list(labels), **columns)
    path = tmp_path / f"{labels}.u8"
    path.write_bytes(bytes(len(labels) * SIDE * SIDE))
    rows = np.arange(len(labels))
    return Ingest(made.images, Thumbnails(path, rows), made.rejects, np.array(patients))


def test_what_is_shared_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = _make(tmp_path, "nnoo", ["P", "", "Q", ""])
    digests = ["x", "d1", "y", "z", "w"]
    there = _make(tmp_path, "opnnn", ["", "", "", "Q", "R"], digest=digests)
    # Positions 4 to 8 are the other set. 0 and 1 show one radiograph, as do 4 and, mirrored, 5.
    found = [(0, 1, 0.9), (0, 4, 0.91), (1, 5, 1.0), (3, 6, 0.95)]
    table = pd.DataFrame(found, columns=["first", "second", "likeness"])
    table = table.assign(exact=table["likeness"] == 1, mirrored=table["second"] == 5, change="")
    monkeypatch.setattr(overlap, "find_copies", lambda *_: table)
    shared = describe_overlap(here, there, tmp_path)
    assert {name: shared[name] for name in shared if name.startswith("n_")} == {
        "n_images": 5,
        "n_rejects": 0,
        "n_shared_radiographs": 2,
        "n_copies": 3,
        "n_same_pixels": 1,
        "n_shared_patients": 1,
        "n_of_shared_patients": 1,
        "n_new": 1,  # the last, of patient R
    }
    assert shared["labels"] == [
        {"here": "n", "there": "o", "radiographs": 1},
        {"here": "n", "there": "p", "radiographs": 1},
        {"here": "o", "there": "n", "radiographs": 1},
    ]
    assert [one["there"] for one in shared["disagreements"]] == [
        {"paths": ["o/000.png", "p/001.png"], "labels": ["o", "p"]},
        {"paths": ["n/002.png"], "labels": ["n"]},
    ]
    assert [(pair["first"], pair["second"]) for pair in shared["pairs"]] == [
        ("n/000.png", "o/000.png"),
        ("o/003.png", "n/002.png"),
        ("n/001.png", "p/001.png"),
    ]
    assert shared["findings"] == [
        "3 of 5 images of the other set show a radiograph of this one",
        "1 of 5 images of the other set are of a patient of this one; patients in both: 1",
        "2 of 2 radiographs that both sets hold are labelled differently",
        "only the other set has the class p",
    ]


def test_sets_that_share_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    none = pd.DataFrame(
        columns=["first", "second", "exact", "mirrored", "change", "likeness"]
    ).astype(int)
    monkeypatch.setattr(overlap, "find_copies", lambda *_: none)
    here = _make(tmp_path, "nno", ["P", "", ""])
    there = _make(tmp_path, "on", ["", "R"], digest=["x", "y"])
    shared = describe_overlap(here, there, tmp_path)
    assert (shared["n_new"], shared["pairs"], shared["findings"]) == (2, [], [])
    assert shared["n_shared_patients"] == 0
    unnamed = (replace(one, names_patients=False) for one in (here, there))
    for sets in zip(unnamed, (there, here), strict=True):
        unknown = describe_overlap(*sets, tmp_path)
        assert unknown["n_shared_patients"] is unknown["n_of_shared_patients"] is None


@pytest.mark.ray
def test_two_folders_are_compared(local_ray: None, tmp_path: Path, capfd) -> None:
    rng = np.random.default_rng(0)
    knees = [render_knee(rng, osteoporotic=bool(i % 2), size_px=128).image for i in range(12)]
    for name, rows in (("a", range(8)), ("b", range(6, 12))):
        for row in rows:
            label = "osteoporosis" if row % 2 else "normal"
            if name == "b" and row == 6:
                label = "osteopenia"
            if name == "b" and label == "osteoporosis":
                label = "Osteoporosis"  # the same class in another spelling
            image = knees[row] if name == "a" else knees[row][4:, ::-1]
            (tmp_path / name / label).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(tmp_path / name / label / f"{name}{row}.png")
    out = tmp_path / "out"
    flags = ["--against", str(tmp_path / "b"), "--out", str(out)]
    assert main(["audit", str(tmp_path / "a"), *flags]) == 3
    shared = json.loads((out / "audit.json").read_text())["against"]
    assert (shared["n_copies"], shared["n_new"]) == (2, 4)
    assert shared["labels"] == [
        {"here": "normal", "there": "osteopenia", "radiographs": 1},
        {"here": "osteoporosis", "there": "osteoporosis", "radiographs": 1},
    ]
    told = capfd.readouterr().out
    assert "with different labels" in told
    assert (
        "--against: The class `Osteoporosis` is that which --data calls `osteoporosis`."
        in " ".join(told.split())
    )
    assert re.search(r"patients in both sets +–", told)
    assert "only the other set has the class osteopenia" in told
    page = (out / "audit.html").read_text()
    assert "Compared with" in page
    assert page.count("Patients are not known") == 2  # in either set
    assert page.count("<img") == 4  # two pairs across; there are no copies within
    assert "different classes" in page


def test_sets_to_compare_with_that_cannot_be_used(tmp_path: Path, capfd) -> None:
    assert main(["audit", "phantom", "--against", "phantom"]) == 2
    assert "Expected against to be images that exist" in capfd.readouterr().err
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["audit", "--against", str(empty), "--out", str(tmp_path / "out")]) == 2
    told = capfd.readouterr().err
    assert "empty" in told
    assert "--data" not in told
    assert not (tmp_path / "out").exists()
