"""Schedules that the docs offer: they run, and tell nobody unless something is wrong."""

import fcntl
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from osteo_ray.commands.submittable import check_submittable

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
LINES = re.findall(r"```cron\n(.+?)\n```", PAGE)
WORKFLOW = ROOT / "docs" / "reproduce-workflow.yml"


def write_command(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def run_in_shell(script: str, home: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {"HOME": str(home), "PATH": f"{home}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["/bin/bash", "-c", script],
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def read_line(line: str) -> str:
    """Return the command of a line of a crontab, as cron hands it to the shell."""
    assert re.match(r"0 3 \* \* 0  ", line)
    command = line.split(maxsplit=5)[5]
    assert "%" not in command.replace(r"\%", "")  # which ends a command
    return command.replace(r"\%", "%")


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize(
    ("code", "held", "mails"),
    [
        (0, False, None),
        (0, True, None),  # the last one is still going: no alarm
        (4, False, "knees: exit code 4"),
        (1, False, "knees: exit code 1"),
        (2, False, "knees: exit code 2"),
    ],
)
def test_line_mails_only_drift_and_failures(
    line: str, code: int, held: bool, mails: str | None, tmp_path: Path
) -> None:
    write_command(tmp_path, "osteo-ray", f'echo "$@" | tee -a $HOME/ran; exit {code}')
    write_command(tmp_path, "mail", "echo $2 >> $HOME/mailed; cat >> $HOME/mailed")
    with (tmp_path / "knees.lock").open("w") as lock:
        if held:
            fcntl.flock(lock, fcntl.LOCK_EX)
        ended = run_in_shell(read_line(line), tmp_path)
    assert (ended.stdout, ended.stderr) == ("", "")  # cron would mail it
    assert (tmp_path / "ran").exists() is not held
    mailed = tmp_path / "mailed"
    assert mailed.exists() is (mails is not None)
    if mails is not None:
        subject, body = mailed.read_text().splitlines()
        assert subject == mails
        assert "reproduce /shared/runs/knees --share 0.1 --seed " in body


def test_lines_are_commands_that_parse(tmp_path: Path) -> None:
    assert len(LINES) == 2
    write_command(tmp_path, "osteo-ray", 'printf "%s\\n" "$@" > $HOME/words')
    for line in LINES:
        run_in_shell(read_line(line), tmp_path)
        words = (tmp_path / "words").read_text().splitlines()
        if words[0] == "submit":
            assert words[1:3] == ["--address", "http://127.0.0.1:8265"]
            words = words[3:]
        check_submittable(words[0], words[1:])
        assert re.fullmatch(r"\d\d", words[-1])  # another sample in each week of the year


def read_workflow() -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    return found


def test_workflow_is_one_job_on_a_schedule() -> None:
    workflow = read_workflow()
    triggers = workflow[True]  # YAML 1.1 takes `on` for a truth value; GitHub does not
    assert triggers["schedule"] == [{"cron": "0 3 * * 0"}]
    assert "workflow_dispatch" in triggers
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is False
    [job] = workflow["jobs"].values()
    assert job["runs-on"][0] == "self-hosted"
    assert 0 < job["timeout-minutes"] <= 1440
    for step in job["steps"]:
        assert {"uses", "run"} & step.keys()
        assert "secrets." not in step.get("run", "")  # by the environment, and of one step only
    assert "secrets." not in str(job["env"])


@pytest.mark.parametrize(
    ("code", "outcome"), [(0, "reproduced"), (4, "drifted"), (2, "bad input"), (1, "failed")]
)
def test_workflow_ends_as_the_command_and_says_what_it_means(
    code: int, outcome: str, tmp_path: Path
) -> None:
    [job] = read_workflow()["jobs"].values()
    [script] = [step["run"] for step in job["steps"] if step.get("name") == "Reproduce"]
    write_command(tmp_path, "uv", f'printf "%s\\n" "$@" > $HOME/words; exit {code}')
    summary = tmp_path / "summary"
    # GitHub runs `shell: bash` like this.
    ended = run_in_shell(f"set -eo pipefail\n{script}", tmp_path, GITHUB_STEP_SUMMARY=str(summary))
    assert ended.returncode == code, ended.stderr
    assert summary.read_text().startswith(f"The stored run: {outcome}")
    words = (tmp_path / "words").read_text().splitlines()
    assert words[:5] == ["run", "--no-dev", "osteo-ray", "submit", "reproduce"]
    check_submittable("reproduce", words[5:])


def test_workflow_installs_the_uv_of_the_clusters() -> None:
    versions = {
        version
        for path in (WORKFLOW, ROOT / "cluster.yaml", ROOT / "Dockerfile")
        for version in re.findall(r"uv(?:==|/)(\d+\.\d+\.\d+)", path.read_text(encoding="utf-8"))
    }
    assert len(versions) == 1
