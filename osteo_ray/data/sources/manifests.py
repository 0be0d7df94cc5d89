"""Manifests: tables that list image files, or Parquet tables that hold the images themselves."""

import io
from collections.abc import Mapping
from contextlib import AbstractContextManager

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from osteo_ray.base.remote import split_uri
from osteo_ray.base.trust import refuse_objects
from osteo_ray.data.sources.class_columns import join_class_columns
from osteo_ray.data.sources.image_tables import find_image_columns, open_image_table, read_columns
from osteo_ray.data.sources.listing import Source
from osteo_ray.data.sources.options import SourceOptions
from osteo_ray.data.sources.readers import open_input
from osteo_ray.data.sources.rows import use_rows
from osteo_ray.data.sources.sheets import SHEET_SUFFIXES, read_sheets
from osteo_ray.data.sources.text_tables import read_text_table
from osteo_ray.data.sources.unreadable import expecting

TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".parquet", *SHEET_SUFFIXES)


def open_manifest(uri: str, options: SourceOptions) -> Source:
    """Open a table with the columns path (or the images themselves) and label.

    Other columns are optional; see `columns.ROLES`. Those that are not read are named.

    Raises:
        InputError: The table cannot be read, or a column is missing.
    """
    if split_uri(uri)[0].lower().endswith(".parquet"):
        with _expecting_parquet(uri), open_input(uri) as opened:
            file = pq.ParquetFile(opened)
            schema = file.schema_arrow
            images = find_image_columns(schema, options.columns)
            if images:
                refuse_objects(pa.schema([schema.field(images[0])]), uri)
                return open_image_table(uri, file, images, options)
            table, notes = read_columns(uri, file, schema.names, options.columns)
    else:
        with expecting("a table", uri, "Give another --data."), open_input(uri) as opened:
            content = opened.read()
        table, notes = parse_table(content, split_uri(uri)[0], options.columns)
    return use_rows(uri, "manifest", table, options, notes=notes)


def parse_table(
    content: bytes, path: str, columns: Mapping[str, str]
) -> tuple[pd.DataFrame, list[str]]:
    """Read a table; see `read_text_table`, `read_sheets`, `read_columns` and `join_class_columns`.

    Args:
        content: The file.
        path: Its path, whose ending tells its form.
        columns: The columns that the user names, by role.

    Raises:
        InputError: It is no such table.
    """
    if path.lower().endswith(".parquet"):
        with _expecting_parquet(path):
            file = pq.ParquetFile(io.BytesIO(content))
            return read_columns(path, file, file.schema_arrow.names, columns)
    is_workbook = path.lower().endswith(SHEET_SUFFIXES)
    table, notes = (read_sheets if is_workbook else read_text_table)(content, path, columns)
    table, said = join_class_columns(table, columns)
    return table, notes + said


def _expecting_parquet(uri: str) -> AbstractContextManager[None]:
    return expecting(
        "a Parquet table",
        uri,
        "Write the table again, or give another --data.",
        (OSError, pa.ArrowException),
    )
