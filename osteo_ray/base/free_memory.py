"""Give memory back that is free, but that the process still holds."""

import ctypes
from collections.abc import Callable
from functools import cache


def return_free_memory() -> None:
    """Give what is free in all arenas of the C library back to the system, where it can be.

    The GNU C library keeps an arena for each of up to eight threads per core, and memory that was
    freed in one stays there: a process of a sweep, in which each training is a thread of its own,
    held 6.0 GiB after twenty trainings, and 1.5 GiB once this was called. Other C libraries have
    no such call, and then nothing happens.
    """
    trim = _find_trim()
    if trim is not None:
        trim(0)


@cache
def _find_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library; no libraries; Windows
        return None
