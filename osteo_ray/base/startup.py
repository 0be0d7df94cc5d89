"""Start and end processes that need large packages in little time."""

import atexit
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2


@contextmanager
def importing(package: str) -> Iterator[None]:
    """Import a large package into a worker, without looking for garbage where there is none.

    What a package like timm or PyTorch consists of, some million objects, lives as long as the
    process. Python's garbage collector would look through all of them several times while they are
    made, at each later collection, and again when the process ends: of 5.7 s of CPU that it took to
    import what an explaining actor needs and to end, it had 2.2 s. Here, it rests during the block,
    and what exists afterwards is left out of all later collections.

    Args:
        package: What the block imports in any case. If it is loaded already, the block runs as it
            would without this, so that nothing but modules is ever left out.
    """
    if package in sys.modules:
        yield
        return
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
        atexit.register(_end_silently)
    finally:
        if was_enabled:
            gc.enable()


def end_quickly() -> None:
    """Have this process end without looking for garbage, unless it has loaded what would tell."""
    atexit.register(_freeze_unless_bound)


def _freeze_unless_bound() -> None:
    if "triton" not in sys.modules:
        gc.freeze()


def _end_silently() -> None:
    """Drop what is printed from here on.

    Triton, which PyTorch brings, is bound by nanobind. That prints dozens of lines at the very end
    about each function that the collector has not freed, and cannot be told not to.
    """
    if "triton" in sys.modules:
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDERR)
