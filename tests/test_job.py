"""`ray job submit` to a real head that requires a token and runs in processes of its own."""

import itertools
import json
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from ray_heads import ROOT, Head

from osteo_ray.commands.entrypoint import run_entrypoint
from osteo_ray.commands.submit import parse_submit
from osteo_ray.commands.submittable import SUBMITTABLE, check_submittable

SMALLEST = (
    *("--models", "test_byobnet", "--arms", "original", "lime"),
    *("--epochs", "1", "--lime-samples", "8", "--phantom.n-images", "40"),
    *("--resources.cpus-per-worker", "2", "--no-grid"),
)


@dataclass(frozen=True)
class Jobs:
    """Two jobs that ran beside each other: one that can finish, and one with an unknown arm."""

    run: Path
    good: "subprocess.CompletedProcess[str]"
    mistaken_run: Path
    mistaken: "subprocess.CompletedProcess[str]"


@pytest.fixture(scope="module")
def jobs(head: Head, tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    runs = [tmp_path_factory.mktemp("jobs") / "run" for _ in range(2)]
    flags = (("--seeds", "2", *SMALLEST), ("--arms", "original", "lmie"))
    with ThreadPoolExecutor() as pool:
        ended = [
            pool.submit(head.submit, "--out", str(run), *words)
            for run, words in zip(runs, flags, strict=True)
        ]
        good, mistaken = (one.result() for one in ended)
    return Jobs(runs[0], good, runs[1], mistaken)


@pytest.mark.long
@pytest.mark.ray
def test_job_finishes_and_holds_every_planned_trial(jobs: Jobs) -> None:
    job, run = jobs.good, jobs.run
    assert job.returncode == 0, job.stdout
    assert f"Report: {run / 'report.html'}" in job.stdout.replace("\n", "")
    assert (run / "report.html").stat().st_size > 0
    assert json.loads((run / "comparison.json").read_text())["verdict"]["verdict"]
    table = pq.read_table(run / "predictions.parquet", columns=["model", "seed", "arm"])
    trials = {tuple(row.values()) for row in table.to_pylist()}
    assert trials == set(itertools.product(["test_byobnet"], [0, 1], ["original", "lime"]))


@pytest.mark.ray
def test_job_with_an_unknown_arm_fails_and_says_so(jobs: Jobs) -> None:
    job = jobs.mistaken
    assert job.returncode == 1
    assert "failed with exit code 2" in job.stdout
    said = " ".join(job.stdout.replace("│", " ").split())  # out of the box that the parser draws
    assert "got `lmie`" in said
    assert "Did you mean `lime`?" in said
    assert not jobs.mistaken_run.exists()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], "Expected an absolute --out"),
        (["--out", "~nosuchuser/runs"], "Expected an absolute --out"),
        (["--out", "runs/knees"], "got `runs/knees`"),
        (["--out", "/shared/run", "--data", "knees"], "Expected an absolute --data"),
        (
            ["--out", "/shared/run", "--weights", "test_byobnet=a.safetensors"],
            "Expected an absolute --weights",
        ),
        (
            ["--out", "/shared/run", "--data", "/shared/knees", "--regions", "masks"],
            "Expected an absolute --regions",
        ),
        (["--out", "/shared/run", "--seed", "2"], "--seeds"),
    ],
)
def test_job_refuses_paths_in_its_own_folder(
    flags: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_entrypoint("compare", flags) == 2
    assert expected in capsys.readouterr().err


def test_other_jobs_refuse_them_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_entrypoint("audit", ["knees", "--out", "/shared/audit"]) == 2
    assert "Expected an absolute --data" in capsys.readouterr().err
    assert (
        run_entrypoint("explain", ["--checkpoint", "a.safetensors", "--out", "/shared/masks"]) == 2
    )
    assert "Expected an absolute --checkpoint" in capsys.readouterr().err
    assert run_entrypoint("reproduce", ["runs/knees"]) == 2
    assert "Expected an absolute --run" in capsys.readouterr().err
    assert run_entrypoint("reproduce", ["/shared/knees", "--out", "work"]) == 2
    assert "Expected an absolute --out" in capsys.readouterr().err
    assert run_entrypoint("reproduce", []) == 2
    assert "Expected a run directory" in capsys.readouterr().err
    assert run_entrypoint("phantom", ["/shared/knees"]) == 2
    assert "Expected a command that can run as a job (compare, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "report"),
    [
        (("compare", "--out", "/shared/run/"), "/shared/run/report.html"),
        (("compare", "--out", "s3://bucket/a?region=x"), "s3://bucket/a/report.html?region=x"),
        (("audit", "/shared/a", "--out", "/shared/b"), "/shared/b/audit.html"),
        (("explain", "/shared/a", "--out", "/shared/b"), "/shared/b/masks"),
        (("reproduce", "/shared/runs/a"), "/shared/runs/reproductions.html"),
        (("reproduce", "/shared/a", "--ledger", "/shared/b.parquet"), "/shared/b.html"),
    ],
)
def test_report_is_named(words: tuple[str, ...], report: str) -> None:
    assert check_submittable(words[0], words[1:]) == report


def test_job_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_entrypoint("compare", ["--help"]) == 0
    assert "--lime-samples" in capsys.readouterr().out


@pytest.mark.parametrize("name", SUBMITTABLE)
def test_commands_of_the_docstring_are_whole_and_parse(name: str) -> None:
    text = (ROOT / "jobs" / f"{name}.py").read_text(encoding="utf-8").split('"""')[1]
    blocks = re.findall(r"\n((?:    .*\n)+)", text)
    commands = [
        shlex.split(line)
        for block in blocks
        for line in block.replace("\\\n", "").splitlines()
        if "ray job submit" in line
    ]
    assert len(commands) == text.count("ray job submit") == 2
    for words in commands:
        assert words[:6] == ["ray", "job", "submit", "--working-dir", ".", "--"]
        assert words[6:8] == ["python", f"jobs/{name}.py"]
        assert check_submittable(name, words[8:]).startswith("/")


def test_every_job_has_a_script() -> None:
    assert {path.stem for path in (ROOT / "jobs").glob("*.py")} == set(SUBMITTABLE)


@pytest.mark.parametrize(("page", "n"), [("cluster.md", 4), ("reproduce.md", 1)])
def test_submit_commands_of_the_pages_parse(page: str, n: int) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"```\w+\n(.*?)```", text, re.S))
    commands = re.findall(r"osteo-ray submit (.*)", re.sub(r"\$\(date [^)]*\)", "7", blocks))
    assert len(commands) == n
    for command in commands:
        options = parse_submit(shlex.split(re.split(r" >|\"\]", command)[0]))
        assert check_submittable(options.command, options.arguments)
