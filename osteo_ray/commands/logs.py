"""Keep what a command printed beside its results."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from osteo_ray.base.lock import HeldError, LockLostError
from osteo_ray.base.noise import Capture
from osteo_ray.base.runs import Run


@contextmanager
def keeping_log(captured: Capture, run: Run) -> Iterator[None]:
    """Copy the log into a run once the block ends, however it ends.

    A run that another process works on is left alone.
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
    with suppress(OSError):  # storage that is away hides no other error
        if run.config.exists():
            captured.keep_log(run.logs)
