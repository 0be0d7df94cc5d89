"""Manifests: CSV and Parquet tables that list image files, or Parquet tables that hold images."""

import csv
import io

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from osteo_ray.base.remote import split_uri
from osteo_ray.base.trust import refuse_objects
from osteo_ray.data.sources.image_tables import find_image_column, open_image_table, read_columns
from osteo_ray.data.sources.listing import Source
from osteo_ray.data.sources.readers import open_input
from osteo_ray.data.sources.rows import COLUMNS, REGION, name_column, use_rows
from osteo_ray.data.sources.unreadable import expecting


def open_manifest(uri: str) -> Source:
    """Open a CSV or Parquet table with the columns path (or the images themselves) and label.

    The columns patient_id, side, site, split and region are optional; all others are ignored.

    Raises:
        InputError: The table cannot be read, or a column is missing.
    """
    if split_uri(uri)[0].lower().endswith(".csv"):
        return use_rows(uri, "manifest", _read_csv(uri))
    with (
        expecting(
            "a Parquet table",
            uri,
            "Write the table again, or give another --data.",
            (OSError, pa.ArrowException),
        ),
        open_input(uri) as opened,
    ):
        file = pq.ParquetFile(opened)
        schema = file.schema_arrow
        images = find_image_column(schema)
        if images:
            refuse_objects(pa.schema([schema.field(images)]), uri)
            return open_image_table(uri, file, images)
        known = [name for name in schema.names if name_column(name) in (*COLUMNS, REGION)]
        table = read_columns(uri, file, known)
    return use_rows(uri, "manifest", table)


def _read_csv(uri: str) -> pd.DataFrame:
    with (
        expecting(
            "a CSV table in UTF-8 with the columns path and label",
            uri,
            "Correct the table, or export it again with commas between the values.",
            (OSError, ValueError, csv.Error),
        ),
        open_input(uri) as file,
    ):
        return _parse_csv(file.read().decode("utf-8-sig"))


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
