"""A block of code that a signal ends, whenever the signal arrives."""

import signal
import threading
import time
from collections.abc import Callable

import pytest

from osteo_ray.base.interruption import end_on


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
