"""Name the slices of a volume, each of which is an image of its own."""

import re
from collections.abc import Sequence

from osteo_ray.base.errors import InputError

_VOLUME_SUFFIXES = (".nii", ".nii.gz")
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


def name_slices(paths: Sequence[str], cells: Sequence[str], table: str) -> list[str]:
    """Return the paths of slices for the rows of volumes that name one, else those of the files.

    Slices that were exported to images of their own are often numbered, too.

    Args:
        paths: Of the files, one per row; empty where it is not known.
        cells: What the rows have as the number of the slice, or nothing.
        table: What the table is called in messages.

    Raises:
        InputError: A cell is no number.
    """
    named = [
        (path, cell if path.lower().endswith(_VOLUME_SUFFIXES) else "")
        for path, cell in zip(paths, cells, strict=True)
    ]
    wrong = [cell for _, cell in named if cell and not (cell.isascii() and cell.isdigit())]
    if wrong:
        raise InputError(
            f"Expected the column slice of {table} to hold numbers from 0, along the third axis of "
            f"a volume, but found `{wrong[0]}`. Correct it, leave the cells of images empty, or "
            "write --columns slice= to leave the column unread."
        )
    return [name_slice(path, int(cell)) if cell else path for path, cell in named]
