"""Parquet tables with the images inside, as Hugging Face's `datasets` writes them."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from osteo_ray.base.trust import refuse_objects
from osteo_ray.data.sources.classes import join_spellings
from osteo_ray.data.sources.columns import may_be_read
from osteo_ray.data.sources.listing import Source, list_refused, name_class, tabulate_items
from osteo_ray.data.sources.options import SourceOptions
from osteo_ray.data.sources.readers import TableReader
from osteo_ray.data.sources.rows import (
    check_label_values,
    list_attributes,
    list_hints,
    read_roles,
)


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


def open_image_table(uri: str, file: pq.ParquetFile, images: str, options: SourceOptions) -> Source:
    """List the images of a table that holds them.

    Args:
        uri: The table.
        file: The table, opened.
        images: Column of the images; see `find_image_column`.
        options: What the user says.

    Raises:
        InputError: There are no labels, or a split is unknown.
    """
    schema = file.schema_arrow
    others = [name for name in schema.names if name not in (images, "mask")]
    wanted = [name for name in others if may_be_read(name, options.columns)]
    table = read_columns(uri, file, wanted).reindex(columns=others)
    choices = {role: name for role, name in options.columns.items() if role != "path"}
    options = replace(options, columns=choices)
    cells, columns = read_roles(table, uri, options, ("label",))
    names = _read_class_names(schema, columns.names["label"])
    labels = [name_class(label, names) for label in table[columns.names["label"]]]
    check_label_values(labels, uri)
    spelled, said = join_spellings(labels, uri)
    rows = [
        {
            "path": f"row-{row:07d}",
            "position": row,
            "label": spelled[label],
            "patient_id": cells["patient"][row] if "patient" in cells else "",
            **{name: cells[name][row] for name in ("side", "site", "split") if name in cells},
        }
        for row, label in enumerate(labels)
    ]
    refused = [(str(row["path"]), "no label") for row in rows if not row["label"]]
    kept = [row for row in rows if row["label"]]
    sizes = [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)]
    starts = tuple(np.cumsum([0, *sizes])[:-1].tolist())
    of_row = [(row["position"], str(row["path"])) for row in kept]
    return Source(
        uri,
        "table",
        tabulate_items(kept),
        list_refused(refused),
        TableReader(uri, images, starts),
        notes=(*columns.describe(), *said),
        hints=list_hints(cells, columns, of_row),
        attributes=list_attributes(cells, of_row),
    )


def _read_class_names(schema: pa.Schema, label: str) -> list[str]:
    """Read the names of the classes that `datasets` stores in the schema; empty if it has none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[label]["names"]]
    except (KeyError, TypeError, ValueError):
        return []
