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


def count(*forms: str, n: int = 6) -> list[str]:
    return [form.format(k) for form in forms for k in range(n)]


def test_paths_that_lead_somewhere_stay_as_they_are(tmp_path: Path) -> None:
    root = put(tmp_path, "a/1.png", "a/2.png", "b/3.png")
    paths = ["a/1.png", "a/2.png", "3"]  # one that is missing among others may be a slip
    assert find_files(paths, root) == (paths, {}, [])


def test_folders_at_the_beginning_are_dropped(tmp_path: Path) -> None:
    root = put(tmp_path, "a/x/1.png", "b/x/1.png")
    found, doubtful, notes = find_files(["set/v1/a/x/1.png", "", "set/v1/b/x/1.png"], root)
    assert found == ["a/x/1.png", "", "b/x/1.png"]
    assert doubtful == {}
    assert notes == ["2 of 2 paths are read without `set/v1/`, at which they begin."]


def test_folders_are_dropped_where_they_lead_to_no_file_alone(tmp_path: Path) -> None:
    root = put(tmp_path, *count("a/{}.png"), *count("b/{}.png"), *count("{}.png"))
    there = count("b/{}.png", n=4)
    found, _, notes = find_files([*count("set/a/{}.png"), *there], root)
    assert found == [*count("a/{}.png"), *there]
    assert notes == ["6 of 10 paths are read without `set/`, at which they begin."]


def test_names_without_suffix_are_found_wherever_they_lie(tmp_path: Path) -> None:
    root = put(tmp_path, "p1/A.jpg", "p2/deep/B.dcm", "C.png", "masks/A.jpg", ".x/C.png", "A.txt")
    found, doubtful, notes = find_files(["A", "B", "C.png", "D"], root)
    assert found == ["p1/A.jpg", "p2/deep/B.dcm", "C.png", "D"]
    assert doubtful == {}
    assert notes == [
        "2 of 4 paths lead to no file and are taken for the files of the same name in `p1`, "
        "`p2/deep`."
    ]


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


@pytest.mark.parametrize(
    ("files", "paths"),
    [
        (count("test/{}.png"), count("train/{}.png")),  # another part
        (count("x/val/{}.png"), count("x/Training Set/{}.png")),
        (count("left/{}.png"), count("right/{}.png")),  # the other knee
        (count("b/{}.png"), [*count("a/{}.png"), *count("b/{}.png", n=4)]),  # files of other rows
        (count("b/{}.png"), [*count("a/{}.png"), "b/5.png"]),  # or beside them
        (count("b/p{}/1.png"), [*count("a/p{}/1.png"), "b/p5/1.png"]),
        (count("{}.png"), [*count("a/{}.png"), "5.png"]),
        (count("all/{}.png"), count("a/{}.png", "b/{}.png")),  # two rows for each file
        (count("{}.png"), count("a/{}.png", "b/{}.png")),
        (count("b/{}.png", n=4), [*count("{}.png"), *count("b/{}.png", n=4)]),
    ],
)
def test_a_missing_file_is_replaced_by_none_that_means_something_else(
    tmp_path: Path, files: list[str], paths: list[str]
) -> None:
    assert find_files(paths, put(tmp_path, *files)) == (paths, {}, [])


@pytest.mark.parametrize(
    ("files", "paths", "wanted"),
    [
        (
            count("images/n/{}.png", "images/o/{}.png"),
            count("n/{}.png", "o/{}.png"),
            count("images/n/{}.png", "images/o/{}.png"),
        ),
        (  # the longest common end, even if both begin with other folders
            count("x/p{}/1.png"),
            count("y/v/p{}/1.png"),
            count("x/p{}/1.png"),
        ),
        (
            [*count("a/{}.png"), *count("b/{}.png")],
            [*count("x/a/{}.png"), *count("y/b/{}.png", n=2)],
            [*count("a/{}.png"), *count("b/{}.png", n=2)],
        ),
        (count("b/{}.png"), count("a/{}"), count("b/{}.png")),  # a folder of another name
        (count("train/{}.png"), count("imagesTr/{}.png"), count("train/{}.png")),
        (
            [*count("a/{}.png"), *count("x/b/{}.png")],
            [*count("a/{}.png", n=4), *count("b/{}.png")],
            [*count("a/{}.png", n=4), *count("x/b/{}.png")],
        ),
    ],
)
def test_files_are_found_by_the_ends_of_their_paths(
    tmp_path: Path, files: list[str], paths: list[str], wanted: list[str]
) -> None:
    found, doubtful, (note,) = find_files(paths, put(tmp_path, *files))
    assert (found, doubtful) == (wanted, {})
    changed = sum(old != new for old, new in zip(paths, wanted, strict=True))
    assert note.startswith(f"{changed} of {len(paths)} paths lead to no file and are taken for the")


def test_a_path_with_folders_that_fits_several_files_is_refused(tmp_path: Path) -> None:
    here = count("here/p{}/1.png", n=4)
    paths = [*count("gone/p{}/1.png"), *here]
    found, doubtful, notes = find_files(paths, put(tmp_path, *here))
    assert (found, notes) == (paths, [])
    why = "no such file, but 4 files are called so (here/p0/1.png, here/p1/1.png …); correct the "
    assert doubtful == {4: f"{why}path", 5: f"{why}path"}  # others end like files of other rows


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
