"""Tables that list images: CSV, Parquet (perhaps with the images inside), MONAI data lists."""

import io
import json
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from osteo_ray.data.listing import (
    OPTIONAL_COLUMNS,
    SPLIT_SYNONYMS,
    Source,
    list_refused,
    tabulate_items,
)
from osteo_ray.data.readers import FileReader, TableReader, open_filesystem
from osteo_ray.errors import InputError

_SYNONYMS = {"file_name": "path", "image_path": "path", "class": "label", "patient": "patient_id"}


def open_manifest(uri: str) -> Source:
    """Open a table with the columns path (or an image inside) and label, CSV or Parquet.

    Optional columns are patient_id, side, site and split; others are not looked at.

    Raises:
        InputError: It cannot be read, or a column is missing.
    """
    if uri.partition("?")[0].lower().endswith(".csv"):
        return use_rows(uri, "manifest", _read_csv(uri))
    try:
        filesystem, path = open_filesystem(uri)
        with filesystem.open_input_file(path) as file:
            schema = pq.read_schema(file)
            images = _find_image_column(schema)
            if images:
                return _open_table(uri, pq.ParquetFile(file), schema, images)
            table = pq.read_table(file).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"Expected a Parquet table in {uri}, but: {str(error).splitlines()[0]}."
        ) from None
    return use_rows(uri, "manifest", table)


def _read_csv(uri: str) -> pd.DataFrame:
    filesystem, path = open_filesystem(uri)
    try:
        with filesystem.open_input_file(path) as file:
            text = io.BytesIO(file.read())
        return pd.read_csv(text, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise InputError(
            f"Expected a CSV table in UTF-8 with the columns path and label in {uri}, but: "
            f"{str(error).splitlines()[0]}."
        ) from None


def use_rows(uri: str, kind: str, table: pd.DataFrame) -> Source:
    """Make a source of a table whose paths are relative to the folder that it lies in."""
    table = _name_columns(table)
    missing = [name for name in ("path", "label") if name not in table]
    if missing:
        raise InputError(
            f"Expected the columns path and label in {uri}, but {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing; found "
            f"{', '.join(map(str, table.columns)) or 'no column'}."
        )
    table = _normalise(table, uri)
    refused: list[tuple[str, str]] = []
    reasons = _refuse_rows(table)
    refused += [(path, why) for path, why in zip(table["path"], reasons, strict=True) if why]
    kept = table[[not why for why in reasons]]
    place, mark, query = uri.partition("?")
    folder = place.rpartition("/")[0] or "/"
    reader = FileReader(folder + mark + query)
    return Source(uri, kind, tabulate_items(kept.to_dict("records")), list_refused(refused), reader)


def _name_columns(table: pd.DataFrame) -> pd.DataFrame:
    names = {column: str(column).strip().lower() for column in table.columns}
    names = {column: _SYNONYMS.get(name, name) for column, name in names.items()}
    renamed = table.rename(columns=names)
    return renamed.loc[:, ~renamed.columns.duplicated()]


def _normalise(table: pd.DataFrame, uri: str) -> pd.DataFrame:
    kept = [name for name in ("path", "label", *OPTIONAL_COLUMNS) if name in table]
    table = table[kept].reset_index(drop=True)
    for name in kept:
        values = table[name].astype(object).where(table[name].notna(), "")
        table[name] = [_write_cell(value) for value in values]
    if "split" in table:
        known = table["split"].str.lower().map(SPLIT_SYNONYMS)
        odd = table["split"][known.isna() & (table["split"] != "")]
        if len(odd):
            raise InputError(
                f"Expected the column split of {uri} to hold train, validation or test, but found "
                f"`{odd.iloc[0]}` for {table['path'][odd.index[0]]}."
            )
        table["split"] = known.fillna("")
    return table


def _write_cell(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():  # a column of numbers with gaps
        value = int(value)
    return str(value).strip()


def _refuse_rows(table: pd.DataFrame) -> list[str]:
    """Return why each row cannot be used, or an empty string."""
    labels: dict[str, set[str]] = {}
    for path, label in zip(table["path"], table["label"], strict=True):
        labels.setdefault(path, set()).add(label)
    seen: set[str] = set()
    reasons = []
    for path, label in zip(table["path"], table["label"], strict=True):
        reasons.append(_refuse_row(path, label, labels[path], path in seen))
        seen.add(path)
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
    table = _name_columns(file.read(columns=others).to_pandas())
    if "label" not in table:
        raise InputError(
            f"Expected a column label beside the images of {uri}, but found "
            f"{', '.join(others) or 'none'}."
        )
    names = _read_class_names(schema)
    numbers = table["label"]
    if names and pd.api.types.is_integer_dtype(numbers):
        table["label"] = [names[n] if 0 <= n < len(names) else "" for n in numbers]
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
            content = json.loads(file.read())
        rows = [
            {**entry, "path": entry["image"], "split": SPLIT_SYNONYMS.get(part.lower(), "")}
            for part, entries in content.items()
            if isinstance(entries, list) and entries and isinstance(entries[0], dict)
            for entry in entries
        ]
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"Expected a MONAI data list in {uri}, with lists such as training of entries with "
            f"image and label, but: {type(error).__name__}: {error}."
        ) from None
    return use_rows(uri, "list", pd.DataFrame(rows))
