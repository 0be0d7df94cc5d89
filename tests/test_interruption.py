"""A block of code that a signal ends, whenever the signal arrives."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from osteo_ray.base.errors import IncompleteError
from osteo_ray.base.interruption import end_on, noticing_interrupts
from osteo_ray.commands.parsing import BAD_INPUT, DONE, FAILED
from osteo_ray.commands.terminal import run_captured


class EndedError(Exception):
    """Raised by a block that was ended."""


def end_from_another_thread(number: signal.Signals) -> None:
    with end_on(number, EndedError) as end:
        thread = threading.Thread(target=end)
        thread.start()
        time.sleep(30)


def test_another_thread_ends_the_block() -> None:
    with pytest.raises(EndedError):
        end_from_another_thread(signal.SIGURG)


def test_a_signal_that_was_not_noticed_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    send: Callable[[int, int], None] = signal.pthread_kill

    def lose_the_first(thread: int, number: int) -> None:
        sent.append(number)
        if len(sent) > 1:
            send(thread, number)

    monkeypatch.setattr(signal, "pthread_kill", lose_the_first)
    with pytest.raises(EndedError):
        end_from_another_thread(signal.SIGURG)
    assert sent == [signal.SIGURG] * 2


def test_a_block_that_has_ended_is_not_disturbed() -> None:
    before = signal.getsignal(signal.SIGURG)
    with end_on(signal.SIGURG, EndedError) as end:
        pass
    end()
    assert signal.getsignal(signal.SIGURG) is before


def test_a_signal_on_its_way_as_the_block_ends_kills_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send, begun = signal.pthread_kill, threading.Event()

    def send_late(thread: int, number: int) -> None:
        begun.set()
        time.sleep(0.3)
        send(thread, number)

    monkeypatch.setattr(signal, "pthread_kill", send_late)
    with end_on(signal.SIGUSR2, EndedError) as end:  # whose default is to end the process
        thread = threading.Thread(target=end)
        thread.start()
        begun.wait()
    thread.join()
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL


def test_elsewhere_than_in_the_main_thread_nothing_is_ended() -> None:
    outcome: list[str] = []

    def work() -> None:
        with end_on(signal.SIGURG, EndedError) as end:
            end()
            outcome.append("done")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert outcome == ["done"]


# Ctrl-C


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)  # the handler ends it at once


def press_and_fail() -> int:
    """Read images until Ctrl-C: Ray's processes die of it, which is an error of its own."""
    try:
        press()
    except KeyboardInterrupt:
        raise IncompleteError("Reading stopped.") from None
    return DONE


def press_twice() -> int:
    try:
        press()
    finally:
        press()  # while Ray is being shut down
    return DONE


def press_and_count_failures() -> int:
    with contextlib.suppress(KeyboardInterrupt):  # as Ray Tune does
        press()
    return FAILED


def press_and_be_done() -> int:
    with contextlib.suppress(KeyboardInterrupt):
        press()
    return DONE


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (press, BAD_INPUT),
        (press_and_fail, BAD_INPUT),
        (press_twice, BAD_INPUT),
        (press_and_count_failures, BAD_INPUT),
        (press_and_be_done, DONE),
        (lambda: FAILED, FAILED),
    ],
)
def test_ctrl_c_ends_a_command_with_2_whatever_becomes_of_it(
    run: Callable[[], int], code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGINT)
    assert run_captured(lambda config, captured: run(), None) == code
    said = capfd.readouterr().err
    assert ("Interrupted. What finished is kept" in said) is (code == BAD_INPUT)
    assert signal.getsignal(signal.SIGINT) is before


def test_error_without_ctrl_c_stays_what_it_is() -> None:
    def fail(config: None, captured: object) -> int:
        raise IncompleteError("Reading stopped.")

    with pytest.raises(IncompleteError, match="Reading stopped"):
        run_captured(fail, None)


def test_third_ctrl_c_does_not_cut_the_words_off() -> None:
    with noticing_interrupts() as was_interrupted:
        with pytest.raises(KeyboardInterrupt):
            press()
        assert was_interrupted()
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)


def test_command_in_the_background_goes_on_ignoring_ctrl_c() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with noticing_interrupts() as was_interrupted:
            os.kill(os.getpid(), signal.SIGINT)
            assert not was_interrupted()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
