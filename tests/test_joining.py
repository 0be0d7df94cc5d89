"""Joining a cluster: what does not answer, or answers wrongly, ends in a sentence, and soon."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from osteo_ray.base.errors import IncompleteError, InputError
from osteo_ray.cluster import joining
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


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "head:ray", ""])
def test_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(InputError, match=f"RAY_ADDRESS to be HOST:PORT.* but got `{address}`"):
        joining.join(address, None)


def test_command_ends_with_a_sentence_and_holds_nothing(
    tmp_path: Path,
    impatient: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with listen(silent=True) as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        code = main(["compare", "--out", str(tmp_path / "run"), "--models", "test_byobnet"])
    assert code == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"Failed: No Ray cluster answers at {address}" in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []  # neither a run nor its lock
