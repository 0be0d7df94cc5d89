"""Tables, packed sets and shards as people have them, with any separator, encoding and place."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus import write_image
from PIL import Image

from osteo_ray.base.errors import InputError
from osteo_ray.config.build import build_config
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.data.sources.listing import Source
from osteo_ray.data.sources.options import SourceOptions

ROWS = [("größe/1.png", "normal", "A"), ("2.png", "worn", "A"), ("3.png", "worn", "B")]


def draw(seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16), dtype=np.uint8)
    return write_image(Image.fromarray(pixels), "PNG")


def put(root: Path, *paths: str, content: bytes = b"any") -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def open_given(place: Path | str, **options: Any) -> Source:
    return open_source(str(place), SourceOptions(**options))


def list_items(source: Source, *columns: str) -> list[tuple[str, ...]]:
    return list(source.items[list(columns)].itertuples(index=False, name=None))


def write_rows(separator: str) -> str:
    rows = [("Image Path", "Label", "Patient ID"), *ROWS]
    return "".join(separator.join(row) + "\r\n" for row in rows)


class TestText:
    @pytest.mark.parametrize(
        ("name", "separator", "told"),
        [
            ("t.csv", ",", ""),
            ("t.csv", ";", "Values are separated by a semicolon."),
            ("t.csv", "\t", "Values are separated by a tab."),
            ("t.tsv", "\t", "Values are separated by a tab."),
            ("t.tab", "\t", "Values are separated by a tab."),
            ("t.csv", "|", "Values are separated by a bar."),
        ],
    )
    @pytest.mark.parametrize(
        ("encoding", "said"),
        [
            ("utf-8", ""),
            ("utf-8-sig", ""),
            ("utf-16", ""),
            ("utf-32", ""),
            ("utf-16-le", "read as UTF-16-LE"),
            ("utf-16-be", "read as UTF-16-BE"),
            ("cp1252", "is not in UTF-8 (line 2); it is read as Windows-1252"),
        ],
    )
    def test_separators_and_encodings(
        self, tmp_path: Path, name: str, separator: str, told: str, encoding: str, said: str
    ) -> None:
        (tmp_path / name).write_bytes(write_rows(separator).encode(encoding))
        source = open_source(str(tmp_path / name))
        assert list_items(source, "path", "label", "patient_id") == sorted(ROWS)
        notes = "\n".join(source.notes)
        assert told in notes
        assert said in notes
        assert ("separated" in notes, "read as" in notes) == (bool(told), bool(said))

    @pytest.mark.parametrize("word", ["l\xe9g\xe8re", "5\xa0cm", "Ost\xadeo", "\u201emild\u201c"])
    def test_what_none_can_see_in_windows_1252(self, tmp_path: Path, word: str) -> None:
        text = f"path,label\n1.png,{word}\n2.png,größe\n"
        (tmp_path / "t.csv").write_bytes(text.encode("cp1252"))
        source = open_source(str(tmp_path / "t.csv"))
        assert "it is read as Windows-1252" in "\n".join(source.notes)
        assert list_items(source, "path") == [("1.png",), ("2.png",)]

    def test_bytes_of_no_text_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_bytes(b"path,label\n1.png,\xe9\x07\n")
        with pytest.raises(InputError, match="line 2 is text in no encoding that can be told"):
            open_source(str(tmp_path / "t.csv"))

    def test_what_excel_writes_first(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("sep=;\n" + write_rows(";"), encoding="utf-8-sig")
        assert list_items(open_source(str(tmp_path / "t.csv")), "path") == [
            (row[0],) for row in sorted(ROWS)
        ]

    def test_separators_inside_values(self, tmp_path: Path) -> None:
        text = 'path;label;notes\n1.png;a;"x, y; z"\n2.png;b;u, v, w\n'
        (tmp_path / "t.csv").write_text(text)
        assert list_items(open_source(str(tmp_path / "t.csv")), "label") == [("a",), ("b",)]

    def test_lines_of_json(self, tmp_path: Path) -> None:
        rows = [
            {"file_name": "1.png", "label": 0, "PatientID": 17, "tags": ["x"]},
            {"file_name": "2.png", "label": 1.0, "PatientID": None},
            {"file_name": "3.png", "PatientID": 17},
        ]
        text = "\n".join(map(json.dumps, rows)) + "\n\n"
        (tmp_path / "t.jsonl").write_text(text)
        source = open_source(str(tmp_path / "t.jsonl"))
        assert list_items(source, "path", "label", "patient_id") == [
            ("1.png", "0", "17"), ("2.png", "1", "")
        ]  # fmt: skip
        assert source.refused.to_numpy().tolist() == [["3.png", "no label"]]
        for text, words in (("{\n", "line 1: "), ("[1]\n", "line 1 holds no object")):
            (tmp_path / "t.jsonl").write_text(text)
            with pytest.raises(InputError, match=f"Expected lines of JSON.*{words}"):
                open_source(str(tmp_path / "t.jsonl"))

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
    def test_separators_of_lines_within_strings(
        self, tmp_path: Path, end: str, separator: str
    ) -> None:
        rows = [{"path": f"{k}.png", "label": "ab"[k], "text": f"x{separator}y"} for k in (0, 1)]
        text = "".join(json.dumps(row, ensure_ascii=False) + end for row in rows)
        (tmp_path / "t.jsonl").write_bytes(text.encode())
        source = open_source(str(tmp_path / "t.jsonl"))
        assert list_items(source, "path", "label") == [("0.png", "a"), ("1.png", "b")]

    def test_a_plain_list_in_json(self, tmp_path: Path) -> None:
        rows = [{"path": f"{k}.png", "class": "ab"[k % 2], "split": "test"} for k in range(4)]
        (tmp_path / "t.json").write_text(json.dumps(rows), encoding="utf-8-sig")
        source = open_source(str(tmp_path / "t.json"))
        assert list_items(source, "label", "split") == [("a", "test"), ("b", "test")] * 2

    @pytest.mark.parametrize("as_objects", [False, True])
    def test_a_map_in_json(self, tmp_path: Path, as_objects: bool) -> None:
        labels = {f"{k}.png": "ab"[k % 2] for k in range(4)}
        content = {path: {"class": label, "pid": path[0]} for path, label in labels.items()}
        (tmp_path / "t.json").write_text(json.dumps(content if as_objects else labels))
        source = open_source(str(tmp_path / "t.json"))
        assert list_items(source, "path", "label") == sorted(labels.items())
        assert (source.items["patient_id"].tolist() == list("0123")) == as_objects


class TestColumns:
    @pytest.fixture
    def write(self, tmp_path: Path) -> Callable[[str], Path]:
        def write(text: str) -> Path:
            (tmp_path / "t.csv").write_text(text)
            return tmp_path / "t.csv"

        return write

    def test_a_user_says_which(self, write) -> None:
        file = write("filename,dx,MRN,path,where,when\n1,a,7,x,k,train\n2,b,7,y,l,dev\n")
        columns = {"path": "filename", "label": "DX", "site": "where", "split": "when"}
        source = open_given(file, columns=columns)
        assert list_items(source, "path", "label", "patient_id", "site", "split") == [
            ("1", "a", "7", "k", "train"), ("2", "b", "7", "l", "validation")
        ]  # fmt: skip
        assert source.notes[0] == (
            "Columns read: path from `filename`, label from `dx`, site from `where`, "
            "split from `when`, patient from `MRN`."
        )
        assert source.notes[1] == "Columns not read: `path`."

    def test_a_column_that_is_not_there(self, write) -> None:
        file = write("filename,diagnosis\n1,a\n2,b\n")
        with pytest.raises(
            InputError, match=r"a column `diagnose` in .*t\.csv, as --columns"
        ) as error:
            open_given(file, columns={"label": "diagnose"})
        assert "the columns found are: filename, diagnosis." in str(error.value)
        with pytest.raises(InputError, match=r"label is missing.* by --columns label=diagnosis"):
            open_given(file, columns={"label": "nothing"}, lenient=True)

    def test_columns_of_one_name(self, write) -> None:
        source = open_source(str(write("path,label,label\n1,a,b\n2,b,a\n")))
        assert list_items(source, "label") == [("a",), ("b",)]
        assert "Of several columns called `label`, the first counts." in source.notes

    @pytest.mark.parametrize("quoted", [False, True])
    def test_text_that_is_protected_from_spreadsheets(self, write, quoted: bool) -> None:
        cells = ['="017"', "017", '="17"', '=""']
        cells = [f'"{cell.replace(chr(34), 2 * chr(34))}"' for cell in cells] if quoted else cells
        rows = "".join(f"{k}.png,{'ab'[k % 2]},{cell}\n" for k, cell in enumerate(cells))
        source = open_source(str(write(f"path,label,patient\n{rows}")))
        assert source.items["patient_id"].tolist() == ["017", "017", "17", ""]

    @pytest.mark.parametrize("images", [["1", "2"], [b"any", b"other"]])
    def test_columns_of_one_name_in_parquet(self, tmp_path: Path, images: list[Any]) -> None:
        name = "path" if isinstance(images[0], str) else "image"
        table = pa.table([images, ["a", "b"], ["b", "a"]], names=[name, "label", "label"])
        pq.write_table(table, tmp_path / "t.parquet")
        source = open_source(str(tmp_path / "t.parquet"))
        assert list_items(source, "label") == [("a",), ("b",)]
        assert source.notes.count("Of several columns called `label`, the first counts.") == 1

    def test_the_only_column_that_may_be_meant_is_named(self, write) -> None:
        file = write("Image Index,Finding Labels,Patient ID\n1.png,a,1\n")
        with pytest.raises(InputError, match=r"by --columns label='Finding Labels', or rename"):
            open_source(str(file))

    def test_an_empty_table(self, write) -> None:
        with pytest.raises(InputError, match=r"path and label in .*t\.csv, but it is empty"):
            open_source(str(write("")))

    @pytest.mark.parametrize(
        ("columns", "words"),
        [
            (["label"], "ROLE=COLUMN, such as label=diagnosis, but got `label`"),
            (["lable=x"], "one of path, label, .* before `=`, but got `lable=x`. .*label"),
            (["label=x", "label=y"], "one column for label, but got several"),
        ],
    )
    def test_flags_that_cannot_be_read(self, columns: list[str], words: str) -> None:
        with pytest.raises(InputError, match=words):
            build_config({"data": "/knees", "columns": columns})
        config = build_config({"data": "/knees", "columns": ["patient=", "label=dx"]})
        assert config.source_options.columns == {"patient": "", "label": "dx"}
        assert "columns" not in build_config({"data": "/knees"}).identity()
        assert config.identity()["columns"] == ["patient=", "label=dx"]

    @pytest.mark.parametrize(("no", "yes"), [("0", "1"), ("0.0", "1.0"), ("False", "True")])
    def test_a_column_for_each_class(self, write, no: str, yes: str) -> None:
        rows = [f"{k}.png,{k},{no},{yes if k % 2 else no},{no if k % 2 else yes}" for k in range(4)]
        source = open_given(write("\n".join(["file, pid, gone, worn, normal", *rows])))
        assert list_items(source, "label", "patient_id") == [
            ("normal", "0"), ("worn", "1"), ("normal", "2"), ("worn", "3"),
        ]  # fmt: skip
        assert "Columns not read: `gone`." in source.notes
        said = "is that of the columns `worn`, `normal` which holds 1."
        assert any(said in note for note in source.notes)

    @pytest.mark.parametrize("kind", [bool, np.int8, np.float32])
    @pytest.mark.parametrize("inside", [False, True])
    def test_a_column_for_each_class_in_parquet(self, tmp_path: Path, kind, inside: bool) -> None:
        image = {"image": [{"bytes": draw(k), "path": f"{k}.png"} for k in range(4)]}
        worn = np.array([0, 1, 0, 1], kind)
        table = pa.table(
            {
                **(image if inside else {"file": [f"{k}.png" for k in range(4)]}),
                "worn": worn,
                "normal": np.array([1, 0, 1, 0], kind),
                "age": [50.5, 60.0, 70.0, 80.0],
                "told": ["0", "1", "1", "0"],
            }
        )
        pq.write_table(table, tmp_path / "t.parquet")
        source = open_given(tmp_path / "t.parquet")
        assert list_items(source, "label") == [("normal",), ("worn",)] * 2
        said = "The class of an image is that of the columns `worn`, `normal` which holds 1."
        assert source.notes[0] == said
        assert any("Columns not read: `told`." in note for note in source.notes)

    @pytest.mark.parametrize("word", ["label", "class", "Diagnosis", "KL"])
    def test_columns_of_classes_may_begin_with_a_word_for_labels(self, write, word: str) -> None:
        source = open_given(write(f"file,{word}_0,{word}_1\n1.png,1,0\n2.png,0,1\n"))
        assert list_items(source, "label") == [(f"{word}_0",), (f"{word}_1",)]

    @pytest.mark.parametrize(
        "text",
        [
            "file,male,female\n1.png,1,0\n2.png,0,1\n",
            "file,left,right\n1.png,1,0\n2.png,0,1\n",
            "file,train,test\n1.png,1,0\n2.png,0,1\n",
            "file,normal,worn\n1.png,1,1\n2.png,0,1\n",
            "file,normal,worn\n1.png,0,0\n2.png,0,1\n",
            "file,normal,worn\n1.png,2,0\n2.png,0,1\n",
            "file,worn\n1.png,0\n2.png,1\n",
            "file,diagnosis,a,b\n1.png,normal,1,0\n2.png,worn,0,1\n",
            "file,sex_M,sex_F\n1.png,1,0\n2.png,0,1\n",
            "file,is_train,is_test\n1.png,1,0\n2.png,0,1\n",
            "file,KL,view_AP,view_PA\n1.png,0,1,0\n2.png,3,0,1\n",
            "file,scanner_a,scanner_b\n1.png,1,0\n2.png,0,1\n",
            "file,room_a,room_b\n1.png,1,0\n2.png,0,1\n",
            "file,osteopenia,osteoporosis\n1.png,1,0\n2.png,0,1\n3.png,0,0\n",
        ],
    )
    def test_columns_of_zeros_and_ones_that_are_no_classes(self, write, text: str) -> None:
        with pytest.raises(InputError, match="label is missing"):
            open_given(write(text))

    def test_a_column_that_the_user_names_is_no_class(self, write) -> None:
        with pytest.raises(InputError, match=r"label is missing; .* found are: file, a, b"):
            open_given(write("file,a,b\n1.png,1,0\n2.png,0,1\n"), columns={"site": "a"})

    def test_columns_of_classes_give_way_to_one(self, write) -> None:
        file = write("file,class,normal,worn\n1.png,a,1,0\n2.png,b,1,0\n")
        assert list_items(open_given(file), "label") == [("a",), ("b",)]
        file = write("file,dx,normal,worn\n1.png,a,1,0\n2.png,b,1,0\n")
        assert list_items(open_given(file, columns={"label": "dx"}), "label") == [("a",), ("b",)]

    def test_a_column_without_a_name_is_not_named(self, write) -> None:
        notes = open_given(write(",file,class,mm\n0,1.png,a,3\n1,2.png,b,4\n")).notes
        assert "Columns not read: `mm`." in notes

    def test_flags_about_tables_where_there_is_none(self, tmp_path: Path) -> None:
        put(tmp_path, "a/1.png", "b/2.png")
        for options in ({"columns": {"label": "x"}}, {"root": "/"}):
            with pytest.raises(InputError, match=r"Expected a table .* is read without one"):
                open_given(tmp_path, **options)
        assert len(open_given(tmp_path, columns={"label": "x"}, lenient=True).items) == 2

    def test_columns_that_may_tell_the_split(self, write) -> None:
        source = open_source(str(write("path,label,Set\n1,a,Training Set\n2,b,Holdout\n")))
        assert list_items(source, "split") == [("train",), ("test",)]
        source = open_source(str(write("path,label,Set\n1,a,A\n2,b,B\n")))
        assert list_items(source, "split") == [("",), ("",)]
        source = open_source(str(write("path,label,split\n1,a,train\n2,b,eval\n3,a,test\n")))
        assert list_items(source, "split") == [("train",), ("validation",), ("test",)]

    @pytest.mark.parametrize(
        ("labels", "words"),
        [
            ([f"masks/{k}.nii.gz" for k in range(4)], "they name files, such as `masks/0.nii.gz`"),
            (["1_seg.png", "2_seg.png"], "masks, as for segmentation"),
            ([k / 7 for k in range(12)], "12 images have 12 different labels"),
            ([[0, 1], [1, 0]], "found lists or objects"),
            ([{"mask": 1}, {"mask": 2}], "found lists or objects"),
        ],
    )
    def test_labels_that_are_no_classes(self, tmp_path: Path, labels: list, words: str) -> None:
        entries = [{"image": f"{k}.png", "label": label} for k, label in enumerate(labels)]
        (tmp_path / "d.json").write_text(json.dumps({"training": entries}))
        with pytest.raises(InputError, match=words) as error:
            open_source(str(tmp_path / "d.json"))
        assert "--columns label=COLUMN" in str(error.value)

    def test_a_list_with_masks_and_classes(self, tmp_path: Path) -> None:
        entries = [{"image": f"{k}.png", "label": f"m{k}.png", "grade": "ab"[k]} for k in (0, 1)]
        (tmp_path / "d.json").write_text(json.dumps({"training": entries}))
        source = open_given(tmp_path / "d.json", columns={"label": "grade"})
        assert list_items(source, "path", "label") == [("0.png", "a"), ("1.png", "b")]


class TestPaths:
    def test_all_ways_to_name_a_file_in_the_folder(self, tmp_path: Path) -> None:
        root = put(tmp_path / "set", *(f"img/{k}.png" for k in range(9)))
        (tmp_path / "link").symlink_to("set")
        named = [
            *("./img/0.png", "img\\1.png", ".\\img\\2.png", "img//3.png", "x/../img/4.png"),
            *(f"{root}/img/5.png", f"file://{root}/img/6.png", "../set/img/7.png"),
            f"{tmp_path}/link/img/8.png",
        ]
        text = "".join(f"{path},{'ab'[k % 2]}\n" for k, path in enumerate(named))
        (root / "t.csv").write_text(f"path,label\n{text}img/0.png,a\n")
        source = open_source(str(root / "t.csv"))
        assert list_items(source, "path") == [(f"img/{k}.png",) for k in range(9)]
        assert source.refused.to_numpy().tolist() == [["img/0.png", "listed twice"]]
        assert all(source.reader.read(path, -1) == b"any" for path in source.items["path"])

    def test_a_root_elsewhere(self, tmp_path: Path) -> None:
        put(tmp_path, "images/1.png", "images/sub/2.png", "images/3.png", "other/4.png")
        put(tmp_path, "tables/here.png")
        rows = ["1.png,a", "sub/2.png,b", "../images/3.png,a", "../other/4.png,b", "here.png,a"]
        (tmp_path / "tables/t.csv").write_text("path,label\n" + "\n".join(rows))
        with pytest.raises(UnreadableImageError):
            open_source(str(tmp_path / "tables/t.csv")).reader.read("1.png", -1)
        source = open_given(tmp_path / "tables/t.csv", root=str(tmp_path / "images"))
        assert list_items(source, "path") == [
            ("1.png",), ("3.png",), ("here.png",), ("sub/2.png",)
        ]  # fmt: skip
        assert source.reader.read("sub/2.png", -1) == b"any"
        assert source.refused.to_numpy().tolist() == [
            [
                "../other/4.png",
                "lies outside --root; give paths relative to it, or the folder that holds all "
                "images by --root",
            ]
        ]

    @pytest.mark.parametrize("path", ["C:\\knees\\1.png", "/elsewhere/1.png", "s3://knees/1.png"])
    def test_places_outside(self, tmp_path: Path, path: str) -> None:
        (tmp_path / "t.csv").write_text(f"path,label\n{path},a\n2.png,a\n3.png,b\n")
        ((shown, reason),) = open_source(str(tmp_path / "t.csv")).refused.to_numpy().tolist()
        assert shown == path
        assert reason.startswith(
            "lies outside the folder of the manifest; give paths relative to it"
        )

    @pytest.mark.parametrize(
        ("folder", "read"),
        [
            ("C:\\data\\img\\", "4 of 4 paths are read without `C:/data/`"),
            ("/home/alice/img/", "4 of 4 paths are read without `/home/alice/`"),
            ("file:///home/alice/img/", "4 of 4 paths are read without `/home/alice/`"),
            ("\\\\server\\share\\img\\", "4 of 4 paths are read without `/server/share/`"),
            ("/img/", "4 of 4 paths are read without `/`"),
            ("D:/knees/", "4 of 4 paths lead to no file and are taken for the files of the same"),
        ],
    )
    def test_absolute_paths_of_another_machine(
        self, tmp_path: Path, folder: str, read: str
    ) -> None:
        put(tmp_path, *(f"set/img/{k}.png" for k in range(4)))
        rows = "".join(f"{folder}{k}.png,{'ab'[k % 2]}\n" for k in range(4))
        for table, root in (("set/t.csv", None), ("t.csv", str(tmp_path / "set"))):
            (tmp_path / table).write_text("path,label\n" + rows)
            source = open_given(tmp_path / table, root=root)
            assert list_items(source, "path") == [(f"img/{k}.png",) for k in range(4)]
            assert read in "\n".join(source.notes)
            assert source.reader.read("img/0.png", -1) == b"any"

    @pytest.mark.parametrize("root", [False, True])
    def test_what_lies_nowhere_is_refused_with_what_helps(self, tmp_path: Path, root: bool) -> None:
        (tmp_path / "t.csv").write_text("path,label\n/x/1.png,a\nC:\\x\\2.png,b\n")
        with pytest.raises(InputError, match="give paths relative to it") as error:
            open_given(tmp_path / "t.csv", root=str(tmp_path) if root else None)
        where = "--root" if root else "the folder of the manifest"
        assert f"/x/1.png (lies outside {where}; " in str(error.value)


class TestFoldersWithTables:
    @pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "tsv"])
    def test_hugging_face(self, tmp_path: Path, ending: str) -> None:
        for part, numbers in (("train", (1, 2, 3)), ("validation", (4,)), ("test", (5, 6))):
            put(tmp_path, *(f"{part}/{k}.png" for k in numbers))
            rows = [
                {"file_name": f"{k}.png", "label": "nw"[k % 2], "patient_id": f"P{k // 2}"}
                for k in numbers
            ]
            table = pd.DataFrame(rows)
            place = tmp_path / part / f"metadata.{ending}"
            if ending == "csv":
                table.to_csv(place, index=False)
            elif ending == "tsv":
                table.to_csv(place, index=False, sep="\t")
            elif ending == "jsonl":
                table.to_json(place, orient="records", lines=True)
            else:
                table.to_parquet(place)
        put(tmp_path, "test/stray.png")
        source = open_source(str(tmp_path))
        assert list_items(source, "path", "label", "split", "patient_id") == [
            ("test/5.png", "w", "test", "P2"), ("test/6.png", "n", "test", "P3"),
            ("train/1.png", "w", "train", "P0"), ("train/2.png", "n", "train", "P1"),
            ("train/3.png", "w", "train", "P1"), ("validation/4.png", "n", "validation", "P2"),
        ]  # fmt: skip
        ((stray, reason),) = source.refused.to_numpy().tolist()
        assert (stray, reason[:12]) == ("test/stray.png", "not listed i")
        assert source.reader.read("train/1.png", -1) == b"any"

    @pytest.mark.parametrize("form", ["{}", "knees_{}_v2", "{}-labels"])
    def test_a_table_for_each_part(self, tmp_path: Path, form: str) -> None:
        put(tmp_path, *(f"images/{k}.png" for k in range(4)))
        for part, rows in (("train", (0, 1)), ("test", (2, 3))):
            lines = "".join(f"images/{k}.png,{'ab'[k % 2]}\n" for k in rows)
            (tmp_path / f"{form.format(part)}.csv").write_text(f"image,class\n{lines}")
        source = open_source(str(tmp_path))
        assert list_items(source, "path", "split") == [
            ("images/0.png", "train"), ("images/1.png", "train"),
            ("images/2.png", "test"), ("images/3.png", "test"),
        ]  # fmt: skip

    def test_a_column_for_each_class_beside_the_images_of_each_part(self, tmp_path: Path) -> None:
        """As Roboflow exports them; a part may lack images of a class."""
        for part, rows in (("train", "1.png,1,0\n2.png,0,1\n"), ("valid", "3.png,1,0\n")):
            put(tmp_path, *(f"{part}/{row[:5]}" for row in rows.splitlines()))
            (tmp_path / part / "_classes.csv").write_text(f"filename, normal, worn\n{rows}")
        source = open_given(tmp_path)
        assert list_items(source, "path", "label", "split") == [
            ("train/1.png", "normal", "train"), ("train/2.png", "worn", "train"),
            ("valid/3.png", "normal", "validation"),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("other", "kept", "reasons"),
        [
            ("b", 2, ["listed with several labels: a, b"] * 2),
            ("A", 3, ["listed in two tables"]),
            ("a", 3, ["listed in two tables"]),
        ],
    )
    def test_an_image_in_two_tables(
        self, tmp_path: Path, other: str, kept: int, reasons: list[str]
    ) -> None:
        put(tmp_path, *(f"images/{k}.png" for k in range(3)))
        (tmp_path / "train.csv").write_text("path,label\nimages/0.png,a\nimages/1.png,b\n")
        rows = f"path,label\nimages/2.png,b\nimages/0.png,{other}\n"
        (tmp_path / "test.csv").write_text(rows.replace(",b\nimages/0", ",a\nimages/0"))
        source = open_source(str(tmp_path))
        assert len(source.items) == kept
        assert source.refused.to_numpy().tolist() == [["images/0.png", why] for why in reasons]

    def test_class_folders_count_before_other_tables(self, tmp_path: Path) -> None:
        put(tmp_path, "train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png")
        put(tmp_path, "train.csv", content=b"path,label\nx.png,k\ny.png,l\n")
        assert set(open_source(str(tmp_path)).items["label"]) == {"a", "b"}

    def test_a_table_that_may_be_meant_is_named(self, tmp_path: Path) -> None:
        put(tmp_path, "train/1.png", "test/2.png", "labels.csv")
        with pytest.raises(InputError, match=r"give it as --data: .*/labels\.csv\.$"):
            open_source(str(tmp_path))


class TestPacked:
    FILES = ("knees/train/normal/1.png", "knees/train/worn/2.png", "knees/test/normal/3.png")

    def pack(self, place: Path, files: dict[str, bytes]) -> Path:
        if place.suffix == ".zip":
            with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, content in files.items():
                    archive.writestr(name, content)
            return place
        mode = {".tar": "w", ".gz": "w:gz", ".tgz": "w:gz", ".xz": "w:xz"}[place.suffix]
        with tarfile.open(place, mode) as archive:  # type: ignore[call-overload]
            for name, content in files.items():
                member = tarfile.TarInfo(f"./{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return place

    @pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tgz", "tar.xz"])
    def test_class_folders(self, tmp_path: Path, ending: str) -> None:
        inner = [f"data/{path}" for path in self.FILES] if ending == "zip" else self.FILES
        inner = [path.replace("knees/", "") for path in inner]
        files = {path: draw(k) for k, path in enumerate(inner)}
        more = {"__MACOSX/._1.png": b"x", inner[0].replace("1.png", ".DS_Store"): b""}
        source = open_source(str(self.pack(tmp_path / f"knees.{ending}", files | more)))
        assert source.kind == "packed"
        assert list_items(source, "label", "split") == [
            ("normal", "test"), ("normal", "train"), ("worn", "train")
        ]  # fmt: skip
        for path, size in zip(source.items["path"], source.items["size"], strict=True):
            assert source.reader.read(path, -1) == files[path]
            assert size == len(files[path])

    @pytest.mark.parametrize("ending", ["zip", "tar"])
    def test_a_table_inside(self, tmp_path: Path, ending: str) -> None:
        table = b"file_name,label,patient\n../img/1.png,a,7\n../img/2.png,b,7\n../../3.png,b,8\n"
        files = {"img/1.png": draw(1), "img/2.png": draw(2), "tab/metadata.csv": table}
        source = open_source(str(self.pack(tmp_path / f"k.{ending}", files)))
        assert list_items(source, "path", "patient_id") == [("img/1.png", "7"), ("img/2.png", "7")]
        assert source.reader.read("img/2.png", -1) == draw(2)

    @pytest.mark.parametrize("form", ["cls", "txt", "json"])
    def test_web_dataset(self, tmp_path: Path, form: str) -> None:
        (tmp_path / "shards").mkdir()
        for shard in (0, 1):
            files: dict[str, bytes] = {}
            for k in range(4 * shard, 4 * shard + 4):
                about = {"label": k % 2, "patient_id": f"P{k // 2}"}
                text = json.dumps(about) if form == "json" else str(k % 2)
                files |= {f"{k:06}.png": draw(k), f"{k:06}.{form}": text.encode()}
            self.pack(tmp_path / f"shards/train-{shard:06}.tar", files)
        source = open_source(str(tmp_path / "shards/train-000000.tar"))
        assert list_items(source, "path", "label") == [
            (f"{k:06}.png", str(k % 2)) for k in range(4)
        ]
        both = open_source(str(tmp_path / "shards"))
        assert list_items(both, "label", "split") == [(str(k % 2), "train") for k in range(8)]
        patients = [f"P{k // 2}" for k in range(8)] if form == "json" else [""] * 8
        assert both.items["patient_id"].tolist() == patients
        for k, path in enumerate(both.items["path"]):
            assert both.reader.read(path, -1) == draw(k)
        with pytest.raises(UnreadableImageError, match="none of the files of the source"):
            both.reader.read("x.png", -1)

    @pytest.mark.parametrize("place", ["x.zip", "x.tar", "x"])
    @pytest.mark.parametrize(
        ("ending", "content"),
        [
            ("txt", b"0 0.5 0.5 0.2 0.2"),
            ("json", b'{"version": "5", "shapes": [{"label": "joint"}], "imageData": null}'),
            ("json", b'[{"label": "joint"}]'),
            ("png.json", b'{"objects": []}'),
            ("xml", b"<annotation/>"),
        ],
    )
    def test_annotations_beside_images_are_no_classes(
        self, tmp_path: Path, place: str, ending: str, content: bytes
    ) -> None:
        images = {f"{name}/{k}.png": draw() for name in ("normal", "worn") for k in range(3)}
        files = images | {f"{path[:-4]}.{ending}": content for path in images}
        if place == "x":
            for path in files:
                put(tmp_path / place, path, content=files[path])
        else:
            self.pack(tmp_path / place, files)
        source = open_source(str(tmp_path / place))
        assert list_items(source, "path", "label") == [(p, p.partition("/")[0]) for p in images]
        assert source.refused.empty
        told = "6 files that are named like an image beside them but are none by their endings, "
        assert f"{told}such as `normal/0.{ending}`, are passed over." in source.notes

    def test_a_table_counts_before_texts_beside_images(self, tmp_path: Path) -> None:
        files = {f"{k}.png": draw() for k in range(2)} | {f"{k}.txt": b"0 1" for k in range(2)}
        files["metadata.csv"] = b"file_name,label\n0.png,a\n1.png,b\n"
        source = open_source(str(self.pack(tmp_path / "x.zip", files)))
        assert list_items(source, "path", "label") == [("0.png", "a"), ("1.png", "b")]
        files["metadata.csv"] += b"2.png,b,more\n"
        with pytest.raises(InputError, match="line 4 has more values than there are columns"):
            open_source(str(self.pack(tmp_path / "y.zip", files)))

    @pytest.mark.parametrize(
        ("ending", "content"), [("cls", "{}"), ("json", '{{"label": {}}}'), ("json", "{}")]
    )
    def test_web_dataset_in_folders(self, tmp_path: Path, ending: str, content: str) -> None:
        files: dict[str, bytes] = {}
        for k in range(4):
            path = f"{'ab'[k // 2]}/{k}"
            files |= {f"{path}.png": draw(), f"{path}.{ending}": content.format(k % 2).encode()}
        source = open_source(str(self.pack(tmp_path / "x.tar", files)))
        assert list_items(source, "label") == [("0",), ("1",), ("0",), ("1",)]

    def test_images_of_no_sample_are_refused(self, tmp_path: Path) -> None:
        files = {f"{k}.png": draw() for k in range(4)} | {"2.jpg": draw()}
        files |= {f"{k}.cls": str(k % 2).encode() for k in range(3)}
        source = open_source(str(self.pack(tmp_path / "x.tar", files)))
        assert list_items(source, "path") == [("0.png",), ("1.png",), ("2.png",)]
        assert dict(source.refused.to_numpy().tolist()) == {
            "2.jpg": "a further image of a sample", "3.png": "no class in a file beside it"
        }  # fmt: skip

    @pytest.mark.parametrize("ending", ["cls", "txt", "json"])
    def test_classes_that_cannot_be_read(self, tmp_path: Path, ending: str) -> None:
        files: dict[str, bytes] = {}
        for k in range(4):
            files |= {f"{k}.png": draw(), f"{k}.{ending}": b'"label %d"' % (k % 2)}
        place = tmp_path / "x.zip"
        with zipfile.ZipFile(place, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        whole = place.read_bytes()
        place.write_bytes(whole.replace(b'"label 1"', b'"label 9"', 1))
        source = open_source(str(place))
        assert list_items(source, "path") == [("0.png",), ("2.png",), ("3.png",)]
        ((path, reason),) = source.refused.to_numpy().tolist()
        assert path == "1.png"
        assert reason.startswith(
            "its class is not known, as a file beside it cannot be read: Bad CRC-32"
        )
        locked = bytearray(whole)
        at = 0
        while (at := locked.find(b"PK\x01\x02", at)) >= 0:
            locked[at + 8] |= 1
            at += 4
        (tmp_path / "y.zip").write_bytes(locked)
        with pytest.raises(InputError, match=r"refused: 4; the first: .* beside it is encrypted"):
            open_source(str(tmp_path / "y.zip"))

    def test_links(self, tmp_path: Path) -> None:
        place = self.pack(tmp_path / "x.tar", {"a/1.png": draw(1), ".b/2.png": draw(2)})
        links = {
            "b/hard.png": (tarfile.LNKTYPE, "./.b/2.png"),
            "a/soft.png": (tarfile.SYMTYPE, "1.png"),
            "b/up.png": (tarfile.SYMTYPE, "../a/soft.png"),
            "b/nowhere.png": (tarfile.SYMTYPE, "1.png"),
            "b/outside.png": (tarfile.SYMTYPE, "../../a/1.png"),
            "b/absolute.png": (tarfile.SYMTYPE, "/a/1.png"),
            "b/round.png": (tarfile.SYMTYPE, "round.png"),
            "b/folder": (tarfile.SYMTYPE, "../a"),
            "b/pipe.png": (tarfile.FIFOTYPE, ""),
            "../above.png": (tarfile.LNKTYPE, "a/1.png"),
            ".c/hidden.png": (tarfile.SYMTYPE, "nowhere"),
        }
        with tarfile.open(place, "a") as archive:
            for name, (kind, target) in links.items():
                member = tarfile.TarInfo(name)
                member.type, member.linkname = kind, target
                archive.addfile(member)
        source = open_source(str(place))
        found = {path: source.reader.read(path, -1) for path in source.items["path"]}
        assert found == {
            "a/1.png": draw(1), "a/soft.png": draw(1), "b/hard.png": draw(2), "b/up.png": draw(1)
        }  # fmt: skip
        assert source.items["size"].tolist() == [len(content) for content in found.values()]
        refused = dict(source.refused.to_numpy().tolist())
        assert refused.pop("../above.png") == "leads out of the archive"
        assert refused == dict.fromkeys(
            [*list(links)[3:9]], "not a regular file, nor a link to one in the archive"
        )

    def test_files_that_are_not_packed(self, tmp_path: Path) -> None:
        whole = self.pack(tmp_path / "k.zip", {"a/1.png": draw(), "b/2.png": draw()}).read_bytes()
        for name, content in (("x.zip", whole[:60]), ("x.tar", whole), ("x.tgz", b"")):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(InputError, match="Expected a zip or tar file of images, but"):
                open_source(str(tmp_path / name))

    def test_members_that_cannot_be_read(self, tmp_path: Path) -> None:
        place = self.pack(tmp_path / "k.zip", {"a/1.png": draw(1) * 9, "b/2.png": draw(2)})
        content = bytearray(place.read_bytes())
        content[60:90] = b"\xff" * 30
        place.write_bytes(content)
        source = open_source(str(place))
        with pytest.raises(UnreadableImageError, match="cannot be read: "):
            source.reader.read("a/1.png", -1)
        with pytest.raises(UnreadableImageError, match="no longer in the archive"):
            source.reader.read("c.png", -1)
        assert source.reader.read("b/2.png", -1) == draw(2)


class TestShards:
    def write(self, root: Path, name: str, numbers: range) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        images = [{"bytes": draw(k), "path": None} for k in numbers]
        features = {"label": {"names": ["normal", "worn"], "_type": "ClassLabel"}}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        table = pa.table(
            {
                "image": images,
                "label": [k % 2 for k in numbers],
                "Patient ID": ["N/A" if k == 9 else f"P{k // 2}" for k in numbers],
            }
        )
        pq.write_table(table.replace_schema_metadata(metadata), root / name, row_group_size=2)

    @pytest.mark.parametrize(
        "names",
        [
            ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet",
             "data/test-00000-of-00001.parquet"),
            ("default/train/0000.parquet", "default/train/0001.parquet", "default/test/0.parquet"),
            ("knees-train-0.parquet", "knees-train-1.parquet", "knees-test-0.parquet"),
        ],
    )  # fmt: skip
    def test_snapshots_of_the_hub(self, tmp_path: Path, names: tuple[str, ...]) -> None:
        put(tmp_path, "README.md", "dataset_infos.json")
        spans = (range(3), range(3, 6), range(6, 10))
        for name, numbers in zip(names, spans, strict=True):
            self.write(tmp_path, name, numbers)
        source = open_source(str(tmp_path))
        assert source.kind == "table"
        wanted = [
            (f"{name}/row-{row:07}", ("normal", "worn")[k % 2], split, k)
            for name, numbers, split in zip(names, spans, ("train", "train", "test"), strict=True)
            for row, k in enumerate(numbers)
        ]
        assert list_items(source, "path", "label", "split") == sorted(row[:3] for row in wanted)
        positions = dict(list_items(source, "path", "position"))
        for path, _, _, k in wanted:
            assert source.reader.read(path, positions[path]) == draw(k)
        of_path = dict(list_items(source, "path", "patient_id"))
        assert [of_path[row[0]] for row in wanted] == [
            "" if k == 9 else f"P{k // 2}" for k in range(10)
        ]
        assert "The images are those of 3 files; parts of a split by their names: test, train." in (
            source.notes
        )

    def test_tables_of_paths_are_no_shards(self, tmp_path: Path) -> None:
        pd.DataFrame({"path": ["1"], "label": ["a"]}).to_parquet(tmp_path / "x.parquet")
        with pytest.raises(InputError, match=r"x\.parquet names image files\. Give that table"):
            open_source(str(tmp_path))
