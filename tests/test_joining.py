"""Joining a cluster: what does not answer, or answers wrongly, ends in a sentence, and soon."""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.exceptions import AuthenticationError

from osteo_ray.base.errors import IncompleteError, InputError
from osteo_ray.cluster import connection, joining
from osteo_ray.commands.main import main


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "_ANSWER_S", 1.0)


@contextlib.contextmanager
def listen(*, silent: bool) -> Iterator[str]:
    """Yield the address of a port at which nobody listens, or somebody who says nothing."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        if silent:
            one.listen()
        yield f"127.0.0.1:{one.getsockname()[1]}"


@pytest.mark.parametrize("silent", [False, True])
def test_address_where_nothing_answers_is_named(silent: bool, impatient: None) -> None:
    with listen(silent=silent) as address:
        message = f"No Ray cluster answers at {address} .*Start its head, correct the address"
        with pytest.raises(IncompleteError, match=message):
            joining.join(address, None)


def test_host_without_a_name_is_named(impatient: None) -> None:
    with pytest.raises(IncompleteError, match=r"answers at no-such-host\.invalid:6379"):
        joining.join("no-such-host.invalid:6379", None)


@pytest.mark.parametrize(
    "address", ["head", "head:", ":6379", "head:ray", "", "http://head:8265", "gs://head:6379"]
)
def test_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(InputError, match=f"RAY_ADDRESS to be HOST:PORT.* but got `{address}`"):
        joining.join(address, None)


@pytest.mark.parametrize("address", ["", "local", None])
def test_empty_address_is_none(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection.ray, "is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address is not None:
        monkeypatch.setenv("RAY_ADDRESS", address)
    assert not connection.is_cluster_given()
    joined: list[object] = []
    monkeypatch.setattr(connection, "join", lambda *given: joined.append(given))
    monkeypatch.setattr(connection.ray, "shutdown", lambda: None)
    with connection.connect():
        assert joined == [("local", None)]


def test_command_ends_with_a_sentence_and_holds_nothing(
    tmp_path: Path,
    impatient: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Other tests of this process may be connected to a cluster of theirs.
    monkeypatch.setattr(joining.ray, "is_initialized", lambda: False)
    with listen(silent=True) as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        code = main(["compare", "--out", str(tmp_path / "run"), "--models", "test_byobnet"])
    assert code == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"Failed: No Ray cluster answers at {address}" in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []  # neither a run nor its lock


def chain(*errors: Exception) -> Exception:
    """Return the first error, caused by the second, and so on."""
    for error, cause in itertools.pairwise(errors):
        error.__cause__ = cause
    return errors[0]


MISMATCH = """Version mismatch: The cluster was started with:
    Ray: 2.59.0
    Python: 3.12.1
This process on node 10.0.0.1 was started with:
    Ray: 2.60.0"""


@pytest.mark.parametrize(
    ("address", "error", "kind", "words"),
    [
        (
            "head:6379",
            chain(
                ConnectionError("Failed to connect to Ray cluster at head:6379"),
                RuntimeError("Failed to connect to GCS."),
                AuthenticationError("InvalidAuthToken"),
            ),
            InputError,
            "token of the cluster at head:6379 (RAY_ADDRESS), but it was refused. Set RAY_AUTH_",
        ),
        (
            "head:6379",
            RuntimeError(MISMATCH),
            InputError,
            "Ray and Python of the same versions as at head:6379 (RAY_ADDRESS), but: Version mism",
        ),
        (
            "head:6379",
            RuntimeError("This node has an IP address of 10.0.0.7, and Ray expects this."),
            IncompleteError,
            "could not be joined: This node has an IP address of 10.0.0.7, and Ray expects this. A",
        ),
        ("auto", ConnectionError("Could not find any running Ray"), InputError, "is `auto`, but"),
        (
            "local",
            RuntimeError("first\nThe current node timed out during startup."),
            IncompleteError,
            "could not be started on this machine: The current node timed out during startup. Its",
        ),
        ("local", Exception("The current node timed out."), IncompleteError, "node timed out. Its"),
        ("local", OSError(28, "No space left on device"), IncompleteError, "No space left on dev"),
        ("ray://head:10001", ConnectionError("ray client"), IncompleteError, "at ray://head:10001"),
    ],
)
def test_what_ray_says_becomes_a_sentence(
    address: str,
    error: Exception,
    kind: type[Exception],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(**settings: object) -> None:
        raise error

    ended: list[bool] = []
    monkeypatch.setattr(joining.ray, "init", fail)
    monkeypatch.setattr(joining.ray, "shutdown", lambda: ended.append(True))
    monkeypatch.setattr(joining, "_check_answer", lambda address: None)
    with pytest.raises(kind) as raised:
        joining.join(address, None)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert ended == [True]  # whatever had been started


def test_head_that_answers_and_then_hangs_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining.ray, "init", lambda **settings: time.sleep(60))
    monkeypatch.setattr(joining, "_check_answer", lambda address: None)
    monkeypatch.setattr(joining, "_JOIN_S", 0.5)
    before = set(threading.enumerate())
    with pytest.raises(IncompleteError, match=r"at head:1 \(RAY_ADDRESS\) was not ready within 0"):
        joining.join("head:1", None)
    assert set(threading.enumerate()) <= before
