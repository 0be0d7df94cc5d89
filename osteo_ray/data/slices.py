"""Name the slices of a volume, each of which is an image of its own."""

import re

VOLUME_SUFFIXES = (".nii", ".nii.gz")
"""Of files that may hold slices."""
_SLICE = re.compile(r"(.+)#slice-(\d+)")


def name_slice(volume: str, number: int) -> str:
    """Return the path by which a slice of a volume goes.

    Example:
        >>> name_slice("knees/1.nii.gz", 80), read_slice("knees/1.nii.gz#slice-80")
        ('knees/1.nii.gz#slice-80', ('knees/1.nii.gz', 80))
    """
    return f"{volume}#slice-{number}"


def read_slice(path: str) -> tuple[str, int | None]:
    """Return the file that a path names, and the number of its slice; None for a whole file."""
    found = _SLICE.fullmatch(path)
    return (found[1], int(found[2])) if found else (path, None)
