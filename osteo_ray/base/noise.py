"""Redirect what libraries print to a log file."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from osteo_ray.base.storage import Place

_TEXT: Any = {"encoding": "utf-8", "errors": "backslashreplace"}
"""How text is written; names of files need not be text in any encoding."""


class Capture:
    """Consoles that reach the user, while all other output goes to a log.

    Attributes:
        out: Writes to standard output, for results.
        err: Writes to standard error, for progress and messages.
        log: The log file.
    """

    def __init__(self, out: Console, err: Console, log: Path) -> None:
        self.out = out
        self.err = err
        self.log = log

    def keep_log(self, directory: "Place") -> None:
        """Append the log, as it is now, to `driver.log` in the log folder of a run."""
        sys.stdout.flush()
        sys.stderr.flush()
        if not isinstance(directory, Path):
            kept = directory / "driver.log"
            before = kept.read_bytes() if kept.exists() else b""
            kept.write_bytes(before + self.log.read_bytes())
            return
        directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("rb") as source, (directory / "driver.log").open("ab") as target:
            shutil.copyfileobj(source, target)


@contextmanager
def capture_noise() -> Iterator[Capture]:
    """Send all output to a log, including that of C++ code and of child processes."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    handle, name = tempfile.mkstemp(prefix="osteo-ray-", suffix=".log")
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    streams = [os.fdopen(os.dup(fd), "w", **_TEXT) for fd in saved]
    noise = open(name, "a", **_TEXT)  # noqa: SIM115  # closed below
    try:
        with redirect_stdout(noise), redirect_stderr(noise):
            yield Capture(Console(file=streams[0]), Console(file=streams[1]), Path(name))
    finally:
        noise.close()
        sys.stdout.flush()
        sys.stderr.flush()
        for number, fd in enumerate(saved, start=1):
            os.dup2(fd, number)
            os.close(fd)
        for stream in streams:
            stream.close()
        Path(name).unlink(missing_ok=True)
