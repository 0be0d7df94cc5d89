"""Reading of whole sources on a cluster: every good image is there, every other has a reason."""

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
import ray
from corpus import PATIENT_NAME, CorpusFile, make_corpus, make_dicom, make_picture, write_image
from PIL import Image
from ray._private.internal_api import memory_summary  # no public call tells it

from osteo_ray.base.errors import InputError
from osteo_ray.base.progress import listening
from osteo_ray.data.copies.thumbnails import make_thumbnail
from osteo_ray.data.decoding.content import decode
from osteo_ray.data.decoding.identity import digest_pixels
from osteo_ray.data.decoding.resizing import resize_image
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.data.sources.listing import Source, list_refused, tabulate_items
from osteo_ray.data.sources.readers import FileReader
from osteo_ray.pipeline.ingest.blocks import veil
from osteo_ray.pipeline.ingest.reading import Ingest, doubt_lost_classes, ingest_images

pytestmark = pytest.mark.ray
SIZE = 32


@pytest.fixture(scope="module", autouse=True)
def cluster(local_ray: None) -> None:
    """Every test here needs Ray."""


def read(data: str | Path, scratch: Path, **options: object) -> Ingest:
    return ingest_images(open_source(str(data)), scratch, **options)  # type: ignore[arg-type]


def read_pixels(folder: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(folder).to_pandas()
    return {
        row.image_id: np.frombuffer(row.pixels, np.uint8).reshape(SIZE, SIZE)
        for row in table.itertuples()
    }


def put_picture(path: Path, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(write_image(Image.fromarray(make_picture(rng)), "PNG"))


def decode_one_by_one(source: Source) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    images, reasons = {}, dict(source.refused.itertuples(index=False, name=None))
    for path, position in source.items[["path", "position"]].itertuples(index=False):
        try:
            images[path] = decode(source.reader.read(path, position)).pixels
        except UnreadableImageError as error:
            reasons[path] = str(error)
    return images, reasons


@pytest.fixture(scope="module")
def corpus() -> list[CorpusFile]:
    return make_corpus(np.random.default_rng(0))


@pytest.fixture(scope="module")
def hostile_root(corpus: list[CorpusFile], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hostile") / "source"
    for number, file in enumerate(corpus):
        folder = root / ("normal", "worn", "worn/deep")[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file.name).write_bytes(file.content)
    outside = root.parent / "outside.png"
    put_picture(outside, np.random.default_rng(1))
    hazards = root / "normal"
    os.mkfifo(hazards / "hazard-pipe.png")
    (hazards / "hazard-loop.png").symlink_to("hazard-loop.png")
    (hazards / "hazard-outside.png").symlink_to(outside)
    (hazards / "hazard-dangling.png").symlink_to("nowhere.png")
    (hazards / "hazard-up").symlink_to(root)
    (hazards / "hazard-folder.png").mkdir()
    with (hazards / "hazard-large.png").open("wb") as file:
        file.truncate(600 * 2**20)
    put_picture(root / "hazard-stray.png", np.random.default_rng(2))
    name = os.fsencode(hazards) + b"/hazard-\xff.png"
    Path(os.fsdecode(name)).write_bytes(outside.read_bytes())
    return root


@pytest.fixture(scope="module")
def hostile_found(hostile_root: Path) -> tuple[Ingest, float]:
    start = time.monotonic()
    ingest = read(
        hostile_root,
        hostile_root.parent / "scratch",
        pixels=hostile_root.parent / "pixels",
        image_size=ImageSize.square(SIZE),
    )
    return ingest, time.monotonic() - start


class TestHostileFolders:
    """Class folders as they would be if everything went wrong at once."""

    def test_every_good_image_is_there_and_every_other_has_a_reason(
        self, corpus, hostile_found
    ) -> None:
        images, rejects = hostile_found[0].images, hostile_found[0].rejects
        sizes = {
            path.rpartition("/")[2]: (height, width)
            for path, height, width in images[["path", "height", "width"]].itertuples(index=False)
        }
        assert sizes == {file.name: file.size for file in corpus if file.good}
        refused = {path.rpartition("/")[2]: path for path in rejects["path"]}
        bad = {file.name for file in corpus if not file.good}
        assert {name for name in refused if not name.startswith("hazard")} == bad
        for column in (images["path"], rejects["path"], images["image_id"]):
            assert column.is_unique
        assert images["path"].is_monotonic_increasing
        assert rejects["path"].is_monotonic_increasing
        for reason in rejects["reason"]:
            assert reason
            assert reason.isprintable()  # and so of one line
            assert len(reason) < 150

    def test_hazards_of_the_file_system(self, hostile_found) -> None:
        rejects = dict(hostile_found[0].rejects.itertuples(index=False, name=None))
        hazards = {path: why for path, why in rejects.items() if "hazard" in path}
        assert hazards == {
            "hazard-stray.png": "not in a class folder",
            "normal/hazard-\\xff.png": "a file name that is not valid UTF-8",
            "normal/hazard-dangling.png": "No such file or directory",
            "normal/hazard-large.png": "too large: 600 MiB; expected 512 MiB at most",
            "normal/hazard-loop.png": "Too many levels of symbolic links",
            "normal/hazard-outside.png": "lies outside the source, or is a link that leads there",
            "normal/hazard-pipe.png": "not a regular file",
            "normal/hazard-up": "a link to a folder; such links are not followed",
        }

    def test_it_takes_no_longer_than_it_should(self, hostile_found) -> None:
        assert hostile_found[1] < 120  # about 15 s on two idle cores

    def test_columns(self, hostile_root: Path, hostile_found) -> None:
        images = hostile_found[0].images
        assert not images.isna().any(axis=None)
        numbers = images[["patient", "width", "height", "size"]]
        assert {dtype.kind for dtype in numbers.dtypes} == {"i"}
        assert "patient_id" not in images
        assert set(images["label"]) == {"normal", "worn"}
        assert {"PNG", "JPEG", "TIFF", "DICOM", "WEBP"} <= set(images["format"])
        assert (images["contrast"] > 1).all()
        sizes = [(hostile_root / path).stat().st_size for path in images["path"]]
        assert images["size"].tolist() == sizes
        assert {len(look) for look in images["look"]} == {24 * 4}
        assert {len(preview) for preview in images["preview"]} == {256}

    def test_one_process_reads_what_many_do(self, hostile_root: Path, hostile_found) -> None:
        ingest = hostile_found[0]
        images, reasons = decode_one_by_one(open_source(str(hostile_root)))
        assert dict(zip(ingest.images["path"], ingest.images["digest"], strict=True)) == {
            path: digest_pixels(image) for path, image in images.items()
        }
        assert dict(ingest.rejects.itertuples(index=False, name=None)) == reasons
        pixels = read_pixels(hostile_root.parent / "pixels")
        assert set(pixels) == set(ingest.images["image_id"])
        thumbnails = ingest.thumbnails.read(np.arange(len(ingest.images)))
        for row in ingest.images.itertuples():
            image = images[row.path]
            assert np.array_equal(pixels[row.image_id], resize_image(image, ImageSize.square(SIZE)))
            assert np.array_equal(thumbnails[row.Index], make_thumbnail(image))


class TestPatients:
    SECRETS = ("P-17", "Secret-4711", "Mustermann", "PAT-A", "PAT-B", "Charite", "Mercy")

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        rng = np.random.default_rng(3)
        root = tmp_path / "source"
        for number, (label, patient) in enumerate(
            [("a", "P-17"), ("b", "P-17"), ("a", "Secret-4711"), ("b", ""), ("b", "Secret-4711 ")]
        ):
            (root / label).mkdir(parents=True, exist_ok=True)
            header = {"PatientID": patient, "InstitutionName": ("Charite", "Mercy", "")[number % 3]}
            content = make_dicom(make_picture(rng), ImageLaterality="R", **header)
            assert PATIENT_NAME.encode() in content
            (root / label / f"{number}.dcm").write_bytes(content)
        put_picture(root / "a/5.png", rng)
        return root

    def check_nothing_leaks(self, ingest: Ingest, folders: list[Path]) -> None:
        written = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        assert written
        contents = [path.read_bytes() for path in written]
        tables = (ingest.images, ingest.rejects)
        contents += [repr(table.to_dict("list")).encode() for table in tables]
        for path in written:  # parts are compressed
            if path.suffix == ".parquet":
                contents.append(repr(pq.read_table(path).to_pylist()).encode())
                contents.append(repr(pq.read_schema(path).metadata).encode())
        for secret in (*self.SECRETS, PATIENT_NAME):
            assert not [content for content in contents if secret.encode() in content]

    def test_the_veil_depends_on_the_key(self) -> None:
        one, same, other = (veil("P-17", key) for key in (b"a", b"a", b"b"))
        assert one == same != other
        assert veil("P-18", b"a") != one
        assert veil("", b"a") == ""

    def test_of_dicom_headers_become_numbers(self, root: Path, tmp_path: Path) -> None:
        folders = [tmp_path / "scratch", tmp_path / "pixels"]
        ingest = read(root, folders[0], pixels=folders[1], image_size=ImageSize.square(SIZE))
        images = ingest.images.set_index("path")
        assert images["patient"].to_dict() == {
            "a/0.dcm": 0,
            "a/2.dcm": 1,
            "a/5.png": -1,
            "b/1.dcm": 0,
            "b/3.dcm": -1,
            "b/4.dcm": 1,
        }
        assert images["side"].to_dict() == {
            path: "R" if path.endswith("dcm") else "" for path in images.index
        }
        assert images["site"].to_dict() == {
            "a/0.dcm": "institution-1",
            "a/2.dcm": "",
            "a/5.png": "",
            "b/1.dcm": "institution-2",
            "b/3.dcm": "institution-1",
            "b/4.dcm": "institution-2",
        }
        self.check_nothing_leaks(ingest, folders)

    def test_of_a_manifest_come_first(self, root: Path, tmp_path: Path) -> None:
        (root / "knees.csv").write_text(
            "path,label,patient_id,side,site,split\n"
            "a/0.dcm,x,PAT-A,L,Kyiv,train\na/5.png,y,PAT-A,,,test\nb/1.dcm,y,,,,\n"
            "a/2.dcm,x,PAT-B,,,\nb/4.dcm,y,P-17,,,\nmissing PAT.png,y,PAT-B,,,\n"
        )
        folders = [tmp_path / "scratch", tmp_path / "pixels"]
        ingest = read(
            root / "knees.csv", folders[0], pixels=folders[1], image_size=ImageSize.square(SIZE)
        )
        columns = ["path", "label", "patient", "side", "site", "split"]
        assert ingest.images[columns].to_numpy().tolist() == [
            ["a/0.dcm", "x", 0, "L", "Kyiv", "train"],
            ["a/2.dcm", "x", 1, "R", "", ""],
            ["a/5.png", "y", 0, "", "", "test"],
            # Of its header: the manifest's P-17, and the only institution that it does not name.
            ["b/1.dcm", "y", 2, "R", "institution-2", ""],
            ["b/4.dcm", "y", 2, "R", "institution-2", ""],
        ]
        assert ingest.rejects.to_numpy().tolist() == [
            ["missing PAT.png", "No such file or directory"]
        ]
        self.check_nothing_leaks(ingest, folders)


class TestRefusals:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        rng = np.random.default_rng(4)
        root = tmp_path / "source"
        for label in "ab":
            for number in range(4):
                put_picture(root / label / f"{number}.png", rng)
        (root / "a/empty.png").touch()
        (root / "b/text.png").write_text("patient,label")
        (root / "b/text-2.png").write_text("label,patient")
        return root

    def test_too_many(self, root: Path, tmp_path: Path) -> None:
        put_picture(root / "stray.png", np.random.default_rng(5))
        with pytest.raises(InputError) as caught:
            read(root, tmp_path / "scratch", max_reject_share=0.3)
        assert str(caught.value) == (
            f"Expected at most 30% of the images in {root} to be refused, but 4 of 12 were: not an "
            "image, or of an unknown format (2×); empty file (1×); not in a class folder (1×). The "
            "first: a/empty.png. `osteo-ray audit` lists all of them. Repair or remove them, or "
            "raise --max-reject-share."
        )

    def test_as_many_as_are_allowed(self, root: Path, tmp_path: Path) -> None:
        told: list[tuple[str, int, int]] = []
        with listening(lambda *progress: told.append(progress)):
            ingest = read(root, tmp_path / "scratch", max_reject_share=3 / 11)
        assert (len(ingest.images), len(ingest.rejects)) == (8, 3)
        assert told[0] == ("read images", 0, 11)
        assert told[-1] == ("read images", 11, 11)

    def test_nothing_readable(self, root: Path, tmp_path: Path) -> None:
        for file in root.glob("*/?.png"):
            file.write_bytes(b"\x89PNG\r\n\x1a\n")
        with pytest.raises(InputError, match="none of 11 could be read: damaged PNG file"):
            read(root, tmp_path / "scratch", max_reject_share=1.0)


class TestOneSetInManyForms:
    """The same pictures, whatever holds them."""

    @pytest.fixture
    def pictures(self) -> list[np.ndarray]:
        rng = np.random.default_rng(6)
        return [make_picture(rng) for _ in range(9)]

    @pytest.mark.parametrize("form", ["archive", "table", "list"])
    def test_digests(self, pictures: list[np.ndarray], form: str, tmp_path: Path) -> None:
        labels = [k % 2 for k in range(9)]
        files = [write_image(Image.fromarray(picture), "PNG") for picture in pictures]
        if form == "archive":
            data = tmp_path / "knees.npz"
            np.savez_compressed(data, images=np.stack(pictures), labels=np.array(labels))
        elif form == "table":
            data = tmp_path / "knees.parquet"
            table = pd.DataFrame({"image": [{"bytes": file} for file in files], "label": labels})
            table.to_parquet(data, row_group_size=4)
        else:
            data = tmp_path / "knees.json"
            entries = [{"image": f"{k}.png", "label": label} for k, label in enumerate(labels)]
            data.write_text(json.dumps({"training": entries}))
            for k, file in enumerate(files):
                (tmp_path / f"{k}.png").write_bytes(file)
        ingest = read(
            data,
            tmp_path / "scratch",
            pixels=tmp_path / "pixels",
            image_size=ImageSize.square(SIZE),
        )
        assert ingest.images["digest"].tolist() == [digest_pixels(p) for p in pictures]
        assert ingest.images["label"].tolist() == [str(label) for label in labels]
        assert len(read_pixels(tmp_path / "pixels")) == 9


@pytest.fixture(scope="module")
def s3_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(7)
    root = tmp_path_factory.mktemp("s3") / "knees"
    for label in ("normal", "worn"):
        for name in ("1.png", "deep/2 +.png", "膝?.png", "100%25.png"):
            put_picture(root / label / name, rng)
        (root / label / "header.dcm").write_bytes(make_dicom(make_picture(rng)))
        (root / label / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    put_picture(root / "stray.png", rng)
    put_picture(root / "normal/.hidden/x.png", rng)
    (root / "labels.csv").write_text(
        "path,label,patient_id\nnormal/1.png,x,1\nworn/膝?.png,y,1\nworn/nothing.png,y,2\n"
        "normal/header.dcm,y,\nworn//deep.png,x,\n"
    )
    return root


@pytest.fixture(scope="module")
def locate(s3_root: Path, s3_server: str) -> Callable[[str], str]:
    """Copy the files to a bucket, and say where they are there."""
    address = quote(s3_server, safe="")
    options = f"?endpoint_override={address}&scheme=http&allow_bucket_creation=true"
    filesystem, path = pyarrow.fs.FileSystem.from_uri(f"s3://bucket/knees{options}")
    filesystem.create_dir("bucket")
    pyarrow.fs.copy_files(str(s3_root), path, pyarrow.fs.LocalFileSystem(), filesystem)
    return lambda name: f"s3://bucket/{name}{options}"


class TestObjectStore:
    """What was read leaves it: the driver keeps its own copy of what it needs."""

    N_IMAGES = 512

    def test_no_block_stays(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(5)
        for number in range(self.N_IMAGES):
            put_picture(tmp_path / "source" / "ab"[number % 2] / f"{number}.png", rng)
        used_mib: list[int] = []

        def measure_mib() -> int:
            summary = memory_summary(ray.get_runtime_context().gcs_address, stats_only=True)
            return int(re.findall(r"Plasma memory usage (\d+) MiB", summary)[-1])

        def note(stage: str, done: int, total: int) -> None:
            if done == total:
                deadline = time.monotonic() + 10
                used_mib.append(measure_mib())
                # Blocks are freed a moment after their last reference is.
                while used_mib[-1] > before_mib + 1 and time.monotonic() < deadline:
                    time.sleep(0.1)
                    used_mib.append(measure_mib())

        before_mib = measure_mib()  # of other tests
        with listening(note):
            ingest_images(open_source(str(tmp_path / "source")), tmp_path / "thumbnails")
        thumbnails_mib = (tmp_path / "thumbnails" / "thumbnails.u8").stat().st_size / 2**20
        assert thumbnails_mib > 4  # all of which a view of each block would have kept
        assert used_mib[-1] <= before_mib + 1


class TestObjectStorage:
    """The same files at a URI of S3."""

    @pytest.mark.parametrize("name", ["knees", "knees/", "knees/labels.csv"])
    def test_equals_the_files_of_this_machine(self, s3_root, locate, name, tmp_path) -> None:
        here = read(
            s3_root.parent / name,
            tmp_path / "1",
            pixels=tmp_path / "pixels-1",
            image_size=ImageSize.square(SIZE),
        )
        there = read(
            locate(name),
            tmp_path / "2",
            pixels=tmp_path / "pixels-2",
            image_size=ImageSize.square(SIZE),
        )
        assert len(here.images) >= 3
        pd.testing.assert_frame_equal(
            there.images.drop(columns="size"), here.images.drop(columns="size")
        )
        assert there.rejects["path"].tolist() == here.rejects["path"].tolist()
        assert all(reason.isprintable() for reason in there.rejects["reason"])
        pixels = read_pixels(tmp_path / "pixels-1"), read_pixels(tmp_path / "pixels-2")
        assert pixels[0].keys() == pixels[1].keys()
        assert all(np.array_equal(pixels[0][key], pixels[1][key]) for key in pixels[0])

    def test_sizes(self, s3_root: Path, locate) -> None:
        here, there = open_source(str(s3_root)), open_source(locate("knees"))
        assert there.items.to_dict("list") == here.items.to_dict("list")
        assert there.fingerprint == here.fingerprint

    def test_nothing_there(self, locate) -> None:
        for name in ("nothing", "knees/nothing.csv"):
            with pytest.raises(InputError, match="does not exist"):
                open_source(locate(name))


def test_classes_without_a_readable_image_are_named() -> None:
    rows = [{"path": f"{label}/{k}.heic", "label": label} for label in "abc" for k in range(2)]
    source = Source("/knees", "folders", tabulate_items(rows), list_refused([]), FileReader("/x"))
    assert doubt_lost_classes(source, source.items[1:5]) == []
    assert doubt_lost_classes(source, source.items[1:4]) == [
        "The class `c` is lost, as none of its 2 files can be read."
    ]
