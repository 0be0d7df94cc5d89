"""What a table says of the side of each image, where films of both knees are cut in two."""

from collections.abc import Sequence

from osteo_ray.base.errors import InputError
from osteo_ray.data.laterality import SIDES, name_half, names_both, read_side
from osteo_ray.data.sources.words import is_sentinel


def require_sides(cells: Sequence[str], table: str) -> list[str]:
    """Return the cells that name one side, and "" for those that stand for both or for none known.

    A side that is not understood may not count as none: both halves of a film would have the label
    of one knee.

    Args:
        cells: What the rows have as the side, or nothing.
        table: What the table is called in messages.

    Raises:
        InputError: A cell says something else.

    Example:
        >>> require_sides(["Left", "right_knee", "both", "n/a", ""], "knees.csv")
        ['Left', 'right_knee', '', '', '']
    """
    sided = {cell for cell in cells if read_side(cell)}
    others = dict.fromkeys(cell for cell in cells if cell not in sided)
    wrong = [cell for cell in others if not (is_sentinel(cell) or names_both(cell))]
    if wrong:
        raise InputError(
            f"Expected the column side of {table} to hold L, R, or a word for both knees, as "
            f"--laterality split cuts films of both, but found `{wrong[0]}`. Write L or R, leave "
            "the cells of both knees empty, or write --columns side= to leave the column unread."
        )
    return [cell if cell in sided else "" for cell in cells]


def name_halves(paths: Sequence[str], sides: Sequence[str]) -> list[str]:
    """Return the paths of halves where a film has a row for each side, else those of the images.

    Args:
        paths: Of the images, one per row; empty where it is not known.
        sides: What `require_sides` returns for the rows.
    """
    told = [(path, read_side(side)) for path, side in zip(paths, sides, strict=True)]
    of_film: dict[str, set[str]] = {}
    for path, side in told:
        of_film.setdefault(path, set()).add(side)
    half_of = {side: half for half, side in SIDES.items()}
    return [
        name_half(path, half_of[side]) if path and of_film[path] == half_of.keys() else path
        for path, side in told
    ]
