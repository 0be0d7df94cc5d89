"""`osteo-ray judge`: predictions that anybody made, and what is said of tables that cannot be used.

The tables are drawn by `experiment.simulated`, so that the truth about them is known.
"""

import errno
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from osteo_ray.arms.registry import label_words
from osteo_ray.base.errors import InputError
from osteo_ray.base.remote import RemotePath
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import locate
from osteo_ray.base.tables import read_json
from osteo_ray.commands.main import main
from osteo_ray.experiment import judgement_folder
from osteo_ray.experiment.conclusions import share_alpha
from osteo_ray.experiment.judge_tables import JudgeRequest, judge_tables
from osteo_ray.experiment.simulated import SimulatedArm, draw_tested, simulate_predictions
from osteo_ray.pipeline.validate.situation import draw_situation
from osteo_ray.pipeline.validate.situations import SITUATIONS
from osteo_ray.report.page import write_report
from osteo_ray.statistics.significance import equivalence_p
from osteo_ray.statistics.sizes import Sizes

ARMS = {
    "original": SimulatedArm(0.80, 0.02),
    "original_retrained": SimulatedArm(0.80, 0.02),
    "lime": SimulatedArm(0.90, 0.02),
    "random_mask": SimulatedArm(0.76, 0.02),
    "silhouette": SimulatedArm(0.55, 0.02),
}
N_IMAGES, N_TEST, N_SEEDS = 500, 120, 6
COLUMNS = ["model", "seed", "arm", "split", "image_id", "label", "p_normal", "p_osteoporosis"]


def draw(
    arms: dict[str, SimulatedArm] = ARMS,
    *,
    fixed: bool = False,
    n_seeds: int = N_SEEDS,
    classes: tuple[str, str] = ("normal", "osteoporosis"),
    model: str = "net",
    number: int = 1,
) -> pd.DataFrame:
    rng = np.random.default_rng(number)
    tested = draw_tested(N_IMAGES, N_IMAGES if fixed else N_TEST, n_seeds, rng)
    table = simulate_predictions(
        arms, tested, n_images=N_IMAGES, rng=rng, model=model, classes=classes
    )
    return table.to_pandas()


GAIN = draw()


def write(table: pd.DataFrame, path: Path) -> str:
    if path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return str(path)


def train_rows(table: pd.DataFrame, n_train: int) -> pd.DataFrame:
    """Rows of split `train` for every training: images that it did not test, as far as they go."""
    parts = []
    for key, part in table.groupby(["model", "seed", "arm"]):
        names = [f"image-{number:06}" for number in range(N_IMAGES)]
        seen = [name for name in names if name not in set(part["image_id"])][:n_train]
        one = pd.DataFrame({"image_id": seen, "label": "normal", "split": "train"})
        parts.append(one.assign(**dict(zip(("model", "seed", "arm"), key, strict=True))))
    known = table.drop_duplicates("image_id").set_index("image_id")["label"]
    rows = pd.concat(parts)
    rows["label"] = rows["image_id"].map(known)
    return rows.dropna(subset=["label"])


Judge = Callable[..., dict[str, Any]]


@pytest.fixture
def judge(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Judge:
    """Judge a table by the command, which must end with 0; return comparison.json.

    The page is left out unless a test asks for it: its figures take most of the time.
    """

    def run(table: pd.DataFrame, *flags: str, page: bool = False) -> dict[str, Any]:
        path = write(table, tmp_path / "table.parquet")
        with pytest.MonkeyPatch.context() as patch:
            if not page:
                patch.setattr("osteo_ray.report.page.write_report", lambda run: run.report)
            code = main(["judge", path, "--out", str(tmp_path / "out"), *flags])
        printed = "".join(capfd.readouterr())
        assert code == 0, printed
        comparison: dict[str, Any] = read_json(tmp_path / "out" / "comparison.json")
        assert f"Verdict: {comparison['verdict']['verdict']}" in printed
        return comparison

    return run


Refuse = Callable[..., str]


@pytest.fixture
def refuse(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Refuse:
    """Judge tables that cannot be used; return the message, after exit code 2 and no traceback."""

    def run(*tables: pd.DataFrame | str, flags: tuple[str, ...] = ()) -> str:
        paths = [
            table if isinstance(table, str) else write(table, tmp_path / f"table{number}.csv")
            for number, table in enumerate(tables)
        ]
        code = main(["judge", *paths, "--out", str(tmp_path / "out"), *flags])
        printed = " ".join("".join(capfd.readouterr()).replace("│", " ").split())
        assert code == 2, printed
        assert "Traceback" not in printed
        assert not (tmp_path / "out" / "comparison.json").exists()
        return printed

    return run


# What it writes


def test_gain_is_found_written_and_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = write(GAIN, tmp_path / "t.csv"), tmp_path / "new" / "out"
    assert main(["judge", table, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    comparison = read_json(out / "comparison.json")
    assert comparison["verdict"]["verdict"] == "real gain"
    assert "lime minus original: AUC +0.09" in comparison["verdict"]["reason"]
    assert comparison["judgement"] == {
        "tables": [table],
        "alpha": 0.05,
        "looks": 0,
        "positive_class_basis": "recognised",
        "n_images": GAIN["image_id"].nunique(),
    }
    assert comparison["n_train"] is None  # nothing tells
    assert comparison["n_test"] == N_TEST
    assert comparison["positive_class"] == "osteoporosis"
    assert "Verdict: real gain" in printed
    assert "Positive class: osteoporosis (recognised by the names of the classes)." in printed
    assert comparison["verdict"]["reason"] in printed
    results = pd.read_parquet(out / "results.parquet")
    assert len(results) == len(ARMS) * N_SEEDS
    page = (out / "report.html").read_text(encoding="utf-8")
    for words in ("Real gain", "unknown", "two-way", "LIME mask − Original", "Positive class"):
        assert words in page
    assert sorted(path.name for path in out.iterdir()) == [
        "comparison.json",
        "images.parquet",
        "predictions.parquet",
        "report.html",
        "results.parquet",
    ]


def test_results_are_those_of_scikit_learn(tmp_path: Path) -> None:
    from sklearn.metrics import accuracy_score, roc_auc_score

    results, comparison, *_ = judge_tables([write(GAIN, tmp_path / "t.csv")])
    auc: dict[str, list[float]] = {}
    for (seed, arm), part in GAIN.groupby(["seed", "arm"]):
        row = results[(results["seed"] == seed) & (results["arm"] == arm)].iloc[0]
        truth = part["label"] == "osteoporosis"
        auc.setdefault(str(arm), []).append(roc_auc_score(truth, part["p_osteoporosis"]))
        assert row["auc"] == pytest.approx(auc[str(arm)][-1], abs=1e-12)
        assert row["accuracy"] == pytest.approx(
            accuracy_score(truth, part["p_osteoporosis"] > 0.5), abs=1e-12
        )
    first = comparison["contrasts"][0]
    assert (first["arm"], first["baseline"]) == ("lime", "original")
    expected = np.mean(auc["lime"]) - np.mean(auc["original"])
    assert first["difference"] == pytest.approx(expected, abs=1e-9)


def test_earlier_judgement_is_replaced_and_its_page_written_again(judge: Judge, tmp_path) -> None:
    assert judge(GAIN)["verdict"]["verdict"] == "real gain"
    worse = draw({**ARMS, "lime": SimulatedArm(0.65, 0.02)})
    assert judge(worse, page=True)["verdict"]["verdict"] == "real loss"
    page = (tmp_path / "out" / "report.html").read_bytes()
    assert b"Real loss" in page
    (tmp_path / "out" / "report.html").unlink()
    assert main(["report", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "report.html").read_bytes() == page


def test_judgement_that_fails_leaves_no_verdict_beside_tables_of_another(
    judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(GAIN, page=True)
    out = tmp_path / "out"
    before = {path: path.read_bytes() for path in out.iterdir()}
    words = ["judge", write(GAIN[GAIN["seed"] < 2], tmp_path / "other.csv"), "--out", str(out)]

    def fill_disk(place: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))

    with monkeypatch.context() as patch:
        patch.setattr(judgement_folder, "write_json", fill_disk)  # while tables are written
        assert main(words) == 1
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    with monkeypatch.context() as patch:
        patch.setattr("osteo_ray.report.page.write_report", fill_disk)
        assert main(words) == 1
    assert before.keys() - set(out.iterdir()) == {out / "report.html"}
    assert len(read_json(out / "comparison.json")["seeds"]) == 2
    assert set(pd.read_parquet(out / "predictions.parquet")["seed"]) == {0, 1}


def test_names_in_the_page_are_escaped(judge: Judge, tmp_path: Path) -> None:
    hostile = GAIN.assign(model="<script>alert(1)</script> $x_$")
    judge(hostile, page=True)
    assert "<script>" not in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_neither_ray_nor_torch_is_imported(tmp_path: Path) -> None:
    table = write(GAIN, tmp_path / "t.parquet")
    code = (
        "import json, sys\nfrom osteo_ray.commands.main import main\n"
        f"assert main(['judge', {table!r}, '--out', {str(tmp_path / 'out')!r}]) == 0\n"
        "heavy = ('torch', 'timm', 'torchvision', 'lime', 'ray')\n"
        "print(json.dumps([name for name in heavy if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []


# Forms of tables


def plain(comparison: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in comparison.items() if key != "judgement"}


@pytest.mark.parametrize("form", ["csv", "tsv", "semicolon", "gzip", "excel", "numbers"])
def test_every_form_gives_the_same(tmp_path: Path, form: str) -> None:
    table = GAIN
    _, expected, *_ = judge_tables([write(table, tmp_path / "t.parquet")])
    path = tmp_path / f"t.{form if form in ('csv', 'tsv') else 'any'}"
    if form in ("csv", "tsv"):
        write(table, path)
    elif form == "semicolon":  # as spreadsheets of many countries write it
        text = table.to_csv(index=False, sep=";", decimal=",").replace("\n", "\r\n")
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    elif form == "gzip":
        path.write_bytes(gzip.compress(table.to_csv(index=False).encode()))
    elif form == "excel":
        path.write_bytes(table.to_csv(index=False, sep="\t").encode("utf-16"))
    else:  # seeds as tables with gaps write them, and spaces after commas
        lines = table.assign(seed=table["seed"].astype(float)).to_csv(index=False).splitlines()
        path.write_text("\n".join(line.replace(",", ", ") for line in lines))
    _, found, *_ = judge_tables([str(path)])
    assert plain(found) == plain(expected)


def test_chunks_of_seeds_and_the_order_of_rows_change_nothing(tmp_path: Path) -> None:
    _, expected, *_ = judge_tables([write(GAIN, tmp_path / "t.parquet")])
    mixed = GAIN.sample(frac=1, random_state=3)
    first, second = mixed[mixed["seed"] < 2], mixed[mixed["seed"] >= 2]
    chunks = [
        write(second[COLUMNS[::-1]], tmp_path / "b.csv"),
        write(first, tmp_path / "a.parquet"),
    ]
    _, found, *_ = judge_tables(chunks)
    assert found["verdict"] == expected["verdict"]
    assert found["contrasts"] == expected["contrasts"]


def test_classes_named_by_numbers_and_na(tmp_path: Path) -> None:
    table = draw(classes=("0", "NA"))
    _, found, *_ = judge_tables([write(table, tmp_path / "t.csv")])
    assert found["classes"] == ["0", "NA"]
    assert found["positive_class"] == "NA"  # 0 is the absence of disease
    assert found["verdict"]["verdict"] == "real gain"


def test_dictionary_columns_and_32_bits(tmp_path: Path) -> None:
    table = GAIN.astype(dict.fromkeys(["model", "arm", "label", "image_id"], "category"))
    table = table.astype({"p_normal": np.float32, "p_osteoporosis": np.float32})
    table.loc[0, ["p_normal", "p_osteoporosis"]] = [-1e-7, np.nextafter(np.float32(1), 2)]
    _, found, *_ = judge_tables([write(table, tmp_path / "t.parquet")])
    assert found["verdict"]["verdict"] == "real gain"


def test_three_classes(judge: Judge) -> None:
    table = GAIN.rename(columns={"p_osteoporosis": "p_b"}).assign(p_c=0.0)
    rng = np.random.default_rng(0)
    third = dict(
        zip(table["image_id"].unique(), rng.random(table["image_id"].nunique()), strict=True)
    )
    is_c = (table["label"] == "osteoporosis") & (table["image_id"].map(third) < 0.5)
    table["label"] = np.where(is_c, "c", np.where(table["label"] == "normal", "normal", "b"))
    share = np.where(is_c, 0.7, 0.3)
    table["p_c"], table["p_b"] = table["p_b"] * share, table["p_b"] * (1 - share)
    found = judge(table)
    assert found["classes"] == ["b", "c", "normal"]
    assert found["verdict"]["verdict"] in ("real gain", "inconclusive", "equivalent")
    assert found["contrasts"][0]["n_seeds"] == N_SEEDS


def test_object_storage(
    s3_server: str, s3_keys: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import boto3

    boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1").create_bucket(
        Bucket="judged"
    )
    options = f"?endpoint_override={quote(s3_server, safe='')}&scheme=http"
    for form in ("csv", "parquet"):
        local, out = tmp_path / f"t.{form}", f"s3://judged/{form}-out{options}"
        table = locate(f"s3://judged/tables/t.{form}{options}")
        write(GAIN, local)
        assert isinstance(table, RemotePath)
        table.write_bytes(local.read_bytes())
        for _ in range(2):  # an earlier judgement is replaced there, too
            assert main(["judge", str(table), "--out", out]) == 0, capfd.readouterr()
        _, expected, *_ = judge_tables([str(local)])
        assert plain(read_json(locate(out) / "comparison.json")) == json.loads(
            json.dumps(plain(expected))
        )
    (locate(f"s3://judged/csv-out{options}") / "more.txt").write_text("mine")
    assert main(["judge", str(local), "--out", f"s3://judged/csv-out{options}"]) == 2
    assert main(["judge", f"s3://judged/nothing.csv{options}", "--out", str(tmp_path / "o")]) == 2


# Which error decides


def first(comparison: dict[str, Any]) -> dict[str, Any]:
    return dict(comparison["contrasts"][0])


def test_two_way_error_decides_where_the_training_set_is_unknown(judge: Judge) -> None:
    unknown = judge(GAIN)
    assert {row["inference"] for row in unknown["contrasts"]} == {"two-way"}
    assert first(unknown)["p_corrected_t"] is None  # it cannot be corrected
    assert first(unknown)["low"] is None
    assert first(unknown)["decisive_low"] < first(unknown)["difference"]
    for row in unknown["arms"]:
        auc, mcc = row["metrics"]["auc"], row["metrics"]["mcc"]
        assert (mcc["low"], mcc["note"]) == (
            None,
            "No interval: the size of the training sets is unknown.",
        )
        assert auc["low"] < auc["mean"] < auc["high"]  # the two-way one
        assert auc["note"] is None
    small = judge(GAIN, "--n-train", "60")  # two test images for each that is trained on
    assert small["n_train"] == 60
    assert first(small)["inference"] == "corrected t"
    assert first(small)["p_decisive"] > first(unknown)["p_decisive"]
    differences = np.array(first(small)["differences"])
    error = differences.std(ddof=1) * np.sqrt(1 / N_SEEDS + N_TEST / 60)
    from scipy import stats

    assert first(small)["p_decisive"] == pytest.approx(
        2 * stats.t.sf(abs(differences.mean()) / error, N_SEEDS - 1), rel=1e-9
    )


def test_two_way_error_decides_where_all_seeds_test_the_same_images(judge: Judge) -> None:
    table = draw(fixed=True)
    unknown, known = judge(table), judge(table, "--n-train", "10000")
    assert known["n_train"] == 10_000
    assert {row["inference"] for row in known["contrasts"]} == {"two-way"}
    assert first(known)["p_decisive"] == first(unknown)["p_decisive"]
    # Nothing beside the verdict rests on the corrected t, which would be far too sure.
    assert first(known) == first(unknown)
    names = ("low", "p_corrected_t", "p_equivalence", "probability_better", "smallest_detectable")
    assert [first(known)[name] for name in (*names, "seeds_needed")] == [None] * 6
    assert known["fixed_test_set"] is unknown["fixed_test_set"] is True
    assert judge(GAIN, "--n-train", "10000")["fixed_test_set"] is False


def test_intervals_of_arms_on_one_test_set_are_two_way_ones(judge: Judge, tmp_path: Path) -> None:
    arms = {"original": SimulatedArm(0.80, 0.001), "lime": SimulatedArm(0.90, 0.001)}
    table = draw(arms, fixed=True, n_seeds=10)
    found = judge(table, "--n-train", "10000", page=True)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "ROC curves on test images" in page
    assert "Band: interval of the mean" not in page
    assert "All seeds test the same images, so the two-way error" in page
    rng = np.random.default_rng(0)
    for row in found["arms"]:
        # Trainings have no luck here, so the images alone are resampled, by hand.
        part = table[table["arm"] == row["arm"]].sort_values(["seed", "image_id"])
        scores = part["p_osteoporosis"].to_numpy().reshape(10, N_IMAGES)
        truth = (part["label"].to_numpy() == "osteoporosis")[:N_IMAGES]
        means = []
        for _ in range(200):
            at = rng.integers(N_IMAGES, size=N_IMAGES)
            means.append(np.mean([roc_auc_score(truth[at], one[at]) for one in scores]))
        auc, mcc = row["metrics"]["auc"], row["metrics"]["mcc"]
        half = 2.054 * np.std(means)  # of the level of 96 %
        assert (auc["high"] - auc["low"]) / 2 == pytest.approx(half, rel=0.15)
        assert mcc["low"] is None
        assert mcc["note"] == "No interval: all seeds test the same images."
    judge(draw(arms, n_seeds=10), "--n-train", "380", page=True)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Band: interval of the mean" in page
    assert "The more cautious of the two-way error" in page


def test_training_sets_are_counted_in_rows_of_split_train(judge: Judge) -> None:
    rows = train_rows(GAIN, 90)  # without probabilities: they are only counted
    counted = judge(pd.concat([GAIN, rows]))
    assert counted["n_train"] == rows.groupby(["seed", "arm"])["image_id"].nunique().mean()
    stated = judge(GAIN, "--n-train", str(counted["n_train"]))
    assert counted["contrasts"] == stated["contrasts"]
    assert judge(pd.concat([GAIN, rows]), "--n-train", "60")["n_train"] == 60


def test_copies_of_test_images_in_training_are_leakage(judge: Judge) -> None:
    rows = train_rows(GAIN, 90)
    assert judge(pd.concat([GAIN, rows]))["copies_leak"] is False  # and the gain is not memory
    seen, tested = rows["image_id"].iloc[0], GAIN["image_id"].iloc[0]
    together = pd.concat([GAIN, rows])
    together["group"] = together["image_id"].replace({seen: "pair", tested: "pair"})
    found = judge(together, "--n-train", "2000")
    assert found["copies_leak"] is True
    assert found["verdict"]["verdict"] == "leakage"
    # Nobody said how the tables were split.
    assert "the training set, so all figures also measure what was" in found["verdict"]["reason"]
    assert "Copies of test images" in found["verdict"]["reason"]


def test_groups_keep_copies_together(judge: Judge) -> None:
    # Every image four times says no more than once, if the table says which belong together.
    table = draw(fixed=True)
    copies = [table.assign(image_id=table["image_id"] + f"-{number}") for number in range(4)]
    once = first(judge(table))
    apart = first(judge(pd.concat(copies)))
    grouped = first(judge(pd.concat([one.assign(group=table["image_id"]) for one in copies])))
    assert apart["difference"] == pytest.approx(once["difference"], abs=1e-9)
    once_width, apart_width, grouped_width = (
        row["decisive_high"] - row["decisive_low"] for row in (once, apart, grouped)
    )
    assert apart_width < 0.75 * once_width
    assert grouped_width == pytest.approx(once_width, rel=0.1)


@pytest.mark.parametrize(("n_patients", "verdict"), [(9, "inconclusive"), (10, "real gain")])
def test_few_patients_settle_nothing(judge: Judge, n_patients: int, verdict: str) -> None:
    """Of the class that has fewest; the others may have as many as they like."""
    numbers = GAIN["image_id"].str[-6:].astype(int)
    few = GAIN["label"] + (numbers % n_patients).astype(str)
    table = GAIN.assign(group=few.where(GAIN["label"] == "normal", GAIN["image_id"]))
    found = judge(table)["verdict"]
    assert found["verdict"] == verdict
    assert (f"only {n_patients} groups of images" in found["reason"]) == (n_patients < 10)


def test_patients_are_counted_over_all_seeds(judge: Judge) -> None:
    """Even seeds test some normal patients, and odd ones the others: ten in all."""
    patient = GAIN["image_id"].str[-6:].astype(int) % 10
    normal = GAIN["label"] == "normal"
    kept = ~normal | ((patient < 5) == (GAIN["seed"] % 2 == 0))
    group = ("normal " + patient.astype(str)).where(normal, GAIN["image_id"])
    assert "groups of images" not in judge(GAIN.assign(group=group)[kept])["verdict"]["reason"]
    fewer = kept & ~(normal & (patient == 9))
    assert "only 9 groups of images" in judge(GAIN.assign(group=group)[fewer])["verdict"]["reason"]


def test_seeds_that_repeat_another_are_no_evidence(judge: Judge) -> None:
    first_seed = GAIN[GAIN["seed"] == 0]
    table = pd.concat([first_seed.assign(seed=seed) for seed in range(N_SEEDS)])
    found = judge(table)["verdict"]
    assert found["verdict"] == "inconclusive"
    assert "seeds 1, 2, 3, 4, 5 of lime repeat the predictions" in found["reason"]


def test_images_without_a_group_stand_alone(judge: Judge, tmp_path: Path) -> None:
    """However tables write that nothing is known."""
    number = GAIN["image_id"].str[-6:].astype(int)
    known = number % 3 == 0  # the others are of no patient
    expected = judge(GAIN.assign(group=("p" + number.astype(str)).where(known, None)))
    for nothing in ("", " "):
        text = ("p" + number.astype(str)).where(known, nothing)
        assert judge(GAIN.assign(group=text))["contrasts"] == expected["contrasts"]
    path = tmp_path / "nan.parquet"
    columns = {name: pa.array(GAIN[name].tolist()) for name in COLUMNS}
    gaps = pa.array(number.where(known, np.nan).to_numpy(float), from_pandas=False)
    pq.write_table(pa.table(columns | {"group": gaps}), path)
    assert main(["judge", str(path), "--out", str(tmp_path / "nan")]) == 0
    assert read_json(tmp_path / "nan" / "comparison.json")["contrasts"] == expected["contrasts"]


def test_seed_without_a_class_is_named(judge: Judge) -> None:
    table = GAIN[(GAIN["seed"] != 2) | (GAIN["label"] == "normal")]
    found = judge(table)["verdict"]
    assert found["verdict"] == "inconclusive"
    assert "undefined on seed 2" in found["reason"]


def test_one_training_under_other_names_of_images(judge: Judge) -> None:
    first_seed = GAIN[GAIN["seed"] == 0]
    parts = [
        first_seed.assign(seed=seed, image_id=first_seed["image_id"] + f"_{seed}")
        for seed in range(N_SEEDS)
    ]
    found = judge(pd.concat(parts))["verdict"]
    assert found["verdict"] == "inconclusive"
    assert "repeat the predictions" in found["reason"]


def exchange(table: pd.DataFrame, rows: "pd.Series[bool]") -> pd.DataFrame:
    """Exchange the columns of both classes in some rows."""
    columns, changed = ["p_normal", "p_osteoporosis"], table.copy()
    changed.loc[rows, columns] = table.loc[rows, columns[::-1]].to_numpy()
    return changed


def test_exchanged_columns_are_no_gain(judge: Judge) -> None:
    found = judge(exchange(GAIN, GAIN["arm"] == "original"))["verdict"]
    assert found["verdict"] == "inconclusive"
    assert "wrong way round (original: AUC 0.193" in found["reason"]


def test_columns_exchanged_on_half_of_the_seeds_are_no_gain(judge: Judge) -> None:
    equal = draw({name: SimulatedArm(0.8, 0.02) for name in ("original", "lime")}, n_seeds=10)
    worse = (equal["arm"] == "original") & (equal["seed"] % 2 == 0)
    found = judge(exchange(equal, worse))["verdict"]
    assert found["verdict"] == "inconclusive"
    assert "wrong way round (original on seeds 0, 2, 4, 6, 8: AUC 0." in found["reason"]


# Roles, models, seeds


def test_arms_of_ones_own(judge: Judge) -> None:
    names = {"original": "plain", "lime": "ours", "random_mask": "noise"}
    table = GAIN[GAIN["arm"].isin(names)].assign(arm=lambda t: t["arm"].map(names))
    flags = ["--baseline", "plain", "--judged", "ours"]
    found = judge(table, *flags, "--controls", "noise")
    assert (found["baseline"], found["judged"]) == ("plain", "ours")
    assert found["verdict"]["verdict"] == "real gain"
    assert found["verdict"]["reason"].startswith("The change from plain to ours makes the class")
    assert "noise does not share the gain" in found["verdict"]["reason"]
    assert first(found)["difference"] == first(judge(GAIN))["difference"]
    alone = judge(table[table["arm"] != "noise"], *flags)
    assert alone["verdict"]["verdict"] == "real gain"
    assert "No control was given" in " ".join(alone["verdicts"][0]["remarks"])
    other = judge(table, "--baseline", "noise", "--judged", "ours", "--controls", "plain")
    assert (other["judged"], other["baseline"]) == ("ours", "noise")


def test_named_control_that_does_as_well(judge: Judge) -> None:
    arms = {"original": 0.75, "ours": 0.9, "coin": 0.9}
    table = draw({name: SimulatedArm(auc, 0.02) for name, auc in arms.items()})
    found = judge(table, "--judged", "ours", "--controls", "coin")
    assert found["verdict"]["verdict"] == "explained by a control"
    assert found["verdict"]["next"] == "Do not credit ours with it: coin does without."
    worse = judge(table, "--baseline", "ours", "--judged", "original", "--controls")
    assert worse["verdict"]["verdict"] == "real loss"
    assert worse["verdict"]["reason"].startswith("The change from ours to original makes the clas")
    assert worse["verdict"]["next"] == "Keep ours."
    same = judge(table, "--baseline", "ours", "--judged", "coin", "--margin", "0.2", "--controls")
    assert same["verdict"]["verdict"] == "equivalent"
    assert "it changes nothing that matters" in same["verdict"]["reason"]
    assert judge(table, "--judged", "ours")["verdict"]["verdict"] == "real gain"
    assert judge(table, "--judged", "ours", "--controls")["verdict"]["verdict"] == "real gain"


def test_single_other_arm_is_judged_without_being_named(judge: Judge) -> None:
    arms = {"original": SimulatedArm(0.75, 0.02), "ours": SimulatedArm(0.9, 0.02)}
    found = judge(draw(arms))
    assert (found["judged"], found["verdict"]["verdict"]) == ("ours", "real gain")


def test_shuffled_labels_may_differ_from_the_true_ones(judge: Judge) -> None:
    shuffled = draw({"permuted_labels": SimulatedArm(0.5, 0.02)}, number=1)
    rng = np.random.default_rng(4)
    shuffled["label"] = rng.permutation(shuffled["label"])
    shuffled = shuffled[shuffled["image_id"].isin(GAIN["image_id"])]
    found = judge(pd.concat([GAIN, shuffled]))
    assert found["verdict"]["verdict"] == "real gain"
    assert found["shuffled"]["permuted_labels"]["net"] > 0.05


def test_model_with_fewer_seeds_and_arms_is_judged_by_what_it_has(judge: Judge) -> None:
    other = GAIN.assign(model="other")
    other = other[(other["seed"] < 4) & (other["arm"] != "silhouette")]
    found = judge(pd.concat([GAIN, other]))
    verdicts = {row["model"]: row for row in found["verdicts"]}
    assert verdicts["net"]["verdict"] == "real gain"
    assert verdicts["other"]["verdict"] == "inconclusive"  # a control is missing on all its seeds
    assert "silhouette lacks seeds 0, 1, 2, 3." in verdicts["other"]["reason"]
    assert found["seeds_of_model"] == {"other": [0, 1, 2, 3]}


def test_seeds_of_any_arm_are_planned_for_all(judge: Judge) -> None:
    found = judge(GAIN[(GAIN["arm"] != "lime") | (GAIN["seed"] != 5)])
    assert found["verdict"]["verdict"] == "inconclusive"
    assert "lime: seed 5" in found["verdict"]["reason"]


def test_models_are_corrected_for_one_another(judge: Judge) -> None:
    alone, both = judge(GAIN), judge(pd.concat([GAIN, GAIN.assign(model="again")]))
    assert [row["verdict"] for row in both["verdicts"]] == ["real gain"] * 2
    assert first(both)["p_holm"] == pytest.approx(2 * first(alone)["p_decisive"])


def test_images_that_are_numbered_are_the_same_beside_gaps(tmp_path: Path) -> None:
    """Tables of seeds whose images are called 7 and 7.0 test the same images."""
    table = draw({name: ARMS[name] for name in ("original", "lime")}, fixed=True, n_seeds=4)
    table["image_id"] = table["image_id"].str.removeprefix("image-").astype(int)
    late = table["seed"] >= 2
    paths = [write(table[~late], tmp_path / "one.csv")]
    paths.append(write(table[late].astype({"image_id": float}), tmp_path / "other.csv"))
    assert "7.0," in Path(paths[1]).read_text()
    apart, whole = judge_tables(paths)[1], judge_tables([write(table, tmp_path / "all.csv")])[1]
    assert apart["fixed_test_set"] is whole["fixed_test_set"] is True
    assert apart["verdict"] == whole["verdict"]


@pytest.mark.parametrize(("n_groups", "models", "verdict"), [
    (58, "a", "inconclusive"), (59, "a", "equivalent"),
    (68, "ab", "inconclusive"), (69, "ab", "equivalent"),
])  # fmt: skip
def test_equivalence_is_corrected_over_models(
    judge: Judge, n_groups: int, models: str, verdict: str
) -> None:
    """By hand: .03 holds 1.751 standard errors of 1/59 (4 %), and 2.054 of 1/69 (2 %)."""
    n, parts = 2 * n_groups, []
    for model in models:
        rng = np.random.default_rng((n, *model.encode()))
        arms = {"original": SimulatedArm(0.9)}
        table = simulate_predictions(
            arms, [np.arange(n)] * 4, n_images=n, rng=np.random.default_rng(n), luck=rng
        )
        one = table.to_pandas().assign(model=model)
        parts += [one, one.assign(arm="lime")]
    found = judge(pd.concat(parts))
    assert {one["verdict"] for one in found["verdicts"]} == {verdict}
    if verdict == "inconclusive":
        assert f"it takes {n_groups + 1} groups" in found["verdict"]["reason"]


SIGNED = {one.name: one for one in SITUATIONS}


@pytest.mark.parametrize(
    "name",
    ["gain", "gain, training set unknown", "gain, fixed test set", "outline", "second training",
     "any crop", "memory", "loss", "noise, fixed test set", "control not planned",
     "control on 2 of 10 seeds", "gain beside a network of noise"],
)  # fmt: skip
def test_situations_whose_verdict_is_known(name: str, tmp_path: Path) -> None:
    situation = SIGNED[name]
    pq.write_table(draw_situation(situation, 0), tmp_path / "t.parquet")
    question = JudgeRequest(metric=situation.metric, n_train=situation.n_train)
    _, found, *_ = judge_tables([str(tmp_path / "t.parquet")], question)
    assert found["verdict"]["verdict"] in situation.right, found["verdict"]["reason"]


# The question


def test_earlier_looks_leave_less_of_alpha(judge: Judge) -> None:
    assert judge(GAIN)["alpha"] == pytest.approx(0.04)
    assert judge(GAIN, "--alpha", "0.01")["alpha"] == pytest.approx(0.008)
    found = judge(GAIN, "--looks", "2", "--alpha", "0.04")
    assert found["alpha"] == pytest.approx(0.04 * share_alpha(3))
    assert found["judgement"]["alpha"] == 0.04
    full, less = first(judge(GAIN)), first(judge(GAIN, "--looks", "1"))
    assert less["decisive_low"] < full["decisive_low"] < full["decisive_high"]


def test_conclusions_of_a_run_count_as_looks(judge: Judge, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    write(GAIN, run / "predictions.parquet")
    plain = judge_tables([str(run / "predictions.parquet")])[1]
    conclusion = {"number": 3, "planned_alpha": 0.1, "alpha": 0.1 * share_alpha(3), "earlier": []}
    record = {**plain, "alpha": conclusion["alpha"], "conclusion": conclusion}
    del record["judgement"]
    (run / "comparison.json").write_text(json.dumps(record))
    found = judge_tables([str(run)])[1]
    assert found["judgement"]["looks"] == 2
    assert found["judgement"]["alpha"] == 0.1
    assert found["alpha"] == pytest.approx(conclusion["alpha"])
    stated = judge_tables([str(run)], JudgeRequest(looks=0))[1]
    assert stated["alpha"] == pytest.approx(0.1 * share_alpha(1))
    # Another question is a conclusion after those that the run has drawn: three, or those kept.
    for other in (JudgeRequest(metric="mcc"), JudgeRequest(margin=0.1), JudgeRequest(alpha=0.09)):
        assert judge_tables([str(run)], other)[1]["judgement"]["looks"] == 3
    named = JudgeRequest(metric="auc", judged="lime", baseline="original", alpha=0.1)
    assert judge_tables([str(run)], named)[1]["judgement"]["looks"] == 2
    kept = [{"key": key, "verdict": "inconclusive"} for key in "abcde"]
    (run / "conclusions.json").write_text(json.dumps(kept))
    assert judge_tables([str(run)])[1]["judgement"]["looks"] == 2
    assert judge_tables([str(run)], JudgeRequest(metric="mcc"))[1]["judgement"]["looks"] == 5


def test_looks_that_a_run_planned_leave_as_much_as_they_left_it(judge: Judge, tmp_path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    write(GAIN, run / "predictions.parquet")
    conclusion = {"number": 1, "planned_alpha": 0.05, "alpha": 0.034, "earlier": []}
    record = {**judge(GAIN), "alpha": 0.034, "conclusion": conclusion}
    del record["judgement"]
    record["looks"] = [{"number": 2, "alpha_share": 0.85}]  # 0.8 × 0.85 × 0.05 = 0.034
    (run / "comparison.json").write_text(json.dumps(record))
    assert judge_tables([str(run)])[1]["alpha"] == pytest.approx(0.034)


def test_judgement_that_is_judged_again_has_the_looks_it_had(judge: Judge, tmp_path: Path) -> None:
    first_time = judge(GAIN, "--looks", "3")
    again = judge_tables([str(tmp_path / "out")])[1]
    assert again["alpha"] == first_time["alpha"] == pytest.approx(0.05 * share_alpha(4))
    other = judge_tables([str(tmp_path / "out")], JudgeRequest(metric="mcc"))[1]
    assert other["alpha"] == pytest.approx(0.05 * share_alpha(5))


# Sites


def put_at_sites(table: pd.DataFrame, turned: str = "") -> pd.DataFrame:
    """Put a third of the images at each of three sites; at one of them, swap the two arms."""
    numbers = table["image_id"].str.removeprefix("image-").astype(int)
    table = table.assign(site=numbers.map(lambda number: "ABC"[number % 3]))
    swapped = {"original": "lime", "lime": "original"}
    there = table["site"] == turned
    return table.assign(arm=table["arm"].where(~there, table["arm"].replace(swapped)))


def test_gain_at_each_site_by_hand(judge: Judge) -> None:
    table = put_at_sites(GAIN[GAIN["arm"].isin(["original", "lime"])])
    found = judge(table)
    assert [one["site"] for one in found["sites"]] == ["A", "B", "C"]
    for one in found["sites"]:
        part = table[(table["site"] == one["site"]) & (table["split"] == "test")]
        assert one["n_images"] == part["image_id"].nunique()
        aucs = part.groupby(["arm", "seed"]).apply(
            lambda rows: roc_auc_score(rows["label"] == "osteoporosis", rows["p_osteoporosis"]),
            include_groups=False,
        )
        assert one["difference"] == pytest.approx((aucs["lime"] - aucs["original"]).mean())
        assert one["low"] < one["difference"] < one["high"]
        assert one["n_seeds"] == N_SEEDS
    whole = first(found)
    assert found["sites"][0]["high"] - found["sites"][0]["low"] > (
        whole["decisive_high"] - whole["decisive_low"]
    )
    (verdict,) = found["verdicts"]
    assert any("By site, the differences lie between +0." in one for one in verdict["remarks"])


def test_intervals_at_all_sites_of_all_models_hold_together(judge: Judge) -> None:
    """By Bonferroni: of three sites and two models, each has a sixth of the error rate."""
    table = put_at_sites(GAIN[GAIN["arm"].isin(["original", "lime"])])
    sixth = judge(table, "--alpha", "0.03")["sites"]
    found = judge(pd.concat([table, table.assign(model="other")]), "--alpha", "0.06")["sites"]
    ends = {(one["site"], one["low"], one["high"]) for one in found}
    assert ends == {(one["site"], one["low"], one["high"]) for one in sixth}


def test_gain_that_turns_round_at_a_site_is_told(judge: Judge, tmp_path: Path) -> None:
    arms = {"original": SimulatedArm(0.75, 0.01), "lime": SimulatedArm(0.97, 0.01)}
    found = judge(put_at_sites(draw(arms), turned="B"), page=True)
    (verdict,) = found["verdicts"]
    (said,) = [one for one in verdict["remarks"] if one.startswith("It differs by site")]
    assert "worse at B (−0.1" in said
    assert "better at" in said
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Site by site" in page
    assert found["verdict"]["remarks"] == verdict["remarks"]
    for remark in verdict["remarks"]:  # each once, the labels of arms in the place of their names
        assert page.count(escape(label_words(remark))) == 1


def test_sites_are_left_out_where_there_are_not_two(judge: Judge) -> None:
    for table in (GAIN, GAIN.assign(site="A"), GAIN.assign(site=None)):
        found = judge(table)
        assert found["sites"] == []
        assert not any("site" in remark for remark in found["verdicts"][0]["remarks"])


def test_image_of_two_sites_is_refused(refuse: Refuse) -> None:
    table = GAIN.assign(site=["A", *["B"] * (len(GAIN) - 1)])
    told = refuse(table)
    assert "one site per image, but image" in told
    assert "is from A and B" in told


def test_margin_is_that_of_the_endpoint_or_as_stated(judge: Judge) -> None:
    found = judge(GAIN)
    assert (found["margin"], found["stated_margin"]) == (0.03, None)
    assert "The margin is 0.03 (the default margin)" in found["verdict"]["reason"]
    stated = judge(GAIN, "--margin", "0.2")
    assert stated["verdict"]["verdict"] == "equivalent"
    assert "your margin" in stated["verdict"]["reason"]
    relative = judge(GAIN, "--metric", "brier")
    base = next(row for row in relative["arms"] if row["arm"] == "original")
    assert relative["margin"] == pytest.approx(0.1 * base["metrics"]["brier"]["mean"])


def test_margin_of_an_error_is_that_of_each_model(judge: Judge, tmp_path: Path) -> None:
    table = pd.concat([GAIN, draw({arm: SimulatedArm(0.95) for arm in ARMS}, model="other")])
    found = judge(table, "--metric", "brier", "--n-train", "300", page=True)
    test = table.assign(error=(table["p_osteoporosis"] - (table["label"] == "osteoporosis")) ** 2)
    brier = test.groupby(["model", "arm", "seed"])["error"].mean()
    sizes = Sizes(n_test=N_TEST, n_train=300)
    margins = {}
    for row in found["contrasts"]:
        model = row["model"]
        margins[model] = 0.1 * brier[model, "original"].mean()
        assert row["margin"] == pytest.approx(margins[model])
        gains = (brier[model, row["baseline"]] - brier[model, row["arm"]]).to_numpy()
        assert row["p_equivalence"] == pytest.approx(equivalence_p(gains, margins[model], sizes))
    assert found["margin"] == max(row["margin"] for row in found["contrasts"])
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert margins["net"] > 2 * margins["other"]
    said = ", ".join(f"{100 * margin:.3g} ({model})" for model, margin in margins.items())
    assert f"the margin, ± {said} points" in page


def test_spelling_of_classes_does_not_decide(judge: Judge) -> None:
    flags = ("--metric", "sensitivity_at_specificity_90")
    expected = judge(GAIN, *flags)
    renamed = draw(classes=("healthy", "fracture"))
    found = judge(renamed, *flags)
    assert found["positive_class"] == "fracture"
    assert first(found)["differences"] == first(expected)["differences"]
    given = judge(renamed, *flags, "--positive-class", "healthy")
    assert given["positive_class"] == "healthy"
    assert first(given)["differences"] != first(expected)["differences"]


# The run of an earlier version


@pytest.fixture
def old_run(tmp_path: Path) -> Path:
    import tarfile

    with tarfile.open(Path(__file__).with_name("old_run.tar.xz")) as archive:
        archive.extractall(tmp_path / "old", filter="data")
    return tmp_path / "old" / "run"


def analyse_run(root: Path) -> dict[str, Any]:
    """Analyse a run as it was planned, and draws its first conclusion."""
    from osteo_ray.base.tables import read_table
    from osteo_ray.config.build import build, read_yaml
    from osteo_ray.config.compare import CompareConfig
    from osteo_ray.experiment.analysis import Analysis
    from osteo_ray.experiment.comparison import analyse
    from osteo_ray.experiment.dataset import read_dataset
    from osteo_ray.experiment.trials import describe_experiment

    run = Run(root)
    config = build(CompareConfig, {**read_yaml(run.config), "out": str(root)})
    experiment = describe_experiment(run, config, read_dataset(run, config))
    images = pd.DataFrame({"image_id": experiment.image_ids, "group": experiment.groups})
    analysis = Analysis.of(experiment)
    analysis = replace(analysis, alpha=analysis.alpha * share_alpha(1))
    _, comparison = analyse(read_table(run.predictions), images, analysis)
    return comparison


def test_tables_of_a_run_give_what_the_run_gives(old_run: Path, tmp_path: Path) -> None:
    expected = analyse_run(old_run)
    assert main(["judge", str(old_run), "--out", str(tmp_path / "out")]) == 0
    found = read_json(tmp_path / "out" / "comparison.json")
    found["roles"] = expected["roles"] = None
    assert plain(found) == json.loads(json.dumps(expected))
    # The run's own files stay as they are, and are no place for a judgement.
    assert main(["judge", str(old_run), "--out", str(old_run)]) == 2


def test_tables_of_a_run_without_its_comparison(old_run: Path) -> None:
    expected = analyse_run(old_run)
    for path in old_run.iterdir():
        if path.is_file() and path.name not in (
            "predictions.parquet",
            "images.parquet",
            "splits.parquet",
        ):
            path.unlink()
    _, found, *_ = judge_tables([str(old_run)], JudgeRequest(metric="accuracy", margin=0.03))
    for key in ("verdict", "verdicts", "shares", "n_train", "n_test", "copies_leak"):
        assert found[key] == expected[key], key

    def by_pair(comparison: dict[str, Any]) -> dict[tuple[str, str], Any]:
        return {(row["arm"], row["baseline"]): row for row in comparison["contrasts"]}

    # The p of the t-test is corrected over the contrasts in their order; all else is the same.
    assert by_pair(found) == by_pair(expected)


def test_margin_that_a_run_did_not_state_is_the_default_again(old_run: Path) -> None:
    record = read_json(old_run / "comparison.json")
    for stated, words in ((None, "the default margin"), (0.2, "your margin of 20 % of")):
        newer = {**record, "metric": "brier", "margin": 0.0247, "stated_margin": stated}
        (old_run / "comparison.json").write_text(json.dumps(newer))
        _, found, *_ = judge_tables([str(old_run)])
        assert found["stated_margin"] == stated
        assert found["margin_in_words"].startswith(words)


def test_seed_that_a_run_planned_and_nothing_is_left_of(old_run: Path) -> None:
    record = read_json(old_run / "comparison.json")
    (old_run / "comparison.json").write_text(json.dumps({**record, "seeds": [0, 1, 2]}))
    _, found, *_ = judge_tables([str(old_run)])
    assert found["verdict"]["verdict"] == "inconclusive"
    assert "lime_crossfit: seed 2; original: seed 2" in found["verdict"]["reason"]


def test_copies_in_the_splits_of_a_run_are_seen(old_run: Path) -> None:
    (old_run / "comparison.json").unlink()
    images = pd.read_parquet(old_run / "images.parquet").assign(group=1)
    images.to_parquet(old_run / "images.parquet")
    assert judge_tables([str(old_run)])[1]["copies_leak"] is True


def test_runs_that_were_planned_otherwise_must_be_told_what_counts(
    old_run: Path, tmp_path: Path
) -> None:
    import shutil

    other = tmp_path / "other"
    shutil.copytree(old_run, other)
    record = read_json(other / "comparison.json")
    (other / "comparison.json").write_text(json.dumps({**record, "metric": "auc"}))
    table = pd.read_parquet(other / "predictions.parquet")
    table.assign(seed=table["seed"] + 10).to_parquet(other / "predictions.parquet")
    paths = [str(old_run), str(other)]
    with pytest.raises(InputError, match=r"their metric is accuracy and auc. Say by --metric"):
        judge_tables(paths)
    _, found, *_ = judge_tables(paths, JudgeRequest(metric="auc"))
    assert found["seeds"] == [0, 1, 10, 11]


@pytest.mark.parametrize("name", ["images.parquet", "splits.parquet", "comparison.json"])
def test_run_with_a_broken_table(old_run: Path, name: str, refuse: Refuse) -> None:
    (old_run / name).write_bytes(b"[broken")
    assert f"Expected {old_run} to be a run directory, but a table" in refuse(str(old_run))


# Bad input


def change(column: str, value: Any, rows: slice = slice(7, 8)) -> pd.DataFrame:
    table = GAIN.astype({column: object}) if column == "seed" else GAIN.copy()
    table.loc[rows, column] = value
    return table


def test_missing_column_is_named_with_the_nearest(refuse: Refuse) -> None:
    printed = refuse(GAIN.rename(columns={"image_id": "image"}))
    assert "image_id is missing" in printed
    assert "Did you mean `image`?" in printed
    assert "table0.csv" in printed
    printed = refuse(GAIN.drop(columns=["split", "label"]))
    assert "split, label are missing" in printed


def test_one_probability_is_not_enough(refuse: Refuse) -> None:
    printed = refuse(GAIN.drop(columns="p_normal"))
    assert "add a column for the other class with 1 - p" in printed


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (change("p_normal", 0.9999), ["add up to 1", "p_normal 0.9999", "row 8", "image-"]),
        (GAIN.assign(p_value=0.03), ["add up to 1", "that of p_value: rename what is of no class"]),
        (GAIN.assign(p_name="x"), ["numbers in the column p_name", "if it is none of a class"]),
        (change("p_normal", -0.5), ["between 0 and 1", "p_normal -0.5", "row 8", "softmax"]),
        (change("p_normal", 40.0), ["between 0 and 1", "not scores or percentages"]),
        (change("p_normal", np.nan), ["a number in every p_CLASS", "nan", "row 8"]),
        (change("p_normal", np.inf), ["a number in every p_CLASS", "inf", "row 8"]),
        (change("label", None), ["label is empty in row 8", "Fill it in"]),
        (change("arm", ""), ["arm is empty in row 8"]),
        (change("arm", "  "), ["arm is empty in row 8"]),
        (change("seed", "one"), ["whole numbers in the column seed", "`one` in row 8"]),
        (change("seed", 0.5), ["whole numbers in the column seed", "`0.5` in row 8"]),
        (change("split", "tset"), ["`tset` in row 8", "Did you mean `test`?"]),
        (change("label", "osteoporoses"), ["`osteoporoses`", "Did you mean `osteoporosis`?"]),
        (GAIN.assign(split="validation"), ["no row has the split `test`"]),
        (GAIN[:0], ["the table has no rows"]),
        (GAIN[GAIN["seed"] == 3], ["two or more seeds", "1 (seed 3)", "Train again"]),
        (GAIN[GAIN["arm"] != "original"], ["the baseline `original`", "net", "--baseline"]),
        (GAIN[GAIN["arm"] == "original"], ["two or more arms", "found only original"]),
        (pd.concat([GAIN, GAIN[:1]]), ["one prediction per image", "a second one", "image-"]),
        (GAIN.drop(index=range(5)), ["tested on the same images", "original", "115 images"]),
    ],
)  # fmt: skip
def test_values_that_cannot_be(table: pd.DataFrame, words: list[str], refuse: Refuse) -> None:
    printed = refuse(table)
    for word in ["Expected", *words]:
        assert word in printed


def test_image_with_two_labels(refuse: Refuse) -> None:
    label = {"normal": "osteoporosis", "osteoporosis": "normal"}[GAIN["label"][7]]
    printed = refuse(change("label", label))
    assert f"image {GAIN['image_id'][7]} has normal and osteoporosis (1 image in all)" in printed


def test_arms_that_were_trained_on_other_images(refuse: Refuse) -> None:
    few, many = train_rows(GAIN, 20), train_rows(GAIN, 90)
    unfair = pd.concat([GAIN, few[few["arm"] == "original"], many[many["arm"] != "original"]])
    printed = refuse(unfair)
    n_many, n_few = (
        int(((rows["arm"] == "lime") & (rows["seed"] == 0)).sum()) for rows in (many, few)
    )
    assert f"of net, seed 0, lime saw {n_many} and original saw {n_few}" in printed
    assert "train both on the same images" in printed
    # as many, but others
    other = many.reset_index(drop=True)
    moved = (other["arm"] == "lime") & (other["seed"] == 3)
    other.loc[moved.idxmax(), "image_id"] = "image-new"
    n_seen = int(moved.sum())
    printed = refuse(pd.concat([GAIN, other]))
    assert f"seed 3, lime saw {n_seen} and original saw {n_seen}" in printed


def test_test_images_that_also_validate(refuse: Refuse) -> None:
    validation = GAIN[GAIN["seed"] == 1].assign(split="validation").iloc[:5]
    printed = refuse(pd.concat([GAIN, validation]))
    assert "of net, seed 1, image image-" in printed
    assert "leave these rows of split validation out" in printed


def test_label_without_a_column(refuse: Refuse) -> None:
    table = GAIN.rename(columns={"p_osteoporosis": "p_osteopenia"})
    printed = refuse(table)
    assert "Expected labels among normal, osteopenia" in printed
    assert "found `osteoporosis`" in printed


def test_text_among_probabilities(refuse: Refuse) -> None:
    table = GAIN.astype({"p_normal": str})
    table.loc[7, "p_normal"] = "high"
    printed = refuse(table)
    assert "Expected numbers in the column p_normal" in printed
    assert "`high` in row 8" in printed


def test_image_in_two_groups(refuse: Refuse) -> None:
    table = GAIN.assign(group=GAIN["image_id"])
    table.loc[7, "group"] = "elsewhere"
    printed = refuse(table)
    assert "one group per image" in printed
    assert f"{GAIN['image_id'][7]} is in elsewhere and {GAIN['image_id'][7]}" in printed


def test_model_without_the_baseline(refuse: Refuse) -> None:
    other = GAIN[GAIN["arm"] != "original"].assign(model="other")
    printed = refuse(pd.concat([GAIN, other]))
    assert "the baseline `original` among the arms of other, but it has lime" in printed


def test_tables_that_do_not_go_together(refuse: Refuse, tmp_path: Path) -> None:
    other = draw(classes=("normal", "worn"))
    printed = refuse(GAIN, other)
    assert "table0.csv has normal, osteoporosis and" in printed
    assert "table1.csv has normal, worn" in printed
    printed = refuse(GAIN, GAIN)
    assert "Expected one prediction per image" in printed
    table = write(GAIN, tmp_path / "t.csv")
    assert f"got {table} 2 times" in refuse(table, table)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"\n\r\n", "it is empty"),
        (bytes(range(256)) * 20, "it is binary"),
        (b"PAR1 and nothing more", "Expected"),
        (b"\x1f\x8b and nothing more", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        ("größe,ä\n".encode("latin-1"), "utf-8"),
        (b"This is a letter, not a table.\n", "are missing"),
        (",".join(COLUMNS).encode() + b"\nnet,0,lime\n", "cannot be read"),
        (",".join([*COLUMNS, "label"]).encode() + b"\n", "each column once"),
        (b'{"model": "net"}', "are missing"),
        (b'"' + b"x" * 5000, "Expected"),
    ],
)
def test_files_that_are_no_tables(
    content: bytes, words: str, refuse: Refuse, tmp_path: Path
) -> None:
    for name in ("t.csv", "t.parquet"):
        (tmp_path / name).write_bytes(content)
        printed = refuse(str(tmp_path / name))
        assert words in printed
        assert name in printed


def test_files_that_are_not_there(refuse: Refuse, tmp_path: Path) -> None:
    assert "does not exist" in refuse(str(tmp_path / "nowhere.csv"))
    (tmp_path / "folder").mkdir()
    assert "is a folder without predictions.parquet" in refuse(str(tmp_path / "folder"))


def test_columns_of_other_types(refuse: Refuse, tmp_path: Path) -> None:
    table = pa.Table.from_pandas(GAIN, preserve_index=False)
    listed = table.set_column(6, "p_normal", pa.array([[0.5]] * len(table)))
    pq.write_table(listed, tmp_path / "t.parquet")
    assert "Expected numbers in the column p_normal" in refuse(str(tmp_path / "t.parquet"))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--judged", "limes"), ["--judged", "`limes`", "Did you mean `lime`?"]),
        (("--controls", "randommask"), ["--controls", "Did you mean `random_mask`?"]),
        (("--baseline", "orginal"), ["the baseline `orginal`", "Did you mean `original`?"]),
        (("--judged", "original"), ["`original` is the baseline"]),
        (("--controls", "lime"), ["`lime` is the arm that is judged"]),
        (("--metric", "recall"),
         ["calls everything positive", "take sensitivity_at_specificity_90"]),
        (("--metric", "calibration_error"), ["rewards a coin", "take brier"]),
        (("--metric", "acuracy"), ["Did you mean `accuracy`?"]),
        (("--positive-class", "osteoporose"), ["Did you mean `osteoporosis`?"]),
        (("--margin", "0"), ["--margin between 0 and 1", "got 0"]),
        (("--margin", "nan"), ["--margin between 0 and 1", "got nan"]),
        (("--alpha", "0.5"), ["--alpha between 0 and 0.5"]),
        (("--n-train", "0"), ["--n-train above 0"]),
        (("--looks", "-1"), ["--looks", "0 or more"]),
        (("--looks", "51"), ["--looks", "at most 50"]),
        (("--looks", "1000000000000"), ["--looks", "at most 50"]),
    ],
)  # fmt: skip
def test_questions_that_cannot_be_asked(
    flags: tuple[str, ...], words: list[str], refuse: Refuse
) -> None:
    printed = refuse(GAIN, flags=flags)
    for word in ["Expected", *words]:
        assert word in printed


def test_arms_that_do_not_tell_which_one_is_judged(refuse: Refuse) -> None:
    table = GAIN.assign(arm=GAIN["arm"].replace({"lime": "ours"}))
    table = table[table["arm"].isin(["original", "ours", "silhouette"])]
    assert "Name it by --judged" in refuse(table)


def test_positive_class_is_asked_for_where_it_matters(refuse: Refuse, judge: Judge) -> None:
    table = draw(classes=("left", "right"))
    printed = refuse(table, flags=("--metric", "pr_auc"))
    assert "--positive-class left or --positive-class right" in printed
    assert judge(table)["judgement"]["positive_class_basis"] == "assumed"
    found = judge(table, "--metric", "pr_auc", "--positive-class", "left")
    assert found["positive_class"] == "left"


def test_out_that_is_in_use(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    table = write(GAIN, tmp_path / "t.csv")

    def try_out(out: Path) -> str:
        assert main(["judge", table, "--out", str(out)]) == 2
        return "".join(capfd.readouterr())

    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").write_text("mine")
    assert "holds something else. Choose another --out" in try_out(tmp_path / "used")
    assert [path.name for path in (tmp_path / "used").iterdir()] == ["notes.txt"]
    (tmp_path / "run").mkdir()
    for content in ('{"verdict": 1}', "[broken", '{"judgement": 1}'):
        (tmp_path / "run" / "comparison.json").write_text(content)
        (tmp_path / "run" / "config.yaml").write_text("seeds: 2\n")
        assert "holds something else" in try_out(tmp_path / "run")
    (tmp_path / "run" / "config.yaml").unlink()
    for content in ("[broken", "5", '["judgement"]'):
        (tmp_path / "run" / "comparison.json").write_text(content)
        assert "holds something else" in try_out(tmp_path / "run")
    assert "t.csv is not a folder" in try_out(tmp_path / "t.csv")
    assert "t.csv is not a folder" in try_out(tmp_path / "t.csv" / "below")
    (tmp_path / "empty").mkdir()
    for _ in range(2):
        assert main(["judge", table, "--out", str(tmp_path / "empty")]) == 0
        (tmp_path / "empty" / ".DS_Store").touch()
        told = f"osteo-ray card {tmp_path / 'empty'}` writes them anew" in capfd.readouterr().out
        assert told == (tmp_path / "empty" / "card").exists()  # where `osteo-ray card` writes
        (tmp_path / "empty" / "card").mkdir(exist_ok=True)
    (tmp_path / "empty" / "notes.txt").write_text("mine")
    assert "holds something else" in try_out(tmp_path / "empty")


def test_a_folder_that_only_looks_like_a_judgement_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected a run whose comparison is finished"):
        write_report(Run(tmp_path))


@pytest.mark.parametrize("column", ["group", "site"])
def test_whole_numbers_with_gaps_are_those_without(tmp_path: Path, column: str) -> None:
    """As pandas writes 7 beside a gap: two files of one set must not count a patient twice."""
    table = GAIN.assign(**{column: GAIN["image_id"].str[-2:].astype(int)})
    plain = judge_tables([write(table, tmp_path / "plain.csv")], JudgeRequest())
    half = table["seed"] < 3
    gaps = table[~half].astype({column: float})
    files = [write(table[half], tmp_path / "a.csv"), write(gaps, tmp_path / "b.csv")]
    assert "7.0" in (tmp_path / "b.csv").read_text()
    both = judge_tables(files, JudgeRequest())
    assert both.comparison["verdicts"] == plain.comparison["verdicts"]
    assert both.images[column].nunique() == plain.images[column].nunique() == 100
