"""End a block of code in the main thread by a signal and say why; remember Ctrl-C."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_REPEAT = 0.5
"""Seconds after which the signal is sent again, if the main thread has not noticed it."""


class _Interruption(BaseException):
    """Raised in the main thread; no `except Exception` on the way may swallow it."""


@contextlib.contextmanager
def end_on(
    number: signal.Signals, make_error: Callable[[], Exception]
) -> Iterator[Callable[[], None]]:
    """Let a signal end the block with an error, whatever handler the signal had before.

    Choose a signal that nobody else sends and that is not ignored: a script's `command &`, for
    example, ignores SIGINT. Blocks for the same signal cannot be nested. Only a block in the main
    thread can be ended.

    Args:
        number: The signal. Ray Tune uses SIGUSR1, and pytest's time limits use SIGALRM.
        make_error: Returns the error that is raised if the signal has ended the block.

    Yields:
        A function that another thread may call to end the block while it runs. It returns when the
        main thread has noticed.
    """
    thread = threading.main_thread()
    if threading.current_thread() is not thread:
        yield lambda: None
        return
    main = thread.ident
    assert main is not None
    told, ended = threading.Event(), threading.Event()
    sending = threading.Lock()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not told.is_set() and not ended.is_set():
            told.set()
            raise _Interruption

    def end() -> None:
        # Python's handlers run between two instructions. A signal that arrives after the last of
        # them and before a blocking system call is noticed only when that call returns.
        while not told.is_set() and not ended.is_set():
            with sending:
                if not ended.is_set():
                    signal.pthread_kill(main, number)
            told.wait(_REPEAT)

    before = signal.signal(number, interrupt)
    try:
        yield end
    except BaseException:  # Ray turns what is raised in it into a KeyboardInterrupt or SystemError
        ended.set()
        if not told.is_set():
            raise
        raise make_error() from None
    finally:
        ended.set()
        with sending:  # a signal that is on its way may kill the process once it has no handler
            signal.signal(number, before)


@contextlib.contextmanager
def noticing_interrupts() -> Iterator[Callable[[], bool]]:
    """Remember in the block whether somebody has pressed Ctrl-C.

    Each Ctrl-C raises KeyboardInterrupt, as ever, but libraries make other errors of it: processes
    that it ends fail, and a second one may arrive while the first is being dealt with.

    Yields:
        Tells whether Ctrl-C was pressed. Once it was asked for and was, further ones are ignored
        until the block has ended, so that the words of farewell can be said.
    """
    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not is_ours or threading.current_thread() is not threading.main_thread():
        yield lambda: False  # a script's `command &` ignores it
        return
    pressed = False

    def notice(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.default_int_handler(number, frame)

    def ask() -> bool:
        if pressed:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        return pressed

    signal.signal(signal.SIGINT, notice)
    try:
        yield ask
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
