"""Notes on images and masks: what must be known of one beside its figures, in one cell."""

from collections import Counter
from collections.abc import Iterable

_BETWEEN = "; "


def write_notes(notes: Iterable[str]) -> str | None:
    """Put notes into one cell; None if there are none.

    Example:
        >>> write_notes(["it is small", "it is dark"])
        'it is small; it is dark'
    """
    return _BETWEEN.join(notes) or None


def count_notes(cells: Iterable[str | None]) -> Counter[str]:
    """Count each note in a column of cells.

    Example:
        >>> count_notes(["it is small; it is dark", None, "it is dark"]).most_common()
        [('it is dark', 2), ('it is small', 1)]
    """
    return Counter(note for cell in cells if cell for note in cell.split(_BETWEEN))
