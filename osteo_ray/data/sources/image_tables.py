"""Parquet tables with the images inside, as Hugging Face's `datasets` writes them."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from osteo_ray.base.trust import refuse_objects
from osteo_ray.data.sources.class_columns import join_class_columns
from osteo_ray.data.sources.classes import join_spellings
from osteo_ray.data.sources.columns import choose_columns, may_be_read, say_first_counts
from osteo_ray.data.sources.listing import (
    Source,
    list_refused,
    name_class,
    tabulate_items,
    write_cell,
)
from osteo_ray.data.sources.options import SourceOptions
from osteo_ray.data.sources.readers import TableReader
from osteo_ray.data.sources.rows import (
    check_label_values,
    list_attributes,
    list_hints,
    read_roles,
)
from osteo_ray.data.sources.sides import require_sides
from osteo_ray.data.sources.words import names_masks


def find_image_columns(schema: pa.Schema, given: Mapping[str, str]) -> list[str]:
    """Return the names of the columns that hold images: first the one to read, no masks.

    It is the one that the user names as that of paths, or else one with a usual name for it.
    """
    found = [str(field.name) for field in schema if _holds_images(field)]
    found = [name for name in found if not names_masks(name)]
    usual = choose_columns(found, {}, "").names.get("path")
    chosen = next((name for name in (given.get("path"), usual) if name in found), None)
    return sorted(found, key=lambda name: name != chosen)


def _holds_images(field: pa.Field) -> bool:
    is_struct = pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
    return is_struct or (field.name == "image" and _is_binary(field.type))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def read_columns(
    uri: str, file: pq.ParquetFile, names: Sequence[str], given: Mapping[str, str]
) -> tuple[pd.DataFrame, list[str]]:
    """Read what may be needed of a table, without the index that pandas may have stored.

    Of columns that have no role by their name, only the names count, unless no column names the
    class: then numbers are read, which may say it; see `join_class_columns`.

    Args:
        uri: The table.
        file: The table, opened.
        names: The columns that may be read.
        given: By role, the column that the user names.

    Returns:
        All of these columns, empty where they were not read; and what to tell the user.

    Raises:
        InputError: A column would run code when it is read.
    """
    columns = list(dict.fromkeys(names))
    is_named = "label" in given or "label" in choose_columns(columns, {}, uri).names
    kinds = {field.name: field.type for field in file.schema_arrow}
    wanted = [
        name
        for name in columns
        if may_be_read(name, given) or (not is_named and _is_number(kinds[name]))
    ]
    plain = file.read(columns=wanted)
    refuse_objects(plain.schema, uri)
    # As floats, as which pandas holds integers with gaps, identifiers of 17 digits become one.
    table: pd.DataFrame = plain.to_pandas(ignore_metadata=True, integer_object_nulls=True)
    table = table.loc[:, ~table.columns.duplicated()].reindex(columns=columns)
    table, notes = join_class_columns(table, given)
    twice = [name for name, n in Counter(names).items() if n > 1]
    return table, notes + list(map(say_first_counts, twice))


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    )


def open_image_table(
    uri: str, file: pq.ParquetFile, columns_of_images: Sequence[str], options: SourceOptions
) -> Source:
    """List the images of a table that holds them.

    The path of an image is the number of its row and, if the table has one, the name of the file
    that it was made of.

    Args:
        uri: The table.
        file: The table, opened.
        columns_of_images: See `find_image_columns`; the first is read.
        options: What the user says.

    Raises:
        InputError: There are no labels, or a split is unknown.
    """
    schema = file.schema_arrow
    images, *more = columns_of_images
    others = [field.name for field in schema if not _holds_images(field)]
    table, notes = read_columns(uri, file, others, options.columns)
    if more:
        told = ", ".join(f"`{name}`" for name in more)
        notes.append(f"The images are those of the column `{images}`; not read: {told}.")
    choices = {role: name for role, name in options.columns.items() if role != "path"}
    options = replace(options, columns=choices)
    cells, columns = read_roles(table, uri, options, ("label",))
    if options.laterality == "split" and "side" in cells:
        cells["side"] = require_sides(cells["side"], uri)
    names = _read_class_names(schema, columns.names["label"])
    labels = [name_class(label, names) for label in table[columns.names["label"]]]
    check_label_values(labels, uri)
    spelled, said = join_spellings(labels, uri)
    files = _read_file_names(file, images) or cells.get("path", [""] * len(labels))
    rows = [
        {
            "path": _name_row(row, files[row]),
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
        notes=(*notes, *columns.describe(), *said),
        hints=list_hints(cells, columns, of_row),
        attributes=list_attributes(cells, of_row),
    )


def _read_file_names(file: pq.ParquetFile, images: str) -> list[str]:
    """Read the names of the files that the images were made of; empty if none has one."""
    kind = file.schema_arrow.field(images).type
    if not pa.types.is_struct(kind) or kind.get_field_index("path") < 0:
        return []
    (column,) = file.read(columns=[f"{images}.path"]).columns
    names = [write_cell(cell.get("path")) if cell else "" for cell in column.to_pylist()]
    return names if any(names) else []


def _name_row(row: int, file: str) -> str:
    parts = [part for part in file.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return "/".join([f"row-{row:07d}", *parts])


def _read_class_names(schema: pa.Schema, label: str) -> list[str]:
    """Read the names of the classes that `datasets` stores in the schema; empty if it has none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[label]["names"]]
    except (KeyError, TypeError, ValueError):
        return []
