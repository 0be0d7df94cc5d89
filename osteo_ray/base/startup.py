"""Import large packages in little time."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing(package: str) -> Iterator[None]:
    """Import a large package in the block, without looking for garbage where there is none.

    What a package like timm or PyTorch consists of, some million objects, lives as long as the
    process. Python's garbage collector would look through all of them several times while they are
    made, at each later collection, and once more when the process ends: of 5.7 s of CPU that an
    explaining actor took to start and end, it had 2.2 s. Here, it rests during the block, and what
    exists afterwards is left out of all later collections.

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
    finally:
        if was_enabled:
            gc.enable()
