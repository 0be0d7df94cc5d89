"""`osteo-ray card`: documents about a run, calibration lines, decision curves, subgroups."""

import json
import re
import shutil
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import statsmodels.api as sm
import yaml
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from osteo_ray.base.runs import Run
from osteo_ray.base.tables import read_json, read_table, write_json, write_table
from osteo_ray.commands.main import main
from osteo_ray.report.card_facts import list_facts
from osteo_ray.report.checklists import CLAIM_2024, NOT_REPORTED, TRIPOD_AI, fill
from osteo_ray.report.page import write_report
from osteo_ray.report.results import read_shown
from osteo_ray.report.use_figures import (
    read_probabilities,
    tabulate_calibration,
    tabulate_decisions,
    tabulate_subgroups,
)
from osteo_ray.statistics.clinical_use import fit_calibration_line, measure_net_benefit

ARCHIVE = Path(__file__).with_name("old_run.tar.xz")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A finished run of an earlier version."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return Run(tmp_path / "run")


# Numbers


def test_calibration_line_is_that_of_statsmodels() -> None:
    rng = np.random.default_rng(0)
    log_odds = rng.normal(size=800)
    occurred = rng.random(800) < expit(0.5 * log_odds - 0.3)
    found = fit_calibration_line(expit(log_odds), occurred)
    assert found is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        line = sm.GLM(occurred, sm.add_constant(log_odds), family=sm.families.Binomial()).fit()
        shift = sm.GLM(occurred, np.ones(800), family=sm.families.Binomial(), offset=log_odds).fit()
    assert (found.intercept, found.slope) == pytest.approx(tuple(line.params), abs=1e-6)
    assert found.in_the_large == pytest.approx(shift.params[0], abs=1e-6)
    assert found.slope == pytest.approx(0.5, abs=0.15)


def test_calibrated_probabilities_have_a_slope_of_one() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.uniform(0.02, 0.98, 50_000)
    found = fit_calibration_line(probabilities, rng.random(50_000) < probabilities)
    assert found is not None
    assert (found.slope, found.in_the_large) == pytest.approx((1, 0), abs=0.03)


@pytest.mark.parametrize(
    ("probabilities", "occurred"),
    [
        ([0.1, 0.2, 0.8, 0.9], [False, False, True, True]),  # separated
        ([0.1, 0.2, 0.8, 0.9], [True, True, True, True]),
        ([0.5, 0.5, 0.5, 0.5], [True, False, True, False]),
        ([0.0, 1.0, 0.0, 1.0], [False, True, False, True]),
    ],
)
def test_line_that_has_no_finite_answer_is_left_out(
    probabilities: list[float], occurred: list[bool]
) -> None:
    assert fit_calibration_line(np.array(probabilities), np.array(occurred)) is None


def test_net_benefit_by_hand() -> None:
    probabilities = np.array([0.9, 0.6, 0.4, 0.1])
    occurred = np.array([True, False, True, False])
    found = measure_net_benefit(probabilities, occurred, np.array([0.05, 0.5, 0.95]))
    # All four: 2/4 - 2/4 · 1/19; two of them, one right: 1/4 - 1/4 · 1; none.
    assert found == pytest.approx([0.5 - 0.5 / 19, 0.0, 0.0])


# What a run gives


def test_documents_are_written_and_say_what_is_not_known(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "card"
    assert main(["card", str(run.root), "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["card"]
    assert {path.name for path in out.iterdir()} == set(found["files"])
    card = (out / "model-card.md").read_text()
    comparison = read_json(run.comparison)
    assert "Not a medical device, and not for clinical use" in card
    assert comparison["verdict"]["verdict"].capitalize() in card
    assert "LIME mask, out of fold" in card
    for name, items in (("tripod-ai", TRIPOD_AI), ("claim-2024", CLAIM_2024)):
        rows = re.findall(r"^\| (\d+\w?) \| .* \| (.*) \|$", (out / f"{name}.md").read_text(), re.M)
        assert [number for number, _ in rows] == [item.number for item in items]
        told = dict(rows)
        assert told["17" if name == "tripod-ai" else "34"] == NOT_REPORTED
        n_known = sum(text != NOT_REPORTED for text in told.values())
        assert n_known == found["n_known"][name] > 20
    assert "grouped" in (out / "tripod-ai.md").read_text()
    assert "only who made the set can tell" in (out / "datasheet.md").read_text()
    assert (out / "decision-curve.pdf").read_bytes().startswith(b"%PDF")
    assert "No subgroups" in " ".join(found["absent"])


def test_every_fact_that_a_checklist_asks_for_can_be_known(run: Run) -> None:
    shown = read_shown(run)
    sites = pd.DataFrame({"property": ["site"]})
    facts = list_facts(shown, calibrated=True, subgroups=sites, decisions=True)
    asked = {item.fact for item in (*TRIPOD_AI, *CLAIM_2024)} - {""}
    # An old run without a cohort or sites, whose verdict has neither remarks nor advice.
    assert asked - set(facts) <= {"external", "sites", "site_results", "limits", "next"}
    assert set(dict.fromkeys(number for number, *_ in fill(TRIPOD_AI, {}))) == {
        item.number for item in TRIPOD_AI
    }


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({}, ["corrected t", "the more cautious decides"]),
        ({"fixed_test_set": True}, ["decides alone, as all seeds test the same images"]),
        ({"n_train": None}, ["decides alone, as the number of training images is unknown"]),
        ({"n_train": None, "fixed_test_set": True}, ["as all seeds test the same images"]),
    ],
)
def test_the_card_says_which_error_decided(
    run: Run, known: dict[str, object], words: list[str]
) -> None:
    shown = read_shown(run)
    shown.comparison.update(known)
    facts = list_facts(shown, calibrated=True, subgroups=pd.DataFrame(), decisions=True)
    assert all(one in facts["statistics"] for one in words)
    assert ("corrected t" in facts["statistics"]) == (not known)
    assert ("smallest detectable" in facts["power"]) == (not known)


def list_known(run: Run) -> dict[str, str]:
    return list_facts(read_shown(run), calibrated=True, subgroups=pd.DataFrame(), decisions=True)


def test_the_card_names_a_threshold_only_where_there_is_one(run: Run) -> None:
    assert "threshold of the largest balanced accuracy" in list_known(run)["output"]
    # three classes have no operating points, and without validation images they have no threshold
    points = read_json(run.comparison)["operating_points"]
    for none in ([], [row | {"threshold": None} for row in points]):
        write_json(run.comparison, read_json(run.comparison) | {"operating_points": none})
        assert list_known(run)["output"].startswith("probability per class; decision-curve.csv")


def test_items_have_the_numbers_of_the_guidelines() -> None:
    # Items with parts, and how many; all others have none. Names at places where they changed.
    parts = {3: 3, 5: 2, 6: 3, 8: 3, 9: 3, 12: 7, 18: 6, 20: 3, 23: 2, 27: 3}
    expected = [
        f"{number}{letter}"
        for number in range(1, 28)
        for letter in ("abcdefg"[: parts[number]] if number in parts else [""])
    ]
    assert [item.number for item in TRIPOD_AI] == expected
    assert len(expected) == 52
    assert [item.number for item in CLAIM_2024] == [str(number) for number in range(1, 45)]
    topics = {item.number: item.topic for item in CLAIM_2024}
    assert topics["13"] == "Image acquisition protocol"
    assert topics["21"].startswith("Intended sample size")
    assert topics["37"] == "Performance metrics and their uncertainty"
    facts = {item.number: item.fact for item in TRIPOD_AI}
    assert (facts["12d"], facts["23b"]) == ("sites", "site_results")  # seeds are no clusters


def test_numbers_are_of_the_test_images_of_both_arms(run: Run) -> None:
    shown = read_shown(run)
    table = read_probabilities(shown)
    stored = read_table(run.predictions).to_pandas()
    tested = stored[(stored["split"] == "test") & stored["arm"].isin(shown.pair)]
    assert len(table) == len(tested)
    joined = table.merge(tested, on=["model", "seed", "arm", "image_id"])
    positive = shown.comparison["positive_class"]
    assert np.array_equal(joined["probability"], joined[f"p_{positive}"])
    assert np.array_equal(joined["occurred"], joined["label"] == positive)
    decisions = tabulate_decisions(table)
    everyone = decisions[decisions["arm"] == "act on all"]
    share = table["occurred"].mean()
    first = everyone[everyone["threshold"] == 0.01]["net_benefit"].iloc[0]
    assert first == pytest.approx(share - (1 - share) / 99, abs=1e-9)
    lines = tabulate_calibration(table)
    assert len(lines) == 2 * 2 * 2  # arms, seeds, as it is and recalibrated


def test_recalibrated_probabilities_keep_their_order(run: Run) -> None:
    table = pd.read_parquet(str(run.predictions))
    more = [table.assign(image_id=table["image_id"] + str(n)) for n in range(3)]
    pd.concat(more).to_parquet(str(run.predictions), index=False)  # enough validation images
    found = read_probabilities(read_shown(run))
    assert not found["recalibrated"].isna().any()
    for _, part in found.groupby(["seed", "arm"]):
        order = part.sort_values("probability")["recalibrated"].to_numpy()
        assert (np.diff(order) >= -1e-12).all()


def test_subgroups_are_measured_where_they_are_known(run: Run) -> None:
    shown = read_shown(run)
    table = read_probabilities(shown)
    assert tabulate_subgroups(shown).empty
    site_of = give_sites(run)
    found = tabulate_subgroups(read_shown(run))
    assert set(found["value"]) == {"east", "west"}
    assert found.groupby("arm")["n_images"].sum().eq(len(table) // 2).all()
    table["site"] = table["image_id"].map(site_of)
    for row in found.to_dict("records"):
        part = table[(table["arm"] == row["arm"]) & (table["site"] == row["value"])]
        seeds = [one for _, one in part.groupby("seed") if one["occurred"].nunique() == 2]
        assert row["n_seeds"] == len(seeds)
        aucs = [roc_auc_score(one["occurred"], one["probability"]) for one in seeds]
        assert row["auc"] == pytest.approx(np.mean(aucs)) if aucs else np.isnan(row["auc"])


def give_sites(run: Run) -> dict[str, str]:
    """Say of each image of a run that it is from the east or the west; return which, by image."""
    images = read_table(run.images)
    sites = ["east" if n % 2 else "west" for n in range(len(images))]
    at = images.schema.get_field_index("site")
    column = pa.array(sites, images["site"].type)
    write_table(run.images, images.set_column(at, "site", column))
    return dict(zip(images["image_id"].to_pylist(), sites, strict=True))


def test_subgroups_of_three_classes_are_those_of_scikit_learn(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, classes, rng = read_shown(run), ["mild", "none", "severe"], np.random.default_rng(0)
    site_of = give_sites(run)
    write_json(run.comparison, read_json(run.comparison) | {"classes": classes})
    rows = [
        {"model": model, "seed": seed, "arm": arm, "split": "test", "image_id": image_id}
        for model in shown.models
        for seed in (0, 1)
        for arm in shown.pair
        for image_id in site_of
    ]
    table = pd.DataFrame(rows)
    table["label"] = rng.choice(classes, len(table))
    east = (table["image_id"].map(site_of) == "east") & (table["seed"] == 1)
    table.loc[east & (table["label"] == "severe"), "label"] = "mild"  # a class without images
    columns = [f"p_{name}" for name in classes]
    table[columns] = rng.dirichlet(np.ones(3), len(table))
    table.to_parquet(str(run.predictions), index=False)

    found = tabulate_subgroups(read_shown(run))
    assert len(found) == 2 * 2 * len(shown.models)
    assert (found["n_seeds"] == 2).all()
    for row in found.to_dict("records"):
        chosen = (table["model"] == row["model"]) & (table["arm"] == row["arm"])
        part = table[chosen & (table["image_id"].map(site_of) == row["value"])]
        aucs = []
        for seed, one in part.groupby("seed"):
            if row["value"] == "east" and seed == 1:
                said = (one["label"] == name for name in classes[:2])
                aucs.append(
                    np.mean([roc_auc_score(is_one, one[f"p_{name}"])
                             for is_one, name in zip(said, classes[:2], strict=True)])
                )  # fmt: skip
            else:
                truth, said = one["label"], one[columns]
                aucs.append(roc_auc_score(truth, said, multi_class="ovr", labels=classes))
        assert row["auc"] == pytest.approx(np.mean(aucs), abs=1e-12)

    assert main(["card", str(run.root), "--out", str(tmp_path / "card")]) == 0
    assert "No subgroups" not in capsys.readouterr().out
    card = (tmp_path / "card" / "model-card.md").read_text()
    assert "mean over seeds, and over classes, each against the rest" in card
    assert "Not reported" not in card.partition("## Subgroups")[2]


@pytest.mark.parametrize(
    ("settings", "split", "balance", "disjoint"),
    [
        (
            {"split_ratio": (3, 1, 1)},
            "dealt into training, validation and test as 3 : 1 : 1, stratified by class, anew",
            "splits are stratified by class",
            "patient, and copies of one radiograph, as far as both are known",
        ),
        (
            {"folds": 2},
            "2 folds of equal size, stratified by class, anew for every 2 seeds, each of which "
            "tests another fold; the others are dealt into training and validation as 7 : 2",
            "splits are stratified by class",
            "patient, and copies",
        ),
        (
            {"split": "random"},
            "random: images, each on its own and whatever its copies and its patient",
            "splits are stratified by class",
            "image only",
        ),
        (
            {"split": "given"},
            "given: the source says which images are for training, validation and test, the same "
            "for all seeds",
            "the split of the source is taken as it is",
            "patient, and copies",
        ),
        (
            {"split": "site"},
            "site: each seed tests all images of one site, and the sites take turns; those of the "
            "other sites are dealt into training and validation as 7 : 2",
            "training and validation are stratified by class, and test images are all of a site",
            "as far as both are known; test images also by site",
        ),
    ],
)
def test_documents_and_page_say_how_images_were_divided(
    run: Run, settings: dict[str, Any], split: str, balance: str, disjoint: str
) -> None:
    shown = read_shown(run)
    assert shown.config is not None
    config = shown.config.model_copy(update=settings)
    run.config.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    facts = list_facts(read_shown(run), calibrated=True, subgroups=pd.DataFrame(), decisions=True)
    assert split in facts["split"]
    assert balance in facts["imbalance"]
    assert disjoint in facts["disjoint"]
    assert ("stratified" in facts["imbalance"]) == (settings != {"split": "given"})
    page = write_report(run).read_text()
    assert f"{split.partition(': ')[2] or split}"[1:] in page
    assert ("So copies of test images may be in training." in page) == (
        settings == {"split": "random"}
    )


@pytest.mark.parametrize(
    "missing", ["predictions.parquet", "config.yaml", "audit.json", "environment.json"]
)
def test_what_is_missing_costs_only_what_needs_it(
    run: Run, missing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (Path(str(run.root)) / missing).unlink()
    out = tmp_path / "card"
    assert main(["card", str(run.root), "--out", str(out)]) == 0
    names = {path.name for path in out.iterdir()}
    assert {"model-card.md", "datasheet.md", "tripod-ai.md", "claim-2024.md"} <= names
    assert ("decision-curve.csv" in names) == (missing != "predictions.parquet")
    if missing == "predictions.parquet":
        assert "No decision-curve: There is no table" in capsys.readouterr().out


def test_judgement_has_a_card_and_no_run_has_none(
    run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    judged = tmp_path / "judged"
    assert main(["judge", str(run.root), "--out", str(judged)]) == 0
    assert main(["card", str(judged), "--out", str(tmp_path / "card")]) == 0
    assert "Not a medical device" in (tmp_path / "card" / "model-card.md").read_text()
    page = (judged / "report.html").read_text()
    for name in ("model-card.md", "tripod-ai.md", "claim-2024.md"):
        for pointers in re.findall(
            r"report\.html(#\w+(?:, #\w+)*)", (tmp_path / "card" / name).read_text()
        ):
            assert all(f'id="{one[1:]}"' in page for one in pointers.split(", ")), pointers
    assert "comparison.json" in list_known(Run(judged))["power"]
    shutil.rmtree(str(run.root))
    capfd.readouterr()
    assert main(["card", str(run.root)]) == 2
    assert "Expected a run whose comparison is finished" in capfd.readouterr().err


def test_markup_in_names_is_shown_as_it_is(run: Run, tmp_path: Path) -> None:
    table = pd.read_parquet(str(run.predictions))
    table["model"] = "<script>alert(1)</script> *net*"
    table.to_parquet(tmp_path / "table.parquet")
    judged = tmp_path / "judged *two*"
    assert main(["judge", str(tmp_path / "table.parquet"), "--out", str(judged)]) == 0
    assert main(["card", str(judged), "--out", str(tmp_path / "card")]) == 0
    for name in ("model-card.md", "datasheet.md", "tripod-ai.md", "claim-2024.md"):
        text = (tmp_path / "card" / name).read_text()
        assert "<script>" not in text, name
        assert not re.search(r"(?<!\\)\*(?:net|two)", text), name
    assert "&lt;script>" in (tmp_path / "card" / "model-card.md").read_text()
