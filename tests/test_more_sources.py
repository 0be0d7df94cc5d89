"""Sets that say more than one thing: masks beside images, tables beside folders, odd numbers."""

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from osteo_ray.base.errors import InputError
from osteo_ray.data.regions.coco import CocoImage
from osteo_ray.data.sources.kinds import open_second_source, open_source
from osteo_ray.data.sources.listing import Source
from osteo_ray.data.sources.options import SourceOptions
from osteo_ray.data.sources.patients import know_patient
from osteo_ray.data.sources.readers import FileReader


def open_given(place: Path, **options: Any) -> Source:
    return open_source(str(place), SourceOptions(**options))


def list_items(source: Source, *columns: str) -> list[tuple[str, ...]]:
    return list(source.items[list(columns)].itertuples(index=False, name=None))


def list_reasons(source: Source) -> dict[str, str]:
    return dict(source.refused.itertuples(index=False, name=None))


def put(root: Path, *paths: str, **texts: str) -> Path:
    files = dict.fromkeys(paths, "any") | texts
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def pack(place: Path, files: Mapping[str, str]) -> Path:
    """Pack texts, in sorted order, as tools do."""
    place.parent.mkdir(exist_ok=True)
    if place.suffix == ".zip":
        with zipfile.ZipFile(place, "w") as archive:
            for name in sorted(files):
                archive.writestr(name, files[name])
        return place
    with tarfile.open(place, "w") as tar:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size = len(files[name].encode())
            tar.addfile(member, io.BytesIO(files[name].encode()))
    return place


@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_a_set_that_is_packed_again_is_read_again(tmp_path: Path, suffix: str) -> None:
    place = tmp_path / f"knees.{suffix}"  # as in a notebook, all in one process
    first = {"normal/1.png": "one", "worn/2.png": "two"}
    assert open_given(pack(place, first)).reader.read("worn/2.png", -1) == b"two"
    place.unlink()
    source = open_given(pack(place, {"normal/1.png": "ONE", "worn/3.png": "three"}))
    assert list_items(source, "path") == [("normal/1.png",), ("worn/3.png",)]
    assert source.reader.read("worn/3.png", -1) == b"three"
    assert source.reader.read("normal/1.png", -1) == b"ONE"


def test_names_in_a_tar_file_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with tarfile.open(
        tmp_path / "x.tar", "w", format=tarfile.GNU_FORMAT, encoding="latin-1"
    ) as tar:
        for name in ("normal/1.png", "normal/kn\xe9e.png", "worn/2.png"):
            tar.addfile(tarfile.TarInfo(name))
    source = open_given(tmp_path / "x.tar")
    assert list_items(source, "path") == [("normal/1.png",), ("worn/2.png",)]
    assert list_reasons(source) == {"normal/kn\\xe9e.png": "a file name that is not valid UTF-8"}


@pytest.mark.parametrize(("folder", "split"), [("eval", "test"), ("data/val", "validation")])
def test_folders_in_a_web_dataset_name_parts(tmp_path: Path, folder: str, split: str) -> None:
    files = {f"{part}/test_{k}.png": "any" for part in (folder, "train") for k in range(2)}
    files |= {path.replace(".png", ".cls"): path[-5] for path in files}
    files |= {"train/test_0.json": json.dumps({"split": "val"})}
    source = open_given(pack(tmp_path / "x.tar", files))
    assert list_items(source, "path", "split") == [
        *((f"{folder}/test_{k}.png", split) for k in range(2)),
        ("train/test_0.png", "validation"),
        ("train/test_1.png", "train"),
    ]


@pytest.mark.parametrize("parts", [("train", "test"), ("knees/train", "knees/val")])
@pytest.mark.parametrize("name", ["labels", "regions"])
def test_folders_that_repeat_images_within_parts_are_no_class(
    tmp_path: Path, parts: tuple[str, ...], name: str
) -> None:
    ends = ["normal/1.png", "worn/2.png"]
    put(tmp_path, *(f"{part}/{folder}/{end}" for part in parts for folder in ("images", name)
                    for end in ends))  # fmt: skip
    source = open_given(tmp_path)
    wanted = [(f"{part}/images/{end}", end.partition("/")[0]) for part in parts for end in ends]
    assert list_items(source, "path", "label") == sorted(wanted)
    for part in parts:
        told = f"The folder `{part}/{name}` is taken as one of masks, no class: 2 files are passed"
        assert any(note.startswith(told) for note in source.notes)


class TestMasksInWebDatasets:
    @pytest.mark.parametrize("ending", ["mask.png", "seg.png", "left_mask.png", "mask.nii.gz"])
    @pytest.mark.parametrize("masked", [(1, 3), (0, 1, 2, 3)])  # one class, or both
    def test_a_mask_is_never_the_image(
        self, tmp_path: Path, ending: str, masked: tuple[int, ...]
    ) -> None:
        files = {f"{k}.png": "image" for k in range(4)}
        files |= {f"{k}.cls": str(k % 2) for k in range(4)}
        files |= {f"{k}.{ending}": "mask" for k in masked}
        source = open_given(pack(tmp_path / "x.tar", files))
        wanted = [(f"{k}.png", str(k % 2)) for k in range(4)]
        assert list_items(source, "path", "label") == wanted
        assert source.refused.empty
        told = f"{len(masked)} images of samples are masks by their endings, such as "
        assert any(note.startswith(told) for note in source.notes)

    def test_the_plain_ending_is_the_image(self, tmp_path: Path) -> None:
        files = {f"{k}.{ending}": "image" for k in range(4) for ending in ("a.png", "png", "z.png")}
        files |= {f"{k}.cls": str(k % 2) for k in range(4)}
        source = open_given(pack(tmp_path / "x.tar", files))
        assert list_items(source, "path") == [(f"{k}.png",) for k in range(4)]
        assert set(list_reasons(source).values()) == {"a further image of a sample"}
        assert len(source.refused) == 8


@pytest.mark.parametrize("has_images", [True, False])
def test_the_root_of_one_set_is_not_that_of_another_with_images_of_its_own(
    tmp_path: Path, has_images: bool
) -> None:
    put(tmp_path, "here/1.png", "here/2.png", **{"there/t.csv": "path,label\n1.png,a\n2.png,b\n"})
    if has_images:
        put(tmp_path / "there", "1.png", "2.png")
    options = SourceOptions(root=str(tmp_path / "here"))
    source = open_second_source(str(tmp_path / "there/t.csv"), options, {"a", "b"})
    assert source.reader == FileReader(str(tmp_path / ("there" if has_images else "here")))
    assert any("--root is that of --data" in note for note in source.notes) == has_images
    assert open_source(str(tmp_path / "there/t.csv"), options).reader == FileReader(options.root)


def test_tables_of_parts_name_the_files_in_the_folders_of_these(tmp_path: Path) -> None:
    put(tmp_path, *(f"stage_1_{part}_images/{k}.png" for part in ("train", "test") for k in "0123"))
    put(tmp_path, "stage_1_test_images/4.png")
    rows = "".join(f"{k},{'ab'[k % 2]}\n" for k in range(5))
    put(tmp_path, **{"train_labels.csv": f"image,label\n{rows}"})
    source = open_given(tmp_path / "train_labels.csv")
    # Of `4`, the image of the other part is none.
    wanted = ["4", *(f"stage_1_train_images/{k}.png" for k in range(4))]
    assert source.items["path"].tolist() == wanted


def test_rows_that_contradict_the_folders_of_their_images_are_asked_about(tmp_path: Path) -> None:
    paths = [f"train/{name}/{k}.png" for name in ("Normal", "worn") for k in range(4)]
    labels = ["normal", "worn", "normal", "normal", "worn", "worn", "worn", "worn"]
    rows = "".join(f"{path},{label}\n" for path, label in zip(paths, labels, strict=True))
    put(tmp_path, *paths, **{"t.csv": f"path,label\n{rows}"})
    (doubt,) = open_given(tmp_path / "t.csv").doubts
    assert doubt.startswith("Rows give 1 image another class than that which their folder is ")
    assert "called like: `train/Normal/1.png` is `worn`. The rows count" in doubt
    # Folders of patients with numbers are none of grades.
    paths = [f"{k % 4}/{k}.png" for k in range(8)]
    rows = "".join(f"{path},{k // 4}\n" for k, path in enumerate(paths))
    put(tmp_path, *paths, **{"t.csv": f"path,label\n{rows}"})
    assert open_given(tmp_path / "t.csv").doubts == ()


class TestPatternsForTwoSets:
    PATTERN = r"case(\d+)"

    def test_a_column_of_the_second_set_counts_where_no_path_fits(self, tmp_path: Path) -> None:
        rows = "".join(f"{k}.png,{'ab'[k % 2]},P{k // 2}\n" for k in range(4))
        put(tmp_path, **{"t.csv": f"path,label,patient\n{rows}"})
        options = SourceOptions(patient_pattern=self.PATTERN)
        source = open_second_source(str(tmp_path / "t.csv"), options, set())
        assert list_items(source, "patient_id") == [("P0",), ("P0",), ("P1",), ("P1",)]
        assert "--patient-pattern 'case(\\d+)' matches no path here, so it tells no patients." in (
            source.notes
        )
        with pytest.raises(InputError, match="matches none of them"):
            open_source(str(tmp_path / "t.csv"), options)

    def test_nobody_is_known_where_no_column_is(self, tmp_path: Path) -> None:
        put(tmp_path, *(f"{'ab'[k % 2]}/{k // 2:04}_{k}.png" for k in range(12)))
        options = SourceOptions(patient_pattern=self.PATTERN)
        source = open_second_source(str(tmp_path), options, set())
        assert set(source.items["patient_id"]) == {""}
        assert not source.guessed
        assert "Patients are not known: no column names them either." in source.notes


class TestNegativeNumbers:
    @pytest.mark.parametrize(
        ("cells", "nobody"),
        [
            ([-6917529027641081856, 4611686018427387904, -1152921504606846977], set()),
            ([-6917529027641081856, -1, -1152921504606846977], {-1}),
            ([-9223372036854775808, 12, 13], {-9223372036854775808}),  # the only one
            ([-99999, -88888, 17], {-99999, -88888}),
            ([-12345678, -2345, 17], {-12345678, -2345}),
            ([-5001234, -5001235, -9999], {-9999}),
        ],
    )
    def test_long_ones_are_patients(
        self, tmp_path: Path, cells: list[int], nobody: set[int]
    ) -> None:
        table = pd.DataFrame(
            {
                "path": [f"{k}.png" for k in range(2 * len(cells))],
                "label": ["a", "b"] * len(cells),
                "patient": np.repeat(cells, 2),
            }
        )
        table.to_parquet(tmp_path / "t.parquet")
        source = open_given(tmp_path / "t.parquet")
        wanted = ["" if cell in nobody else str(cell) for cell in np.repeat(cells, 2)]
        assert sorted(source.items["patient_id"]) == sorted(wanted)

    def test_in_headers(self) -> None:
        assert know_patient("-6917529027641081856") == "-6917529027641081856"
        assert know_patient("-1") == know_patient("-9999") == ""


class TestTablesBesideClassFolders:
    FILES = ("normal/1.png", "normal/2.png", "worn/3.png", "worn/4.png")
    ROWS = "".join(f"{path},P{k // 2},{'LR'[k % 2]}\n" for k, path in enumerate(FILES))
    WANTED = tuple((path, path[0], f"P{k // 2}") for k, path in enumerate(FILES))

    def list_patients(self, source: Source) -> tuple[tuple[str, ...], ...]:
        rows = list_items(source, "path", "label", "patient_id")
        return tuple((path, label[0], who) for path, label, who in rows)

    def test_patients_and_sides_are_taken(self, tmp_path: Path) -> None:
        put(tmp_path, *self.FILES, **{"metadata.csv": f"file_name,patient_id,side\n{self.ROWS}"})
        source = open_given(tmp_path)
        assert self.list_patients(source) == self.WANTED
        assert source.items["side"].tolist() == ["L", "R", "L", "R"]
        assert "`metadata.csv` names the patients of 4 of 4 images. The classes are those of the " \
            "folders." in source.notes  # fmt: skip
        assert not any("not known" in note or "the class by" in note for note in source.notes)

    def test_beside_other_labels(self, tmp_path: Path) -> None:
        rows = self.ROWS.replace(",L", ",0").replace(",R", ",1")
        put(tmp_path, *self.FILES, **{"patients.csv": f"file_name,patient_id,label\n{rows}"})
        source = open_given(tmp_path)
        assert self.list_patients(source) == self.WANTED
        assert "patients.csv: Columns not read: `label`." in source.notes

    def test_bare_names_in_a_folder(self, tmp_path: Path) -> None:
        rows = self.ROWS.replace("normal/", "").replace("worn/", "")
        put(tmp_path, *self.FILES, **{"metadata.csv": f"file_name,patient_id,side\n{rows}"})
        assert self.list_patients(open_given(tmp_path)) == self.WANTED

    def test_a_column_that_the_user_names(self, tmp_path: Path) -> None:
        put(tmp_path, *self.FILES, **{"codes.csv": f"file_name,code,x\n{self.ROWS}"})
        source = open_given(tmp_path, columns={"patient": "code"})
        assert self.list_patients(source) == self.WANTED

    def test_in_an_archive_with_a_wrapper(self, tmp_path: Path) -> None:
        files = {f"knees/{path}": "any" for path in self.FILES}
        files["knees/patients.csv"] = f"file_name,patient_id,side\n{self.ROWS}"
        source = open_given(pack(tmp_path / "knees.zip", files))
        assert self.list_patients(source) == self.WANTED

    def test_paths_that_lead_to_no_image_are_a_doubt(self, tmp_path: Path) -> None:
        rows = self.ROWS.replace("/", "/x")
        put(tmp_path, *self.FILES, **{"metadata.csv": f"file_name,patient_id,side\n{rows}"})
        source = open_given(tmp_path)
        assert set(source.items["patient_id"]) == {""}
        (doubt,) = source.doubts
        assert doubt.startswith("`metadata.csv` names patients, but its paths lead to none of ")

    def test_a_table_of_patients_that_names_no_images_is_asked_about(self, tmp_path: Path) -> None:
        put(tmp_path, *self.FILES, **{"clinical.csv": f"Knee film,Patient Id,side\n{self.ROWS}"})
        (doubt,) = open_given(tmp_path).doubts
        assert doubt.startswith("`clinical.csv` names patients in its column `Patient Id`, but no ")
        named = open_given(tmp_path, columns={"path": "knee film"})
        assert self.list_patients(named) == self.WANTED
        put(tmp_path, **{"images.csv": f"path,patient,side\n{self.ROWS}"})
        assert open_given(tmp_path).doubts == ()  # who is on an image is known then

    @pytest.mark.parametrize(
        ("text", "told"),
        [("a\0b", True), ("path,pid\n1.png,x,y\n", True), ("", False), ("path,x\n1,2\n", False)],
    )
    def test_other_tables_are_passed_over(self, tmp_path: Path, text: str, told: bool) -> None:
        put(tmp_path, *self.FILES, **{"other.csv": text})
        source = open_given(tmp_path)
        assert set(source.items["patient_id"]) == {""}
        assert not source.doubts
        assert any("`other.csv` cannot be read" in note for note in source.notes) == told

    def test_several_tables(self, tmp_path: Path) -> None:
        rows = self.ROWS.splitlines(keepends=True)
        put(tmp_path, *self.FILES, **{"a.csv": f"file_name,patient_id,side\n{rows[0]}{rows[1]}"})
        more = f"{rows[1]}{rows[2]}{rows[3]}{rows[3]}".replace(",L", "").replace(",R", "")
        put(tmp_path, **{"b.csv": f"file_name,patient_id\n{more}"})
        source = open_given(tmp_path)
        assert self.list_patients(source) == self.WANTED
        assert source.items["side"].tolist() == ["L", "R", "", ""]
        said = "b.csv: Rows not used: 1; the first: worn/4.png (listed twice)."
        assert said in source.notes

    def test_tables_that_contradict_each_other(self, tmp_path: Path) -> None:
        files = [path for path in self.FILES if path.endswith(".png")]
        for name, patients in (("a", ["P1", "p2", "unknown", ""]), ("b", ["Q", "P2", "P3", "nan"])):
            rows = "".join(f"{row[0]},{row[1]}\n" for row in zip(files, patients, strict=True))
            put(tmp_path, *self.FILES, **{f"{name}.csv": f"path,patient\n{rows}"})
        source = open_given(tmp_path)
        named = source.items.set_index("path")["patient_id"]
        assert [named[path] for path in files] == ["P1", "p2", "P3", ""]
        (doubt,) = source.doubts
        assert doubt.startswith("`b.csv` names other patients than another table on 1 images")


class TestDataLists:
    def open_list(self, root: Path, content: object, **options: Any) -> Source:
        (root / "t.json").write_text(json.dumps(content))
        return open_given(root / "t.json", **options)

    @pytest.mark.parametrize("name", ["filename", "path", "image", "Path"])
    def test_the_key_of_a_map_is_the_path(self, tmp_path: Path, name: str) -> None:
        content = {f"{k}.png": {name: f"orig/{k}.dcm", "label": k % 2} for k in range(2)}
        source = self.open_list(tmp_path, content)
        assert list_items(source, "path", "label") == [("0.png", "0"), ("1.png", "1")]

    def test_unless_the_user_says_otherwise(self, tmp_path: Path) -> None:
        content = {f"{k}.png": {"filename": f"orig/{k}.dcm", "label": k % 2} for k in range(2)}
        source = self.open_list(tmp_path, content, columns={"path": "filename"})
        assert list_items(source, "path") == [("orig/0.dcm",), ("orig/1.dcm",)]

    @pytest.mark.parametrize("in_parts", [False, True])
    def test_a_user_says_where_the_path_is(self, tmp_path: Path, in_parts: bool) -> None:
        rows = [{"scan": f"{k}.png", "image": "x.png", "label": k % 2} for k in range(4)]
        content = {"train": rows[:2], "test": rows[2:]} if in_parts else rows
        source = self.open_list(tmp_path, content, columns={"path": "scan"})
        assert list_items(source, "path") == [(f"{k}.png",) for k in range(4)]
        assert set(source.items["split"]) == ({"train", "test"} if in_parts else {""})

    def test_what_a_first_set_calls_the_path_may_be_missing(self, tmp_path: Path) -> None:
        rows = [{"image": f"{k}.png", "label": k % 2} for k in range(4)]
        source = self.open_list(tmp_path, rows, columns={"path": "scan"}, lenient=True)
        assert list_items(source, "path") == [(f"{k}.png",) for k in range(4)]
        with pytest.raises(InputError, match="entry 0 of the list has no image"):
            self.open_list(tmp_path, rows, columns={"path": "scan"})

    def test_a_map_for_each_part(self, tmp_path: Path) -> None:
        maps = {part: {f"{part}/{k}.png": k for k in range(2)} for part in ("train", "test")}
        source = self.open_list(tmp_path, {"labels": {"0": "normal"}, **maps})
        assert list_items(source, "path", "label", "split") == [
            ("test/0.png", "0", "test"), ("test/1.png", "1", "test"),
            ("train/0.png", "0", "train"), ("train/1.png", "1", "train"),
        ]  # fmt: skip


class TestPackedFolders:
    CLASSES = ("a/1.png", "a/2.png", "b/3.png")

    @pytest.mark.parametrize("name", ["knees.zip", "knees.tar"])
    def test_the_folder_that_was_packed_is_no_class(self, tmp_path: Path, name: str) -> None:
        files = {f"knees/{path}": path for path in self.CLASSES}
        files |= {"__MACOSX/knees/a/._1.png": "x", "knees/.DS_Store": "x", "knees/README.md": "x"}
        source = open_given(pack(tmp_path / name, files))
        assert list_items(source, "path", "label") == [(path, path[0]) for path in self.CLASSES]
        for path in self.CLASSES:
            assert source.reader.read(path, -1) == path.encode()

    def test_parts_in_it_stay_parts(self, tmp_path: Path) -> None:
        files = {f"knees/{part}/{path}": "" for part in ("train", "test") for path in self.CLASSES}
        source = open_given(pack(tmp_path / "knees.zip", files))
        assert set(source.items["label"]) == {"a", "b"}
        assert set(source.items["split"]) == {"train", "test"}

    @pytest.mark.parametrize("more", [(), ("0.png",)])
    def test_a_folder_of_another_name_may_be_a_class(
        self, tmp_path: Path, more: tuple[str, ...]
    ) -> None:
        files = {f"knees/{path}": "" for path in (*self.CLASSES, *more)}
        with pytest.raises(InputError, match="If knees is no class but holds the class folders"):
            open_given(pack(tmp_path / f"{'knees' if more else 'x'}.zip", files))

    def test_what_a_table_names_must_be_there(self, tmp_path: Path) -> None:
        files = {f"images/{k}.png": "any" for k in range(4)}
        rows = "".join(f"{k}.png,{'ab'[k % 2]}\n" for k in range(4))
        place = pack(tmp_path / "x.zip", files | {"metadata.csv": f"path,label\n{rows}"})
        with pytest.raises(InputError, match=r"found none.*; the first: .*not in the archive"):
            open_given(place)
        rows = rows.replace("2.png", "images/2.png").replace("3.png", "images/3.png")
        place = pack(tmp_path / "y.zip", files | {"metadata.csv": f"path,label\n{rows}"})
        source = open_given(place)
        assert list_items(source, "path") == [("images/2.png",), ("images/3.png",)]
        reasons = list_reasons(source)
        assert reasons["0.png"].startswith("not in the archive; give paths as they are in it")
        assert reasons["images/0.png"] == "not listed in metadata.csv"

    @pytest.mark.parametrize("packed", [False, True])
    def test_a_table_beside_a_folder_of_images_is_named(self, tmp_path: Path, packed: bool) -> None:
        files = {"images/1.png": "any", "images/2.png": "any", "labels.csv": "image,label\n1,a\n"}
        if packed:
            place = pack(tmp_path / "x.zip", files)
            words = r"unpack all files and give the table as --data: labels\.csv\.$"
        else:
            place = put(tmp_path / "x", **files)
            words = r"give it as --data: .*/x/labels\.csv\.$"
        with pytest.raises(InputError, match=f"found one: images.*{words}"):
            open_given(place)


@pytest.mark.parametrize("size", [None, 120, "10x12", {}])
def test_run_lengths_of_no_size(size: object) -> None:
    mark = {"size": size, "counts": [120]}
    with pytest.raises(ValueError, match="`size` is not that of the image"):
        CocoImage(12, 10, (mark,)).draw()


class TestNumbersOfClasses:
    def save(self, place: Path, *labels: list[float]) -> Path:
        arrays: dict[str, Any] = {"classes": np.array(["normal", "worn"])}
        for part, of_part in zip(("train", "test"), labels, strict=True):
            arrays[f"{part}_images"] = np.zeros((len(of_part), 9, 9), np.uint8)
            arrays[f"{part}_labels"] = np.array(of_part)
        np.savez(place, **arrays)
        return place

    @pytest.mark.parametrize("labels", [([1, 2], [2, 1]), ([1.0, 2.0], [2.0, np.nan])])
    def test_counted_from_1_they_are_refused(self, tmp_path: Path, labels: Any) -> None:
        with pytest.raises(InputError, match="count its 2 classes from 0, but they go up to 2"):
            open_given(self.save(tmp_path / "x.npz", *labels))

    def test_a_0_anywhere_tells_that_they_are_not(self, tmp_path: Path) -> None:
        source = open_given(self.save(tmp_path / "x.npz", [1, 2], [0, 1]))
        assert sorted(source.items["label"]) == ["normal", "worn", "worn"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_quotes_after_a_space_are_no_part_of_a_value(tmp_path: Path, separator: str) -> None:
    rows = (
        ("label", "patient", "path"),
        ("normal", f"Doe{separator} J", "1.png"),
        ("worn", "2", "2.png"),
    )
    lines = [f"{separator} ".join(f'"{cell}"' for cell in row) + "\n" for row in rows]
    put(tmp_path, "1.png", "2.png", **{"t.csv": "".join(lines)})
    expected = [("1.png", "normal", f"Doe{separator} J"), ("2.png", "worn", "2")]
    assert list_items(open_given(tmp_path / "t.csv"), "path", "label", "patient_id") == expected


def test_accents_in_paths_may_be_composed_or_not(tmp_path: Path) -> None:
    composed, apart = "g\xe9n\xfc.png", "ge\u0301nu\u0308.png"
    put(tmp_path, "a/1.png", "b/2.png", f"a/{apart}", f"b/{composed}", f"b/{apart}")
    rows = f"a/1.png,0\na/{composed},0\nb/2.png,1\nb/{apart},1\nb/{composed},1\n"
    put(tmp_path, **{"t.csv": f"path,label\n{rows}"})
    source = open_given(tmp_path / "t.csv")
    wanted = {"a/1.png", f"a/{apart}", "b/2.png", f"b/{apart}", f"b/{composed}"}
    assert set(source.items["path"]) == wanted
    assert "1 of 5 paths lead to files whose accents are composed otherwise." in source.notes


def test_columns_of_the_first_set_count_for_the_second(tmp_path: Path) -> None:
    rows = "1.png,normal,2019,a\n2.png,worn,2020,a\n"
    put(tmp_path, **{"t.csv": f"Path,Diag-nosis,split,patient\n{rows}"})
    options = SourceOptions({"label": "diagnosis", "split": "", "patient": "", "side": "limb"})
    source = open_second_source(str(tmp_path / "t.csv"), options, {"normal", "worn"})
    assert list_items(source, "label", "split", "patient_id") == [
        ("normal", "", ""),
        ("worn", "", ""),
    ]


def test_columns_of_tables_in_a_folder_are_named_in_any_case(tmp_path: Path) -> None:
    put(tmp_path, "1.png", "2.png", **{"metadata.csv": "file,Diagnosis\n1.png,a\n2.png,b\n"})
    source = open_given(tmp_path, columns={"label": "diagnosis"})
    assert source.items["label"].tolist() == ["a", "b"]


class TestPatientsInArchives:
    @pytest.mark.parametrize("name", ["patients", "patient_ids", "PatientID", "subject"])
    @pytest.mark.parametrize("part", ["", "train_"])
    def test_are_named_as_in_tables(self, tmp_path: Path, part: str, name: str) -> None:
        arrays = {"images": np.zeros((4, 9, 9), np.uint8), "labels": np.arange(4) % 2}
        arrays |= {name: np.array(["A", "A", "B", "B"]), "cases": np.arange(2), "ids": np.arange(4)}
        named: dict[str, Any] = {part + key: values for key, values in arrays.items()}
        np.savez(tmp_path / "x.npz", **named)
        source = open_given(tmp_path / "x.npz")
        assert source.items["patient_id"].tolist() == ["A", "A", "B", "B"]
        assert f"Arrays not read: `{part}cases`, `{part}ids`." in source.notes


class TestEvaluation:
    @pytest.mark.parametrize("name", ["eval", "evaluation", "eval-00000-of-00001"])
    @pytest.mark.parametrize(
        ("others", "split"),
        [(("train",), "test"), (("train", "val"), "test"), (("train", "test"), "validation")],
    )
    @pytest.mark.parametrize("form", ["tables", "shards"])
    def test_is_the_test_where_nothing_else_is(
        self, tmp_path: Path, form: str, name: str, others: tuple[str, ...], split: str
    ) -> None:
        for part in (name, *others):
            rows = {f"{part}-{k}": str(k) for k in range(2)}
            if form == "tables":
                lines = "".join(f"images/{key}.png,{label}\n" for key, label in rows.items())
                put(tmp_path, *(f"images/{key}.png" for key in rows))
                put(tmp_path, **{f"{part}.csv": f"path,label\n{lines}"})
            else:
                files = {f"{key}.png": "any" for key in rows}
                pack(tmp_path / f"{part}.tar", files | {f"{k}.cls": v for k, v in rows.items()})
        source = open_given(tmp_path)
        of_name = source.items["path"].str.contains(f"{name}-")
        assert set(source.items["split"][of_name]) == {split}
        assert len(set(source.items["split"])) == 1 + len(set(others))

    def test_in_lists_and_archives(self, tmp_path: Path) -> None:
        rows = [{"image": f"{k}.png", "label": k % 2} for k in range(4)]
        put(tmp_path, **{"t.json": json.dumps({"training": rows[:2], "evaluation": rows[2:]})})
        splits = open_given(tmp_path / "t.json").items["split"].tolist()
        assert splits == ["train", "train", "test", "test"]
        shown, labels = np.zeros((2, 9, 9), np.uint8), np.arange(2)
        np.savez(
            tmp_path / "x.npz",
            train_images=shown, train_labels=labels, eval_images=shown, eval_labels=labels,
        )  # fmt: skip
        assert set(open_given(tmp_path / "x.npz").items["split"]) == {"train", "test"}


def test_what_tables_in_several_tar_files_say_is_kept(tmp_path: Path) -> None:
    for part in ("train", "test"):
        files = {f"{label}/{part}{k}.png": "any" for label in ("normal", "worn") for k in range(2)}
        files["patients.csv"] = "path,patient\nelsewhere/1.png,P1\n"
        pack(tmp_path / "doubtful" / f"{part}.tar", files)
        rows = "".join(f"{path},{path[0]},masks/{path}\n" for path in files if "png" in path)
        files = {f"masks/{path}": "mask" for path in files} | files
        files["metadata.csv"] = f"path,label,region\n{rows}"
        pack(tmp_path / "named" / f"{part}.tar", files)
    (doubt,) = open_given(tmp_path / "doubtful").doubts
    assert doubt.startswith("`patients.csv` names patients, but its paths lead to none")
    source = open_given(tmp_path / "named")
    assert source.regions["test.tar/worn/test1.png"] == "test.tar/masks/worn/test1.png"
    assert {source.reader.read(mask, -1) for mask in source.regions.values()} == {b"mask"}


class TestTablesOfTheHub:
    def save(self, file: Path, *columns: str, n_rows: int = 4) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        cells = {
            name: [{"bytes": name.encode(), "path": f"{name}{k}.png"} for k in range(n_rows)]
            for name in columns
        }
        labels = ["normal", "worn"] * (n_rows // 2)
        pq.write_table(pa.table({**cells, "label": labels}), file)

    @pytest.mark.parametrize(
        ("columns", "given", "read", "told"),
        [
            (("segmentation", "image", "mask"), "", "image", ""),
            (("annotation", "xray", "bone_masks"), "", "xray", ""),
            (("overview", "image"), "", "image", "`image`; not read: `overview`."),
            (("ap", "lateral"), "", "ap", "`ap`; not read: `lateral`."),
            (("ap", "lateral"), "lateral", "lateral", "`lateral`; not read: `ap`."),
        ],
    )
    def test_of_several_columns_of_images_one_is_read(
        self, tmp_path: Path, columns: tuple[str, ...], given: str, read: str, told: str
    ) -> None:
        self.save(tmp_path / "t.parquet", *columns)
        source = open_given(tmp_path / "t.parquet", columns={"path": given} if given else {})
        path, position = source.items[["path", "position"]].iloc[1]
        assert path == f"row-0000001/{read}1.png"
        assert source.reader.read(path, position) == read.encode()
        notes = [note for note in source.notes if "those of the column" in note]
        assert notes == ([f"The images are those of the column {told}"] if told else [])

    @pytest.mark.parametrize("end", ["", "-b21d4b4b3d6d1e4c"])
    def test_names_of_files_tell_parts_and_numbers_of_rows_no_patients(
        self, tmp_path: Path, end: str
    ) -> None:
        for part in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
            self.save(tmp_path / f"data/{part}{end}.parquet", "image")
        source = open_given(tmp_path)
        assert source.items["split"].value_counts().to_dict() == {"train": 8, "test": 4}
        assert not source.items["patient_id"].any()
