"""A stored run, rerun here: what is found equal, what is named, and what the ledger keeps."""

import io
import math
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console
from test_old_run import ARCHIVE
from tiny_runs import MODEL, N_THREADS, TINY, compute_here, stay_quiet

from osteo_ray.base.damage import DamagedError
from osteo_ray.base.digests import forget_digests, read_tree, write_record
from osteo_ray.base.errors import InputError
from osteo_ray.base.lock import HeldError, hold
from osteo_ray.base.machine import describe_machine, hash_code
from osteo_ray.base.progress import Clock
from osteo_ray.base.remote import RemotePath
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import read_json, write_json, write_table, write_yaml
from osteo_ray.cluster.connection import plan_resources
from osteo_ray.commands.main import main
from osteo_ray.commands.reproduce import parse_reproduce
from osteo_ray.commands.reproduce_tables import describe_changes, show_reproduction
from osteo_ray.config.build import build_config, read_yaml
from osteo_ray.config.reproduce import ReproduceConfig, ToleranceSettings
from osteo_ray.data.phantoms.sets import write_phantoms
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.experiment.dataset import read_dataset
from osteo_ray.experiment.reproduction.drift import Drift
from osteo_ray.experiment.reproduction.environment import compare_environments
from osteo_ray.experiment.reproduction.ledger import (
    LEDGER,
    Entry,
    append_entry,
    find_onset,
    list_changes,
    read_ledger,
    tabulate_history,
)
from osteo_ray.experiment.trials import Experiment, MaskJob, Trial, describe_experiment
from osteo_ray.explain.jobs import list_drawn
from osteo_ray.pipeline.compare.conclusion import Finished, conclude
from osteo_ray.pipeline.compare.prepare import create_run
from osteo_ray.pipeline.compare.stages import Outcome
from osteo_ray.pipeline.reproduce import rerun, task
from osteo_ray.pipeline.reproduce import stored as stored_runs
from osteo_ray.pipeline.reproduce.compare_runs import KINDS, compare_runs, compare_sources
from osteo_ray.pipeline.reproduce.rerun import Reproduction, reproduce
from osteo_ray.pipeline.reproduce.stored import Rerun, StoredRun, open_stored
from osteo_ray.pipeline.reproduce.task import configure_rerun, find_images, plan_task
from osteo_ray.pipeline.reproduce.workspace import open_workspace
from osteo_ray.report.reproductions_page import write_reproductions_page

FIRST = Trial(MODEL, 0, "original")


@pytest.fixture(scope="module")
def stored(finished: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of the finished run, beside which reproductions are kept."""
    root = tmp_path_factory.mktemp("runs") / "tiny"
    return Run(Path(shutil.copytree(str(finished.run.root), root)))


@pytest.fixture(scope="module")
def whole(stored: Run) -> Reproduction:
    """That run, reproduced whole; stopped once, just before it came to the ledger."""
    config = ReproduceConfig(run=str(stored.root), keep=True)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        compute_here(patch)  # test_old_run.py reproduces a run on the cluster
        with patch.context() as stopping:
            stopping.setattr(rerun, "add_record", stop)
            with pytest.raises(KeyboardInterrupt):
                reproduce(config, stay_quiet(), write_reproductions_page)
        return reproduce(config, stay_quiet(), write_reproductions_page)


@pytest.fixture
def tampered(finished_copy: Run) -> Run:
    """A copy of the run, to be changed by hand."""
    return finished_copy


def describe(run: Run, whole: Reproduction) -> Experiment:
    """Describe the rerun of `whole` as one of `run`."""
    assert whole.kept is not None
    config = open_stored(str(run.root)).config
    found = Rerun(whole.kept / "run", run)
    return describe_experiment(found, config, read_dataset(found, config))


def compare_with(run: Run, whole: Reproduction, *, equal: bool = True) -> dict[str, Drift]:
    """Hold the rerun of `whole` against another run."""
    experiment = describe(run, whole)
    finished = Finished(experiment, [], Clock())
    found = compare_runs(
        open_stored(str(run.root)), finished, None, ToleranceSettings(), equal_expected=equal
    )
    return {drift.kind: drift for drift in found}


def change_table(path: Path, column: str, change: Callable[[Any], Any]) -> None:
    """Change the first value of a column of a Parquet file."""
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[0] = change(values[0])
    place = table.column_names.index(column)
    changed = table.set_column(place, table.field(column), pa.array(values, table[column].type))
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), path)


# A run that is as it was


@pytest.mark.ray
def test_run_that_is_as_it_was_is_identical(whole: Reproduction, stored: Run) -> None:
    assert whole.entry["outcome"] == "identical"
    assert whole.entry["expected"] == "equal bits"
    assert [drift.kind for drift in whole.drifts] == list(KINDS)
    assert {drift.outcome for drift in whole.drifts} == {"identical"}
    counts = {drift.kind: drift.n_compared for drift in whole.drifts}
    # 4 arms and 2 seeds; 2 teachers with 3 kinds of mask; a model with 4 arms.
    assert (counts["predictions"], counts["masks"], counts["metrics"]) == (8, 6, 4)
    assert counts["verdicts"] == 2
    assert whole.ledger == stored.root.parent / "reproductions.parquet"
    assert len(read_ledger(whole.ledger)) == 1


@pytest.mark.ray
def test_stopped_reproduction_is_taken_up_and_a_new_one_begins_afresh(whole: Reproduction) -> None:
    assert whole.kept is not None
    record = read_json(whole.kept / "reproduction.json")
    assert record["finished"]
    assert record["id"] == whole.entry["id"]
    assert [place.name[0] for place in whole.kept.parent.iterdir()] == ["1"]  # no second began
    key = whole.kept.name.partition("-")[2]
    assert open_workspace(whole.kept.parent, key).root.name == f"2-{key}"
    shutil.rmtree(whole.kept.parent / f"2-{key}")


@pytest.mark.ray
def test_nothing_of_the_run_is_touched(whole: Reproduction, stored: Run, tmp_path: Path) -> None:
    newest = max(path.stat().st_mtime for path in stored.root.rglob("*") if path.is_file())
    assert newest < whole.entry["date"].timestamp() + 1


def test_record_of_a_reproduction_that_is_damaged_is_left_and_another_begun(tmp_path: Path) -> None:
    first = open_workspace(tmp_path, "key")
    assert open_workspace(tmp_path, "key").id == first.id
    record = first.root / "reproduction.json"
    for damaged in ("{", "[]", '{"id": "a"}'):
        record.write_text(damaged)
        second = open_workspace(tmp_path, "key")
        assert second.root.name == "2-key"
        assert record.read_text() == damaged


# A run that is not


@pytest.mark.ray
def test_prediction_changed_by_hand_is_named(whole: Reproduction, tampered: Run) -> None:
    path = open_stored(str(tampered.root))
    found = replace(describe(tampered, whole), run=path.run).path_of(FIRST)
    change_table(found / "predictions.parquet", "p_normal", lambda p: abs(p - 0.2))
    drifts = compare_with(tampered, whole)
    assert drifts["predictions"].outcome == "drifted"
    assert drifts["predictions"].n_drifted == 1
    assert str(FIRST) in drifts["predictions"].said[0]
    assert drifts["predictions"].figures["largest probability difference"] == pytest.approx(0.2)
    assert drifts["masks"].outcome == drifts["metrics"].outcome == "identical"


@pytest.mark.ray
def test_gathered_prediction_changed_by_hand_is_named(whole: Reproduction, tampered: Run) -> None:
    change_table(tampered.predictions, "p_normal", lambda p: abs(p - 0.2))
    found = compare_with(tampered, whole)["predictions"]
    assert found.n_drifted == 1
    assert "in predictions.parquet" in found.said[0]


def spoil(run: Run) -> None:
    run.predictions.write_bytes(b"PAR1")


@pytest.mark.ray
@pytest.mark.parametrize("damage", [lambda run: run.predictions.unlink(), spoil])
def test_lost_table_of_predictions_is_missing_and_no_drift(
    whole: Reproduction, tampered: Run, damage: Callable[[Run], None]
) -> None:
    damage(tampered)
    found = compare_with(tampered, whole)["predictions"]
    assert (found.outcome, found.n_missing, found.n_drifted) == ("missing", 1, 0)
    assert found.said[0].startswith("predictions.parquet: what the run holds of it is damaged")


@pytest.mark.ray
@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("comparison", [], "all of it is not a group"),
        ("comparison", {"versions": {}}, "`verdict` is missing"),
        ("environment", [], "all of it is not a group"),
        ("environment", None, "all of it is not a group"),
        ("environment", {"versions": [1]}, "`versions` is not a group"),
        ("plan", {"a": 1}, "all of it is not a list"),
        ("plan", [{"hash": "a"}, 5], "`2` is not a group"),
    ],
)
def test_records_of_another_form_are_damaged(
    tampered: Run, name: str, content: Any, told: str
) -> None:
    place = getattr(tampered, name)
    write_json(place, content)
    with pytest.raises(DamagedError, match=told) as refused:
        open_stored(str(tampered.root))
    assert str(place) in str(refused.value)
    forget_digests(read_tree(tampered.root), [place.name])  # as those of early runs, without any
    assert main(["report", str(tampered.root)]) == 2


@pytest.mark.ray
def test_results_without_their_columns_are_missing(whole: Reproduction, tampered: Run) -> None:
    write_table(tampered.results, pa.table({"x": [1]}))
    found = compare_with(tampered, whole)["metrics"]
    assert (found.outcome, found.n_missing) == ("missing", 1)


@pytest.mark.ray
def test_flipped_mask_is_named(whole: Reproduction, tampered: Run) -> None:
    masks = replace(describe(tampered, whole), run=tampered).masks_of(MaskJob(FIRST))
    part = next(masks.glob("*.parquet"))
    change_table(part, "keep_mask", lambda bits: bytes(255 - byte for byte in bits))
    drifts = compare_with(tampered, whole)
    assert drifts["masks"].outcome == "drifted"
    assert drifts["masks"].n_drifted == 1
    assert str(FIRST) in drifts["masks"].said[0]
    assert drifts["masks"].figures["mean mask overlap"] < 1
    # One image of many: where versions differ, that would be tolerated.
    assert compare_with(tampered, whole, equal=False)["masks"].outcome == "within tolerance"


@pytest.mark.ray
def test_changed_metric_effect_and_verdict_are_named(whole: Reproduction, tampered: Run) -> None:
    change_table(tampered.results, "accuracy", lambda value: value - 0.01)
    comparison = read_json(tampered.comparison)
    comparison["contrasts"][0]["difference"] += 0.5
    comparison["verdict"]["verdict"] = "real gain"
    write_json(tampered.comparison, comparison)
    drifts = compare_with(tampered, whole)
    for kind in ("metrics", "effects", "verdicts"):
        assert (drifts[kind].outcome, drifts[kind].n_drifted) == ("drifted", 1), kind
    assert drifts["predictions"].outcome == "identical"
    assert "overall: real gain → " in drifts["verdicts"].said[0]


def reproduce_as(whole: Reproduction, run: Run, patch: pytest.MonkeyPatch) -> Reproduction:
    """Reproduce a run whole, with the trainings and masks of `whole` in place of new ones."""
    assert whole.kept is not None
    made = whole.kept / "run"

    def take_over(experiment: Experiment, *_: object) -> Finished:
        for kind in ("trials", "masks"):
            shutil.copytree(made / kind, str(experiment.run.root / kind), dirs_exist_ok=True)
        return Finished(experiment, [], Clock())

    compute_here(patch)
    patch.setattr(rerun, "run_experiment", take_over)
    config = ReproduceConfig(run=str(run.root), images="stored", keep=True)
    return reproduce(config, stay_quiet(), write_reproductions_page)


def conclude_again(run: Run) -> None:
    """Have a run draw its conclusion as one that follows another, as after seeds were added."""
    config = open_stored(str(run.root)).config
    experiment = describe_experiment(run, config, read_dataset(run, config))
    first = {"key": "of fewer seeds", "verdict": "inconclusive"}
    write_json(run.conclusions, [first], write_record)
    conclude(Finished(experiment, [], Clock()))


@pytest.mark.ray
def test_second_conclusion_of_a_run_is_drawn_at_its_error_rate(
    whole: Reproduction, tampered: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    conclude_again(tampered)
    stored = read_json(tampered.comparison)
    assert stored["conclusion"]["number"] == 2
    found = reproduce_as(whole, tampered, monkeypatch)
    assert found.kept is not None
    assert read_json(found.kept / "run" / "comparison.json")["conclusion"] == stored["conclusion"]
    assert found.entry["outcome"] == "identical"


@pytest.mark.ray
@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "it is missing"), ([], "it has 0"), ({"key": "a"}, "all of it is not a list")],
)
def test_earlier_conclusions_that_are_lost_are_told_at_once(
    tampered: Run, content: Any, told: str
) -> None:
    conclude_again(tampered)
    forget_digests(read_tree(tampered.root), [tampered.conclusions.name])
    tampered.conclusions.unlink()
    if content is not None:
        write_json(tampered.conclusions, content)
    with pytest.raises(InputError, match=told):
        reproduce(ReproduceConfig(run=str(tampered.root)), stay_quiet(), write_reproductions_page)
    (entry,) = read_ledger(tampered.root.parent / "reproductions.parquet")
    assert entry["outcome"] == "failed"
    page = tampered.root.parent / "reproductions.html"
    assert "conclusions.json" in page.read_text(encoding="utf-8")  # so does the page


@pytest.mark.ray
def test_masks_that_were_deleted_are_missing(whole: Reproduction, tampered: Run) -> None:
    shutil.rmtree(tampered.masks)
    found = compare_with(tampered, whole)["masks"]
    assert found.outcome == "missing"
    assert found.n_missing == 2
    assert "the run does not hold its masks" in found.said[0]


@pytest.mark.ray
def test_artifacts_under_another_key_are_found(whole: Reproduction, tampered: Run) -> None:
    for part in [*tampered.trials.glob("*/*/*"), *tampered.masks.glob("*/*/*")]:
        part.rename(part.with_name(part.name.rpartition("-")[0] + "-" + 12 * "0"))
    drifts = compare_with(tampered, whole)
    assert {drift.outcome for drift in drifts.values()} == {"identical"}


@pytest.mark.parametrize(
    "options", ["", "?endpoint_override=http://localhost:9000", "?scheme=http"]
)
def test_artifacts_are_found_whatever_the_options_of_a_uri_hold(
    options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RemotePath.parse(f"s3://bucket/run/trials/m/seed-0{options}")
    wanted = folder / "original-0123456789ab"  # pragma: allowlist secret
    monkeypatch.setattr(stored_runs, "list_parts", lambda _: [str(wanted / "predictions.parquet")])
    assert stored_runs._find_folders(folder, "original") == [wanted]


def test_artifacts_are_found_whose_files_are_links(tmp_path: Path) -> None:
    wanted = tmp_path / "seed-0" / "original-0123456789ab"  # pragma: allowlist secret
    wanted.mkdir(parents=True)
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "e3b0c442").touch()
    (wanted / "predictions.parquet").symlink_to(tmp_path / "blobs" / "e3b0c442")
    assert stored_runs._find_folders(wanted.parent, "original") == [wanted]
    assert list_drawn(wanted) == {"predictions"}


@pytest.mark.ray
def test_sample_of_a_run_that_was_changed_ends_with_4(
    tampered: Run, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compute_here(monkeypatch)
    for path in (tampered.trials / MODEL).glob("seed-*/*/predictions.parquet"):
        change_table(path, "p_normal", lambda p: abs(p - 0.2))
    command = ["reproduce", str(tampered.root), "--sample", "3", "--images", "stored"]
    assert main(command) == 4
    printed = " ".join("".join(capfd.readouterr()).split())
    assert "Rerun: 3 of 8 trainings" in printed
    assert f"{MODEL}, seed" in printed
    assert "Nothing in the record of the environment changed. Check whether files of" in printed
    assert "Outcome: drifted" in printed
    (entry,) = read_ledger(tampered.root.parent / "reproductions.parquet")
    assert entry["outcome"] == "drifted"
    assert entry["n_trials"] == 3
    assert not entry["whole"]
    assert {kind["kind"] for kind in entry["kinds"]} == {"predictions", "masks", "metrics"}
    page = (tampered.root.parent / "reproductions.html").read_text(encoding="utf-8")
    assert "Drifted" in page
    assert "data:image/svg" in page
    (kept,) = (tampered.root.parent / "copy-reproductions").iterdir()
    assert (kept / "run" / "trials").is_dir()


@pytest.mark.ray
def test_drift_by_an_edited_configuration_is_put_down_to_it(
    tampered: Run, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compute_here(monkeypatch)
    settings = read_yaml(tampered.config)
    settings["training"]["learning_rate"] *= 50
    write_yaml(tampered.config, settings)
    command = ["reproduce", str(tampered.root), "--sample", "1", "--images", "stored"]
    assert main(command) == 4
    printed = " ".join("".join(capfd.readouterr()).split())
    assert "of the run after its results: training.learning_rate (recorded" in printed
    assert "Check whether files of" not in printed
    (entry,) = read_ledger(tampered.root.parent / "reproductions.parquet")
    assert entry["outcome"] == "drifted"
    assert entry["changes"][0].startswith("configuration of the run: training.learning_rate")


@pytest.mark.ray
def test_changed_version_is_named_and_the_sample_still_comes_out_equal(
    tampered: Run, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compute_here(monkeypatch)
    environment = read_json(tampered.environment)
    now = environment["versions"]["torch"]
    environment["versions"]["torch"] = "2.0.0"
    del environment["hardware"]["isa"]
    write_json(tampered.environment, environment)
    ledger = tampered.root.parent / "ledger.parquet"
    command = ["reproduce", str(tampered.root), "--sample", "1", "--images", "stored"]
    assert main([*command, "--ledger", str(ledger)]) == 0
    printed = " ".join("".join(capfd.readouterr()).split())
    assert f"Changed in the environment: torch 2.0.0 → {now}." in printed
    assert "has no record of it: isa." in printed
    (entry,) = read_ledger(ledger)
    assert (entry["expected"], entry["outcome"]) == ("within tolerance", "identical")
    assert entry["changes"] == [f"torch 2.0.0 → {now}"]
    assert entry["unknown"] == ["isa"]
    assert entry["versions"]["torch"] == now
    assert not (tampered.root.parent / "copy-reproductions").exists()  # left as it was found


@pytest.mark.ray
def test_record_of_a_run_tells_what_works(stored: Run) -> None:
    environment = read_json(stored.environment)
    assert environment["versions"]["osteo-ray code"] == hash_code()
    hardware = environment["hardware"]
    assert {name: hardware[name] for name in describe_machine()} == describe_machine()
    assert (hardware["device"], hardware["threads_per_worker"]) == ("cpu", N_THREADS)


@pytest.mark.ray
def test_one_process_at_a_time_reproduces_a_run(tampered: Run) -> None:
    config = ReproduceConfig(run=str(tampered.root), images="stored")
    work = tampered.root.with_name(f"{tampered.root.name}-reproductions")
    with hold(work), pytest.raises(HeldError, match="process"):
        reproduce(config, stay_quiet(), write_reproductions_page)


def test_changed_source_is_named(local_ray: None, tmp_path: Path) -> None:
    write_phantoms(tmp_path / "knees", PhantomSettings(n_images=40, size_px=48))
    source = tmp_path / "knees" / "images"
    config = build_config({**TINY, "data": str(source), "weights": "none", "seeds": 1})
    runs = [Run(tmp_path / name) for name in ("stored", "present")]
    layout = plan_resources(config.resources)
    create_run(runs[0], config, open_source(str(source)), layout)
    victim = min(source.rglob("*.png"))
    Image.fromarray(255 - np.asarray(Image.open(victim))).save(victim)
    create_run(runs[1], config, open_source(str(source)), layout)
    stored = StoredRun(runs[0], config, {}, {})
    drift = compare_sources(stored, runs[1])
    assert drift.outcome == "drifted"
    assert f"{victim.relative_to(source)} with other pixels" in drift.said[0]
    assert compare_sources(stored, runs[0]).outcome == "identical"


# What changed, in words


def test_changes_are_told() -> None:
    then = {"versions": {"torch": "2.11.0", "ray": "2.59.0"}, "hardware": {"cpu": "EPYC"}}
    now = {"versions": {"torch": "2.12.0", "ray": "2.60.0"}, "hardware": {"cpu": "Xeon"}}
    told = describe_changes(compare_environments(then, now), (), "drifted")
    assert told == [
        "Changed in the environment: torch 2.11.0 → 2.12.0; CPU EPYC → Xeon.",
        "Also changed, without effect on numbers: ray 2.59.0 → 2.60.0.",
    ]
    told = describe_changes(compare_environments({}, now), (), "identical")
    assert "has no record of it: torch, cpu." in told[0]
    assert "edited by hand" in describe_changes((), (), "drifted")[0]
    assert "equal bits" in describe_changes((), (), "identical")[0]


RATE = "training.learning_rate"


@pytest.mark.parametrize(
    ("group", "name", "value", "edits"),
    [
        ("training", "learning_rate", 0.25, [f"{RATE} (recorded 0.003, stored 0.25)"]),
        ("lime", "samples", 9, ["lime.samples (recorded 12, stored 9)"]),
        ("statistics", "margin", 0.5, ["statistics.margin (recorded None, stored 0.5)"]),
        ("resources", "stall_timeout", 77, []),  # changes no result
    ],
)
def test_edited_configuration_is_named(
    finished_copy: Run, group: str, name: str, value: float, edits: list[str]
) -> None:
    assert open_stored(str(finished_copy.root)).edits == ()
    settings = read_yaml(finished_copy.config)
    settings[group][name] = value
    write_yaml(finished_copy.config, settings)
    assert list(open_stored(str(finished_copy.root)).edits) == edits


@pytest.mark.parametrize(
    ("workers", "gpus", "told"),
    [
        (2, 0.5, "whole GPU for each of 2 workers"),
        (1, 1.5, "--gpus-per-worker: Expected one GPU or a part of one"),
    ],
)
def test_gpus_that_no_worker_of_the_run_can_use_are_refused(
    workers: int, gpus: float, told: str
) -> None:
    stored = build_config({"out": "run", "resources": {"workers": workers}})
    config = configure_rerun(stored, ReproduceConfig(gpus_per_worker=1))
    assert config.resources.gpus_per_worker == 1
    with pytest.raises(InputError, match=told):
        configure_rerun(stored, ReproduceConfig(gpus_per_worker=gpus))


def test_edited_configuration_is_the_cause_that_is_told() -> None:
    edits = ("training.learning_rate (recorded 0.005, stored 0.25)",)
    cause, equal = describe_changes((), edits, "drifted")
    assert "Changed in the configuration of the run after its results: training.learn" in cause
    assert "restore its config.yaml" in cause
    assert "Nothing that affects numbers changed in the environment" in equal


# The ledger


def make_entry(number: int, **changes: Any) -> Entry:
    values = {
        "id": f"id-{number}",
        "date": datetime(2026, 1, 1 + number % 28, tzinfo=UTC),
        "duration_s": 1.5,
        "run": "knees",
        "path": "/runs/knees",
        "run_created": "2026-01-01",
        "config_hash": "0" * 12,
        "whole": False,
        "sample_seed": 0,
        "n_planned": 6,
        "n_trials": 3,
        "n_recomputed": 1,
        "images_from": "stored",
        "expected": "equal bits",
        "outcome": "identical",
        "kinds": [],
        "figures": {"effect shift": 0.5},
        "drifted": [],
        "failures": [],
        "changes": [],
        "unknown": [],
        "versions": {"torch": "2.11.0"},
        "hardware": {"cpu": None},
    }
    return Entry({**values, **changes})


def test_ledger_grows_by_a_row_and_gives_back_what_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "ledger.parquet"
    assert read_ledger(path) == []
    for number in (1, 0, 2):
        append_entry(path, make_entry(number))
    assert read_ledger(path) == [make_entry(number) for number in (0, 1, 2)]
    assert set(make_entry(0).values) == set(LEDGER.names)


@pytest.mark.parametrize("column", ["id", "date", "kinds", "figures", "versions"])
def test_ledger_with_other_values_is_refused_before_anything_starts(
    column: str, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.parquet"
    append_entry(ledger, make_entry(0))
    table = pq.read_table(ledger)
    other = pa.array([{"a": 1}])
    pq.write_table(table.set_column(table.column_names.index(column), column, other), ledger)
    with pytest.raises(InputError, match=rf"the values of {column} in .*ledger\.parquet"):
        read_ledger(ledger)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("kinds", [None]),
        ("kinds", [{"kind": "images", "outcome": None}]),
        ("figures", {"effect shift": None}),
        ("figures", {"effect shift": math.inf}),
        ("drifted", [None]),
        ("duration_s", math.nan),
        ("versions", [("torch", "2.11.0"), ("torch", "2.12.0")]),
    ],
)
def test_ledger_with_gaps_in_its_values_is_refused(
    column: str, value: object, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.parquet"
    row = {**make_entry(0).values, column: value}
    write_table(ledger, pa.Table.from_pylist([row], schema=LEDGER))
    with pytest.raises(InputError, match=rf"the values of {column} in .*ledger\.parquet"):
        read_ledger(ledger)


def test_reproduction_that_was_taken_up_again_stands_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.parquet"
    append_entry(path, make_entry(1, outcome="failed"))
    (entry,) = append_entry(path, make_entry(1))
    assert entry["outcome"] == "identical"
    assert read_ledger(path) == [entry]


APPENDING = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_reproduce import append_entry, make_entry
for number in range(10_000):
    append_entry(Path(sys.argv[1]), make_entry(number))
    print(number + 1, flush=True)
"""


def test_ledger_survives_a_kill_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "ledger.parquet"
    command = [sys.executable, "-c", APPENDING, str(path), str(Path(__file__).parent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(20)]
    time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    rest, _ = process.communicate()
    told = max(said + [int(line) for line in rest.split()])
    assert len(read_ledger(path)) in (told, told + 1)
    append_entry(path, make_entry(20_000))
    assert len(read_ledger(path)) in (told + 1, told + 2)


@pytest.mark.parametrize("kind", ["no Parquet", "other Parquet", "lacks", "other version"])
def test_file_that_is_no_ledger_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "ledger.parquet"
    if kind == "no Parquet":
        path.write_text("hello")
        expected = "cannot be read as Parquet"
    elif kind == "other Parquet":
        write_table(path, pa.table({"a": [1]}))
        expected = "is another kind of Parquet file"
    elif kind == "lacks":
        write_table(path, pa.table({"id": ["a"]}).replace_schema_metadata(LEDGER.metadata))
        expected = "lacks the columns date"
    else:
        schema = LEDGER.with_metadata({b"osteo_ray_reproductions": b"7"})
        write_table(path, pa.Table.from_pylist([], schema=schema))
        expected = "is of version 7"
    before = path.read_bytes()
    for act in (lambda: read_ledger(path), lambda: append_entry(path, make_entry(1))):
        with pytest.raises(InputError, match=expected):
            act()
    assert path.read_bytes() == before


def test_history_tells_what_changed_since_the_last_reproduction_of_the_same_run() -> None:
    entries = [
        make_entry(0),
        make_entry(1, path="/runs/other", versions={"torch": "2.13.0"}),
        make_entry(2, versions={"torch": "2.12.0"}),
        make_entry(3, path="/runs/other", versions={"torch": "2.13.0"}),
    ]
    rows = tabulate_history(entries)
    assert [row["changed_since_last"] for row in rows] == [[], [], ["torch 2.11.0 → 2.12.0"], []]
    assert [row["id"] for row in rows] == [entry["id"] for entry in entries]


def test_history_passes_over_what_failed_before_it_knew_anything() -> None:
    unknown = {"run_created": None, "config_hash": None, "n_trials": 0, "versions": {}}
    entries = [
        make_entry(0),
        make_entry(1, **unknown, outcome="failed"),
        make_entry(2, versions={"torch": "2.12.0"}),
    ]
    rows = tabulate_history(entries)
    assert [row["changed_since_last"] for row in rows] == [[], [], ["torch 2.11.0 → 2.12.0"]]


OTHER_IMAGES = {"kind": "images", "outcome": "drifted"}
OTHER_DATA = "data: the images of the source are no longer those of the run"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"config_hash": "f" * 12}, ["configuration 000000000000 → ffffffffffff"]),
        ({"run_created": "2026-02-01"}, ["run made 2026-01-01 → 2026-02-01"]),
        ({**dict.fromkeys(("run_created", "config_hash")), "n_trials": 0, "versions": {}}, []),
        ({"kinds": [OTHER_IMAGES]}, [OTHER_DATA]),
        ({"sample_seed": 7}, ["rerun 3 trainings (seed 0) → 3 trainings (seed 7)"]),
        ({"whole": True}, ["rerun 3 trainings (seed 0) → the whole run"]),
        ({"versions": {"torch": "2.12.0"}, "hardware": {"cpu": "a"}}, ["torch 2.11.0 → 2.12.0"]),
    ],
)
def test_changes_between_two_reproductions(change: dict[str, Any], said: list[str]) -> None:
    assert list_changes(make_entry(1), make_entry(2, **change)) == said


@pytest.mark.parametrize(
    ("outcomes", "last_good", "first"),
    [
        ("= = d d", 1, 2),
        ("d = d f d", 1, 2),
        ("= f m d", 0, 3),
        ("d d", None, 0),
        ("f d", None, 1),
        ("= d =", None, None),
        ("= d f", None, None),
        ("=", None, None),
    ],
)
def test_onset_of_a_drift(outcomes: str, last_good: int | None, first: int | None) -> None:
    names = {"=": "identical", "d": "drifted", "f": "failed", "m": "missing"}
    entries = [
        make_entry(n, outcome=names[one], versions={"torch": f"2.{n}"})
        for n, one in enumerate(outcomes.split())
    ]
    onset = find_onset(entries)
    if first is None:
        assert onset is None
        return
    assert onset is not None
    assert onset["first"] == entries[first]["date"]
    if last_good is None:
        assert (onset["last_good"], onset["changed"]) == (None, [])
    else:
        assert onset["last_good"] == entries[last_good]["date"]
        assert onset["changed"] == [f"torch 2.{last_good} → 2.{first}"]


# The page


def test_page_shows_every_run_and_escapes_what_others_named(tmp_path: Path) -> None:
    hostile = "<script>alert('x')</script>"
    entries = [
        make_entry(0),
        make_entry(1, outcome="within tolerance", versions={"torch": "2.12.0"}),
        make_entry(
            2,
            outcome="drifted",
            drifted=[f"predictions: {hostile}: far"],
            figures={},
            config_hash="f" * 12,
        ),
        make_entry(3, path="/runs/other", run=hostile, outcome="failed", failures=[hostile]),
    ]
    write_reproductions_page(tmp_path / "ledger.parquet", tabulate_history(entries))
    text = (tmp_path / "ledger.html").read_text(encoding="utf-8")
    assert hostile not in text
    assert text.count("&lt;script&gt;") >= 3
    assert "torch 2.11.0 → 2.12.0" in text
    assert text.count("<section>") == 2
    assert text.count("data:image/svg") == 2
    told = "Drifted since 2026-01-03 00:00 UTC; last reproduced 2026-01-02 00:00 UTC. Changed "
    assert f"{told}between the two: torch 2.12.0 → 2.11.0; configuration 0000" in text


def test_page_shows_the_latest_reproductions(tmp_path: Path) -> None:
    entries = [
        make_entry(n, date=datetime(2026, 1, 1, tzinfo=UTC) + n * timedelta(weeks=1))
        for n in range(70)
    ]
    write_reproductions_page(tmp_path / "ledger.parquet", tabulate_history(entries))
    text = (tmp_path / "ledger.html").read_text(encoding="utf-8")
    assert "<dt>reproductions</dt><dd>70</dd>" in text
    assert "10 earlier ones are in the ledger." in text
    assert "2026-03-12" in text  # the eleventh
    assert "2026-03-05" not in text


def test_terminal_shows_the_reproductions_of_this_run_only() -> None:
    entry = make_entry(2, outcome="drifted", versions={"torch": "2.12.0"})
    history = (make_entry(1), entry, make_entry(3, path="/runs/other", outcome="missing"))
    far = Drift("masks", "drifted", 3, 1, 2, 0, {"mean mask overlap": 0.5}, ("a: far",) * 7)
    found = Reproduction(
        entry, (far,), (), (), ("A note.",), Path("ledger.parquet"), history, Path("/kept")
    )
    out = io.StringIO()
    show_reproduction(Console(file=out, width=80), found)
    text = out.getvalue()
    told = ("3 of 6 trainings, and 1 first model that they need", "A note.", "masks: and 2 more")
    told += ("Drifted since 2026-01-03 00:00 UTC; last reproduced 2026-01-02",)
    told += ("mean mask overlap 0.5", "kept for inspection: /kept", "2.11.0 → 2.12.0")
    for expected in told:
        assert expected in text
    assert "2026-01-04" not in text


# Bad input


@pytest.fixture
def refuse(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    """Run a command that must end with exit code 2; return what it printed."""

    def run(*arguments: str) -> str:
        code = main(["reproduce", *arguments])
        printed = " ".join("".join(capfd.readouterr()).replace("│", " ").split())
        assert code == 2, printed
        assert "Traceback" not in printed
        return printed

    return run


def test_no_run_is_refused(refuse: Callable[..., str], tmp_path: Path) -> None:
    assert "`osteo-ray reproduce RUN`" in refuse()
    assert "has no config.yaml" in refuse(str(tmp_path))
    printed = refuse(str(tmp_path), "--sample", "3", "--share", "0.1")
    assert "either --sample or --share" in printed
    assert "Did you mean `--sample`?" in refuse(str(tmp_path), "--smaple", "3")


@pytest.mark.ray
def test_run_of_another_kind_is_refused(refuse: Callable[..., str], tampered: Run) -> None:
    tampered.config.write_text("checkpoint: model.safetensors\n", encoding="utf-8")
    assert "is not one that this osteo_ray knows" in refuse(str(tampered.root))


@pytest.mark.ray
def test_unfinished_run_is_refused_and_what_is_missing_named(
    refuse: Callable[..., str], tampered: Run
) -> None:
    lime = next((tampered.trials / MODEL / "seed-1").glob("lime-*"))
    shutil.rmtree(lime)
    printed = refuse(str(tampered.root))
    assert f"1 training is missing ({MODEL}, seed 1, lime)" in printed
    tampered.comparison.unlink()
    assert "1 training is missing" in refuse(str(tampered.root))


@pytest.mark.ray
def test_run_without_a_comparison_is_refused(refuse: Callable[..., str], tampered: Run) -> None:
    tampered.comparison.unlink()
    assert "its comparison is not complete" in refuse(str(tampered.root))


@pytest.mark.parametrize(
    ("seeds", "told"),
    [(3, r"7 trainings are missing \(test_byobnet, seed 2, original;"), (1, "is not complete")],
)
def test_run_that_was_interrupted_as_seeds_were_added_or_taken_away_is_refused(
    seeds: int, told: str, tmp_path: Path
) -> None:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    run = Run(tmp_path / "run")
    assert len(open_stored(str(run.root)).trials) == 2 * 7
    write_yaml(run.config, {**read_yaml(run.config), "seeds": seeds})
    with pytest.raises(InputError, match=f"Expected a finished run, but .*{told}"):
        open_stored(str(run.root))


@pytest.mark.ray
def test_run_of_another_version_is_refused(refuse: Callable[..., str], tampered: Run) -> None:
    table = pq.read_table(tampered.splits)
    write_table(tampered.splits, table.replace_schema_metadata({b"osteo_ray": b"3"}))
    assert "but found version 3" in refuse(str(tampered.root))


@pytest.mark.ray
def test_sample_larger_than_the_run_is_refused(refuse: Callable[..., str], tampered: Run) -> None:
    assert "at most the 8 trainings" in refuse(str(tampered.root), "--sample", "9")


@pytest.mark.ray
def test_ledger_that_is_none_is_refused(refuse: Callable[..., str], tampered: Run) -> None:
    printed = refuse(str(tampered.root), "--ledger", str(tampered.config))
    assert "cannot be read as Parquet" in printed


@pytest.mark.parametrize(
    ("ledger", "told"), [("", "is a folder"), ("taken/ledger.parquet", "taken is not a folder")]
)
def test_ledger_that_cannot_be_written_is_refused_before_anything_starts(
    ledger: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("a file")
    stored = StoredRun(Run(tmp_path / "run"), build_config({}), {}, {})
    monkeypatch.setattr(task, "open_stored", lambda _: stored)
    config = ReproduceConfig(run=str(stored.run.root), ledger=str(tmp_path / ledger))
    with pytest.raises(InputError, match=rf"--ledger to be a file .*, but .*{told}"):
        plan_task(config)


@pytest.mark.ray
def test_source_that_has_gone_is_told(tampered: Run, tmp_path: Path) -> None:
    run = open_stored(str(tampered.root))
    gone = replace(run, config=run.config.model_copy(update={"data": str(tmp_path / "gone")}))
    found = find_images(gone, ReproduceConfig())
    assert found.source is None
    assert "does not exist" in (found.note or "")
    with pytest.raises(InputError, match="does not exist"):
        find_images(gone, ReproduceConfig(images="source"))
    assert find_images(gone, ReproduceConfig(images="stored")).source is None


def test_first_word_is_the_run_and_paths_become_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = parse_reproduce(["runs/knees", "--share", "0.1", "--out", "work"])
    assert config.run == str(tmp_path / "runs" / "knees")
    assert config.out == str(tmp_path / "work")
    assert config.share == 0.1
    assert parse_reproduce(["s3://runs/knees"]).run == "s3://runs/knees"
