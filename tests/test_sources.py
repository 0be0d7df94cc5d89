"""What is found in sources of every kind, and what is said of those that cannot be used."""

import io
import json
import os
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus import write_image
from PIL import Image

from osteo_ray.base.errors import InputError
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.data.sources.listing import ITEM_COLUMNS, Source
from osteo_ray.data.sources.options import SourceOptions
from osteo_ray.data.sources.readers import ArrayStream, FileReader
from osteo_ray.data.sources.unreadable import expecting

OUTSIDE = (
    "lies outside the folder of the manifest; give paths relative to it, or the folder that holds "
    "all images by --root"
)


def draw(seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16), dtype=np.uint8)
    return write_image(Image.fromarray(pixels), "PNG")


def put(root: Path, *paths: str, content: bytes = b"any") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def list_items(source: Source, *columns: str) -> list[tuple[str, ...]]:
    assert tuple(source.items.columns) == ITEM_COLUMNS
    return list(source.items[list(columns)].itertuples(index=False, name=None))


def list_refused(source: Source) -> dict[str, str]:
    assert list(source.refused.columns) == ["path", "reason"]
    assert all(reason.isprintable() for reason in source.refused["reason"])
    return dict(source.refused.itertuples(index=False, name=None))


def refuse(data: Path | str, *words: str, advice: str = "") -> str:
    """Open a source that cannot be used; check that the message says what, where and what to do."""
    with pytest.raises(InputError) as caught:
        open_source(str(data))
    message = str(caught.value)
    assert message.startswith("Expected ")
    assert Path(str(data).partition("?")[0]).name in message  # where
    assert ", but" in message  # what was found
    assert message.endswith(".")
    assert ".." not in message
    assert "\n" not in message
    assert message.count(". ") >= 1  # what to do is a sentence of its own
    for word in (*words, advice):
        assert word in message
    return message


def test_errors_that_say_what_to_do_pass_as_they_are() -> None:
    with (
        pytest.raises(InputError, match=r"^Mine\.$"),
        expecting("a table", "x.csv", "Write it again.", (Exception,)),
    ):
        raise InputError("Mine.")
    with (
        pytest.raises(
            InputError, match=r"^Expected a table, but reading x\.csv failed: gone\. Do\.$"
        ),
        expecting("a table", "x.csv", "Do.", (ValueError, KeyError)),
    ):
        raise ValueError("gone.\nMore of it.")
    with pytest.raises(KeyError), expecting("a table", "x.csv", "Do.", (ValueError,)):
        raise KeyError("not expected")


class TestFolders:
    def test_classes_are_the_folders_and_what_lies_below_belongs_to_them(self, tmp_path) -> None:
        put(tmp_path, "normal/1.png", "normal/left/old/2.png", "worn/3", "worn/notes.txt")
        source = open_source(str(tmp_path))
        assert (source.kind, source.uri) == ("folders", str(tmp_path))
        assert list_items(source, "path", "label", "size", "position", "split", "patient_id") == [
            ("normal/1.png", "normal", 3, -1, "", ""),
            ("normal/left/old/2.png", "normal", 3, -1, "", ""),
            ("worn/3", "worn", 3, -1, "", ""),
            ("worn/notes.txt", "worn", 3, -1, "", ""),  # its content will tell
        ]
        assert not len(source.refused)
        assert source.reader.read("worn/3", -1) == b"any"

    def test_hidden_files_are_passed_over_and_stray_images_refused(self, tmp_path: Path) -> None:
        put(tmp_path, "a/1.png", "b/2.png", "a/.DS_Store", ".git/x.png", "a/.thumbs/1.png")
        put(tmp_path, "stray.png", "stray.DCM", "stray.avif", "README.txt")
        source = open_source(str(tmp_path))
        assert list_items(source, "path") == [("a/1.png",), ("b/2.png",)]
        refused = list_refused(source)
        assert set(refused) == {"stray.png", "stray.DCM", "stray.avif"}
        assert set(refused.values()) == {"not in a class folder"}

    def test_without_labels_images_may_lie_anywhere(self, tmp_path: Path) -> None:
        put(tmp_path, "a.png", "b.JPG", "notes.txt", "sub/c.png", ".hidden.png")
        source = open_source(str(tmp_path), labels_needed=False)
        labels = dict(zip(source.items["path"], source.items["label"], strict=True))
        assert labels == {"a.png": "", "b.JPG": "", "sub/c.png": "sub"}
        assert source.refused.empty

    def test_without_labels_there_must_be_images_still(self, tmp_path: Path) -> None:
        put(tmp_path, "notes.txt")
        with pytest.raises(InputError, match=r"Expected images in .*, but found none"):
            open_source(str(tmp_path), labels_needed=False)

    def test_parts_above_the_classes(self, tmp_path: Path) -> None:
        put(tmp_path, "Train/normal/1.png", "Train/worn/2.png", "VALID/normal/3.png")
        put(tmp_path, "testing/worn/deep/4.png", "Train/stray.png", "labels.csv")
        source = open_source(str(tmp_path))
        assert list_items(source, "path", "label", "split") == [
            ("Train/normal/1.png", "normal", "train"),
            ("Train/worn/2.png", "worn", "train"),
            ("VALID/normal/3.png", "normal", "validation"),
            ("testing/worn/deep/4.png", "worn", "test"),
        ]
        assert list_refused(source) == {"Train/stray.png": "not in a class folder"}

    def test_links(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        put(root, "a/1.png", "b/2.png")
        put(tmp_path, "outside/3.png", content=b"secret")
        (root / "a/inside.png").symlink_to("../b/2.png")
        (root / "a/outside.png").symlink_to(tmp_path / "outside/3.png")
        (root / "a/dangling.png").symlink_to("nowhere")
        (root / "a/loop.png").symlink_to("loop.png")
        (root / "a/up").symlink_to(root)
        (root / "c").symlink_to(tmp_path / "outside")
        source = open_source(str(root))
        words = "a link to a folder; such links are not followed"
        assert list_refused(source) == {"a/up": words, "c": words}
        read = {}
        for (path,) in list_items(source, "path"):
            try:
                read[path] = source.reader.read(path, -1)
            except UnreadableImageError as error:
                read[path] = str(error)
        assert read == {
            "a/1.png": b"any",
            "a/dangling.png": "No such file or directory",
            "a/inside.png": b"any",
            "a/loop.png": "Too many levels of symbolic links",
            "a/outside.png": "lies outside the source, or is a link that leads there",
            "b/2.png": b"any",
        }

    def test_a_link_to_the_whole_source_is_followed(self, tmp_path: Path) -> None:
        put(tmp_path, "real/a/1.png", "real/b/2.png")
        (tmp_path / "link").symlink_to("real")
        source = open_source(str(tmp_path / "link"))
        assert source.reader.read("a/1.png", -1) == b"any"

    def test_odd_names_and_pipes(self, tmp_path: Path) -> None:
        put(tmp_path, "a/1.png", "b/2?x=1 #%20.png", "b/膝\n.png")
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/a/\xff.png")).write_bytes(b"x")
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9t\xe9")).mkdir()
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9t\xe9/1.png")).write_bytes(b"x")
        os.mkfifo(tmp_path / "a/pipe.png")
        (tmp_path / "a/folder.png").mkdir()
        source = open_source(str(tmp_path))
        words = "a file name that is not valid UTF-8"
        assert list_refused(source) == {"a/\\xff.png": words, "\\xe9t\\xe9/1.png": words}
        assert source.reader.read("b/2?x=1 #%20.png", -1) == b"any"
        assert source.reader.read("b/膝\n.png", -1) == b"any"
        with pytest.raises(UnreadableImageError, match="not a regular file"):
            source.reader.read("a/pipe.png", -1)
        assert "a/folder.png" not in {path for (path,) in list_items(source, "path")}

    @pytest.mark.parametrize("name", ["knees?", "100%20", "a b #1", "knees.csv", "знімки"])
    def test_odd_names_of_the_source(self, tmp_path: Path, name: str) -> None:
        put(tmp_path / name, "a/1.png", "b/2.png")
        for data in (str(tmp_path / name), str(tmp_path / name) + "/"):
            source = open_source(data)
            assert source.reader.read("a/1.png", -1) == b"any"
        put(tmp_path / name, "manifest.csv", content=b"path,label\na/1.png,x\nb/2.png,y\n")
        source = open_source(str(tmp_path / name))
        assert (source.kind, source.reader.read("b/2.png", -1)) == ("manifest", b"any")

    def test_relative_paths_and_file_uris(self, tmp_path: Path, monkeypatch) -> None:
        put(tmp_path / "my knees", "a/1.png", "b/2.png")
        monkeypatch.chdir(tmp_path)
        for data in ("my knees", (tmp_path / "my knees").as_uri(), f"file://{tmp_path}/my knees"):
            source = open_source(data)
            assert source.uri == str(tmp_path / "my knees")
            assert source.reader.read("a/1.png", -1) == b"any"

    def test_a_fingerprint_changes_with_what_is_found(self, tmp_path: Path) -> None:
        put(tmp_path, "a/1.png", "b/2.png")
        before = open_source(str(tmp_path)).fingerprint
        assert open_source(str(tmp_path)).fingerprint == before
        put(tmp_path, "b/2.png", content=b"other size")
        assert open_source(str(tmp_path)).fingerprint != before

    def test_unusable_folders(self, tmp_path: Path) -> None:
        refuse(tmp_path, "at least two class folders", "but found none", advice="Put each image")
        put(tmp_path, "1.png")
        refuse(
            tmp_path, "but found none", "Files refused: 1; the first: 1.png (not in a class folder)"
        )
        put(tmp_path, "a/1.png")
        refuse(tmp_path, "but found one: a", advice="Put each image")

    def test_folders_that_may_not_be_listed(self, tmp_path: Path) -> None:
        put(tmp_path, "a/1.png", "b/2.png", "closed/3.png", "b/closed/4.png", "c/5.png")
        found = read_as_nobody(
            tmp_path,
            ["closed", "b/closed", "c/5.png"],
            """
            source = open_source(str(root))
            print(sorted(source.items["path"]), source.refused.to_numpy().tolist())
            try:
                source.reader.read("c/5.png", -1)
            except UnreadableImageError as error:
                print(error)
            """,
        )
        why = "a folder that cannot be listed: Permission denied"
        listed, reason = found.splitlines()
        assert listed.startswith("['a/1.png', 'b/2.png', 'c/5.png']")
        assert f"['closed', '{why}']" in listed
        assert f"['b/closed', '{why}']" in listed
        assert reason == "Permission denied"

    def test_a_source_that_may_not_be_listed(self, tmp_path: Path) -> None:
        put(tmp_path, "a/1.png", "b/2.png")
        found = read_as_nobody(
            tmp_path,
            ["."],
            """
            try:
                open_source(str(root))
            except InputError as error:
                print(error)
            """,
        )
        assert found.startswith("Expected --data to be a ")
        assert "Permission denied" in found


def read_as_nobody(root: Path, closed: list[str], code: str) -> str:
    """Run code in a process without the rights of the superuser, who may open anything."""
    for path in closed:
        (root / path).chmod(0)
    script = f"""
import os, stat
from pathlib import Path
from osteo_ray.base.errors import InputError
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.sources.kinds import open_source
root = Path({str(root)!r})
if os.getuid() == 0:
    for folder in root.parents:  # pytest's own folders are closed to others
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
    if {closed != ["."]!r}:
        root.chmod(0o755)
    os.setgid(65534)
    os.setuid(65534)
{textwrap.dedent(code)}
"""
    try:
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False
        )
    finally:
        for path in closed:
            (root / path).chmod(0o700)
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestCsv:
    @pytest.fixture
    def write(self, tmp_path: Path) -> Callable[[str | bytes], Path]:
        def write(content: str | bytes) -> Path:
            file = tmp_path / "labels.csv"
            file.write_bytes(content.encode() if isinstance(content, str) else content)
            return file

        return write

    def test_all_columns(self, write, tmp_path: Path) -> None:
        put(tmp_path, "x/1.png")
        source = open_source(
            str(
                write(
                    "path,label,patient_id,side,site,split,age\n"
                    "x/2.png,worn,017,R,Kyiv,Dev,70\nx/1.png, normal ,P 1,L,Lviv,training,\n"
                )
            )
        )
        assert source.kind == "manifest"
        assert list_items(source, *ITEM_COLUMNS) == [
            ("x/1.png", -1, "normal", 0, "P 1", "L", "Lviv", "train"),
            ("x/2.png", -1, "worn", 0, "017", "R", "Kyiv", "validation"),
        ]
        assert source.reader.read("x/1.png", -1) == b"any"

    @pytest.mark.parametrize("path", ["path", "file_name", "image_path", " File_Name "])
    @pytest.mark.parametrize("label", ["label", "class", "CLASS"])
    def test_synonyms_marks_and_line_ends(self, write, path: str, label: str) -> None:
        text = f"{path},{label},patient\r\n1.png,a,7\r\n2.png,b,\r\n"
        for content in (text, "\ufeff" + text):
            source = open_source(str(write(content)))
            assert list_items(source, "path", "label", "patient_id") == [
                ("1.png", "a", "7"),
                ("2.png", "b", ""),
            ]

    def test_labels_that_look_like_something_else_stay_text(self, write) -> None:
        source = open_source(str(write("path,label\n1.png,II\n2.png,1e3\n3.png,None\n4,007\n")))
        assert [label for (label,) in list_items(source, "label")] == ["II", "1e3", "None", "007"]

    def test_rows_that_cannot_be_used_are_refused_one_by_one(self, write, tmp_path: Path) -> None:
        file = write(
            "path,label\n1.png,a\n2.png,b\n3.png,\n4.png, \n,a\n1.png,a\n5.png,a\n5.png,b\n"
            "6.png,\n6.png,b\n/etc/passwd,a\n../7.png,a\nx/../../8.png,b\n..\\9.png,a\n"
            "s3://bucket/10.png,a\nfile:///etc/passwd,b\n\\\\server\\11.png,a\n12.png\n"
        )
        source = open_source(str(file))
        assert list_items(source, "path", "label") == [
            ("1.png", "a"),
            ("2.png", "b"),
            ("6.png", "b"),
        ]
        several = "listed with several labels: a, b"
        assert list(source.refused.itertuples(index=False, name=None)) == [
            ("3.png", "no label"),
            ("4.png", "no label"),
            ("", "no path"),
            ("1.png", "listed twice"),
            ("5.png", several),
            ("5.png", several),
            ("6.png", "no label"),
            ("/etc/passwd", OUTSIDE),
            ("../7.png", OUTSIDE),
            ("x/../../8.png", OUTSIDE),
            ("..\\9.png", OUTSIDE),
            ("s3://bucket/10.png", OUTSIDE),
            ("file:///etc/passwd", OUTSIDE),
            ("\\\\server\\11.png", OUTSIDE),
            ("12.png", "no label"),
        ]

    def test_empty_optional_columns_and_commas_at_line_ends(self, write) -> None:
        source = open_source(str(write("path,label,split,site\n1,a,,\n2,b,,\n")))
        assert list_items(source, "split", "site") == [("", ""), ("", "")]
        source = open_source(str(write("path,label\n1,a,\n2,b,\n")))
        assert list_items(source, "path", "label") == [("1", "a"), ("2", "b")]

    def test_a_row_that_names_a_folder(self, write, tmp_path: Path) -> None:
        (tmp_path / "x").mkdir()
        source = open_source(str(write("path,label\nx,a\n2,b\n")))
        with pytest.raises(UnreadableImageError, match="a folder, not a file"):
            source.reader.read("x", -1)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("", ("columns path and label in", "but it is empty", "Write the table again")),
            ("path,label\n", ("at least two classes", "found none")),
            ("path,label\n1.png,a\n2.png,a\n", ("found one: a",)),
            (
                "path,label\n1.png,\n",
                ("found none", "Entries refused: 1; the first: 1.png (no label)"),
            ),
            ("name,diagnosis\n1,a\n", ("path and label are missing", "found are: name, diagnosis")),
            ("path,diagnosis\n1,a\n", ("label is missing", "rename")),
            ("path;dx\n1.png;a\n", ("found are: path, dx", "--columns label=dx")),
            ("path,label\n1,a\n2,b,c,d\n", ("such as CSV", "line 3 has more values", "Correct")),
            ("path,label\n1,a,x\n2,b,y\n", ("such as CSV", "line 2 has more values")),
            ('path,label\n"1,a\n2,b\n', ("such as CSV", "unexpected end")),
            (bytes(range(256)), ("table in text", "no text")),
            (b"path,label\n1,\x81\n2,b\n", ("table in text", "line 2 is text in no encoding")),
            ("path,label,split\n1,a,train\n2,b,fold 3\n", ("column split", "`fold 3` for 2")),
        ],
    )
    def test_tables_that_cannot_be_used(self, write, content, words) -> None:
        refuse(write(content), *words)

    def test_a_folder_with_a_manifest(self, tmp_path: Path) -> None:
        put(tmp_path, "a/1.png", "b/2.png", "b/unlisted.png")
        put(tmp_path, "manifest.csv", content=b"path,label\na/1.png,x\nb/2.png,y\n")
        source = open_source(str(tmp_path))
        assert list_items(source, "path", "label") == [("a/1.png", "x"), ("b/2.png", "y")]
        (tmp_path / "manifest.csv").unlink()
        table = pd.DataFrame({"path": ["a/1.png", "b/2.png"], "label": ["k", "l"]})
        table.to_parquet(tmp_path / "manifest.parquet")
        assert list_items(open_source(str(tmp_path)), "label") == [("k",), ("l",)]


class TestParquet:
    def test_manifest(self, tmp_path: Path) -> None:
        put(tmp_path, "1.png")
        table = pd.DataFrame(
            {
                "image_path": ["1.png", "2.png", "3.png", None],
                "class": [1.0, 0.0, None, 1.0],  # numbers with gaps
                "patient_id": [17, None, 18, 19],
                "side": pd.Categorical(["L", None, "R", "R"]),
                "features": [np.ones(3)] * 4,
            }
        )
        table.to_parquet(tmp_path / "labels.parquet")
        source = open_source(str(tmp_path / "labels.parquet"))
        assert list_items(source, "path", "label", "patient_id", "side") == [
            ("1.png", "1", "17", "L"),
            ("2.png", "0", "", ""),
        ]
        assert list_refused(source) == {"3.png": "no label", "": "no path"}
        assert source.reader.read("1.png", -1) == b"any"

    def test_an_index_is_a_column_too(self, tmp_path: Path) -> None:
        table = pd.DataFrame({"path": ["1", "2"], "label": ["a", "b"]}).set_index("path")
        table.to_parquet(tmp_path / "t.parquet")
        assert list_items(open_source(str(tmp_path / "t.parquet")), "path") == [("1",), ("2",)]

    def test_hugging_face_table(self, tmp_path: Path) -> None:
        images = [{"bytes": draw(k), "path": f"{k}.png"} for k in range(6)]
        images.append({"bytes": None, "path": "elsewhere.png"})
        features = {"image": {"_type": "Image"}, "label": {"names": ["normal", "worn"]}}
        labels = [0, 1, 0, 1, -1, None, 1]
        table = pa.table(
            {
                "image": images,
                "label": pa.array(labels, pa.int64()),
                "patient": [f"P{k}" for k in range(7)],
                "embedding": [[0.5] * 4] * 7,
            }
        ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        pq.write_table(table, tmp_path / "train.parquet", row_group_size=2)
        source = open_source(str(tmp_path / "train.parquet"))
        assert source.kind == "table"
        assert list_items(source, "path", "position", "label", "patient_id") == [
            ("row-0000000/0.png", 0, "normal", "P0"),
            ("row-0000001/1.png", 1, "worn", "P1"),
            ("row-0000002/2.png", 2, "normal", "P2"),
            ("row-0000003/3.png", 3, "worn", "P3"),
            ("row-0000006/elsewhere.png", 6, "worn", "P6"),
        ]
        why = "no label"
        assert list_refused(source) == {"row-0000004/4.png": why, "row-0000005/5.png": why}
        for row in (5, 0, 3, 3, 1, 4):  # in any order
            assert source.reader.read("", row) == draw(row)
        with pytest.raises(UnreadableImageError, match="no image in this row"):
            source.reader.read("", 6)

    @pytest.mark.parametrize("inside", [True, False])
    def test_names_of_files_tell_patients(self, tmp_path: Path, inside: bool) -> None:
        names = [f"C:\\x\\{9000001 + k}{side}.png" for k in range(4) for side in "LR"]
        images = [{"bytes": draw(0), "path": name if inside else None} for name in names]
        beside = {} if inside else {"filename": names}
        table = pa.table({"image": images, "label": list("abababab"), **beside})
        pq.write_table(table, tmp_path / "t.parquet")
        asked = open_source(str(tmp_path / "t.parquet"))
        pattern = SourceOptions(patient_pattern=r"(\d+)[LR]\.")
        given = open_source(str(tmp_path / "t.parquet"), pattern)
        wanted = [(str(9000001 + k),) for k in range(4) for _ in "LR"]
        assert list_items(asked, "patient_id") == list_items(given, "patient_id") == wanted
        assert (asked.guessed, given.guessed) == (True, False)
        assert asked.items["path"][0] == "row-0000000/C:/x/9000001L.png"

    def test_images_without_names_are_called_by_their_rows(self, tmp_path: Path) -> None:
        images = [{"bytes": draw(k), "path": None} for k in (0, 1)]
        pq.write_table(pa.table({"image": images, "label": ["a", "b"]}), tmp_path / "t.parquet")
        source = open_source(str(tmp_path / "t.parquet"))
        assert list_items(source, "path") == [("row-0000000",), ("row-0000001",)]

    @pytest.mark.parametrize("type_of_ids", [pa.int64(), pa.uint64(), pa.decimal128(20)])
    @pytest.mark.parametrize("encoded", [True, False])
    @pytest.mark.parametrize("holds_images", [True, False])
    def test_long_identifiers_with_gaps_keep_their_digits(
        self, tmp_path: Path, type_of_ids: pa.DataType, encoded: bool, holds_images: bool
    ) -> None:
        numbers = [202401011234560001 + k for k in range(5)]
        ids = pa.array([*numbers, None], pa.int64()).cast(type_of_ids)
        images = {"image": [draw(0)] * 6} if holds_images else {"path": [str(k) for k in range(6)]}
        columns = {
            "label": list("ababab"),
            "patient_id": ids.dictionary_encode() if encoded else ids,
        }
        pq.write_table(pa.table({**images, **columns}), tmp_path / "t.parquet")
        source = open_source(str(tmp_path / "t.parquet"))
        assert list_items(source, "patient_id") == [(str(n),) for n in numbers] + [("",)]

    @pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
    def test_plain_bytes(self, tmp_path: Path, kind: pa.DataType) -> None:
        table = pa.table({"image": pa.array([draw(0), draw(1)], kind), "label": ["a", "b"]})
        pq.write_table(table, tmp_path / "t.parquet")
        source = open_source(str(tmp_path / "t.parquet"))
        assert source.reader.read("", 1) == draw(1)
        assert [label for (label,) in list_items(source, "label")] == ["a", "b"]

    def test_tables_that_cannot_be_used(self, tmp_path: Path) -> None:
        file = tmp_path / "t.parquet"
        pq.write_table(pa.table({"image": [draw(0)], "diagnosis": ["a"]}), file)
        refuse(file, "label is missing", "found are: diagnosis", advice="--columns label=diagnosis")
        pq.write_table(pa.table({"path": ["1"], "diagnosis": ["a"]}), file)
        refuse(file, "label is missing")
        whole = file.read_bytes()
        for content in (b"", b"PAR1", whole[: len(whole) // 2], b"path,label\n" * 9):
            file.write_bytes(content)
            refuse(file, "Parquet table")


class TestArchives:
    @pytest.fixture
    def save(self, tmp_path: Path) -> Callable[..., Path]:
        def save(**arrays: object) -> Path:
            np.savez_compressed(tmp_path / "knees.npz", **arrays)  # type: ignore[arg-type]
            return tmp_path / "knees.npz"

        return save

    def test_the_manner_of_medmnist(self, save) -> None:
        images = np.random.default_rng(0).integers(0, 256, (7, 12, 10), np.uint8)
        labels = np.array([[0], [1], [1], [0], [1], [0], [1]], np.uint8)
        source = open_source(
            str(
                save(
                    train_images=images[:3], train_labels=labels[:3],
                    val_images=images[3:5], val_labels=labels[3:5],
                    test_images=images[5:], test_labels=labels[5:],
                )
            )
        )  # fmt: skip
        assert source.kind == "archive"
        assert list_items(source, "path", "position", "label", "split") == [
            ("test_images/0000000", 0, "0", "test"),
            ("test_images/0000001", 1, "1", "test"),
            ("train_images/0000000", 0, "0", "train"),
            ("train_images/0000001", 1, "1", "train"),
            ("train_images/0000002", 2, "1", "train"),
            ("val_images/0000000", 0, "0", "validation"),
            ("val_images/0000001", 1, "1", "validation"),
        ]
        for row in (0, 2, 1, 0, 2):  # forward and backward
            assert np.array_equal(source.reader.read(f"train_images/{row}", row), images[row])
        assert np.array_equal(source.reader.read("test_images/1", 1), images[6])

    def test_classes_and_patients(self, save) -> None:
        source = open_source(
            str(
                save(
                    images=np.zeros((5, 9, 9), np.uint8),
                    labels=np.array([0.0, 1, 7, np.nan, 1]),
                    classes=np.array(["normal", "worn"]),
                    patients=np.array([[17.0], [17], [3], [4], [np.nan]]),
                    features=np.ones((2, 2)),
                )
            )
        )
        assert list_items(source, "path", "label", "patient_id", "split") == [
            ("images/0000000", "normal", "17", ""),
            ("images/0000001", "worn", "17", ""),
            ("images/0000004", "worn", "", ""),
        ]
        assert list_refused(source) == dict.fromkeys(
            ("images/0000002", "images/0000003"), "no label"
        )

    @pytest.mark.parametrize("labels", [["a", "b"], [b"a", b"b"], [True, False], [3, -4]])
    def test_labels_of_any_type(self, save, labels) -> None:
        source = open_source(str(save(images=np.zeros((2, 9, 9)), labels=np.array(labels))))
        wanted = [x.decode() if isinstance(x, bytes) else str(x) for x in labels]
        assert [label for (label,) in list_items(source, "label")] == wanted

    @pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "f4", "f8", "?"])
    @pytest.mark.parametrize("shape", [(4, 9, 11), (4, 9, 11, 3)])
    @pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
    def test_pixels_of_any_type(self, tmp_path: Path, dtype: str, shape, write) -> None:
        images = np.random.default_rng(1).integers(0, 2, shape).astype(dtype)
        write(tmp_path / "a.npz", images=images, labels=np.arange(4))
        reader = open_source(str(tmp_path / "a.npz")).reader
        for row in (3, 0, 2):
            found = reader.read(f"images/{row}", row)
            assert isinstance(found, np.ndarray)
            assert found.dtype == images.dtype
            assert np.array_equal(found, images[row])

    @pytest.mark.parametrize(
        ("arrays", "words"),
        [
            ({}, ("NPZ archive",)),
            ({"x": np.ones(3)}, ("arrays named train_images", "found x", "Rename the arrays")),
            ({"train_images": np.zeros((2, 9, 9))}, ("Expected train_labels", "no other array")),
            (
                {"images": np.zeros((2, 9, 9)), "labels": np.arange(3)},
                ("labels", "each of 2 images", "(3,)"),
            ),
            (
                {"images": np.zeros((2, 9, 9)), "labels": np.zeros((2, 14))},
                ("shape (2, 14)", "a single value for each image"),
            ),
            ({"images": np.zeros((2, 9, 9)), "labels": np.int64(1)}, ("shape ()",)),
            (
                {"images": np.zeros((2, 9, 9)), "labels": np.arange(2), "patients": np.arange(1)},
                ("patients", "(1,)"),
            ),
            ({"images": np.float64(1), "labels": np.arange(0)}, ("found none",)),
            ({"images": np.zeros((2, 9, 9)), "labels": np.array([1, 1])}, ("found one: 1",)),
            ({"images": np.zeros((2, 9, 9)), "labels": np.array(["a", None])}, ("plain arrays",)),
            ({"images": np.array([{}, {}]), "labels": np.arange(2)}, ("arrays of objects",)),
            (
                {"images": np.asfortranarray(np.zeros((2, 9, 9))), "labels": np.arange(2)},
                ("Fortran order",),
            ),
        ],
    )
    def test_archives_that_cannot_be_used(self, save, arrays, words) -> None:
        refuse(save(**arrays), *words)

    def test_files_that_are_no_archives(self, save, tmp_path: Path) -> None:
        whole = save(images=np.zeros((2, 9, 9)), labels=np.arange(2)).read_bytes()
        one = io.BytesIO()
        np.save(one, np.zeros((2, 9, 9)))
        contents = (b"", b"PK\3\4", whole[:-30], whole[: len(whole) // 2], draw(), one.getvalue())
        for number, content in enumerate(contents):
            file = tmp_path / f"{number}.npz"
            file.write_bytes(content)
            refuse(file, "Expected an NPZ archive")

    def test_damaged_pixels_are_refused_and_the_rest_is_read(self, tmp_path: Path) -> None:
        images = np.random.default_rng(2).integers(0, 16, (40, 50, 50), np.uint8)
        file = tmp_path / "a.npz"
        np.savez_compressed(file, images=images, labels=np.arange(40) % 2)
        content = bytearray(file.read_bytes())
        middle = content.index(b"images.npy") + 30_000
        content[middle : middle + 2000] = b"\xff" * 2000
        file.write_bytes(content)
        source = open_source(str(file))
        reasons = {}
        for row in range(40):
            try:
                found = source.reader.read(f"images/{row}", row)
            except UnreadableImageError as error:
                reasons[row] = str(error)
            else:
                assert row >= 20 or np.array_equal(found, images[row])
        assert reasons
        assert all(reason.startswith("cannot be read: ") for reason in reasons.values())

    def test_rows_beyond_measure(self, tmp_path: Path) -> None:
        header = io.BytesIO()
        about = {"descr": "|u1", "fortran_order": False, "shape": (2, 2**32, 2**32)}
        np.lib.format.write_array_header_1_0(header, about)
        with zipfile.ZipFile(tmp_path / "bomb.zip", "w") as archive:
            archive.writestr("images.npy", header.getvalue() + bytes(100))
        with zipfile.ZipFile(tmp_path / "bomb.zip") as archive:
            stream = ArrayStream(archive, "images")
            with pytest.raises(ValueError, match="expected 512 MiB at most"):
                stream.read(0)


class TestLists:
    @pytest.fixture
    def dump(self, tmp_path: Path) -> Callable[[object], Path]:
        def dump(content: object) -> Path:
            file = tmp_path / "dataset.json"
            text = content if isinstance(content, str) else json.dumps(content)
            file.write_text(text, encoding="utf-8")
            return file

        return dump

    def test_parts(self, dump, tmp_path: Path) -> None:
        put(tmp_path, "images/1.png")
        source = open_source(
            str(
                dump(
                    {
                        "name": "knees",
                        "labels": {"0": "normal"},
                        "modality": ["X-ray"],
                        "training": [
                            {"image": "images/1.png", "label": 0, "patient": 17},
                            {"image": "images/2.png", "label": "worn", "fold": 3, "split": "x"},
                        ],
                        "validation": [{"image": "images/3.png", "label": 1.0}],
                        "test": ["images/4.png", {"image": "../5.png", "label": 0}],
                        "extra": [{"image": "images/6.png", "label": None}],
                    }
                )
            )
        )
        assert source.kind == "list"
        assert list_items(source, "path", "label", "split", "patient_id") == [
            ("images/1.png", "0", "train", "17"),
            ("images/2.png", "worn", "train", ""),
            ("images/3.png", "1", "validation", ""),
        ]
        assert list_refused(source) == {
            "images/4.png": "no label",
            "images/6.png": "no label",
            "../5.png": OUTSIDE,
        }
        assert source.reader.read("images/1.png", -1) == b"any"

    def test_text_that_no_file_name_can_hold(self, dump) -> None:
        entries = [{"image": f"{k}\0.png", "label": str(k)} for k in range(2)]
        source = open_source(str(dump({"training": entries})))
        with pytest.raises(UnreadableImageError, match="name that cannot be opened"):
            source.reader.read(source.items["path"][0], -1)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("", ("MONAI data list",)),
            ("{", ("MONAI data list",)),
            ("[" * 100_000, ("MONAI data list",)),
            ([1, 2], ("found a list",)),
            ({}, ("found none",)),
            ({"training": []}, ("found none",)),
            ({"training": [{"label": 1}]}, ("entry 0 of training has no image",)),
            ({"training": [{"image": "1"}, 5]}, ("entry 1 of training",)),
            ({"training": [{"image": ["1", "2"], "label": 1}]}, ("entry 0 of training",)),
            ({"training": [{"image": "1", "label": 1}]}, ("found one: 1",)),
            (
                {"training": [{"image": "1"}]},
                ("found none", "Entries refused: 1; the first: 1 (no label)"),
            ),
        ],
    )
    def test_lists_that_cannot_be_used(self, dump, content, words) -> None:
        refuse(dump(content), *words)


class TestPlaces:
    def test_nothing_there(self, tmp_path: Path) -> None:
        refuse(tmp_path / "nowhere", "does not exist", advice="Check its spelling")
        refuse(tmp_path / "nowhere.csv", "does not exist")
        (tmp_path / "loop.csv").symlink_to("loop.csv")
        refuse(tmp_path / "loop.csv")
        refuse("memory://nowhere", "does not exist")

    def test_unknown_kinds(self, tmp_path: Path) -> None:
        put(tmp_path, "knees.ods", "knees")
        endings = "ending in .csv, .tsv, .tab, .jsonl, .ndjson, .parquet, .xlsx, .xlsm, .npz, "
        endings += ".json, .zip, .tar"
        refuse(tmp_path / "knees", endings, advice="Give the")
        refuse(tmp_path / "knees.ods", endings, "is a spreadsheet", advice="as CSV")
        os.mkfifo(tmp_path / "pipe.csv")  # reading it would wait for ever
        refuse(tmp_path / "pipe.csv", "is a pipe or device")

    def test_unknown_schemes(self) -> None:
        refuse("nosuch://bucket/knees", "can be opened", "nosuch", advice="Check its spelling")

    def test_a_file_system_of_fsspec(self) -> None:
        import fsspec

        memory = fsspec.filesystem("memory")
        try:
            for path in ("a/1.png", "b/deep/2.png", "b/.hidden/3.png", "stray.png"):
                memory.pipe(f"/fsspec-knees/{path}", path.encode())
            for data in ("memory://fsspec-knees", "memory://fsspec-knees/"):
                source = open_source(data)
                assert list_items(source, "path", "label", "size") == [
                    ("a/1.png", "a", 7),
                    ("b/deep/2.png", "b", 12),
                ]
                assert list_refused(source) == {"stray.png": "not in a class folder"}
                assert source.reader.read("a/1.png", -1) == b"a/1.png"
                with pytest.raises(UnreadableImageError, match="cannot be fetched"):
                    source.reader.read("a/nothing.png", -1)
            memory.pipe("/fsspec-knees/manifest.csv", b"path,label\na/1.png,x\nstray.png,y\n")
            source = open_source("memory://fsspec-knees")
            assert list_items(source, "label") == [("x",), ("y",)]
            assert source.reader.read("stray.png", -1) == b"stray.png"
        finally:
            memory.rm("/fsspec-knees", recursive=True)

    def test_files_beyond_measure(self, tmp_path: Path) -> None:
        with (tmp_path / "x.png").open("wb") as file:
            file.truncate(600 * 2**20)
        with pytest.raises(
            UnreadableImageError, match="too large: 600 MiB; expected 512 MiB at most"
        ):
            FileReader(str(tmp_path)).read("x.png", -1)
