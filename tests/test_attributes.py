"""Attributes: how they are read, what they tell of the class, and what images tell of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from corpus import make_dicom, make_picture, write_image
from PIL import Image
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from osteo_ray.commands.audit_tables import show_audit
from osteo_ray.data.appearance import describe_look, shrink_to_preview
from osteo_ray.data.attribute_shortcuts import AttributeShortcut, find_attribute_shortcuts
from osteo_ray.data.attributes import ATTRIBUTES, read_attribute
from osteo_ray.data.decoding.content import decode
from osteo_ray.data.sources.columns import TOLD
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.data.sources.options import SourceOptions
from osteo_ray.data.splits.assignment import assign_folds
from osteo_ray.pipeline.ingest.auditing import audit_images
from osteo_ray.pipeline.ingest.findings import describe_audit
from osteo_ray.pipeline.ingest.reading import ingest_images
from osteo_ray.report.audit_page import write_audit_page

N = 120
LABELS = np.array(["normal", "worn"] * (N // 2))
SICK = LABELS == "worn"
ALONE = np.arange(N)


def make_images(bright: np.ndarray | None = None, **attributes: Any) -> pd.DataFrame:
    """Return rows of an ingest of noise, brighter where it is said."""
    rng = np.random.default_rng(1)
    shift = np.zeros(N, int) if bright is None else 40 * bright.astype(int)
    pixels = [rng.integers(20, 150, (32, 32)) + more for more in shift]
    return pd.DataFrame(
        {
            "format": "PNG",
            "mode": "L",
            "width": 32,
            "height": 32,
            "size": 1000,
            "look": [describe_look(image.astype(np.uint8)).tobytes() for image in pixels],
            "preview": [shrink_to_preview(image.astype(np.uint8)).tobytes() for image in pixels],
            **dict.fromkeys(ATTRIBUTES, ""),
            **attributes,
        }
    )


def find(images: pd.DataFrame, groups: np.ndarray = ALONE) -> dict[str, AttributeShortcut]:
    return {one.name: one for one in find_attribute_shortcuts(images, LABELS, groups)}


def take_mostly(share: float, yes: str, no: str, seed: int = 0) -> np.ndarray:
    """Return one word for this share of the sick and for the others' complement."""
    agrees = np.random.default_rng(seed).random(N) < share
    return np.where(agrees == SICK, yes, no)


# Reading


@pytest.mark.parametrize(
    ("name", "texts", "expected"),
    [
        ("age", ["061Y", "61", "61.0", "61 years", "61,0", "61y"], "61"),
        ("age", ["018M", "1.5"], "1.5"),
        ("age", ["024M", "730D", "2"], "2"),
        ("age", ["60-70", "60 - 70"], "65"),
        ("age", ["90+", "90"], "90"),
        ("age", ["", "999", "NaN", "unknown", "old", "1970-01-31"], ""),
        ("sex", ["F", "female", "W", "Female", "weiblich"], "female"),
        ("sex", ["M", "male", "MALE"], "male"),
        ("sex", ["O"], "o"),
        ("view", ["ap", "AP", " Ap "], "AP"),
        ("maker", ["Acme", "ACME"], "ACME"),
        ("site", ["Bern", " Bern"], "Bern"),
        ("side", ["left", "L", "LT"], "L"),
        ("device", ["-", "N/A"], ""),
    ],
)
def test_spellings_of_a_value_are_one(name: str, texts: list[str], expected: str) -> None:
    assert {read_attribute(name, text) for text in texts} == {expected}


def test_headers_say_who_took_what_of_whom() -> None:
    content = make_dicom(
        make_picture(np.random.default_rng(0)),
        Manufacturer="Acme",
        ManufacturerModelName="X1",
        ViewPosition="AP",
        PatientAge="061Y",
        PatientSex="F",
    )
    told = {"maker": "Acme", "device": "X1", "view": "AP", "age": "061Y", "sex": "F"}
    assert decode(content).attributes == told
    assert set(told) == set(TOLD)


@pytest.mark.parametrize(
    "columns",
    [
        ("Manufacturer", "Manufacturer Model Name", "View Position", "Patient Age", "Gender"),
        ("vendor", "scanner", "projection", "age_years", "PatientSex"),
    ],
)
def test_tables_say_so_too(columns: tuple[str, ...], tmp_path: Path) -> None:
    rows = ["1.png,a,Acme,X1,AP,61,F", "2.png,b,,X2,LAT,,M"]
    text = "\n".join([",".join(["path", "label", *columns]), *rows])
    (tmp_path / "m.csv").write_text(text)
    source = open_source(str(tmp_path / "m.csv"))
    assert source.attributes["maker"] == {"1.png": "Acme", "2.png": ""}
    assert source.attributes["device"] == {"1.png": "X1", "2.png": "X2"}
    assert source.attributes["view"] == {"1.png": "AP", "2.png": "LAT"}
    assert source.attributes["age"] == {"1.png": "61", "2.png": ""}
    assert source.attributes["sex"] == {"1.png": "F", "2.png": "M"}
    assert not any("not read" in note for note in source.notes)


def test_columns_may_be_named_or_left_unread(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label,age,room\n1.png,a,61,4\n2.png,b,50,5\n")
    options = SourceOptions({"age": "", "device": "room"})
    source = open_source(str(tmp_path / "m.csv"), options)
    assert source.attributes == {"device": {"1.png": "4", "2.png": "5"}}
    assert any("not read: `age`" in note for note in source.notes)


def test_a_class_may_be_what_is_else_an_attribute(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,sex\n1.png,F\n2.png,M\n")
    source = open_source(str(tmp_path / "m.csv"), SourceOptions({"label": "sex"}))
    assert source.attributes == {}
    assert source.items["label"].tolist() == ["F", "M"]


# Measuring


def test_an_attribute_that_is_the_class_is_found_whole() -> None:
    found = find(make_images(site=np.where(SICK, "Bern", "Kyiv")))["site"]
    assert (found.utility, found.association, found.n_known) == (1.0, pytest.approx(1.0), N)
    assert found.of_class.is_found
    assert found.counts == {"Bern": {"normal": 0, "worn": 60}, "Kyiv": {"normal": 60, "worn": 0}}
    assert found.of_attribute is not None
    assert not found.of_attribute.is_found  # the pixels are noise
    assert found.risk == found.detectability
    assert found.risk < 0.3


def test_what_the_image_shows_is_detected() -> None:
    bern = take_mostly(0.8, "Bern", "Kyiv")
    found = find(make_images(bright=bern == "Bern", site=bern))["site"]
    assert found.detectability == 1.0
    assert found.risk == found.utility
    assert 0.4 < found.utility < 0.8
    hidden = find(make_images(site=bern))["site"]
    assert hidden.of_class == found.of_class
    assert hidden.detectability < 0.3


def test_figures_are_those_of_scikit_learn_and_of_hand() -> None:
    maker = take_mostly(0.7, "ACME", "ZETA")
    found = find(make_images(maker=maker))["maker"]
    folds = assign_folds(LABELS, ALONE, 5, seed=0)
    model = LogisticRegression(class_weight="balanced", max_iter=1000)
    x = pd.get_dummies(pd.Series(maker)).to_numpy(float)
    predicted = cross_val_predict(model, x, LABELS, cv=PredefinedSplit(folds))
    assert found.of_class.accuracy == balanced_accuracy_score(LABELS, predicted)
    table = np.array([list(row.values()) for row in found.counts.values()])
    expected = np.outer(table.sum(1), table.sum(0)) / N
    chi2 = ((table - expected) ** 2 / expected).sum()
    assert found.association == pytest.approx(np.sqrt(chi2 / N))


def test_nothing_is_found_in_noise() -> None:
    rng = np.random.default_rng(3)
    noise = make_images(
        site=rng.choice(["A", "B", "C"], N),
        sex=rng.choice(["F", "M"], N),
        age=rng.integers(40, 90, N).astype(str),
    )
    found = find(noise)
    assert set(found) == {"site", "sex", "age"}
    for one in found.values():
        assert not one.of_class.is_found
        assert one.association < 0.3
        assert one.risk is not None
        assert one.risk < 0.1
    assert find(noise) == found


def test_ages_count_by_quarters_and_unknown_ones_for_themselves() -> None:
    ages = np.where(SICK, 80, 50) + np.arange(N) // 2 % 10
    found = find(make_images(age=ages.astype(str)))["age"]
    assert found.utility == 1.0
    assert len(found.counts) == 4
    assert {sum(n.values()) for n in found.counts.values()} == {30}
    # Who is sick has an age, and the others none: that alone tells the class.
    told = np.where(SICK, "60", "")
    found = find(make_images(age=told))["age"]
    assert (found.utility, found.n_known) == (1.0, N // 2)
    assert set(found.counts) == {"60", "unknown"}
    assert found.of_attribute is None


def test_constant_and_unknown_attributes_are_left_out() -> None:
    assert find(make_images(maker="Acme", sex="unknown")) == {}


def test_groups_are_kept_together() -> None:
    """A device per patient tells the class only if one sees the patient in training, too."""
    groups = np.arange(N) // 4 * 2 + np.arange(N) % 2  # two images of each patient
    device = np.char.add("D", groups.astype(str))
    found = find(make_images(device=device), groups)["device"]
    assert not found.of_class.is_found


def test_too_few_groups_are_not_measured() -> None:
    assert find(make_images(site=np.where(SICK, "A", "B")), np.arange(N) % 4) == {}


def test_rare_values_count_as_one() -> None:
    names = [f"S{number}" if number >= 20 else "big" for number in range(N)]
    found = find(make_images(site=names))["site"]
    assert "other" in found.counts
    assert len(found.counts) == 21


# A whole source


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_an_audit_tells_of_headers_and_columns(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = ["path,label,site,scanner,sex"]
    for number in range(40):
        sick = number % 2 == 1
        picture = make_picture(rng) // 2 + (100 if sick else 0)
        if number < 20:
            content = make_dicom(picture.astype(np.uint8), Manufacturer="AB"[sick], PatientSex="F")
        else:
            content = write_image(Image.fromarray(picture.astype(np.uint8)), "PNG")
        (tmp_path / f"{number}").write_bytes(content)
        rows.append(f"{number},{('normal', 'worn')[sick]},{('Bern', 'Kyiv')[sick]},X{number % 3},")
    (tmp_path / "m.csv").write_text("\n".join(rows))
    options = SourceOptions(patient_pattern=r"\d+")
    ingest = ingest_images(open_source(str(tmp_path / "m.csv"), options), tmp_path / "scratch")
    described = describe_audit(audit_images(ingest, "drop"))
    found = {one["name"]: one for one in described["attributes"]}
    assert set(found) == {"site", "maker", "device", "sex"}
    assert found["maker"]["counts"] == {
        "A": {"normal": 10, "worn": 0},
        "B": {"normal": 0, "worn": 10},
        "unknown": {"normal": 10, "worn": 10},
    }
    assert found["site"]["utility"] == 1.0
    assert found["site"]["risk"] > 0.5
    assert found["sex"]["n_known"] == 20  # the column is empty, and headers tell
    assert found["device"]["n_known"] == 40
    (said,) = (one for one in described["findings"] if one.startswith("the site"))
    assert "alone predicts the class with a balanced accuracy of 1.00" in said
    assert "a small preview of the image tells it with" in said
    assert "may learn it instead of the disease" in said
    console = Console(width=160, record=True)
    show_audit(console, described)
    assert "maker of the device" in console.export_text()
    write_audit_page(tmp_path / "audit.html", "m.csv", described, [], {}, {})
    page = (tmp_path / "audit.html").read_text()
    assert "What else may tell the class" in page
    assert "<b>1.00" in page
