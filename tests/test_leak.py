"""How much copies inflate accuracy: splits of equal size, and the whole audit of a tiny set."""

import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from osteo_ray.base.errors import IncompleteError
from osteo_ray.base.lock import Holder, hold
from osteo_ray.base.storage import LOCK
from osteo_ray.commands.main import main
from osteo_ray.data.splits.assignment import SPLIT_NAMES
from osteo_ray.pipeline.audit.leak import pair_splits


def count(split: np.ndarray, labels: np.ndarray) -> dict[tuple[str, str], int]:
    return {
        (part, label): int(np.sum((split == part) & (labels == label)))
        for part in SPLIT_NAMES
        for label in np.unique(labels).tolist()
    }


@pytest.mark.parametrize("seed", range(8))
def test_both_splits_have_as_many_images_of_each_class_in_each_part(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, 60)
    groups = np.repeat(np.arange(60), sizes)
    labels = np.repeat(rng.choice(["a", "b"], 60), sizes)
    splits = pair_splits(labels, groups, (7, 2, 1), seed=seed)
    assert count(splits["random"], labels) == count(splits["grouped"], labels)
    for group in np.unique(groups):
        assert len(set(splits["grouped"][groups == group]) - {""}) <= 1
    torn = [len(set(splits["random"][groups == group]) - {""}) > 1 for group in np.unique(groups)]
    assert any(torn)
    assert np.mean(splits["random"] == "") < 0.1
    again = pair_splits(labels, groups, (7, 2, 1), seed=seed)
    assert all(np.array_equal(splits[kind], again[kind]) for kind in splits)


FLAGS = [
    *("--measure-leak", "--models", "test_byobnet", "--seeds", "2", "--image-size", "32"),
    *("--epochs", "1", "--phantom.n-images", "60", "--phantom.size-px", "64"),
    *("--phantom.duplicate-share", "0.3", "--resources.cpus-per-worker", "2"),
]


@pytest.mark.long
@pytest.mark.ray
def test_audit_measures_what_copies_are_worth(
    local_ray: None, tmp_path: Path, capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "audit"
    with monkeypatch.context() as patch:  # cut off in training: what was found is there
        patch.setattr(
            "osteo_ray.pipeline.audit.audit_set.measure_leak", Mock(side_effect=IncompleteError)
        )
        assert main(["audit", "--out", str(out), *FLAGS]) == 1
    assert "leak" not in json.loads((out / "audit.json").read_text())
    page = (out / "audit.html").read_text()
    assert "likeness" in page
    assert "How much copies inflate accuracy" not in page
    assert main(["audit", "--out", str(out), *FLAGS]) == 3  # there are copies
    printed = capfd.readouterr().out
    assert "with copies across the split" in printed
    assert "Finding: " in printed
    found = json.loads((out / "audit.json").read_text())
    (leak,) = found["leak"]["models"]
    assert leak["seeds"] == 2
    assert leak["difference"] == pytest.approx(leak["random"] - leak["grouped"])
    assert 0 < leak["leaked_share"] < 1
    assert found["leak"]["missing"] == []
    assert sum(map(len, found["copies"])) == 60 - found["n_radiographs"] + len(found["copies"])
    images = pd.read_parquet(out / "images.parquet")
    assert images["copies"].nunique() == found["n_radiographs"]
    assert "How much copies inflate accuracy" in (out / "audit.html").read_text()
    assert not list(tmp_path.glob(".audit*"))  # nothing is left beside it

    trained = {path: path.stat().st_mtime_ns for path in (out / "leak" / "trials").rglob("*.*")}
    assert len({path.parent for path in trained}) == 4
    assert main(["audit", "--out", str(out), *FLAGS]) == 3
    assert {path: path.stat().st_mtime_ns for path in trained} == trained  # nothing twice
    assert json.loads((out / "audit.json").read_text()) == found


def test_audit_is_not_written_over_other_files(tmp_path: Path, capfd) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    assert main(["audit", "--out", str(tmp_path)]) == 2
    assert "holds something else" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.ray
def test_two_audits_do_not_write_to_one_place(local_ray: None, tmp_path: Path, capfd) -> None:
    out = tmp_path / "audit"
    command = ["audit", "--out", str(out), "--phantom.n-images", "12", "--phantom.size-px", "64"]
    with hold(out):
        assert main(command) == 2
        assert "no other process works on" in " ".join(capfd.readouterr().err.split())
        assert [path.name for path in out.iterdir()] == [LOCK]
    out.mkdir(exist_ok=True)
    # As a process of this machine that was killed at the very start leaves it.
    gone = replace(Holder.describe_self(), pid=2**22 + 1, started="1")
    (out / LOCK).write_text(gone.write())
    assert main(command) in (0, 3)
    assert "audit.html" in {path.name for path in out.iterdir()}
    assert not (out / LOCK).exists()


def test_audit_of_nothing(tmp_path: Path, capfd) -> None:
    assert main(["audit", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert "does not exist" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
