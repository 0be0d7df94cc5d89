"""Tables that list images: CSV, Parquet (perhaps with the images inside), MONAI data lists."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from osteo_ray.base.errors import InputError
from osteo_ray.base.remote import first_line, open_filesystem, split_uri
from osteo_ray.base.trust import refuse_objects
from osteo_ray.data.sources.listing import (
    OPTIONAL_COLUMNS,
    SPLIT_SYNONYMS,
    Source,
    list_refused,
    name_class,
    tabulate_items,
    write_cell,
)
from osteo_ray.data.sources.readers import FileReader, TableReader

_COLUMNS = ("path", "label", *OPTIONAL_COLUMNS)
_SYNONYMS = {"file_name": "path", "image_path": "path", "class": "label", "patient": "patient_id"}


def open_manifest(uri: str) -> Source:
    """Open a table with the columns path (or an image inside) and label, CSV or Parquet.

    Optional columns are patient_id, side, site and split; others are not looked at.

    Raises:
        InputError: It cannot be read, or a column is missing.
    """
    if split_uri(uri)[0].lower().endswith(".csv"):
        return use_rows(uri, "manifest", _read_csv(uri))
    try:
        filesystem, path = open_filesystem(uri)
        with filesystem.open_input_file(path) as file:
            schema = pq.read_schema(file)
            images = _find_image_column(schema)
            refuse_objects(pa.schema([schema.field(images)] if images else []), uri)
            if images:
                return _open_table(uri, pq.ParquetFile(file), schema, images)
            table = _read_columns(uri, pq.ParquetFile(file), schema.names)
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"Expected a Parquet table in {uri}, but: {first_line(error)}. Write it anew, or give "
            "another --data."
        ) from None
    return use_rows(uri, "manifest", table)


def _read_csv(uri: str) -> pd.DataFrame:
    filesystem, path = open_filesystem(uri)
    try:
        with filesystem.open_input_file(path) as file:
            text = file.read().decode("utf-8-sig")
        return _parse_csv(text)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"Expected a CSV table in UTF-8 with the columns path and label in {uri}, but: "
            f"{first_line(error)}. Mend or export it anew, with commas between the values."
        ) from None


def _parse_csv(text: str) -> pd.DataFrame:
    """Read every value as text; pandas would take a first column without a name for an index."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = next(reader, [])
    rows = []
    for row in filter(None, reader):
        if any(row[len(header) :]):
            raise ValueError(f"line {reader.line_num} has more values than there are columns")
        rows.append([*row, *[""] * (len(header) - len(row))][: len(header)])
    return pd.DataFrame(rows, columns=header, dtype=object)


def _read_columns(uri: str, file: pq.ParquetFile, names: Iterable[str]) -> pd.DataFrame:
    """Read the columns that have a meaning, and leave features and notes where they are."""
    known = [name for name in names if _name_column(name) in _COLUMNS]
    plain = file.read(columns=known)
    refuse_objects(plain.schema, uri)
    table: pd.DataFrame = plain.to_pandas(ignore_metadata=True)
    return table


def use_rows(uri: str, kind: str, table: pd.DataFrame) -> Source:
    """Make a source of a table whose paths are relative to the folder that it lies in."""
    found = ", ".join(map(str, table.columns)) or "none"
    table = _name_columns(table)
    missing = [name for name in ("path", "label") if name not in table]
    if missing:
        raise InputError(
            f"Expected the columns path and label in {uri}, but {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing; the columns found are: {found}. "
            "Rename the columns that hold them."
        )
    table = _normalise(table, uri)
    refused: list[tuple[str, str]] = []
    reasons = _refuse_rows(table)
    refused += [(path, why) for path, why in zip(table["path"], reasons, strict=True) if why]
    kept = table[[not why for why in reasons]]
    place, options = split_uri(uri)
    reader = FileReader((place.rpartition("/")[0] or "/") + options)
    return Source(uri, kind, tabulate_items(kept.to_dict("records")), list_refused(refused), reader)


def _name_columns(table: pd.DataFrame) -> pd.DataFrame:
    renamed = table.rename(columns=_name_column)
    return renamed.loc[:, ~renamed.columns.duplicated()]


def _name_column(column: Any) -> str:
    name = str(column).strip().lower()
    return _SYNONYMS.get(name, name)


def _normalise(table: pd.DataFrame, uri: str) -> pd.DataFrame:
    kept = [name for name in _COLUMNS if name in table]
    cells = {name: [write_cell(value) for value in table[name]] for name in kept}
    for row, part in enumerate(cells.get("split", ())):
        if part and part.lower() not in SPLIT_SYNONYMS:
            raise InputError(
                f"Expected the column split of {uri} to hold train, validation or test, but found "
                f"`{part}` for {cells['path'][row]}. Use these words, or leave the column empty."
            )
        cells["split"][row] = SPLIT_SYNONYMS.get(part.lower(), "")
    return pd.DataFrame(cells)


def _refuse_rows(table: pd.DataFrame) -> list[str]:
    """Return why each row cannot be used, or an empty string."""
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
        return "lies outside the folder of the manifest; paths are relative to it"
    if not label:
        return "no label"
    if len(labels) > 1:
        return f"listed with several labels: {', '.join(sorted(labels))}"
    return "listed twice" if repeated else ""


def _find_image_column(schema: pa.Schema) -> str | None:
    for field in schema:
        struct = pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
        if (struct and field.name != "mask") or (field.name == "image" and _is_binary(field.type)):
            return str(field.name)
    return None


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _open_table(uri: str, file: pq.ParquetFile, schema: pa.Schema, images: str) -> Source:
    others = [name for name in schema.names if name not in (images, "mask")]
    table = _name_columns(_read_columns(uri, file, others))
    if "label" not in table:
        raise InputError(
            f"Expected a column label beside the images of {uri}, but found "
            f"{', '.join(others) or 'none'}. Rename the column that holds the class."
        )
    names = _read_class_names(schema)
    table["label"] = [name_class(label, names) for label in table["label"]]
    table["path"] = [f"row-{number:07d}" for number in range(len(table))]
    table = _normalise(table, uri)
    unlabelled = table["label"] == ""
    rows = table.assign(position=np.arange(len(table)))[~unlabelled]
    refused = [(path, "no label") for path in table["path"][unlabelled]]
    sizes = [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)]
    starts = tuple(np.cumsum([0, *sizes])[:-1].tolist())
    reader = TableReader(uri, images, starts)
    items = tabulate_items(rows.to_dict("records"))
    return Source(uri, "table", items, list_refused(refused), reader)


def _read_class_names(schema: pa.Schema) -> list[str]:
    """Read the names of classes that Hugging Face's `datasets` leaves in the schema."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features["label"]["names"]]
    except (KeyError, TypeError, ValueError):
        return []


def open_list(uri: str) -> Source:
    """Open a MONAI data list: {"training": [{"image": …, "label": …}, …], "test": […]}.

    Raises:
        InputError: It cannot be read, or has another shape.
    """
    filesystem, path = open_filesystem(uri)
    try:
        with filesystem.open_input_file(path) as file:
            rows = list(_list_entries(json.loads(file.read())))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"Expected a MONAI data list in {uri}, with lists such as training of entries with "
            f"image and label, but: {first_line(error)}. Mend it, or give another --data."
        ) from None
    return use_rows(uri, "list", pd.DataFrame(rows, columns=list(_COLUMNS), dtype=object))


def _list_entries(content: Any) -> Iterator[dict[str, Any]]:
    """Go through the lists of a data list that hold images, not those that describe it."""
    if not isinstance(content, dict):
        raise ValueError(f"found a {type(content).__name__}, not an object of lists")
    for part, entries in content.items():
        split = SPLIT_SYNONYMS.get(part.lower(), "")
        holds_images = isinstance(entries, list) and any(isinstance(e, dict) for e in entries)
        for number, entry in enumerate(entries if holds_images or split else ()):
            if isinstance(entry, str):  # a test set without labels, which the rows will show
                entry = {"image": entry}
            if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
                raise ValueError(f"entry {number} of {part} has no image")
            known = {_name_column(name): value for name, value in entry.items()}
            yield {**known, "path": entry["image"], "split": split}
