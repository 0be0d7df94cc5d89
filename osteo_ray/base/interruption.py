"""End a block of the main thread by a signal, and say why."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


class _Interruption(BaseException):
    """Raised in the main thread; no `except Exception` on the way may swallow it."""


@contextlib.contextmanager
def end_on(
    number: signal.Signals, make_error: Callable[[], Exception]
) -> Iterator[Callable[[], None]]:
    """Have a signal end the block with an error, whatever the process did at that signal before.

    It need not be one that someone else may send or ignore: a script's `command &` ignores SIGINT.
    Blocks for the same signal do not nest. In another thread than the main one, none is ended.

    Args:
        number: The signal. Tune takes SIGUSR1 for itself, and pytest's time limits SIGALRM.
        make_error: Called where the signal ended the block.

    Yields:
        A function that any thread may call, while the block runs, to end it.
    """
    thread = threading.main_thread()
    if threading.current_thread() is not thread:
        yield lambda: None
        return
    main = thread.ident
    assert main is not None
    told, ended = threading.Event(), threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not ended.is_set():
            told.set()
            raise _Interruption

    before = signal.signal(number, interrupt)
    try:
        yield lambda: signal.pthread_kill(main, number)
    except BaseException:  # Ray makes a KeyboardInterrupt or a SystemError of what is raised in it
        ended.set()
        if not told.is_set():
            raise
        raise make_error() from None
    finally:
        ended.set()
        signal.signal(number, before)
