"""Wherever the system says no, a command ends with a sentence, and the same command mends it."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from disk_faults import Faults, Site, watching
from test_damage import assert_mended, link_run, resume, whole  # noqa: F401
from test_old_run import unpacked  # noqa: F401

from osteo_ray.commands.main import main, run_safely


def find_sites(root: Path, command: Callable[[], object]) -> list[Site]:
    faults = Faults(root)
    with watching(faults):
        command()
    return list(faults.seen)


def fail_at(
    site: Site, number: int, root: Path, command: Callable[[list[str]], int]
) -> tuple[bool, int]:
    faults = Faults(root, number, target=site)
    with watching(faults):
        code = run_safely(command, [])
    return faults.struck, code


@pytest.mark.parametrize(
    "words", [["verify"], ["report"], ["export", "--arm", "original"], ["judge", "--out", "OUT"]]
)
def test_commands_tell_each_error_of_the_disk(
    words: list[str],
    unpacked: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = Path(shutil.copytree(unpacked / "run", tmp_path / "run"))
    words = [words[0], str(root), *(str(tmp_path / "out") if w == "OUT" else w for w in words[1:])]

    def clean() -> None:
        for folder in (root / "exports", tmp_path / "out"):
            shutil.rmtree(folder, ignore_errors=True)

    sites = find_sites(tmp_path, lambda: main(words))
    assert len(sites) > 5
    for place, site in enumerate(sites):
        clean()
        number, code = ((errno.ENOSPC, 1), (errno.EACCES, 2))[place % 2]
        capsys.readouterr()
        struck, found = fail_at(site, number, tmp_path, lambda _: main(words))
        printed = capsys.readouterr().err
        assert struck, site
        assert found in (0, code, 2), (site, found, printed)  # 0: the call did not matter
        assert "Traceback" not in printed
        assert found == 0 or os.strerror(number) in printed, (site, printed)
    clean()
    assert main(words) == 0
