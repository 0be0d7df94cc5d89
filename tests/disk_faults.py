"""Find every place in the package that touches the disk, and let each of them fail once.

Python tells of each call by an audit event; the functions of PyArrow that do so out of its sight
are wrapped. A place is a line of the package, so that no list of places is written by hand.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest

import osteo_ray

_PACKAGE = str(Path(osteo_ray.__file__).parent)
_EVENTS = frozenset(
    {"open", "os.listdir", "os.scandir", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}
)
_OF_ARROW = ("write_table", "read_table", "read_schema", "read_metadata", "ParquetFile")


class Site(NamedTuple):
    """A line of the package that makes a call of some kind."""

    file: str
    line: int
    event: str


@dataclass
class Faults:
    """What is watched, and what is to fail.

    Attributes:
        root: Only calls about files in this folder count.
        number: The number of the error with which a call fails.
        seen: The places so far, in the order of their first calls.
        target: The place whose next call fails; None to watch only.
        struck: Whether it has failed.
    """

    root: Path
    number: int = errno.ENOSPC
    seen: dict[Site, None] = field(default_factory=dict)
    target: Site | None = None
    struck: bool = False

    def hear(self, event: str, paths: tuple[Any, ...]) -> None:
        """Note a call, or let it fail."""
        names = [os.fsdecode(path) for path in paths if isinstance(path, str | bytes | os.PathLike)]
        if not any(name.startswith(str(self.root)) for name in names):
            return
        site = _find_site(event)
        if site is None:
            return
        self.seen.setdefault(site)
        if site == self.target and not self.struck:
            self.struck = True
            raise OSError(self.number, os.strerror(self.number), names[0])


def _find_site(event: str) -> Site | None:
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_PACKAGE):
            return Site(file.removeprefix(_PACKAGE), frame.f_lineno, event)
        frame = frame.f_back  # type: ignore[assignment]
    return None


_watching: list[Faults] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event in _EVENTS:
        _watching[-1].hear(event, arguments[:2])


_hooked: list[bool] = []


@contextmanager
def watching(faults: Faults) -> Iterator[None]:
    """Hear of all calls in the block."""
    if not _hooked:
        sys.addaudithook(_hook)  # for good: Python removes none
        _hooked.append(True)
    with pytest.MonkeyPatch.context() as patch:
        for name in _OF_ARROW:
            patch.setattr(pq, name, _wrap(name, getattr(pq, name)))
        _watching.append(faults)
        try:
            yield
        finally:
            _watching.pop()


def _wrap(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*arguments: Any, **named: Any) -> Any:
        if _watching:
            _watching[-1].hear(name, arguments[:2])
        return call(*arguments, **named)

    return wrapped
