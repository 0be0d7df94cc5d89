"""Every kind of file that a run holds, damaged in six ways: all of it is mended.

The kinds are those of a run that has everything (`whole`), so that a new kind is damaged as well.
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from whole_runs import assert_mended, link_run, list_files, resume

from osteo_ray.base.digests import write_record, write_sealed
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import UNFINISHED, is_free
from osteo_ray.experiment.healing import heal_run, settle_digests
from osteo_ray.experiment.run_files import is_spare
from osteo_ray.experiment.soundness import inspect_run
from osteo_ray.pipeline.explain.actor import ExplainingActor
from osteo_ray.pipeline.ingest.rereading import read_again

WAYS = ("missing", "empty", "truncated", "one bit", "a folder", "another run's")


def name_kind(name: str) -> str:
    """Return what a file is, without numbers, keys, and names that its content gives it."""
    name = re.sub(r"[0-9a-f]{12,64}", "KEY", name)
    name = re.sub(r"seed-\d+", "seed-N", name)
    name = re.sub(r"(lime|original|random_each_epoch|given_region|fold-\d)-KEY", "ARM-KEY", name)
    name = re.sub(r"(knee-|events-)[-\w]+", r"\1N", name)
    return re.sub(r"(tuning/[^/]+/(?:spare/)?)\w+\.json", r"\1ARM.json", name)


def choose_victims(root: Path) -> dict[str, str]:
    """Return a file of each kind that a run holds, except for logs."""
    found: dict[str, str] = {}
    for name in list_files(root):
        if not name.startswith("logs/"):
            found.setdefault(name_kind(name), name)
    return found


def damage(path: Path, way: str, others: Mapping[str, bytes]) -> None:
    """Damage a file.

    Args:
        path: The file.
        way: One of `WAYS`.
        others: Files by name, one of which with the same suffix takes its place.
    """
    content = path.read_bytes()
    path.unlink()  # it may be a link to that of the run that all tests share
    if way == "missing":
        return
    if way == "a folder":
        path.mkdir()
        (path / "notes.txt").write_text("Somebody put a folder here.")
        return
    if way == "empty":
        content = b""
    elif way == "truncated":
        content = content[: 2 * len(content) // 3]
    elif way == "one bit":
        middle = len(content) // 2
        content = content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]
    else:
        alike = [other for name, other in others.items() if name.endswith(path.suffix)]
        content = next(other for other in [*alike, *others.values()] if other != content)
    path.write_bytes(content)


def test_a_run_with_everything_has_every_kind_of_file(whole: Path) -> None:
    tops = {name.partition("/")[0] for name in choose_victims(whole / "run")}
    folders = {
        getattr(Run(Path()), name).name
        for name, value in vars(Run).items()
        if isinstance(value, property)
    }
    assert folders - tops == {"logs", "card"}
    found = inspect_run(Run(whole / "run"))
    assert {one.state for one in found.checked} == {"sound"}
    assert not list((whole / "run").rglob(".*.digest"))


@pytest.fixture
def broken(whole: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may damage."""
    return link_run(whole, tmp_path)


@pytest.mark.faults
@pytest.mark.parametrize("way", WAYS)
def test_damage_is_found_and_nothing_else_is_lost(whole: Path, tmp_path: Path, way: str) -> None:
    before = list_files(whole / "run")
    for kind, name in choose_victims(whole / "run").items():
        root = link_run(whole, tmp_path)
        damage(root / name, way, {other: before[other] for other in reversed(before)})
        bad = {one.name for one in inspect_run(Run(root)).list_bad()}
        lists = name.endswith(".digests.json")
        if not lists:
            assert bad == {name}, (kind, bad)
        told: list[str] = []
        lost = heal_run(Run(root), told.append)
        if not lists and not name.startswith("spare/"):
            assert any(name in line or name.partition("/")[0] in line for line in told), kind
        if lost.digests:
            read_again(Run(root), lost, lambda draft: copy_source(whole / "run", draft))
        if lost.phantom:
            shutil.copytree(whole / "run" / "phantom", root / "phantom")
        after = list_files(root)
        kept = {
            other: content for other, content in after.items() if not other.startswith("set-aside/")
        }
        for other, content in kept.items():
            if not other.endswith((".digests.json", ".digest")):
                assert content == before[other], (kind, other)
        again: list[str] = []
        assert not heal_run(Run(root), again.append).digests
        assert again == [], kind
        shutil.rmtree(root)


def copy_source(origin: Path, draft: Run) -> None:
    """Give what reading the source gives."""
    names = ("images.parquet", "rejects.parquet", "audit.json", "splits.parquet", "regions.parquet")
    shutil.copytree(origin / "phantom", str(draft.phantom))
    shutil.copytree(origin / "pixels", str(draft.pixels))
    (Path(str(draft.pixels)) / ".digests.json").unlink(missing_ok=True)
    for name in names:
        shutil.copy(origin / name, str(draft.root))


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=pytest.mark.faults) for way in WAYS] + ["each in its way"]
)
def test_a_run_of_which_every_kind_is_damaged_ends_as_it_was(
    whole: Path, broken: Path, way: str
) -> None:
    before = list_files(broken)
    for number, name in enumerate(choose_victims(broken).values()):
        if not is_spare(name) and not name.endswith(".digests.json"):  # they mend the others
            chosen = WAYS[number % len(WAYS)] if way == "each in its way" else way
            damage(broken / name, chosen, {n: before[n] for n in reversed(before)})
    told: list[str] = []
    resume(whole, broken, told)
    assert_mended(whole, broken)
    assert sum(len(line) for line in told) < 10_000


def test_lost_pictures_of_the_report_cost_no_explanation(
    whole: Path, broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = list_files(broken)
    heatmap = next(name for name in before if re.match(r"heatmaps/.*\.parquet", name))
    shown = Run(Path()).place_shown_superpixels()
    superpixels = next(name for name in before if re.match(rf"{shown}/.*\.parquet", name))
    damage(broken / heatmap, "one bit", before)
    damage(broken / superpixels, "missing", before)
    monkeypatch.setattr(ExplainingActor, "_find_masks", refuse)
    told: list[str] = []
    resume(whole, broken, told)
    assert [line for line in told if "masks" in line or "faithfulness" in line] == []
    assert_mended(whole, broken)


def refuse(*_: object) -> None:
    raise AssertionError("Expected no image to be explained.")


@pytest.mark.faults
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("way", WAYS)
def test_a_run_with_one_damaged_file_ends_as_it_was(whole: Path, tmp_path: Path, way: str) -> None:
    before = list_files(whole / "run")
    for name in choose_victims(whole / "run").values():
        root = link_run(whole, tmp_path)
        damage(root / name, way, {n: before[n] for n in reversed(before)})
        resume(whole, root, [])
        assert_mended(whole, root)
        shutil.rmtree(root)


def test_figures_of_one_seed_take_no_masks_of_others_with_them(tmp_path: Path) -> None:
    run = Run(tmp_path)
    lost = "masks/net/seed-1/original-0123456789ab/part-1.parquet"  # pragma: allowlist secret
    kept = "masks/net/seed-10/original-0123456789ab/part-1.parquet"  # pragma: allowlist secret
    figures = "faithfulness/net/seed-1/part-1.parquet"
    for name in (lost, kept, figures):
        with write_sealed(tmp_path / name) as unfinished:
            unfinished.write_text(name)
    settle_digests(run)
    (tmp_path / figures).write_text("another")
    heal_run(run)
    assert not (tmp_path / lost).exists()  # explained again, as the figures come with it
    assert (tmp_path / kept).read_text() == kept


@pytest.mark.parametrize("name", ["variance.json", "frozen/graph.bin", "frozen.zip"])
def test_what_other_commands_leave_beside_is_checked_and_set_aside(
    tmp_path: Path, name: str
) -> None:
    place, run = tmp_path / name, Run(tmp_path)
    place.parent.mkdir(exist_ok=True)
    with write_sealed(place) as unfinished:
        unfinished.write_bytes(b"as it was written")
    settle_digests(run)
    assert [(one.name, one.state) for one in inspect_run(run).checked] == [(name, "sound")]
    place.write_bytes(b"cut")
    assert [(one.name, one.state) for one in inspect_run(run).checked] == [(name, "damaged")]
    heal_run(run)
    assert not (tmp_path / name.partition("/")[0]).exists()
    assert inspect_run(run).checked == ()


@pytest.mark.parametrize("name", ["masks", "spare", "networks/spare", "cohort/0a"])
def test_a_file_where_a_folder_belongs_is_set_aside(name: str, tmp_path: Path) -> None:
    run = Run(tmp_path)
    for place in (run.config, tmp_path / "networks" / "net.py"):
        place.parent.mkdir(exist_ok=True)
        with write_record(place) as unfinished:
            unfinished.write_text("as it was written")
    settle_digests(run)
    before = list_files(tmp_path)
    shutil.rmtree(tmp_path / name, ignore_errors=True)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("Somebody put a file here.")
    (bad,) = [one for one in inspect_run(run).list_bad() if one.state != "missing"]
    assert (bad.name, bad.state) == (name, "foreign")
    told: list[str] = []
    heal_run(run, told.append)
    settle_digests(run)
    kind = name.partition("/")[0]
    assert told[0] == f"{kind}: 1 file foreign ({name}); set aside."
    after = list_files(tmp_path)
    assert after.pop(f"set-aside/1/{name}") == b"Somebody put a file here."
    assert after == before


def test_a_mark_that_stayed_behind_keeps_no_run_from_being_mended(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for place, how in ((run.config, write_record), (run.results, write_sealed)):
        with how(place) as unfinished:
            unfinished.write_text("as it was written")
    (tmp_path / UNFINISHED).touch()  # the process was killed once config.yaml was there
    run.results.write_text("cut")
    heal_run(run)
    assert not run.results.exists()
    assert not is_free(run.root, run.config.name)
    run.config.unlink()
    assert not is_free(run.root, run.config.name)  # or the next command would empty it
