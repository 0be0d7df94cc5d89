"""Commands that only read a run say what is damaged; `reproduce` leaves a row in any case."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from whole_runs import link_run

from osteo_ray.base.digests import SPARE, write_record, write_sealed
from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import FAITHFULNESS, MASKS, write_json, write_table
from osteo_ray.commands.main import main
from osteo_ray.commands.opened import FinishedRun
from osteo_ray.commands.python import open_run
from osteo_ray.experiment.healing import settle_digests
from osteo_ray.experiment.reproduction.ledger import read_ledger
from osteo_ray.experiment.soundness import Checked, inspect_run, refuse_damage
from osteo_ray.pipeline.reproduce import rerun
from osteo_ray.report.page import READ, _summarise_masks


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    """A copy of a run with everything, that a test may damage."""
    return link_run(whole, tmp_path)


def cut_off(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()  # it is a link
    path.write_bytes(content[: len(content) // 2])


def flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [cut_off, flip_bit])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("predictions.parquet", ["judge", "RUN", "--out", "OUT"]),
        ("predictions.parquet", ["judge", "RUN/predictions.parquet", "--out", "OUT"]),
        ("comparison.json", ["report", "RUN"]),
        ("results.parquet", ["report", "RUN"]),
        ("splits.parquet", ["export", "RUN", "--arm", "lime", "--out", "OUT"]),
        ("comparison.json", ["plan", "--pilot", "RUN"]),
    ],
)
def test_what_is_damaged_is_not_read(
    root: Path, name: str, words: list[str], damage: object, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(root / name)  # type: ignore[operator]
    out = str(root.with_name("out"))
    code = main([word.replace("RUN", str(root)).replace("OUT", out) for word in words])
    printed = capsys.readouterr().err
    assert code == 2
    assert name in printed
    assert "digest" in printed
    assert "Traceback" not in printed
    assert not Path(out).exists()


def test_a_damaged_checkpoint_is_not_explained(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = next(root.glob("trials/*/*/original-*/model.safetensors"))
    flip_bit(checkpoint)
    images = str(root / "phantom" / "images")
    assert main(["explain", images, "--checkpoint", str(checkpoint)]) == 2
    assert "does not match its digest" in capsys.readouterr().err


def test_python_reads_nothing_damaged(root: Path) -> None:
    flip_bit(root / "results.parquet")
    run = open_run(root)
    assert run.verdict.verdict  # what is sound is there
    with pytest.raises(InputError, match=r"results\.parquet does not match its digest"):
        _ = run.results
    (root / "results.parquet").unlink()
    with pytest.raises(InputError, match=r"results\.parquet does not exist"):
        _ = open_run(root).results


def test_verify_counts_by_kind(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(root)]) == 0
    assert "files are as they were written" in capsys.readouterr().out
    flip_bit(root / "plan.json")
    assert main(["verify", str(root)]) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(r" 1 of \d+ files is not as it was written\. .* it restores it ", said)
    next(root.glob("masks/*/*/*/*.parquet")).unlink()
    (next(root.glob("masks/*/*/*")) / "stray.parquet").write_bytes(b"")
    before = sorted(root.rglob("*"))
    assert main(["verify", str(root)]) == 3
    printed = capsys.readouterr().out
    for text in (
        "plan.json: damaged",
        ".parquet: missing",
        "stray.parquet: foreign",
        "files are not as they",
    ):
        assert text in printed
    assert main(["verify", str(root), "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert {one["state"] for one in found["findings"]} == {"damaged", "missing", "foreign"}
    assert found["kinds"]["plan.json"] == {"damaged": 1}
    assert sorted(root.rglob("*")) == before
    assert main(["verify", str(root.with_name("none"))]) == 2


def test_many_strange_files_are_named_in_a_few_lines(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = next(root.glob("masks/*/*/*"))
    for number in range(3000):
        (folder / f"part-{number}.parquet").touch()
    assert main(["verify", str(root)]) == 3
    assert "and 2980 more" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["config.yaml", "environment.json", "comparison.json", "splits.parquet", "pixels"]
)
def test_a_run_too_damaged_to_reproduce_leaves_a_row(
    root: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    victim = next((root / name).glob("*.parquet")) if name == "pixels" else root / name
    cut_off(victim)
    assert main(["reproduce", str(root), "--run-code"]) == 2
    assert "Traceback" not in "".join(capsys.readouterr())
    (entry,) = read_ledger(root.parent / "reproductions.parquet")
    assert entry["outcome"] == "failed"
    told = entry["failures"]
    assert f"stored run: {victim.relative_to(root).as_posix()} is damaged" in told
    assert entry["path"] == str(root)


def test_a_reproduction_that_fails_leaves_a_row(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise ConnectionError("ray client connection timeout")

    monkeypatch.setattr(rerun, "connect", refuse)
    flip_bit(root / "predictions.parquet")
    assert main(["reproduce", str(root), "--run-code", "--images", "stored"]) == 1
    assert "timeout" in capsys.readouterr().err
    (entry,) = read_ledger(root.parent / "reproductions.parquet")
    assert entry["outcome"] == "failed"
    assert entry["failures"] == [
        "ray client connection timeout",
        "stored run: predictions.parquet is damaged",
    ]
    assert entry["n_planned"] == entry["n_trials"] > 0


@pytest.mark.parametrize("name", ["masks", "trials"])
def test_a_run_on_a_disk_that_is_not_there_leaves_a_row(root: Path, name: str) -> None:
    shutil.rmtree(root / name)
    (root / name).symlink_to(root.parent / "not-mounted")
    assert main(["reproduce", str(root), "--run-code", "--images", "stored"]) == 2
    (entry,) = read_ledger(root.parent / "reproductions.parquet")
    told = f"Expected the link {root / name} to lead to a file or folder"
    assert sum(failure.startswith(told) for failure in entry["failures"]) == 1


def test_a_request_that_makes_no_sense_leaves_no_row(root: Path) -> None:
    assert main(["reproduce", str(root), "--run-code", "--sample", "999"]) == 2
    assert not (root.parent / "reproductions.parquet").exists()


# Runs of files alone, which nothing was trained for

OF_SEED = "masks/net/seed-0/original-0123456789ab"  # pragma: allowlist secret
PARTS = {f"part-{number}": [f"{number}-{image}" for image in "abc"] for number in range(2)}


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A run with digests: records, and tables in parts that hold six images."""
    run = Run(tmp_path / "sealed")
    for place in (run.config, run.images, run.splits, run.audit, run.conclusions):
        write_json(place, {"image_size": 32}, write_record)
    for place in (run.comparison, run.predictions):
        write_json(place, {}, write_sealed)
    for name, ids in PARTS.items():
        told = {"model": "net", "seed": 0, "teacher": "original", "target": "predicted"}
        rows = [{**told, "kind": "lime", "image_id": i, "keep_mask": bytes(128)} for i in ids]
        for table, schema in ((run.root / OF_SEED, MASKS), (run.faithfulness, FAITHFULNESS)):
            known = [{key: row.get(key) for key in schema.names} for row in rows]
            part = table / f"{name}.parquet"
            write_table(part, pa.Table.from_pylist(known, schema), how=write_sealed)
        for folder in ("pixels", "trials/net/seed-0/original-0123456789ab"):
            write_json(run.root / folder / f"{name}.parquet", name, write_sealed)
    settle_digests(run)
    return Path(str(run.root))


def list_bad(root: Path) -> list[Checked]:
    return inspect_run(Run(root)).list_bad()


def read_masks(root: Path) -> list[str]:
    return list(FinishedRun(Run(root)).masks("net", 0).image_ids)


def test_what_is_whole_is_read(sealed: Path) -> None:
    assert list_bad(sealed) == []
    refuse_damage(Run(sealed), READ)
    assert read_masks(sealed) == sorted([*PARTS["part-0"], *PARTS["part-1"]])
    assert [row["image_id_count"] for row in _summarise_masks(Run(sealed))] == [6]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("config.yaml", ["report", "RUN"]),
        ("config.yaml", ["card", "RUN"]),
        ("splits.parquet", ["figures", "RUN", "--out", "OUT"]),
        ("images.parquet", ["judge", "RUN", "--out", "OUT"]),
        ("audit.json", ["card", "RUN"]),
        ("predictions.parquet", ["report", "RUN"]),
        (f"{OF_SEED}/part-1.parquet", ["report", "RUN"]),
        (f"{OF_SEED}/part-1.parquet", ["export", "RUN", "--arm", "lime", "--out", "OUT"]),
        ("faithfulness/part-0.parquet", ["card", "RUN"]),
        ("pixels/part-0.parquet", ["report", "RUN"]),
    ],
)
def test_what_lacks_a_file_is_not_read(
    sealed: Path, name: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (sealed / name).unlink()
    out = str(sealed.with_name("out"))
    assert main([word.replace("RUN", str(sealed)).replace("OUT", out) for word in words]) == 2
    assert f"{name} is missing" in capsys.readouterr().err
    assert not Path(out).exists()


def leave_out_pixels(root: Path) -> None:
    shutil.rmtree(root / "pixels")


def lose_weights(root: Path) -> None:
    next(root.glob("trials/*/*/*/*.parquet")).unlink()


def lose_what_is_not_shown(root: Path) -> None:
    (root / "conclusions.json").unlink()
    shutil.rmtree(root / SPARE)


def begin_a_part(root: Path) -> None:
    """Leave what a process leaves that dies before the file of a note appears."""
    with write_sealed(root / OF_SEED / "part-2.parquet") as unfinished:
        unfinished.touch()
    (root / OF_SEED / "part-2.parquet").unlink()


@pytest.mark.parametrize(
    "change", [leave_out_pixels, lose_weights, lose_what_is_not_shown, begin_a_part]
)
def test_what_a_page_does_not_need_may_be_missing(
    sealed: Path, change: Callable[[Path], None]
) -> None:
    change(sealed)
    refuse_damage(Run(sealed), READ | {"trials"})  # which `predict` reads in part
    assert len(read_masks(sealed)) == 6


@pytest.mark.parametrize(
    "name",
    ["masks/copy.parquet", "masks/net/copy.parquet", f"{OF_SEED}/copy.parquet",
     f"{OF_SEED}/old/copy.parquet", "pixels/old/copy.parquet"],
)  # fmt: skip
def test_files_from_elsewhere_are_foreign_wherever_they_lie(sealed: Path, name: str) -> None:
    (sealed / name).parent.mkdir(exist_ok=True)
    shutil.copy(sealed / OF_SEED / "part-0.parquet", sealed / name)
    assert list_bad(sealed) == [Checked(name, "foreign")]
    with pytest.raises(InputError, match=f"{name} was not written by the run"):
        refuse_damage(Run(sealed), READ)


@pytest.mark.parametrize("folder", [OF_SEED, "pixels", "trials/net/seed-0/original-0123456789ab"])
def test_a_folder_that_lost_its_list_is_not_foreign(sealed: Path, folder: str) -> None:
    (sealed / folder / ".digests.json").unlink()
    assert list_bad(sealed) == []


@pytest.mark.parametrize("left_out", [(), (".digests.json",)])
@pytest.mark.parametrize("copy", ["original-0123456789ab copy", "other"])
def test_masks_that_are_there_twice_are_refused(
    sealed: Path, copy: str, left_out: tuple[str, ...]
) -> None:
    folder = sealed / OF_SEED
    shutil.copytree(folder, folder.with_name(copy), ignore=shutil.ignore_patterns(*left_out))
    for read in (read_masks, lambda root: _summarise_masks(Run(root))):
        with pytest.raises(InputError, match="several rows") as refused:
            read(sealed)
        for part in (folder, folder.with_name(copy)):
            assert f"{part.relative_to(sealed / 'masks')}/part-0.parquet" in str(refused.value)
    shutil.rmtree(folder.with_name(copy))
    shutil.copytree(sealed / "faithfulness", sealed / "faithfulness" / "copy")
    with pytest.raises(InputError, match="several rows"):
        _summarise_masks(Run(sealed))


def test_masks_that_are_not_there_are_named(sealed: Path) -> None:
    with pytest.raises(InputError, match="has those of: net, lime, original, predicted, 0"):
        FinishedRun(Run(sealed)).masks("net", 1)
    shutil.rmtree(sealed / OF_SEED)
    with pytest.raises(InputError, match="has those of: nothing"):
        read_masks(sealed)


@pytest.mark.parametrize("name", ["masks", "masks/net", OF_SEED, "pixels"])
def test_files_behind_links_are_checked(sealed: Path, name: str) -> None:
    elsewhere = sealed.with_name("disk")
    shutil.move(sealed / name, elsewhere)
    (sealed / name).symlink_to(elsewhere)
    (elsewhere / "loop").symlink_to(sealed / name)
    before = inspect_run(Run(sealed))
    assert {one.state for one in before.checked} == {"sound"}
    victim = next(one.name for one in before.checked if one.name.startswith(f"{name}/"))
    flip_bit(sealed / victim)
    assert list_bad(sealed) == [Checked(victim, "damaged")]
    os.rename(elsewhere, elsewhere.with_name("gone"))
    with pytest.raises(InputError, match=f"link .*{name} to lead"):
        list_bad(sealed)
