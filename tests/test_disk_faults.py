"""Wherever the system says no, a command ends with a sentence, and the same command mends it."""

import errno
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from disk_faults import Faults, Site, watching
from test_old_run import ARCHIVE
from whole_runs import assert_mended, link_run, resume

from osteo_ray.base.errors import InputError
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
    "words",
    [
        ["verify"],
        ["export", "--arm", "original"],
        pytest.param(["judge", "--out", "OUT"], marks=pytest.mark.faults),
        pytest.param(["report"], marks=pytest.mark.faults),
    ],
)
def test_commands_tell_each_error_of_the_disk(
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    root = tmp_path / "run"
    words = [words[0], str(root), *(str(tmp_path / "out") if w == "OUT" else w for w in words[1:])]

    def clean() -> None:
        for folder in (root / "exports", tmp_path / "out"):
            shutil.rmtree(folder, ignore_errors=True)

    sites = find_sites(tmp_path, lambda: main(words))
    assert sites
    for place, site in enumerate(sites):
        clean()
        number, code = ((errno.ENOSPC, 1), (errno.EACCES, 2))[place % 2]
        capsys.readouterr()
        struck, found = fail_at(site, number, tmp_path, lambda _: main(words))
        printed = capsys.readouterr().err
        assert struck or found == 0, site  # what is read once only is not read again
        assert found in (0, code), (site, found, printed)  # 0: the call did not matter
        assert "Traceback" not in printed
        assert found == 0 or os.strerror(number) in printed, (site, printed)
    clean()
    assert main(words) == 0


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_a_comparison_tells_each_error_of_the_disk_and_is_mended(
    whole: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = link_run(whole, tmp_path)
    sites = find_sites(tmp_path, lambda: resume(whole, root, []))
    assert len(sites) > 20

    def command(_: list[str]) -> int:
        resume(whole, root, [])
        return 0

    for place, site in enumerate(sites):
        number, code = ((errno.ENOSPC, 1), (errno.EACCES, 2))[place % 2]
        capsys.readouterr()
        struck, found = fail_at(site, number, tmp_path, command)
        printed = capsys.readouterr().err
        print(site, number, struck, found, printed[:300])
        assert "Traceback" not in printed
        assert found in (0, code), (site, found, printed)
    resume(whole, root, [])
    assert_mended(whole, root)


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        *((number, 1, "Failed") for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO)),
        *((number, 2, "Error") for number in (errno.EACCES, errno.EROFS, errno.ENXIO)),
    ],
)
def test_a_sentence_about_a_path_says_whether_the_path_is_to_blame(
    number: int, code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(_: list[str]) -> int:
        try:
            raise OSError(number, os.strerror(number), "out")
        except OSError as error:
            raise InputError(f"Expected --out to be writable: {error.strerror}.") from None

    assert run_safely(command, []) == code
    told = " ".join(capsys.readouterr().err.split())
    assert told == f"{word}: Expected --out to be writable: {os.strerror(number)}."
