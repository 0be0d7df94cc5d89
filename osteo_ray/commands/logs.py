"""Keep what a command printed, together with its results."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from osteo_ray.base.lock import HeldError, LockLostError
from osteo_ray.base.noise import Capture
from osteo_ray.base.runs import Run


@contextmanager
def keeping_log(captured: Capture, run: Run) -> Iterator[None]:
    """Copy the log into the run when the block ends, even if it ends with an error.

    If another process works on the run, nothing is copied.
    """
    try:
        yield
    except (HeldError, LockLostError):
        raise
    except BaseException:
        _keep(captured, run)
        raise
    _keep(captured, run)


def _keep(captured: Capture, run: Run) -> None:
    with suppress(OSError):  # unreachable storage must not hide another error
        if run.config.exists():
            captured.keep_log(run.logs)
