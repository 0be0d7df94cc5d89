"""Public sets, rebuilt in small: their classes, patients and parts, and files found by names."""

from collections import Counter
from pathlib import Path

import pytest
from public_sets import PUBLIC_SETS, PublicSet, tabulate_sets

from osteo_ray.base.errors import InputError
from osteo_ray.data.sources.classes import doubt_classes
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.data.sources.named_files import find_files
from osteo_ray.data.sources.options import SourceOptions

DOCS = Path(__file__).parents[1] / "docs" / "data.md"


@pytest.mark.parametrize("one", PUBLIC_SETS, ids=lambda one: one.name)
def test_a_public_set_is_read_as_it_is_meant(one: PublicSet, tmp_path: Path) -> None:
    data = one.write(tmp_path)
    options = SourceOptions.of(one.columns, None, one.pattern)
    source = open_source(str(data), options)
    items = source.items
    assert Counter(items["label"]) == one.classes
    assert len(set(items["patient_id"]) - {""}) == one.patients
    assert source.guessed == one.guessed
    assert Counter(items.loc[items["split"] != "", "split"]) == one.splits
    assert len(source.refused) == one.refused
    assert one.says in "\n".join((*source.notes, *source.doubts))
    for path in items["path"]:  # what is listed is there
        assert source.reader.read(path, -1) == b"any"


@pytest.mark.parametrize("one", [one for one in PUBLIC_SETS if one.fails], ids=lambda one: one.name)
def test_without_its_flags_it_is_refused_with_what_to_do(one: PublicSet, tmp_path: Path) -> None:
    data = one.write(tmp_path)
    with pytest.raises(InputError) as caught:
        open_source(str(data if one.columns else tmp_path))
    assert one.fails in str(caught.value)


def test_atlas_is_that_of_these_sets() -> None:
    assert len(PUBLIC_SETS) >= 15
    assert f"\n\n{tabulate_sets()}\n\n" in DOCS.read_text(encoding="utf-8"), tabulate_sets()


# Files that are found by their names


def put(root: Path, *paths: str) -> str:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"any")
    return str(root)


def test_paths_that_lead_somewhere_stay_as_they_are(tmp_path: Path) -> None:
    root = put(tmp_path, "a/1.png", "a/2.png", "b/3.png")
    paths = ["a/1.png", "a/2.png", "3"]  # one that is missing among others may be a slip
    assert find_files(paths, root) == (paths, {}, [])


def test_folders_at_the_beginning_are_dropped(tmp_path: Path) -> None:
    root = put(tmp_path, "a/x/1.png", "b/x/1.png")
    found, doubtful, notes = find_files(["set/v1/a/x/1.png", "", "set/v1/b/x/1.png"], root)
    assert found == ["a/x/1.png", "", "b/x/1.png"]
    assert doubtful == {}
    assert notes == ["Paths are read without `set/v1/`, at which they begin."]


def test_names_without_suffix_are_found_wherever_they_lie(tmp_path: Path) -> None:
    root = put(tmp_path, "p1/A.jpg", "p2/deep/B.dcm", "C.png", "masks/A.jpg", ".x/C.png", "A.txt")
    found, doubtful, notes = find_files(["A", "B", "C.png", "D"], root)
    assert found == ["p1/A.jpg", "p2/deep/B.dcm", "C.png", "D"]
    assert doubtful == {}
    assert notes == ["Images are found by their names alone, in `p1`, `p2/deep`."]


def test_a_name_of_several_files_is_refused_with_what_to_do(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/1.png", "a/2.png")
    (tmp_path / "m.csv").write_text("path,label\n1,x\n2,y\n9,y\n2.png,y\n")
    source = open_source(str(tmp_path / "m.csv"), labels_needed=False)
    refused = dict(source.refused.to_numpy().tolist())
    assert refused == {
        "1": "2 files are called so (a/1.png, b/1.png …); give paths with folders",
        "a/2.png": "listed twice",
    }
    assert source.items["path"].tolist() == ["9", "a/2.png"]  # the former is refused when read


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    assert find_files(["1", "x/2.png"], str(tmp_path)) == (["1", "x/2.png"], {}, [])


# Labels that may be no classes


def test_labels_of_several_findings_are_doubted() -> None:
    (said,) = doubt_classes(["Mass", "Effusion|Mass", "Effusion", "Mass"])
    assert "`Effusion|Mass` joins the classes `Effusion` and `Mass`" in said
    assert doubt_classes(["a|b", "c|d"]) == []


def test_folders_of_patients_are_doubted() -> None:
    patients = [f"{number:04}" for number in range(30) for _ in range(4)]
    (said,) = doubt_classes(patients)
    assert "30 classes" in said
    assert "patients" in said
    assert doubt_classes([str(grade) for grade in range(5)] * 4) == []
