"""The listing of a source: a row for each image, whatever the kind of source."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from osteo_ray.base.mappings import hash_settings
from osteo_ray.data.laterality import Laterality
from osteo_ray.data.sources.readers import Reader

OPTIONAL_COLUMNS = ("patient_id", "side", "site", "split")
_UNKNOWN: dict[str, str | int] = {
    "path": "",
    "position": -1,
    "label": "",
    "size": 0,
    **dict.fromkeys(OPTIONAL_COLUMNS, ""),
}
ITEM_COLUMNS = tuple(_UNKNOWN)
NO_UTF8 = "a file name that is not valid UTF-8"
"""Why a file whose path `write_path` changes is refused."""


@dataclass(frozen=True)
class Source:
    """A data set as it was found, before any image is read.

    Attributes:
        uri: Its URI or absolute path.
        kind: One of folders, manifest, table, archive, list, packed.
        items: A row per image, with the columns `ITEM_COLUMNS`: path (unique within the source),
            position (in an archive or table, else -1), label, size (bytes, 0 if unknown), and
            patient_id, side, site and split (empty if unknown).
        refused: A row for each entry that cannot be an image: path, reason.
        reader: Fetches the images.
        regions: By path of an image, the path of the mask of its region, if the source names any.
        notes: How the source was read, in sentences for the user.
        doubts: What was assumed and only the user can decide, in sentences that say how.
        hints: Columns that may name patients, by name: the value of each path.
        attributes: By name of an attribute that a table holds (see `columns.TOLD`), the value of
            each path.
        guessed: Whether patient_id is what paths or such columns suggest, and nobody has confirmed.
        has_table: Whether a table names the images, even if they lie in folders.
        tables: Paths of the tables among the files, if folders tell the classes.
        laterality: Whether films of both knees are to be cut in two.
        n_levels: Number of folders above the images that stand for parts of a split and classes.
    """

    uri: str
    kind: str
    items: pd.DataFrame
    refused: pd.DataFrame
    reader: Reader
    regions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    hints: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    attributes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    guessed: bool = False
    n_levels: int = 0
    has_table: bool = False
    tables: tuple[str, ...] = ()
    laterality: Laterality = "whole"

    @property
    def n_images(self) -> int:
        """How many images are listed, those included that will turn out not to be readable."""
        return len(self.items)

    @property
    def n_classes(self) -> int:
        """How many classes there are, and no fewer than two where one alone is listed."""
        return max(2, int(self.items["label"].nunique()))

    @property
    def fingerprint(self) -> str:
        """Hash of all columns of `items`, which shows whether a source has changed."""
        return hash_settings(self.items.to_numpy().tolist())


def tabulate_items(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Make the items table of a source: sorted by path, with all columns of `ITEM_COLUMNS`."""
    known = list(rows)
    columns = {
        name: [row.get(name, default) for row in known] for name, default in _UNKNOWN.items()
    }
    types = {name: str if default == "" else np.int64 for name, default in _UNKNOWN.items()}
    table = pd.DataFrame(columns).astype(types)
    return table.sort_values(["path", "position"], ignore_index=True)


def list_refused(rows: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """Make the table of refused entries: path, reason."""
    return pd.DataFrame(list(rows), columns=["path", "reason"]).astype(str)


def name_class(label: Any, names: Sequence[Any] | None) -> str:
    """Return a label as text; where classes are numbered, its name, or "" for an unknown number.

    Example:
        >>> [name_class(label, ["normal", "worn"]) for label in (1, 0.0, -1, None, "worn")]
        ['worn', 'normal', '', '', 'worn']
    """
    if names and isinstance(label, int | float) and write_cell(label):
        known = label == int(label) and 0 <= label < len(names)
        return write_cell(names[int(label)]) if known else ""
    return write_cell(label)


def write_cell(value: Any) -> str:
    """Return a value of a table as text that any file can hold; "" for a missing value.

    Example:
        >>> [write_cell(value) for value in (" left ", 17.0, 0.5, None, float("nan"), b"worn")]
        ['left', '17', '0.5', '', '', 'worn']
    """
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    if isinstance(value, float | np.floating) and value.is_integer():  # whole numbers with gaps
        value = int(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    return str(value).strip().encode("utf-8", "backslashreplace").decode()
