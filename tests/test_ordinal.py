"""Grades: their metrics against scikit-learn, what they may decide, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from osteo_ray.base.errors import InputError
from osteo_ray.base.tables import read_json
from osteo_ray.commands.main import main
from osteo_ray.config.build import build_config
from osteo_ray.experiment.conclusions import identify_conclusion
from osteo_ray.experiment.decomposition import gather_decomposed
from osteo_ray.experiment.judge_tables import JudgeRequest, judge_tables
from osteo_ray.experiment.luck import measure_expected
from osteo_ray.experiment.positive_class import check_order
from osteo_ray.statistics.metrics.registry import METRICS, list_endpoints
from osteo_ray.statistics.predictions import Group
from osteo_ray.statistics.resampling import measure_resampled
from osteo_ray.statistics.results_table import compute_metrics

ORDER = ("normal", "osteopenia", "advanced")  # not as the alphabet has it
CLASSES = sorted(ORDER)
WORDS = "normal<osteopenia<advanced"
NAMES = ("quadratic_kappa", "grade_error")


def call(grades: np.ndarray, n: int = 3) -> np.ndarray:
    """Return probabilities, columns sorted by name, that call each image its grade."""
    columns = [ORDER.index(name) for name in CLASSES]
    return np.eye(n)[grades][:, columns]


def name(grades: np.ndarray) -> np.ndarray:
    return np.array(ORDER)[grades]


def measure(truth: np.ndarray, called: np.ndarray) -> tuple[float, float]:
    found = compute_metrics(name(truth), call(called), CLASSES, "normal", ORDER)
    return found["quadratic_kappa"], found["grade_error"]


@pytest.mark.parametrize("seed", range(5))
def test_both_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, 80, p=[0.6, 0.3, 0.1])
    called = np.where(rng.random(80) < 0.5, truth, rng.integers(0, 3, 80))
    kappa, error = measure(truth, called)
    assert kappa == pytest.approx(cohen_kappa_score(truth, called, weights="quadratic"), abs=1e-12)
    assert error == pytest.approx(mean_absolute_error(truth, called), abs=1e-12)


def test_numbers_by_hand() -> None:
    # Called: 0 0 1 | 1 | 2 0. Squares off: 0 0 1 | 0 | 0 4, so 5; by chance 3×3, 1×2, 2×1 off …
    truth, called = np.array([0, 0, 0, 1, 2, 2]), np.array([0, 0, 1, 1, 2, 0])
    kappa, error = measure(truth, called)
    assert error == pytest.approx(3 / 6)
    by_chance = (3 * (2 * 1 + 1 * 4) + 1 * (3 * 1 + 1 * 1) + 2 * (3 * 4 + 2 * 1)) / 6
    assert kappa == pytest.approx(1 - 5 / by_chance)


def test_the_order_counts_and_its_direction_does_not() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 60)
    called = np.where(rng.random(60) < 0.6, truth, (truth + 1) % 3)
    labels, p = name(truth), call(called)
    found = {
        order: compute_metrics(labels, p, CLASSES, "normal", order)["quadratic_kappa"]
        for order in (ORDER, ORDER[::-1], ("osteopenia", "normal", "advanced"))
    }
    assert found[ORDER] == pytest.approx(found[ORDER[::-1]])
    assert found[ORDER] != pytest.approx(found["osteopenia", "normal", "advanced"])


def test_without_an_order_neither_is_measured() -> None:
    found = compute_metrics(name(np.arange(3)), call(np.arange(3)), CLASSES, "normal")
    assert not set(NAMES) & found.keys()
    assert set(found) == set(METRICS) - set(NAMES)


def test_both_are_resampled_by_the_same_formula() -> None:
    rng = np.random.default_rng(1)
    labels, p = rng.integers(0, 3, 40), rng.dirichlet(np.ones(3), 40)
    group = Group(np.arange(40), labels, p)
    weights = rng.poisson(1, (40, 5)).astype(np.uint8)
    ranks = (0, 2, 1)
    truth, called = np.array(ranks)[labels], np.array(ranks)[group.predicted]
    for metric, reference in (
        ("quadratic_kappa", lambda w: cohen_kappa_score(
            truth, called, weights="quadratic", sample_weight=w)),
        ("grade_error", lambda w: mean_absolute_error(truth, called, sample_weight=w)),
    ):  # fmt: skip
        found = measure_resampled(metric, [group], weights, 0, ranks)
        assert found[:, 0] == pytest.approx([reference(w) for w in weights.T], abs=1e-12)


def test_one_grade_among_images_is_undefined_not_zero() -> None:
    kappa, error = measure(np.zeros(5, int), np.array([0, 0, 1, 0, 0]))
    assert np.isnan(kappa)
    assert error == pytest.approx(0.2)


# What a comparison may rest on


@pytest.mark.parametrize("shares", [(0.6, 0.3, 0.1), (0.34, 0.33, 0.33), (0.05, 0.9, 0.05)])
def test_no_call_that_knows_nothing_has_a_kappa(shares: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice(3, 4000, p=shares)
    for grade in range(3):
        assert measure(truth, np.full(4000, grade))[0] == 0
    for rates in (shares, (1 / 3, 1 / 3, 1 / 3), (0.5, 0.0, 0.5), (0.9, 0.1, 0.0)):
        assert abs(measure(truth, rng.choice(3, 4000, p=rates))[0]) < 0.06


def test_a_constant_call_beats_an_informed_one_by_its_error_alone() -> None:
    truth = np.repeat([0, 1, 2], [60, 30, 10] * np.array(20))
    rng = np.random.default_rng(0)
    right = rng.random(2000) < 0.55
    informed = np.where(right, truth, (truth + rng.integers(1, 3, 2000)) % 3)
    constant = measure(truth, np.zeros(2000, int))
    told = measure(truth, informed)
    assert constant[1] == pytest.approx(0.5)
    assert told[1] == pytest.approx(0.6075, abs=0.03)  # as docs/verdict.md says
    assert told[0] > 0.2 > constant[0]


def test_kappa_may_be_an_endpoint_and_the_error_may_not() -> None:
    assert "quadratic_kappa" in list_endpoints()
    assert "grade_error" not in list_endpoints()
    settings = {"metric": "quadratic_kappa", "ordinal": WORDS}
    assert build_config({"statistics": settings}).statistics.effect == 0.06
    with pytest.raises(InputError, match=r"grade_error.*middle grade.*reported where --ordinal"):
        build_config({"statistics": {**settings, "metric": "grade_error"}})
    with pytest.raises(InputError, match=r"order of the classes with the endpoint quadratic_kappa"):
        build_config({"statistics": {"metric": "quadratic_kappa"}})


def test_kappa_can_be_planned_for() -> None:
    assert measure_expected("quadratic_kappa", 0.5, 0.5) == pytest.approx(0, abs=0.01)
    good, better = (measure_expected("quadratic_kappa", auc, 0.5) for auc in (0.8, 0.9))
    assert 0.3 < good < better


# What the user says


@pytest.mark.parametrize(
    "said",
    [WORDS, "normal < osteopenia < advanced", [WORDS], list(ORDER)],
)
def test_every_way_to_say_it_is_the_same(said: Any, tmp_path: Path) -> None:
    text = yaml.safe_dump({"statistics": {"ordinal": said}})
    assert build_config(yaml.safe_load(text)).statistics.ordinal == ORDER


@pytest.mark.parametrize("said", ["a", "a<b", "a<b<a", "a<<b", ["a", "b"]])
def test_what_is_no_order_is_refused(said: Any) -> None:
    with pytest.raises(InputError, match="three or more different classes in their order"):
        build_config({"statistics": {"ordinal": said}})


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (("normal", "osteopenai", "advanced"), "`osteopenai` is no class. Did you mean `osteop"),
        (("normal", "advanced"), "`osteopenia` is not among them"),
        ((*ORDER, "normal"), "one of them is there twice"),
    ],
)
def test_the_order_must_name_every_class_once(order: tuple[str, ...], words: str) -> None:
    with pytest.raises(InputError) as caught:
        check_order(order, CLASSES)
    assert words in str(caught.value)
    assert "Expected --ordinal to put the classes advanced, normal, osteopenia" in str(caught.value)


def test_another_order_is_another_conclusion_only_for_such_an_endpoint() -> None:
    def identify(metric: str, ordinal: tuple[str, ...]) -> str:
        return identify_conclusion(
            metric=metric,
            margin=None,
            alpha=0.05,
            positive_class="normal",
            judged="lime",
            tested={"net": [0, 1]},
            ordinal=ordinal,
        )

    assert identify("auc", ()) == identify("auc", ORDER)
    assert identify("quadratic_kappa", ORDER) != identify("quadratic_kappa", ORDER[::-1])


# Judged tables


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Predictions of two arms on 150 images over six seeds; `lime` is off by fewer grades."""
    rng = np.random.default_rng(0)
    truth = rng.choice(3, 150, p=[0.5, 0.3, 0.2])
    parts = []
    for seed in range(6):
        for arm, noise in (("original", 1.2), ("lime", 0.6)):
            score = truth + rng.normal(0, noise, 150)
            p = np.exp(-((score[:, None] - np.arange(3)) ** 2))
            p /= p.sum(1, keepdims=True)
            columns = {f"p_{grade}": p[:, rank] for rank, grade in enumerate(ORDER)}
            part = pd.DataFrame({"image_id": np.arange(150).astype(str), "label": name(truth)})
            fixed = {"model": "net", "seed": seed, "arm": arm, "split": "test"}
            parts.append(part.assign(**fixed, **columns))
    path = tmp_path_factory.mktemp("tables") / "t.parquet"
    pd.concat(parts).to_parquet(path, index=False)
    return str(path)


@pytest.fixture
def judge(table: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def run(*flags: str) -> Any:
        code = main(["judge", table, "--out", str(tmp_path / "out"), *flags])
        return SimpleNamespace(code=code, text=" ".join("".join(capfd.readouterr()).split()))

    return run


def test_a_judgement_reports_grades(judge: Callable[..., Any], table: str, tmp_path: Path) -> None:
    said = judge("--ordinal", WORDS)
    assert said.code == 0
    assert "Quadratic kappa Grade error" in said.text
    assert "grades: normal < osteopenia < advanced" in said.text
    comparison = read_json(tmp_path / "out" / "comparison.json")
    assert comparison["ordinal"] == list(ORDER)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Grades: normal &lt; osteopenia &lt; advanced." in page
    assert "Mean error in grades" in page
    rows = pd.read_parquet(table)
    first = rows[(rows["seed"] == 2) & (rows["arm"] == "lime")]
    called = first[[f"p_{grade}" for grade in ORDER]].to_numpy().argmax(1)
    truth = first["label"].map(ORDER.index)
    results = pd.read_parquet(tmp_path / "out" / "results.parquet")
    found = results[(results["seed"] == 2) & (results["arm"] == "lime")].iloc[0]
    expected = cohen_kappa_score(truth, called, weights="quadratic")
    assert found["quadratic_kappa"] == pytest.approx(expected, abs=1e-12)
    assert found["grade_error"] == pytest.approx(mean_absolute_error(truth, called), abs=1e-12)


def test_a_judgement_may_rest_on_kappa(judge: Callable[..., Any], tmp_path: Path) -> None:
    said = judge("--ordinal", *ORDER, "--metric", "quadratic_kappa")
    assert said.code == 0
    comparison = read_json(tmp_path / "out" / "comparison.json")
    assert comparison["metric"] == "quadratic_kappa"
    contrast = comparison["contrasts"][0]
    assert contrast["difference"] > 0.1
    assert contrast["decisive_low"] > 0
    assert comparison["verdict"]["verdict"] in ("real gain", "inconclusive")


def test_figures_of_a_comparison_that_rests_on_kappa(
    judge: Callable[..., Any], table: str, tmp_path: Path
) -> None:
    assert judge("--ordinal", WORDS, "--metric", "quadratic_kappa").code == 0
    comparison = read_json(tmp_path / "out" / "comparison.json")
    predictions = pq.read_table(table)
    images = pd.DataFrame({"image_id": np.arange(150).astype(str), "group": np.arange(150)})
    found = gather_decomposed("run", comparison, predictions, images, n_draws=50)
    kappas = found.evidence["net"].metrics["quadratic_kappa"].values
    results = pd.read_parquet(tmp_path / "out" / "results.parquet")
    for row in results.to_dict("records"):
        assert kappas[row["arm"]][row["seed"]] == pytest.approx(row["quadratic_kappa"], abs=1e-12)
    assert main(["figures", str(tmp_path / "out"), "--out", str(tmp_path / "figures")]) == 0


def test_without_an_order_a_judgement_is_as_before(
    judge: Callable[..., Any], tmp_path: Path
) -> None:
    said = judge()
    assert "kappa" not in said.text
    assert read_json(tmp_path / "out" / "comparison.json")["ordinal"] == []
    assert not set(NAMES) & set(pd.read_parquet(tmp_path / "out" / "results.parquet").columns)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--metric", "quadratic_kappa"), "Expected the order of the classes advanced, normal, "),
        (("--metric", "grade_error"), "it rewards a classifier that gives every image the middle"),
        (("--ordinal", "normal<osteopenia"), "`advanced` is not among them"),
        (("--ordinal", "normal<osteopenia<worn"), "`worn` is no class"),
    ],
)
def test_judgements_that_are_refused(
    judge: Callable[..., Any], flags: tuple[str, ...], words: str
) -> None:
    said = judge(*flags)
    assert said.code == 2
    assert words in said.text


def test_compare_refuses_an_order_of_other_classes_before_it_reads(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for grade in ORDER:
        (tmp_path / "knees" / grade).mkdir(parents=True)
        (tmp_path / "knees" / grade / "1.png").write_bytes(b"not read")
    words = ["--data", str(tmp_path / "knees"), "--out", str(tmp_path / "run")]
    assert main(["compare", *words, "--ordinal", "normal<osteopenia<worn"]) == 2
    said = " ".join("".join(capfd.readouterr()).split())
    assert "`worn` is no class" in said
    assert not (tmp_path / "run").exists()


def test_python_takes_one_text(table: str) -> None:
    _, found, *_ = judge_tables([table], JudgeRequest(ordinal=WORDS))
    assert found["ordinal"] == list(ORDER)
