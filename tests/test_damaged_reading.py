"""Commands that only read a run say what is damaged; `reproduce` leaves a row in any case."""

import json
from pathlib import Path

import pytest
from whole_runs import link_run

from osteo_ray.base.errors import InputError
from osteo_ray.commands.main import main
from osteo_ray.commands.python import open_run
from osteo_ray.experiment.reproduction.ledger import read_ledger
from osteo_ray.pipeline.reproduce import rerun


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
    next(root.glob("masks/*/*/*/*.parquet")).unlink()
    (next(root.glob("masks/*/*/*")) / "stray.parquet").write_bytes(b"")
    before = sorted(root.rglob("*"))
    assert main(["verify", str(root)]) == 3
    printed = capsys.readouterr().out
    for text in ("plan.json: damaged", ".parquet: missing", "stray.parquet: foreign", "3 of "):
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


def test_a_request_that_makes_no_sense_leaves_no_row(root: Path) -> None:
    assert main(["reproduce", str(root), "--run-code", "--sample", "999"]) == 2
    assert not (root.parent / "reproductions.parquet").exists()
