"""Tables that have a column of zeros and ones for each class, as some exports do (one-hot)."""

from collections.abc import Mapping, Sequence

import pandas as pd

from osteo_ray.data.laterality import names_both, read_side
from osteo_ray.data.sources.columns import choose_columns
from osteo_ray.data.sources.listing import write_cell
from osteo_ray.data.sources.words import list_words, read_split, tidy

_BITS = {"1": 1, "1.0": 1, "true": 1, "0": 0, "0.0": 0, "false": 0}
_OF_LABELS = frozenset(
    (
        *("label", "class", "category", "target", "diagnosis", "diagnoses", "dx", "finding"),
        *("disease", "condition", "grade", "kl", "kellgren", "stage", "severity", "outcome"),
    )
)
_NO_CLASSES = frozenset(
    (
        *("male", "female", "m", "f", "man", "woman", "men", "women", "sex", "gender", "view"),
        *("ap", "pa", "lat", "lateral", "frontal", "fold", "cv", "site", "clinic", "hospital"),
        *("scanner", "device", "missing", "valid", "validity"),
    )
)


def join_class_columns(
    table: pd.DataFrame, given: Mapping[str, str]
) -> tuple[pd.DataFrame, list[str]]:
    """Make one column of classes from those of zeros and ones, if there is no other.

    They are classes only where each image has one of them. Columns are none that are about sides,
    parts of a split, sexes, views or sites, or that begin alike with another word than `label` or
    the like, as other attributes that were spread over columns do; and none is where another column
    is called like a diagnosis.

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
    wanted = {tidy(name) for name in given.values()}
    unread = [name for name in table.columns if str(name) in columns.unread]
    bits = {
        name: [_BITS.get(write_cell(value).strip().casefold()) for value in table[name]]
        for name in unread
        if tidy(str(name)) not in wanted and _may_be_class(str(name))
    }
    bits = {name: cells for name, cells in bits.items() if None not in cells}
    others = [name for name in unread if name not in bits]
    if len(bits) < 2 or _begin_otherwise(list(map(str, bits))) or any(map(_is_label, others)):
        return table, []
    ones = pd.DataFrame(bits, dtype=int)
    if not (ones.sum(axis=1) == 1).all():
        return table, []
    classes = [name for name in bits if ones[name].any()]
    labels = ones[classes].idxmax(axis=1).astype(str)
    told = ", ".join(f"`{tidy(str(name))}`" for name in classes)
    note = f"The class of an image is that of the columns {told} which holds 1."
    return table.drop(columns=classes).assign(label=labels), [note]


def _may_be_class(name: str) -> bool:
    words = list_words(name)
    if not words or names_both(name) or not _NO_CLASSES.isdisjoint(words):
        return False
    return not any(read_side(word) or read_split(word) for word in words)


def _begin_otherwise(names: Sequence[str]) -> bool:
    """Tell whether all names begin with the same word, which is none for labels."""
    first, *others = (list_words(name) for name in names)
    same = all(words[0] == first[0] and len(words) > 1 for words in (first, *others))
    return same and first[0] not in _OF_LABELS


def _is_label(name: object) -> bool:
    return not _OF_LABELS.isdisjoint(list_words(str(name)))
