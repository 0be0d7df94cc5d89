"""Places in object storage: paths, whole writes, tables in parts, directories that are filled."""

import errno
import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import boto3
import numpy as np
import pyarrow as pa
import pytest
import torch

from osteo_ray.base.digests import read_tree
from osteo_ray.base.errors import InputError, StorageError
from osteo_ray.base.noise import capture_noise
from osteo_ray.base.paths import locate_data, locate_file
from osteo_ray.base.remote import RemotePath
from osteo_ray.base.runs import Run, open_run
from osteo_ray.base.storage import (
    LOCK,
    UNFINISHED,
    Place,
    digest_file,
    fill_directory,
    is_free,
    lies_in,
    local_copy,
    locate,
    locate_here,
    move_tree,
    reach,
    remove_tree,
    write_whole,
)
from osteo_ray.base.tables import (
    PIXELS,
    SPLITS,
    count_rows,
    list_parts,
    read_json,
    read_parts,
    read_rows,
    read_table,
    read_tables,
    scan_table,
    write_json,
    write_pixels,
    write_table,
)
from osteo_ray.commands.main import main
from osteo_ray.commands.submittable import check_paths
from osteo_ray.data.image_size import ImageSize
from osteo_ray.models.batches import ImageSet
from osteo_ray.models.checkpoint import Checkpoint, describe_checkpoint
from osteo_ray.models.classifier import build_classifier, load_classifier, save_classifier
from osteo_ray.models.settings import TrainingSettings
from osteo_ray.models.training import Recipe, TrainingData, Worker, train_classifier

BUCKET = "results"


class Interruption(BaseException):
    """What no `except Exception` catches, as KeyboardInterrupt."""


def write_options(server: str) -> str:
    return f"?endpoint_override={quote(server, safe='')}&scheme=http"


@pytest.fixture(scope="module")
def client(s3_server: str, s3_keys: None):
    """Another client of the same server, to look behind the back of ours."""
    found = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1")
    found.create_bucket(Bucket=BUCKET)
    return found


@pytest.fixture
def there(client, s3_server: str, request: pytest.FixtureRequest) -> RemotePath:
    """A prefix of its own for each test."""
    name = quote(request.node.name, safe="")
    found = locate(f"s3://{BUCKET}/{name}{write_options(s3_server)}")
    assert isinstance(found, RemotePath)
    return found


@pytest.fixture(params=["here", "there"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A folder of this machine, or a prefix in object storage."""
    if request.param == "here":
        return tmp_path / "deep" / "root"
    found: RemotePath = request.getfixturevalue("there")
    return found


def list_keys(client, there: RemotePath) -> list[str]:
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix=f"{there.key}/").get("Contents", [])
    return [entry["Key"].removeprefix(f"{there.key}/") for entry in listed]


class TestLocate:
    def test_paths_and_uris(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert locate("runs/x") == locate(str(tmp_path / "runs/x")) == tmp_path / "runs/x"
        assert locate("~/x") == Path.home() / "x"
        assert locate(f"file://{tmp_path}/a%20b") == tmp_path / "a b"

    def test_a_uri_and_back(self) -> None:
        text = "s3://bucket/my%20runs/knees%3F?region=eu-west-1&scheme=http"
        found = locate(text)
        assert isinstance(found, RemotePath)
        assert (found.key, found.path) == ("my runs/knees?", "bucket/my runs/knees?")
        assert str(found) == text
        assert locate(str(found / "trials" / "a=b")) == found / "trials/a=b"
        assert found.name == "knees?"
        assert found.parents == (found.parent, found.root)
        assert found.with_name("x") == found.parent / "x"
        assert lies_in(found / "x", found)
        assert not lies_in(found, found / "x")
        assert not lies_in(found, Path("/"))

    @pytest.mark.parametrize(
        ("uri", "expected"),
        [
            # pragma: allowlist nextline secret
            ("s3://key:hush@bucket/x", "address without keys.*for bucket.*AWS_ACCESS_KEY_ID"),
            ("s3://key@bucket/x", "address without keys"),
            # pragma: allowlist nextline secret
            ("gs://key:hush@bucket/x", "GOOGLE_APPLICATION_CREDENTIALS"),
            ("s3:///x", "with a bucket"),
            ("s3://[x/y", "with a bucket"),
            ("s3://bucket/runs//knees", "one slash between two names, but got s3://bucket/runs//k"),
            ("file://home/x", "names the machine `home`"),
            ("file://", "empty text"),
            ("s3:/bucket/x", "two slashes, s3://bucket/x"),
            ("https:/host/x", "two slashes"),
            # pragma: allowlist nextline secret
            ("s3:/key:hush@bucket/x", "address without keys"),
            ("", "empty text"),
            ("a\0b", "no file can be called"),
            ("file:///a%00b", "no file can be called"),
            ("/a\ud800b", "no file can be called"),
        ],
    )
    def test_uris_that_cannot_be_used(self, uri: str, expected: str) -> None:
        with pytest.raises(InputError, match=expected) as error:
            locate(uri)
        assert "hush" not in str(error.value)

    def test_secrets_are_refused_by_the_command(self, capfd: pytest.CaptureFixture[str]) -> None:
        # pragma: allowlist nextline secret
        assert main(["compare", "--out", "s3://key:hush@bucket/x"]) == 2
        printed = "".join(capfd.readouterr())
        assert "address without keys" in printed
        assert "hush" not in printed

    def test_a_bucket_that_is_not_there(self, client, s3_server: str) -> None:
        with pytest.raises(InputError, match="an existing bucket, but s3://nowhere"):
            reach(f"s3://nowhere/x{write_options(s3_server)}")

    @pytest.mark.parametrize(
        ("uri", "expected"),
        [("s3://bucket/x?acess=1", "'acess'"), ("nothing://bucket/x", "not known: nothing")],
    )
    def test_uris_that_cannot_be_opened(self, uri: str, expected: str, capfd) -> None:
        with pytest.raises(InputError, match=f"storage that can be opened.*{expected}"):
            reach(uri)
        with pytest.raises(InputError, match="storage that can be opened"):
            open_run(uri)
        assert main(["report", uri]) == 2  # for the same command never succeeds
        assert "storage that can be opened" in " ".join(capfd.readouterr().err.split())

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("file:/tmp/my%20x", Path("/tmp/my x")),
            ("FILE:///tmp/x", Path("/tmp/x")),
            ("file://localhost/tmp/x", Path("/tmp/x")),
            ("S3://Bucket/X", RemotePath("s3://Bucket", "X")),
            ("s3://bucket/run#2", RemotePath("s3://bucket", "run#2")),
            ("gs://anonymous@bucket/x", RemotePath("gs://anonymous@bucket", "x")),
            ("sftp://me@host/x", RemotePath("sftp://me@host", "x")),
        ],
    )
    def test_uris_in_other_spellings(self, text: str, found: Place) -> None:
        assert locate(text) == found
        assert locate(locate_data(text)) == locate(locate_file(text)) == found

    @pytest.mark.parametrize(
        "name", ["~nosuchuser/x", "C:/x", "there:/x", "a:b", "file:", "loop/x"]
    )
    def test_odd_names_are_names(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "there:").mkdir()
        (tmp_path / "loop").symlink_to("loop")
        assert locate(name) == tmp_path / name
        assert not locate(name).exists()

    def test_a_path_of_this_machine(self, tmp_path: Path) -> None:
        assert locate_here(f"file://{tmp_path}") == tmp_path
        with pytest.raises(InputError, match="--out to be a path of this machine, but got s3://b"):
            locate_here("s3://b/x")

    def test_a_job_may_write_to_a_uri_but_not_beside_itself(self) -> None:
        check_paths("s3://bucket/runs", [("--data", "s3://b/x"), ("--weights", "gs://b/w")])
        with pytest.raises(InputError, match="or a URI, but got `runs`"):
            check_paths("runs", [])
        with pytest.raises(InputError, match="without keys"):
            check_paths("s3://a:b@bucket/runs", [])


class TestFiles:
    def test_text_bytes_and_listing(self, there: RemotePath) -> None:
        assert not there.exists()
        (there / "a" / "b.txt").write_text("ü")
        (there / "c").write_bytes(b"")
        assert (there / "a" / "b.txt").read_text() == "ü"
        assert (there / "a").is_dir()
        assert not (there / "a").is_file()
        assert (there / "c").is_file()
        assert sorted(path.name for path in there.iterdir()) == ["a", "c"]
        assert there.list_files() == [(there / "a/b.txt", 2), (there / "c", 0)]
        (there / "a/b.txt").unlink()
        (there / "a/b.txt").unlink(missing_ok=True)
        with pytest.raises(FileNotFoundError, match=r"does not exist.*b\.txt"):
            (there / "a/b.txt").unlink()
        with pytest.raises(FileNotFoundError, match=r"does not exist.*b\.txt"):
            (there / "a/b.txt").read_bytes()
        assert (there / "nothing").iterdir() == []

    def test_a_small_file_is_one_request(self, there: RemotePath, client) -> None:
        (there / "x").write_bytes(b"x" * 100)
        etag = client.head_object(Bucket=BUCKET, Key=f"{there.key}/x")["ETag"]
        assert "-" not in etag  # of several parts it would have their number

    def test_names_of_all_kinds(self, there: RemotePath, client) -> None:
        names = ["膝", "a b", "50%", "q?x=1", "m#1", "timm/x.in1k", "a+b&c"]
        for name in names:
            (there / name).write_text(name)
        assert sorted(list_keys(client, there)) == sorted(names)
        for path, _ in there.list_files():
            again = locate(str(path))
            assert isinstance(again, RemotePath)
            assert again == path
            assert again.read_text() in names

    def test_a_tree_goes_with_all_in_it(self, place: Place) -> None:
        write_json(place / "x" / "y.json", 1)
        write_json(place / "x" / "z" / "y.json", 1)
        write_json(place / "xx.json", 1)
        remove_tree(place / "x")
        remove_tree(place / "nothing")
        assert not (place / "x").exists()
        assert [path.name for path in place.iterdir()] == ["xx.json"]
        remove_tree(place / "xx.json")
        assert not (place / "xx.json").exists()

    def test_a_tree_moves_to_another_disk(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        write_json(tmp_path / "x" / "z" / "y.json", 1)
        monkeypatch.setattr(os, "replace", refuse)
        monkeypatch.setattr(os, "rename", refuse)
        move_tree(tmp_path / "x", tmp_path / "aside" / "x")
        assert not (tmp_path / "x").exists()
        assert read_json(tmp_path / "aside" / "x" / "z" / "y.json") == 1

    def test_copies_and_digests(self, place: Place) -> None:
        write_json(place / "x.json", {"a": 1})
        with local_copy(place / "x.json") as file:
            assert file.name == "x.json"
            content = file.read_bytes()
        assert read_json(place / "x.json") == {"a": 1}
        assert digest_file(place / "x.json") == hashlib.sha256(content).hexdigest()

    def test_a_log_grows(self, there: RemotePath, tmp_path: Path) -> None:
        for number in range(2):
            with capture_noise() as captured:
                print(f"try {number}")
                captured.keep_log(there / "logs")
                captured.keep_log(tmp_path / "logs")
        kept = (there / "logs/driver.log").read_text()
        assert kept == "try 0\ntry 1\n" == (tmp_path / "logs/driver.log").read_text()


class TestWeb:
    """A web server that notes what it is asked for, and has a file but no folders."""

    @pytest.fixture
    def asked(self) -> list[str]:
        return []

    @pytest.fixture
    def address(self, asked: list[str]) -> Iterator[str]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                is_there = self.path.startswith("/my%20knees.csv")
                self.send_response(200 if is_there else 404)
                self.send_header("Content-Length", "5" if is_there else "0")
                self.end_headers()
                if is_there and self.command == "GET":
                    self.wfile.write(b"knees")

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
        server.server_close()

    @pytest.mark.parametrize("options", ["", "?download=1", "?a=1&b=2"])
    def test_options_belong_to_the_name_of_a_file(
        self, address: str, asked: list[str], options: str
    ) -> None:
        place = locate(f"{address}/my%20knees.csv{options}")
        assert place.is_file()
        assert place.read_bytes() == b"knees"
        assert set(asked) == {f"/my%20knees.csv{options}"}
        assert not place.with_name("other.csv").is_file()

    def test_digests_are_not_looked_for_in_pages(self, address: str, asked: list[str]) -> None:
        tree = read_tree(locate(f"{address}/runs"))
        assert not tree.files
        assert not asked

    def test_a_server_without_a_page_at_its_top_has_files(self, address: str) -> None:
        place = reach(f"{address}/my%20knees.csv")
        assert place.read_bytes() == b"knees"


def test_storage_that_only_fsspec_knows() -> None:
    root = locate("memory://bucket/root")
    for content in ("first", "second"):  # by a rename, which must replace
        (root / "x.txt").write_text(content)
    write_table(root / "parts" / "a.parquet", tabulate("a"))
    assert (root / "x.txt").read_text() == "second"
    assert read_parts(root / "parts", SPLITS)["image_id"].to_pylist() == ["a"]
    assert sorted(path.name for path in root.iterdir()) == ["parts", "x.txt"]
    remove_tree(root)
    assert not root.exists()


class TestWholeWrites:
    def test_an_interrupted_file_is_not_there(self, place: Place) -> None:
        def write() -> None:
            with write_whole(place / "x.txt") as unfinished:
                unfinished.write_text("half")
                raise Interruption

        with pytest.raises(Interruption):
            write()
        assert not (place / "x.txt").exists()

    def test_a_directory_comes_with_its_last_file(self, place: Place) -> None:
        for content in ("first", "second"):
            with write_whole(place / "trial", last="history.json") as unfinished:
                (unfinished / "sub").mkdir(parents=True)
                (unfinished / "sub" / "model").write_text(content)
                (unfinished / "empty").write_text("")
                (unfinished / "history.json").write_text(content)
        assert (place / "trial" / "sub" / "model").read_text() == "first"  # the first stays
        assert (place / "trial" / "empty").read_text() == ""

    def test_a_directory_without_its_last_file_is_a_mistake(self, there: RemotePath) -> None:
        def write() -> None:
            with write_whole(there / "trial", last="history.json") as unfinished:
                unfinished.mkdir()
                (unfinished / "model").write_text("x")

        with pytest.raises(ValueError, match="last file of the directory"):
            write()
        assert not (there / "trial").exists()

    def test_the_last_file_is_uploaded_last(
        self, there: RemotePath, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written = []
        write = RemotePath.write_bytes

        def note(path: RemotePath, content: bytes) -> None:
            write(path, content)
            written.append(path.name)

        monkeypatch.setattr(RemotePath, "write_bytes", note)
        with write_whole(there / "trial", last="a-last") as unfinished:
            unfinished.mkdir()
            for name in ("a-last", "b", "c", "0"):
                (unfinished / name).write_text(name)
        assert written[-1] == "a-last"
        assert sorted(written) == ["0", "a-last", "b", "c"]


WRITER = """
import sys
from osteo_ray.base.storage import locate, write_whole
with write_whole(locate(sys.argv[1]), last="history.json") as unfinished:
    unfinished.mkdir()
    (unfinished / "history.json").write_text("done")
    (unfinished / "model").write_bytes(bytes(300 * 2**20))
"""


def test_a_process_killed_as_it_uploads_leaves_nothing_that_counts(
    there: RemotePath, client
) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(there / "trial")])
    until = time.monotonic() + 120
    while not client.list_multipart_uploads(Bucket=BUCKET).get("Uploads"):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -9
    assert not (there / "trial" / "history.json").exists()
    assert list_keys(client, there) == []  # what was uploaded of the model is not to be seen
    write_trial(there / "trial", b"again")
    assert (there / "trial" / "history.json").read_text() == "done"


class Gate:
    """A door before a server, which can be shut: connections are cut, new ones refused."""

    def __init__(self, server: str) -> None:
        host, _, port = server.removeprefix("http://").partition(":")
        self.target = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.is_open = True
        self.passed = 0
        self.limit: int | None = None  # bytes after which it shuts by itself
        self.held: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self.listener.accept()
            except OSError:
                return
            if not self.is_open:
                one.close()
                continue
            other = socket.create_connection(self.target)
            self.held += [one, other]
            for pair in ((one, other), (other, one)):
                threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while content := source.recv(2**16):
                self.passed += len(content)
                if self.limit is not None and self.passed > self.limit:
                    self.shut()
                target.sendall(content)
        except OSError:
            pass
        for end in (source, target):
            end.close()

    def shut(self) -> None:
        self.is_open = False
        for end in self.held:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.held.clear()

    def open(self) -> None:
        self.limit, self.is_open = None, True


@contextmanager
def build_gate(server: str) -> Iterator[Gate]:
    found = Gate(server)
    try:
        yield found
    finally:
        found.shut()
        found.listener.close()


@pytest.fixture
def gate(client, s3_server: str) -> Iterator[Gate]:
    with build_gate(s3_server) as found:
        yield found


def through(gate: Gate, there: RemotePath) -> RemotePath:
    found = locate(f"s3://{BUCKET}/{quote(there.key)}{write_options(gate.address)}")
    assert isinstance(found, RemotePath)
    return found


def write_trial(place: Place, model: bytes) -> None:
    with write_whole(place, last="history.json") as unfinished:
        unfinished.mkdir()
        (unfinished / "model").write_bytes(model)
        (unfinished / "history.json").write_text("done")


class TestStorageThatFails:
    def test_storage_that_stays_away_is_told(
        self, gate: Gate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "osteo_ray.base.remote._ATTEMPTS", 2
        )  # of those that take half a minute
        gate.shut()
        with pytest.raises(InputError, match="can be reached"):
            reach(f"s3://{BUCKET}/x{write_options(gate.address)}")

    @pytest.mark.faults
    def test_storage_that_stays_away_is_given_up_in_time(
        self, there: RemotePath, s3_server: str, client
    ) -> None:
        # Each case waits half a minute for its retries, so all of them wait at the same time.
        cases = (
            lambda: self.check_upload_that_is_cut_off(there, s3_server, client),
            lambda: self.check_command_that_reaches_nothing(there, s3_server),
            self.check_server_that_never_answers,
        )
        with ThreadPoolExecutor(len(cases)) as pool:
            for case in [pool.submit(case) for case in cases]:
                case.result()

    def check_upload_that_is_cut_off(self, there: RemotePath, server: str, client) -> None:
        with build_gate(server) as gate:
            far = through(gate, there)
            gate.limit = 20 * 2**20
            with pytest.raises(StorageError, match="model"):
                write_trial(far / "trial", bytes(40 * 2**20))
            assert list_keys(client, there) == []
            gate.open()
            (far / "x").write_text("back")
            assert (there / "x").read_text() == "back"

    def check_command_that_reaches_nothing(self, there: RemotePath, server: str) -> None:
        with build_gate(server) as gate:
            far = through(gate, there)
            gate.shut()
            started = time.monotonic()
            command = [sys.executable, "-m", "osteo_ray.commands.main"]
            done = subprocess.run(
                [*command, "compare", "--out", str(far / "run")],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            assert done.returncode == 1  # it may answer another time: `submit` tries again
            assert time.monotonic() - started < 60
        printed = " ".join(done.stdout.split())
        assert "Expected --out on storage that can be reached" in printed
        assert "keys in the environment" in printed
        assert "Traceback" not in printed

    def check_server_that_never_answers(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
            address = f"http://127.0.0.1:{silent.getsockname()[1]}"
            started = time.monotonic()
            with pytest.raises(InputError, match="can be reached"):
                reach(f"s3://{BUCKET}/x{write_options(address)}")
            assert time.monotonic() - started < 120

    def test_refusing_for_a_while_is_waited_for(self, there: RemotePath, gate: Gate) -> None:
        far = through(gate, there)
        (far / "before").write_text("x")
        gate.shut()
        threading.Timer(2.0, gate.open).start()
        (far / "after").write_text("y")
        assert (there / "after").read_text() == "y"

    def test_full_disk(self, tmp_path: Path) -> None:
        def write() -> None:
            with write_whole(tmp_path / "x") as unfinished:
                unfinished.symlink_to("/dev/full")
                unfinished.write_bytes(b"x" * 10**6)

        with pytest.raises(OSError, match="No space left"):
            write()
        assert list(tmp_path.iterdir()) == []


def tabulate(*ids: str) -> pa.Table:
    rows = [{"seed": 1, "image_id": name, "split": "test"} for name in ids]
    return pa.Table.from_pylist(rows, schema=SPLITS)


class TestTables:
    def test_parts_come_in_order_of_their_names(self, place: Place) -> None:
        assert read_parts(place, SPLITS).num_rows == 0
        for name, ids in (("b-1/p", "de"), ("b/p", "c"), ("a", "ab"), ("é", "f")):
            write_table(place / f"{name}.parquet", tabulate(*ids))
        write_table(place / ".hidden.parquet", tabulate("x"))
        write_json(place / "other.json", 1)
        assert read_parts(place, SPLITS)["image_id"].to_pylist() == list("abdecf")
        assert read_parts(place, SPLITS, ["image_id"]).column_names == ["image_id"]
        names = [part.partition("?")[0].rpartition("/")[2] for part in list_parts(place)]
        assert len(names) == 4
        assert sum(count_rows(locate(part)) for part in list_parts(place)) == 6

    def test_parts_behind_links_count(self, tmp_path: Path) -> None:
        write_table(tmp_path / "disk" / "p.parquet", tabulate("b"))
        write_table(tmp_path / "run" / "a.parquet", tabulate("a"))
        (tmp_path / "run" / "moved").symlink_to(tmp_path / "disk")
        (tmp_path / "disk" / "up").symlink_to(tmp_path / "run")  # in circles
        assert read_parts(tmp_path / "run", SPLITS)["image_id"].to_pylist() == ["a", "b"]
        (tmp_path / "run" / "lost").symlink_to(tmp_path / "unmounted")
        with pytest.raises(InputError, match=r"link .*lost to lead .* is at .*unmounted\."):
            read_parts(tmp_path / "run", SPLITS)

    def test_what_is_no_file_is_refused_and_not_waited_for(self, tmp_path: Path) -> None:
        (tmp_path / "a.parquet").symlink_to(tmp_path / "a.parquet")
        with pytest.raises(InputError, match=r"link .*a\.parquet to lead to .* nothing is at"):
            read_parts(tmp_path, SPLITS)
        (tmp_path / "a.parquet").unlink()
        os.mkfifo(tmp_path / "a.parquet")
        with pytest.raises(InputError, match=r"folders in .*, but a\.parquet is neither"):
            read_parts(tmp_path, SPLITS)

    def test_another_version_is_refused(self, place: Place) -> None:
        write_table(place / "a.parquet", tabulate("a"))
        write_table(place / "b.parquet", tabulate("b").replace_schema_metadata(None))
        with pytest.raises(InputError, match=r"found none in .*b\.parquet"):
            read_parts(place, SPLITS)

    def test_one_table(self, place: Place) -> None:
        import pyarrow.dataset as ds

        write_table(place / "t.parquet", tabulate("a", "b"))
        assert read_table(place / "t.parquet").equals(tabulate("a", "b"))
        assert read_table(place / "t.parquet", ["seed"]).column_names == ["seed"]
        coded = read_tables([place / "t.parquet"] * 3, as_numbers=["split"])
        assert [pa.types.is_dictionary(one.schema.field("split").type) for one in coded] == [
            True
        ] * 3
        keep = ds.field("image_id") == "b"
        for where in (place, place / "t.parquet"):
            assert scan_table(where, keep, ["image_id"]).to_pylist() == [{"image_id": "b"}]
        assert scan_table(place / "nothing").num_rows == 0

    @pytest.mark.parametrize(("start", "stop"), [(0, 16), (0, 50), (3, 5), (15, 33), (48, 50)])
    def test_rows_of_a_part(self, place: Place, start: int, stop: int) -> None:
        rows = [{"image_id": f"{n}", "digest": "", "pixels": bytes([n])} for n in range(50)]
        write_pixels(place / "part.parquet", pa.Table.from_pylist(rows, schema=PIXELS))
        assert read_rows(list_parts(place)[0], start, stop) == rows[start:stop]

    def test_a_run_by_its_uri(self, there: RemotePath) -> None:
        run = open_run(str(there))
        assert run == Run(there)
        assert run.config == there / "config.yaml"


class TestFilling:
    def test_it_is_there_once_the_last_file_is(self, place: Place) -> None:
        assert is_free(place, "config.yaml")
        with fill_directory(place):
            write_json(place / "pixels" / "part.json", 1)
            assert is_free(place, "config.yaml")
            write_json(place / "config.yaml", 1)
        assert not is_free(place, "config.yaml")
        assert not (place / UNFINISHED).exists()

    def test_an_error_leaves_nothing_but_the_lock(self, place: Place) -> None:
        write_json(place / LOCK, 1)
        assert is_free(place, "config.yaml")

        def fill() -> None:
            with fill_directory(place):
                write_json(place / "pixels" / "part.json", 1)
                raise Interruption

        with pytest.raises(Interruption):
            fill()
        assert [path.name for path in place.iterdir()] == [LOCK]

    def test_what_a_killed_process_left_goes(self, place: Place) -> None:
        write_json(place / UNFINISHED, 1)
        write_json(place / "pixels" / "old.json", 1)
        assert is_free(place, "config.yaml")
        with fill_directory(place):
            write_json(place / "pixels" / "new.json", 1)
            write_json(place / "config.yaml", 1)
        assert not (place / "pixels" / "old.json").exists()
        assert (place / "pixels" / "new.json").exists()

    def test_what_is_of_others_is_left_alone(self, place: Place) -> None:
        write_json(place / "holiday.json", 1)
        assert not is_free(place, "config.yaml")
        assert not is_free(place / "holiday.json", "config.yaml")


MODEL, SIZE_PX = "test_byobnet", 32


class TestModels:
    def test_a_checkpoint_in_storage(self, there: RemotePath) -> None:
        classifier = build_classifier(
            MODEL, n_classes=2, image_size=ImageSize.square(SIZE_PX), weights="none", seed=1
        ).eval()
        says = Checkpoint(MODEL, ("a", "b"), ImageSize.square(SIZE_PX))
        with write_whole(there / "model.safetensors") as unfinished:
            save_classifier(classifier, unfinished, says)
        assert describe_checkpoint(there / "model.safetensors") == says
        found = load_classifier(
            there / "model.safetensors", MODEL, n_classes=2, image_size=ImageSize.square(SIZE_PX)
        )
        for name, tensor in classifier.state_dict().items():
            assert torch.equal(found.state_dict()[name], tensor)
        with pytest.raises(InputError, match="does not exist"):
            describe_checkpoint(there / "nothing.safetensors")

    def test_first_weights_in_storage(self, there: RemotePath) -> None:
        import safetensors.torch
        import timm

        backbone = timm.create_model(MODEL, pretrained=False, num_classes=0)
        with write_whole(there / "weights.safetensors") as unfinished:
            safetensors.torch.save_file(backbone.state_dict(), unfinished)
        found = build_classifier(
            MODEL,
            n_classes=2,
            image_size=ImageSize.square(SIZE_PX),
            weights=str(there / "weights.safetensors"),
            seed=1,
        )
        assert torch.equal(found.backbone.stem.conv.weight, backbone.stem.conv.weight)
        with pytest.raises(InputError, match=r"weights file, but s3://.*does not exist"):
            build_classifier(
                MODEL,
                n_classes=2,
                image_size=ImageSize.square(SIZE_PX),
                weights=str(there / "nothing.safetensors"),
                seed=1,
            )

    def test_a_training_is_taken_up_from_storage(self, there: RemotePath) -> None:
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (12, SIZE_PX, SIZE_PX), np.uint8)
        images = ImageSet(pixels, np.arange(12) % 2, None, "image", "black")

        def train(epochs: int, checkpoint: RemotePath | None) -> dict[str, torch.Tensor]:
            classifier = build_classifier(
                MODEL, n_classes=2, image_size=ImageSize.square(SIZE_PX), weights="none", seed=1
            )
            train_classifier(
                classifier,
                TrainingData(images, images),
                Recipe(TrainingSettings(epochs=epochs, per_worker_batch_size=4), seed=1),
                Worker(torch.device("cpu")),
                checkpoint=checkpoint,
                checkpoint_interval_s=0,
            )
            return classifier.state_dict()

        whole = train(3, None)
        train(2, there / "training.pt")
        assert (there / "training.pt").is_file()
        resumed = train(3, there / "training.pt")
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)
