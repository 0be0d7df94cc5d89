"""Tables that have a column of zeros and ones for each class, as some exports do (one-hot)."""

from collections.abc import Mapping

import pandas as pd

from osteo_ray.data.laterality import names_both, read_side
from osteo_ray.data.sources.columns import choose_columns
from osteo_ray.data.sources.listing import write_cell
from osteo_ray.data.sources.words import read_split, tidy

_BITS = {"1": 1, "1.0": 1, "true": 1, "0": 0, "0.0": 0, "false": 0, "": 0}
_SEXES = frozenset({"male", "female", "m", "f", "man", "woman", "men", "women"})


def join_class_columns(
    table: pd.DataFrame, given: Mapping[str, str]
) -> tuple[pd.DataFrame, list[str]]:
    """Make one column of classes from those of zeros and ones, if there is no other.

    They are classes only where no image has two of them and most have one; columns of sides, parts
    of a split, and sexes are none.

    Args:
        table: The table as it was read.
        given: By role, the column that the user names.

    Returns:
        The table, with a column `label` in their place; and what to tell the user.

    Example:
        >>> table = pd.DataFrame({"file": ["1.png", "2.png"], "normal": [1, 0], "worn": [0, 1]})
        >>> join_class_columns(table, {})[0]["label"].tolist()
        ['normal', 'worn']
    """
    columns = choose_columns(list(table.columns), {}, "")
    if "label" in given or "label" in columns.names or table.columns.has_duplicates:
        return table, []
    bits = {
        name: [_BITS.get(write_cell(value).strip().casefold()) for value in table[name]]
        for name in table.columns
        if str(name) in columns.unread and _may_be_class(str(name))
    }
    bits = {name: cells for name, cells in bits.items() if None not in cells}
    ones = pd.DataFrame(bits, dtype=int).sum(axis=1)
    if len(bits) < 2 or ones.max() > 1 or 2 * ones.sum() <= len(table):
        return table, []
    labels = [""] * len(table)
    for name, cells in bits.items():
        labels = [str(name) if bit else label for bit, label in zip(cells, labels, strict=True)]
    told = ", ".join(f"`{tidy(str(name))}`" for name in bits)
    note = f"The class of an image is that of the columns {told} which holds 1."
    return table.drop(columns=list(bits)).assign(label=labels), [note]


def _may_be_class(name: str) -> bool:
    is_side = bool(read_side(name)) or names_both(name)
    return bool(tidy(name)) and not (is_side or read_split(name) or tidy(name).casefold() in _SEXES)
