"""The numbers of docs/study.md come from the tables that are kept beside it, and nothing else."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score
from tiny_runs import Outcome

from benchmarks.study import PARTS, _tell_choices, keep_run, list_chunks, tell_study
from osteo_ray.base.errors import InputError

DOCS = Path(__file__).parents[1] / "docs"
STUDY = DOCS / "study"
CHUNKS = [path for part in PARTS for path in list_chunks(STUDY, part)]


def test_page_holds_what_the_tables_say() -> None:
    assert tell_study(STUDY) in (DOCS / "study.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("chunk", CHUNKS, ids=lambda path: path.name)
def test_chunk_was_run_as_planned_and_names_no_file(chunk: Path) -> None:
    (plan,) = json.loads((chunk / "plan.json").read_text())
    (line,) = [
        line
        for line in (DOCS / "study.md").read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| {chunk.name} |")
    ]
    assert line.endswith(f"| {plan['hash']} |")
    images = pq.read_table(chunk / "images.parquet")
    assert not {"path", "digest"} & set(images.column_names)
    for file in chunk.iterdir():
        content = file.read_bytes()
        assert b"/work" not in content, file
        assert b".jpg" not in content.lower(), file
        assert b".png" not in content.lower(), file


@pytest.mark.parametrize("chunk", CHUNKS, ids=lambda path: path.name)
def test_auc_of_the_page_by_scikit_learn(chunk: Path) -> None:
    frame = pq.read_table(chunk / "predictions.parquet").to_pandas()
    test = frame[(frame["split"] == "test") & frame["arm"].isin(["original", "lime"])]
    stored = pq.read_table(chunk / "results.parquet").to_pandas()
    stored = stored[stored["split"] == "test"].set_index(["arm", "seed"])["auc"]
    for (arm, seed), rows in test.groupby(["arm", "seed"]):
        auc = roc_auc_score(rows["label"] == "osteoporosis", rows["p_osteoporosis"])
        assert np.isclose(stored[arm, seed], auc), (arm, seed)


def test_luck_of_the_page_by_scikit_learn() -> None:
    frame = pq.read_table(STUDY / "variance" / "predictions.parquet").to_pandas()
    aucs = {
        key: roc_auc_score(rows["label"] == "osteoporosis", rows["p_osteoporosis"])
        for key, rows in frame[frame["split"] == "test"].groupby(["arm", "seed"])
    }
    gains = np.array([aucs["lime", run] - aucs["original", run] for run in range(11)])
    sds = [gains[[0, first, first + 1]].std(ddof=1) for first in range(1, 11, 2)]
    names = ("split", "initialisation", "order", "augmentation", "LIME's samples")
    told = ", ".join(f"{name} {sd:.3f}" for name, sd in zip(names, sds, strict=True))
    page = " ".join((DOCS / "study.md").read_text(encoding="utf-8").split())
    assert f"gain by source: {told}.".replace(" 0.", " .") in page
    assert f"goes from −{-gains.min():.2f} to +{gains.max():.2f} ".replace("0.", ".") in page
    assert (gains > 0.15).sum() == 3
    assert [f"{aucs['original', run]:.2f}" for run in (0, 8)] == ["0.79", "0.33"]


def test_grid_of_the_page_by_scikit_learn() -> None:
    """A classifier on the view that it was trained on is in the predictions, too."""
    aucs: dict[str, list[float]] = {}
    for chunk in list_chunks(STUDY, "clean"):
        frame = pq.read_table(chunk / "predictions.parquet").to_pandas()
        for (arm, _), rows in frame[frame["split"] == "test"].groupby(["arm", "seed"]):
            auc = roc_auc_score(rows["label"] == "osteoporosis", rows["p_osteoporosis"])
            aucs.setdefault(arm, []).append(auc)
    page = (DOCS / "study.md").read_text(encoding="utf-8")
    section = page.partition(f"### {PARTS['clean']} (")[2].partition("###")[0]
    table = section.partition("| AUC, trained on")[2].partition("\n\n")[0]
    heading, _, *rows = [
        [cell.strip("` ") for cell in line.strip("|").split("|")[1:]] for line in table.splitlines()
    ]
    arms = [line.split("`")[1] for line in table.splitlines()[2:]]
    found = {arm: dict(zip(heading, row, strict=True)) for arm, row in zip(arms, rows, strict=True)}
    for arm in ("original", "lime", "random_mask", "complement"):
        assert abs(float(found[arm][arm]) - np.mean(aucs[arm])) < 6e-4


def test_what_a_search_chose_is_told_by_arm() -> None:
    training = {"learning_rate": 3.14159e-4, "optimizer": {"weight_decay": 0.05}, "epochs": 10}
    chosen = {
        "model": "m",
        "arm": "lime",
        "training": {**training, "augmentation": {"rotation_deg": 7.5}},
    }
    (table,) = _tell_choices([{"chosen_training": [chosen]}, {}])
    assert table.splitlines()[-1] == "| `lime` | 0.00031 | 0.05 | 10 | 7.5° |"
    assert list(_tell_choices([{}])) == []


def test_a_run_is_kept_once_and_when_it_is_finished(finished: Outcome, tmp_path: Path) -> None:
    out = tmp_path / "clean-0"
    keep_run(str(finished.run.root), out)
    names = {path.name for path in out.iterdir()}
    assert {"predictions.parquet", "images.parquet", "config.yaml"} <= names
    assert not {"pixels", "masks", "trials"} & names
    with pytest.raises(InputError, match="to be new, but it is there"):
        keep_run(str(finished.run.root), out)
    assert tell_study(tmp_path).startswith("### Clean (`clean-0`)")
    with pytest.raises(InputError, match="Expected kept runs"):
        tell_study(tmp_path / "none")
