"""Read the columns that every listing shares, and refuse the rows that cannot be used."""

from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from osteo_ray.base.errors import InputError
from osteo_ray.base.remote import split_uri
from osteo_ray.data.sources.listing import (
    OPTIONAL_COLUMNS,
    SPLIT_SYNONYMS,
    Source,
    list_refused,
    tabulate_items,
    write_cell,
)
from osteo_ray.data.sources.readers import FileReader

COLUMNS = ("path", "label", *OPTIONAL_COLUMNS)
"""The columns that a listing may have; all others are ignored."""
REGION = "region"
"""The column that names the mask of each image's region; it is no part of the items of a source."""
_SYNONYMS = {"file_name": "path", "image_path": "path", "class": "label", "patient": "patient_id"}


def name_column(column: Any) -> str:
    """Return the usual name of a column, whatever its case and synonym.

    Example:
        >>> name_column(" File_Name "), name_column("age")
        ('path', 'age')
    """
    name = str(column).strip().lower()
    return _SYNONYMS.get(name, name)


def name_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Give the columns of a table their usual names; of two with one name, the first stays."""
    renamed = table.rename(columns=name_column)
    return renamed.loc[:, ~renamed.columns.duplicated()]


def normalize_rows(table: pd.DataFrame, uri: str) -> pd.DataFrame:
    """Keep the columns of `COLUMNS`, with every cell as text.

    Args:
        table: Rows with path and label; see `name_columns`.
        uri: Source of the rows, for messages.

    Raises:
        InputError: A split is none of train, validation and test.
    """
    kept = [name for name in COLUMNS if name in table]
    cells = {name: [write_cell(value) for value in table[name]] for name in kept}
    for row, part in enumerate(cells.get("split", ())):
        if part and part.lower() not in SPLIT_SYNONYMS:
            raise InputError(
                f"Expected the column split of {uri} to hold train, validation or test, but found "
                f"`{part}` for {cells['path'][row]}. Use these words, or leave the column empty."
            )
        cells["split"][row] = SPLIT_SYNONYMS.get(part.lower(), "")
    return pd.DataFrame(cells)


def use_rows(uri: str, kind: str, table: pd.DataFrame) -> Source:
    """Make a source of rows that name image files.

    Args:
        uri: Source of the rows; paths are relative to the folder that it lies in.
        kind: See `Source`.
        table: Rows as they were read.

    Raises:
        InputError: The paths or the labels are missing, or a split is unknown.
    """
    found = ", ".join(map(str, table.columns)) or "none"
    table = name_columns(table)
    missing = [name for name in ("path", "label") if name not in table]
    if missing:
        raise InputError(
            f"Expected the columns path and label in {uri}, but {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing; the columns found are: {found}. "
            "Rename the columns that hold them."
        )
    regions = [write_cell(value) for value in table[REGION]] if REGION in table else []
    table = normalize_rows(table, uri)
    reasons = _refuse_rows(table)
    refused = [(path, why) for path, why in zip(table["path"], reasons, strict=True) if why]
    kept = table[[not why for why in reasons]]
    place, options = split_uri(uri)
    reader = FileReader((place.rpartition("/")[0] or "/") + options)
    named: dict[str, str] = {}
    # A column of other values, such as parts of the body, is none of masks.
    if any(name.lower().endswith(".png") for name in regions):
        of_row = zip(table["path"], regions, reasons, strict=True)
        named = {path: name for path, name, why in of_row if name and not why}
    items = tabulate_items(kept.to_dict("records"))
    return Source(uri, kind, items, list_refused(refused), reader, named)


def _refuse_rows(table: pd.DataFrame) -> list[str]:
    """Return the reason why each row cannot be used, or an empty string."""
    labels: dict[str, set[str]] = {}
    for path, label in zip(table["path"], table["label"], strict=True):
        labels.setdefault(path, set()).update({label} - {""})
    seen: set[str] = set()
    reasons = []
    for path, label in zip(table["path"], table["label"], strict=True):
        reasons.append(_refuse_row(path, label, labels[path], path in seen))
        seen.update({path} if label else ())
    return reasons


def _refuse_row(path: str, label: str, labels: set[str], repeated: bool) -> str:
    parts = PurePosixPath(path.replace("\\", "/"))
    if not path:
        return "no path"
    if parts.is_absolute() or ".." in parts.parts or "://" in path:
        return "lies outside the folder of the manifest; paths must be relative to that folder"
    if not label:
        return "no label"
    if len(labels) > 1:
        return f"listed with several labels: {', '.join(sorted(labels))}"
    return "listed twice" if repeated else ""
