"""`osteo-ray predict`: new images by the classifiers of a run, calibrated, and with masks."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny_runs
from PIL import Image
from rich.console import Console
from scipy.special import log_softmax, softmax

from osteo_ray.base.digests import write_sealed
from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import read_json, read_table, write_json
from osteo_ray.commands.main import main
from osteo_ray.commands.predict import show_prediction
from osteo_ray.data.image_size import ImageSize
from osteo_ray.experiment.ensemble import (
    Ensemble,
    Member,
    calibrate_members,
    choose_ensemble,
    fit_temperature,
    soften,
)
from osteo_ray.pipeline.predict import predictor
from osteo_ray.pipeline.predict.new_images import NewImage, list_new_images, read_new_images
from osteo_ray.pipeline.predict.predictor import NOTICE, OF_THE_RUN, Prediction

CLASSES = ["normal", "osteoporosis"]
ONE = {"model": "m", "arm": "original", "seed": 0, "split": "validation"}


def locate_images(run: Run) -> Path:
    return Path(str(run.root)) / "phantom" / "images"


def list_tested(run: Run, arm: str, seed: int) -> pd.DataFrame:
    """Return the stored predictions of the test images of a seed, with their paths."""
    table = read_table(run.predictions).to_pandas()
    chosen = table[(table["arm"] == arm) & (table["seed"] == seed) & (table["split"] == "test")]
    paths = read_table(run.images, ["image_id", "path"]).to_pandas()
    return chosen.merge(paths, on="image_id").sort_values("path")


def predict(
    run: Run, *words: str, capsys: pytest.CaptureFixture[str], code: int = 0
) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["predict", str(run.root), *words, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def leave_uncalibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osteo_ray.experiment.ensemble._FEWEST", 10**6)


@pytest.mark.parametrize("arm", ["original", "lime"])
def test_images_of_the_run_get_the_probabilities_that_it_stores(
    finished_copy: Run,
    arm: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    leave_uncalibrated(monkeypatch)
    comparison = read_json(finished_copy.comparison)
    verdict = "real gain" if arm == "lime" else "inconclusive"
    comparison["verdicts"] = [{**one, "verdict": verdict} for one in comparison["verdicts"]]
    write_json(finished_copy.comparison, comparison, how=write_sealed)
    tested = list_tested(finished_copy, arm, 0)
    files = [str(locate_images(finished_copy) / path) for path in tested["path"]]
    masks = tmp_path / "masks"
    found = predict(finished_copy, *files, "--masks", str(masks), capsys=capsys)
    assert found["ensemble"]["arm"] == arm
    assert found["ensemble"]["seeds"] == [0, 1]
    assert found["notice"] == NOTICE
    assert [one["temperature"] for one in found["members"]] == [1.0, 1.0]
    # Each seed has test images of its own; an ensemble of two lies between its members.
    for row, stored in zip(found["images"], tested["p_osteoporosis"], strict=True):
        ends = (row["lowest_osteoporosis"], row["highest_osteoporosis"])
        assert min(abs(end - stored) for end in ends) < 1e-6
        assert row["p_osteoporosis"] == pytest.approx(np.mean(ends), abs=1e-9)
        assert row["note"] == OF_THE_RUN
    assert len(found["masks"]) == len(files)
    pixels = np.asarray(Image.open(found["masks"][0]))
    assert pixels.shape == (tiny_runs.SIZE_PX, tiny_runs.SIZE_PX)
    assert set(np.unique(pixels)) <= {0, 128, 255}  # the share of two seeds


def test_table_has_a_row_per_image_and_says_what_cannot_be_read(
    finished_copy: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)).save(folder / "a.png")
    (folder / "b.png").write_text("no image")
    (folder / ".hidden").write_text("never read")
    out = tmp_path / "new.csv"
    assert main(["predict", str(finished_copy.root), str(folder), "--out", str(out)]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "Not for clinical use" in printed
    assert "masks are not: original is used" in printed
    table = pd.read_csv(out, keep_default_na=False)
    assert [Path(path).name for path in table["path"]] == ["a.png", "b.png"]
    assert table["error"].tolist()[0] == ""
    assert "not an image" in table["error"].tolist()[1]
    assert table["predicted"].tolist()[1] == ""
    first = table.iloc[0]
    assert float(first["p_normal"]) + float(first["p_osteoporosis"]) == pytest.approx(1)
    assert first["note"] == ""


def test_what_systems_leave_in_a_folder_is_not_predicted(tmp_path: Path) -> None:
    (tmp_path / "p1" / "@eaDir").mkdir(parents=True)
    for name in ("DICOMDIR", "p1/IM0001", "p1/Thumbs.db", "p1/@eaDir/x.png", "p1/.hidden"):
        (tmp_path / name).write_bytes(b"any")
    assert list_new_images([str(tmp_path)]) == [tmp_path / "p1" / "IM0001"]
    named = tmp_path / "DICOMDIR"
    assert list_new_images([str(named)]) == [named]  # whoever names a file means it


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda run: shutil.rmtree(str(run.trials)), "Expected the weights of all 2 classifiers"),
        (lambda run: Path(str(run.predictions)).unlink(), "predictions.parquet is missing"),
        (lambda run: Path(str(run.comparison)).unlink(), "comparison.json is missing"),
        (lambda run: shutil.rmtree(str(run.root)), "does not exist"),
    ],
)
def test_run_that_lacks_something_says_so(
    finished_copy: Run, change: Any, words: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    change(finished_copy)
    assert main(["predict", str(finished_copy.root), str(tmp_path / "a.png")]) == 2
    assert words in " ".join(capfd.readouterr().err.split())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "Expected images to predict, but got none."),
        (("nothing.png",), "nothing.png does not exist"),
        (("empty",), "the folder holds no file"),
        (("a.png", "--model", "test_byobnett"), "Did you mean `test_byobnet`?"),
        (("a.png", "--out", "table.txt"), "Expected --out FILE.csv, but got table.txt."),
    ],
)
def test_what_cannot_be_predicted_is_refused(
    finished_copy: Run,
    flags: tuple[str, ...],
    words: str,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["predict", str(finished_copy.root), *flags]) == 2
    assert words in " ".join(capfd.readouterr().err.split())


def test_name_that_is_no_text_is_written_with_escapes(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"kn\xe9e.png")
    Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)).save(path, "PNG")
    for content in (path.read_bytes(), b"no image"):
        path.write_bytes(content)
        (found,) = read_new_images(path, ImageSize.square(32), 8, "whole")
        assert found.path == str(tmp_path / r"kn\xe9e.png")
        assert (found.pixels is None) == bool(found.error)


def test_image_of_which_a_classifier_makes_nothing_finite_has_no_class() -> None:
    image, said = NewImage("a.png", "id", "digest", None), {"id": {0: np.array([np.nan, np.nan])}}
    found = predictor._join(image, said, [Member(0, 1.0, 0)], CLASSES, known=set())
    assert (found.predicted, found.probabilities) == ("", {})
    assert "NaN" in found.error


def test_what_a_network_prints_is_not_among_the_results(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def predict_images(*_: object, **__: object) -> Prediction:
        print("a shape")
        return Prediction(Ensemble("net.py:make", "original", (0,), "So."), (), (), ())

    monkeypatch.setattr(predictor, "predict_images", predict_images)
    assert main(["predict", "run", "a.png", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["notice"] == NOTICE
    assert printed.err == "a shape\n"


# The ensemble


def test_temperature_is_the_one_that_made_the_logits() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20000, 3))
    labels = np.array([rng.choice(3, p=softmax(row)) for row in logits])
    for temperature in (0.5, 1.0, 3.0):
        sharper = softmax(logits * temperature, axis=1)
        assert fit_temperature(sharper, labels) == pytest.approx(temperature, rel=0.05)
        np.testing.assert_allclose(soften(sharper, temperature), softmax(logits, axis=1), atol=1e-9)
    losses = [
        -log_softmax(logits / one, axis=1)[np.arange(len(labels)), labels].mean()
        for one in (0.9, 1.0, 1.1)
    ]
    assert losses[1] == min(losses)


def test_saturated_probabilities_stay_finite() -> None:
    softened = soften(np.array([[1.0, 0.0]]), 10.0)
    assert np.isfinite(softened).all()
    assert softened.sum() == pytest.approx(1)
    assert 0.05 <= fit_temperature(np.array([[1.0, 0.0]] * 20), np.array([0] * 19 + [1])) <= 20


def make_table(**of_model: float) -> pd.DataFrame:
    rows = [
        {**ONE, "model": model, "arm": arm, "image_id": str(n), "label": CLASSES[n % 2]}
        | {"p_normal": 1 - said if n % 2 else said, "p_osteoporosis": said if n % 2 else 1 - said}
        for model, said in of_model.items()
        for arm in ("original", "lime")
        for n in range(12)
    ]
    return pd.DataFrame(rows)


def make_comparison(**verdicts: str) -> dict[str, Any]:
    return {
        **{"models": list(verdicts), "baseline": "original", "judged": "lime"},
        **{"classes": CLASSES},
        "verdicts": [{"model": name, "verdict": one} for name, one in verdicts.items()],
    }


def test_network_with_the_lowest_loss_and_the_arm_of_the_verdict_are_recommended() -> None:
    table = make_table(good=0.9, poor=0.6)
    found = choose_ensemble(make_comparison(good="leakage", poor="real gain"), table)
    assert (found.model, found.arm, found.seeds) == ("good", "original", (0,))
    assert "The verdict on good is leakage" in found.why
    other = choose_ensemble(make_comparison(good="leakage", poor="real gain"), table, "poor")
    assert (other.model, other.arm) == ("poor", "lime")
    regions = table.replace({"arm": {"lime": "given_region"}})
    judged = {**make_comparison(poor="real gain"), "judged": "given_region"}
    without = choose_ensemble(judged, regions)
    assert without.arm == "original"
    assert "but new images come without the regions of given_region" in without.why
    with pytest.raises(InputError, match=r"Did you mean `good`\?"):
        choose_ensemble(make_comparison(good="leakage"), table, "goood")
    with pytest.raises(InputError, match="predictions of the arm that the verdict recommends"):
        choose_ensemble(make_comparison(good="leakage"), table[:0])


def test_members_are_calibrated_by_their_own_validation_images() -> None:
    table = make_table(m=0.9)
    found = choose_ensemble(make_comparison(m="leakage"), table)
    (member,) = calibrate_members(table, CLASSES, found)
    assert member.n_validation == 12
    assert member.temperature < 1  # all are right, so it may be surer
    (few,) = calibrate_members(table[:5], CLASSES, found)
    assert (few.temperature, few.n_validation) == (1.0, 0)
    (alike,) = calibrate_members(table[table["label"] == "normal"], CLASSES, found)
    assert alike.n_validation == 0


def test_terminal_says_why_a_member_is_not_calibrated(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = Ensemble("m", "original", (0, 1), "Whole images are used.")
    table = pd.concat([make_table(m=0.9)] * 2, ignore_index=True)  # enough images of each class
    rows = [table.assign(seed=0), table[table["label"] == "normal"].assign(seed=1)]
    members = calibrate_members(pd.concat(rows, ignore_index=True), CLASSES, chosen)
    show_prediction(Console(), Prediction(chosen, tuple(members), tuple(CLASSES), ()))
    printed = " ".join(capsys.readouterr().out.split())
    why = "there are too few validation images, or images of one class only"
    assert f"Not calibrated, as {why}: seed 1." in printed
