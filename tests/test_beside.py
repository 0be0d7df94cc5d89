"""`osteo-ray report RUN RUN …`: several runs beside each other."""

import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from osteo_ray.base.runs import Run
from osteo_ray.base.tables import read_json
from osteo_ray.commands.main import main
from osteo_ray.report.beside import list_differing

ARCHIVE = Path(__file__).with_name("old_run.tar.xz")
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Run, Run]:
    """A run of an earlier version, and a copy of it."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    copy = shutil.copytree(tmp_path / "run", tmp_path / "copy" / "run")
    return Run(tmp_path / "run"), Run(copy)


def change(run: Run, **changes: Any) -> None:
    path = Path(str(run.comparison))
    path.write_text(json.dumps({**read_json(path), **changes}))


def show(runs: tuple[Run, ...], page: Path) -> str:
    assert main(["report", *(str(run.root) for run in runs), "--out", str(page)]) == 0
    text = re.sub(r"<style>.*?</style>", "", page.read_text(encoding="utf-8"), flags=re.S)
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def test_page_shows_verdicts_results_and_what_differs(
    runs: tuple[Run, Run], tmp_path: Path
) -> None:
    config = Path(str(runs[1].config))
    config.write_text(config.read_text().replace("learning_rate: 0.003", "learning_rate: 0.07"))
    verdict = {**read_json(runs[1].comparison)["verdict"], "verdict": "leakage"}
    change(runs[1], verdict=verdict)
    text = show(runs, tmp_path / "page.html")
    assert "2 runs beside each other" in text
    assert "they used the same images" in text
    assert "run Inconclusive" in text
    assert "run-2 Leakage" in text
    assert text.count("Original, retrained − Original") == 0  # in the figure, as a picture
    settings = text.partition("Settings that differ")[2]
    assert "training.learning_rate 0.003 0.07" in settings
    assert "image_size" not in settings  # the same in both
    assert "Versions do not differ." in settings
    assert "Settings Setting run run-2 training.learning_rate" in settings


def test_judgement_stands_beside_a_run(runs: tuple[Run, Run], tmp_path: Path) -> None:
    judged = Run(tmp_path / "judged")
    assert main(["judge", str(runs[0].root), "--out", str(judged.root), "--metric", "auc"]) == 0
    text = show((runs[0], judged), tmp_path / "page.html")
    assert "metric accuracy auc" in text
    assert "No two of these runs have a contrast in common." in text  # unlike endpoints
    assert "training.epochs" not in text  # a judgement has none, so nothing differs


def test_names_are_escaped_and_nothing_in_common_is_said(
    runs: tuple[Run, Run], tmp_path: Path
) -> None:
    contrasts = read_json(runs[1].comparison)["contrasts"]
    change(runs[1], contrasts=[{**row, "model": HOSTILE} for row in contrasts], models=[HOSTILE])
    text = show(runs, tmp_path / "page.html")
    assert HOSTILE not in (tmp_path / "page.html").read_text()
    assert "No two of these runs have a contrast in common." in text


def test_settings_that_cannot_be_read_are_said(runs: tuple[Run, Run], tmp_path: Path) -> None:
    Path(str(runs[1].config)).write_text("from_the_future: 1\n")
    text = show(runs, tmp_path / "page.html")
    assert "Some settings could not be read." in text
    assert "Unknown configuration key `from_the_future`" in text


def test_keys_that_one_lacks_are_no_difference() -> None:
    found = list_differing([{"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}, {}])
    assert [(one.name, one.values) for one in found] == [("b", ("2", "3", "–"))]


@pytest.mark.parametrize(
    ("n_runs", "flags", "words"),
    [
        (0, (), "Expected a run directory, or several, but got none."),
        (2, (), "Expected --out PAGE.html with 2 runs, but got none."),
        (2, ("--out", "page.txt"), "Expected --out PAGE.html with 2 runs, but got page.txt."),
        (2, ("--out", "folder.html"), "folder.html is a folder"),
        (1, ("--out", "page.html"), "Expected --out with several runs only"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    runs: tuple[Run, Run],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    n_runs: int,
    flags: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.html").mkdir()
    assert main(["report", *(str(run.root) for run in runs[:n_runs]), *flags]) == 2
    assert words in " ".join(capfd.readouterr().err.split())
