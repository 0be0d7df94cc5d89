"""Audits: what is counted, who belongs together, whose label counts, and what is said of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from osteo_ray.data.appearance import describe_look, shrink_to_preview
from osteo_ray.data.copies.thumbnails import Thumbnails
from osteo_ray.data.settings import ConflictPolicy
from osteo_ray.data.shortcuts import Shortcut
from osteo_ray.pipeline.ingest import auditing as audits
from osteo_ray.pipeline.ingest.auditing import Audit, audit_images
from osteo_ray.pipeline.ingest.findings import describe_audit, list_audit_findings
from osteo_ray.pipeline.ingest.reading import Ingest

#         0    1    2    3    4    5    6    7    8    9
LABELS = ["n", "n", "o", "o", "o", "n", "n", "o", "n", "o"]
PAIRS = [(0, 1, True), (2, 3, True), (2, 5, False), (6, 7, False)]


def make_ingest(labels: list[str] = LABELS, **columns: Any) -> Ingest:
    """Return an ingest of noise; `columns` replace what the rows say."""
    n = len(labels)
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 255, (32, 32), dtype=np.uint8) for _ in range(n)]
    images = pd.DataFrame(
        {
            **dict.fromkeys(("maker", "device", "view", "age", "sex"), ""),
            "item": [f"{label}/{row:03d}.png" for row, label in enumerate(labels)],
            "film": "",
            "image_id": [f"id{row}" for row in range(n)],
            "path": [f"{label}/{row:03d}.png" for row, label in enumerate(labels)],
            "label": labels,
            "patient": np.full(n, -1),
            "side": "",
            "site": "",
            "split": "",
            "width": 32,
            "height": 32,
            "digest": [f"d{row}" for row in range(n)],
            "format": rng.choice(["PNG", "JPEG"], n),
            "mode": "L",
            "size": rng.integers(900, 1100, n),
            "remarks": "",
            "contrast": 50.0,
            "look": [describe_look(image).tobytes() for image in pixels],
            "preview": [shrink_to_preview(image).tobytes() for image in pixels],
        }
    ).assign(**columns)
    none = pd.DataFrame({"path": [], "reason": []}, dtype=str)
    return Ingest(images, Thumbnails(Path("none"), np.arange(n)), none, np.full(n, ""))


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the copies of `PAIRS` be found, whatever the images show."""

    def find_planted(digests: list[str], thumbnails: Thumbnails, **_: Any) -> pd.DataFrame:
        assert len(digests) == len(thumbnails.rows)
        return make_pairs(PAIRS)

    monkeypatch.setattr(audits, "find_copies", find_planted)


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no copies be found."""
    monkeypatch.setattr(audits, "find_copies", lambda *_, **__: make_pairs([]))


def make_pairs(pairs: list[tuple[int, int, bool]]) -> pd.DataFrame:
    table = pd.DataFrame(pairs, columns=["first", "second", "exact"])
    table = table.astype({"first": np.int64, "second": np.int64, "exact": bool})
    return table.assign(mirrored=False, change="", likeness=np.where(table["exact"], 1.0, 0.95432))


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize(
    ("policy", "labels", "set_aside"),
    [
        ("keep", "nnooonnono", []),
        ("drop", "nnooonnono", [2, 3, 5, 6, 7]),
        ("majority", "nnoooonono", [6, 7]),
    ],
)
def test_conflicts_by_policy(policy: ConflictPolicy, labels: str, set_aside: list[int]) -> None:
    audit = audit_images(make_ingest(), policy)
    images = audit.images
    assert "".join(images["given_label"]) == "".join(LABELS)
    assert np.flatnonzero(images["conflict"]).tolist() == [2, 3, 5, 6, 7]
    assert np.flatnonzero(~images["used"]).tolist() == set_aside
    used = images["used"].to_numpy()
    assert images["label"].to_numpy()[used].tolist() == np.array([*labels])[used].tolist()
    assert images["copies"].tolist() == [0, 0, 1, 1, 2, 1, 3, 3, 4, 5]
    assert images["group"].tolist() == [0, 0, 1, 1, 2, 1, 3, 3, 4, 5]
    assert describe_audit(audit)["set_aside"] == len(set_aside)


@pytest.mark.usefixtures("planted")
def test_patients_join_with_copies() -> None:
    patients = [7, -1, 7, -1, 8, -1, -1, -1, 8, -1]
    audit = audit_images(make_ingest(patient=patients), "keep")
    assert audit.images["group"].tolist() == [0, 0, 0, 0, 1, 0, 2, 2, 1, 3]
    assert audit.images["copies"].tolist() == [0, 0, 1, 1, 2, 1, 3, 3, 4, 5]
    # One patient's radiographs may well have several labels: only copies conflict.
    assert np.flatnonzero(audit.images["conflict"]).tolist() == [2, 3, 5, 6, 7]
    described = describe_audit(audit)
    assert (described["n_patients"], described["n_groups"]) == (2, 4)


@pytest.mark.usefixtures("planted")
def test_description_counts_and_lists() -> None:
    digests = [f"d{row}" for row in (0, 0, 2, 2, 4, 5, 6, 7, 8, 9)]
    contrast = [50.0] * 8 + [1.9, 2.0]
    ingest = make_ingest(digest=digests, contrast=contrast)
    rejects = pd.DataFrame({"path": ["x", "y", "z"], "reason": ["empty", "broken", "broken"]})
    described = describe_audit(audit_images(replace(ingest, rejects=rejects), "keep"))
    assert described["n_images"] == 10
    assert described["n_rejects"] == 3
    assert list(described["reject_reasons"].items()) == [("broken", 2), ("empty", 1)]
    assert described["classes"] == {"n": 5, "o": 5}
    assert described["n_radiographs"] == 6
    assert described["n_groups"] == 6
    assert described["n_patients"] == 0
    assert described["copies"] == [
        ["o/002.png", "o/003.png", "n/005.png"],
        ["n/000.png", "n/001.png"],
        ["n/006.png", "o/007.png"],
    ]
    assert described["exact_copies"] == [["n/000.png", "n/001.png"], ["o/002.png", "o/003.png"]]
    assert described["conflicts"] == [
        ["o/002.png", "o/003.png", "n/005.png"],
        ["n/006.png", "o/007.png"],
    ]
    assert described["blank"] == ["n/008.png"]
    assert described["pairs"][0] == {
        "first": "n/000.png",
        "second": "n/001.png",
        "exact": True,
        "mirrored": False,
        "change": "",
        "likeness": 1.0,
    }
    assert described["pairs"][2]["likeness"] == 0.9543
    assert described["findings"] == [
        "4 of 10 images are copies: 3 radiographs occur more than once, up to 3 times",
        "2 radiographs occur in several classes, as 5 images in all",
        "1 image is blank",
        "3 of 13 files cannot be used",
    ]


@pytest.mark.usefixtures("clean")
def test_a_clean_set_has_no_findings() -> None:
    audit = audit_images(make_ingest(["n", "o"] * 30), "drop")
    described = describe_audit(audit)
    assert described["findings"] == []
    assert described["copies"] == described["conflicts"] == described["pairs"] == []
    assert described["n_groups"] == described["n_radiographs"] == 60
    assert [shortcut["name"] for shortcut in described["shortcuts"]] == [
        "frame",
        "metadata",
        "preview",
    ]
    assert not any(shortcut["is_found"] for shortcut in described["shortcuts"])


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize(("n_large", "found"), [(30, False), (31, True)])
def test_imbalance(n_large: int, found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audits, "find_shortcuts", lambda *_: [])
    findings = list_audit_findings(audit_images(make_ingest(["n"] * n_large + ["o"] * 10), "drop"))
    expected = ["class n has 3.1 times as many images as class o"]
    assert findings == (expected if found else [])


@pytest.mark.usefixtures("clean")
def test_shortcuts_are_findings() -> None:
    labels = ["n", "o"] * 30
    told = make_ingest(labels, format=["PNG", "JPEG"] * 30)
    audit = audit_images(told, "drop")
    findings = list_audit_findings(audit)
    assert len(findings) == 2
    assert findings[0].startswith(
        "format, size and edges of the files alone predict the class with a balanced accuracy "
        "of 1.00"
    )
    assert "histogram" in findings[1]
    preview = Shortcut("preview", 0.9, 0.8, 0.95, 0.5, 60)  # a preview may show anatomy
    assert list_audit_findings(replace(audit, shortcuts=[preview])) == []


@pytest.mark.usefixtures("planted")
def test_shortcuts_are_measured_with_what_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []

    def remember(images: pd.DataFrame, labels: np.ndarray, groups: np.ndarray) -> list[Shortcut]:
        seen.append((images["image_id"].tolist(), labels.tolist(), groups.tolist()))
        return []

    monkeypatch.setattr(audits, "find_shortcuts", remember)
    audit_images(make_ingest(), "majority")
    used = [0, 1, 2, 3, 4, 5, 8, 9]
    assert seen == [([f"id{row}" for row in used], [*"nnoooono"], [0, 0, 1, 1, 2, 1, 4, 5])]


def test_nothing_is_left_where_all_are_in_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audits, "find_copies", lambda *_, **__: make_pairs([(0, 1, False)]))
    audit = audit_images(make_ingest(["n", "o"]), "drop")
    assert audit.shortcuts == []
    assert isinstance(audit, Audit)
    assert describe_audit(audit)["set_aside"] == 2


@pytest.mark.usefixtures("clean")
def test_remarks_and_names_in_paths_are_findings() -> None:
    remarks = [""] * 7 + ["it is odd", "it is odd; it is old", ""]
    paths = [f"{label}/{row:03d}.png" for row, label in enumerate(LABELS)]
    paths[3] = "o/MUSTER^HANS.png"
    found = describe_audit(audit_images(make_ingest(remarks=remarks, path=paths), "drop"))
    assert found["remarks"] == {"it is odd": 2, "it is old": 1}
    assert found["findings"] == [
        "2 images: it is odd",
        "1 image: it is old",
        "1 path holds what looks like a patient's name or birth date",
    ]
