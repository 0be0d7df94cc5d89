"""Parquet tables with the images inside, as Hugging Face's `datasets` writes them."""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from osteo_ray.base.errors import InputError
from osteo_ray.base.trust import refuse_objects
from osteo_ray.data.sources.listing import Source, list_refused, name_class, tabulate_items
from osteo_ray.data.sources.readers import TableReader
from osteo_ray.data.sources.rows import COLUMNS, name_column, name_columns, normalize_rows


def find_image_column(schema: pa.Schema) -> str | None:
    """Return the name of the column that holds images, or None if there is none."""
    for field in schema:
        struct = pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
        if (struct and field.name != "mask") or (field.name == "image" and _is_binary(field.type)):
            return str(field.name)
    return None


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def read_columns(uri: str, file: pq.ParquetFile, names: Sequence[str]) -> pd.DataFrame:
    """Read some columns of a table, without the index that pandas may have stored.

    Raises:
        InputError: A column would run code when it is read.
    """
    plain = file.read(columns=list(names))
    refuse_objects(plain.schema, uri)
    table: pd.DataFrame = plain.to_pandas(ignore_metadata=True)
    return table


def open_image_table(uri: str, file: pq.ParquetFile, images: str) -> Source:
    """List the images of a table that holds them.

    Args:
        uri: The table.
        file: The table, opened.
        images: Column of the images; see `find_image_column`.

    Raises:
        InputError: There are no labels, or a split is unknown.
    """
    schema = file.schema_arrow
    others = [name for name in schema.names if name not in (images, "mask")]
    known = [name for name in others if name_column(name) in COLUMNS]
    table = name_columns(read_columns(uri, file, known))
    if "label" not in table:
        raise InputError(
            f"Expected a column label beside the images of {uri}, but found "
            f"{', '.join(others) or 'none'}. Rename the column that holds the class."
        )
    names = _read_class_names(schema)
    table["label"] = [name_class(label, names) for label in table["label"]]
    table["path"] = [f"row-{number:07d}" for number in range(len(table))]
    table = normalize_rows(table, uri)
    unlabelled = table["label"] == ""
    rows = table.assign(position=np.arange(len(table)))[~unlabelled]
    refused = [(path, "no label") for path in table["path"][unlabelled]]
    sizes = [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)]
    starts = tuple(np.cumsum([0, *sizes])[:-1].tolist())
    reader = TableReader(uri, images, starts)
    items = tabulate_items(rows.to_dict("records"))
    return Source(uri, "table", items, list_refused(refused), reader)


def _read_class_names(schema: pa.Schema) -> list[str]:
    """Read the names of the classes that `datasets` stores in the schema; empty if it has none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features["label"]["names"]]
    except (KeyError, TypeError, ValueError):
        return []
