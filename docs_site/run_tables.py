"""The tables of a run on docs/run-files.md, to which the site adds the types of the columns."""

import re

import pyarrow as pa

from osteo_ray.base import tables
from osteo_ray.experiment.curves import CURVES

RUN_FILES = "run-files.md"
SCHEMAS: dict[str, pa.Schema] = {
    "images.parquet": tables.IMAGES,
    "rejects.parquet": tables.REJECTS,
    "splits.parquet": tables.SPLITS,
    "pixels/": tables.PIXELS,
    "regions.parquet": tables.REGIONS,
    "masks/": tables.MASKS,
    "superpixels/": tables.SUPERPIXELS,
    "heatmaps/": tables.HEATMAPS,
    "faithfulness/": tables.FAITHFULNESS,
    "curves.parquet": CURVES,
}
"""By the name of a file or folder of a run, the columns of the table in it."""
OPEN_SCHEMAS: dict[str, pa.Schema] = {
    "predictions.parquet": pa.schema(
        [
            *[(name, pa.string()) for name in ("model", "arm", "split", "image_id", "label")],
            ("seed", pa.int64()),
            ("p_CLASS", pa.float64()),
        ]
    ),
    "results.parquet": pa.schema(
        [
            *[(name, pa.string()) for name in ("model", "arm", "split")],
            *[(name, pa.int64()) for name in ("seed", "n_images")],
            *[(name, pa.float64()) for name in ("METRIC", "threshold", "METRIC_at_threshold")],
        ]
    ),
}
"""The same of tables whose columns depend on the classes and metrics, which stand in capitals."""

_TABLE = re.compile(r"^## `([^`]+)`\n(.*?)^\| column \| meaning \|\n\|---\|---\|\n", re.M | re.S)
_ROW = re.compile(r"\| `([^`]+)` \| ")


def read_columns(text: str) -> dict[str, list[str]]:
    """Return the columns that the page names, by table."""
    found = {}
    for table in _TABLE.finditer(text):
        rows = text[table.end() :].partition("\n\n")[0].splitlines()
        found[table[1]] = [row[1] for line in rows if (row := _ROW.match(line))]
    return found


def add_types(text: str) -> str:
    """Add a column to each table of the page, with the types of its schema.

    Raises:
        KeyError: A table or a column has no schema.
    """
    schemas = SCHEMAS | OPEN_SCHEMAS
    lines, schema = [], None
    for line in text.splitlines():
        heading = re.fullmatch(r"## `([^`]+)`", line)
        if line.startswith("## "):
            schema = schemas[heading[1]] if heading else None
        row = _ROW.match(line)
        if schema is None or not line.startswith("|"):
            lines.append(line)
        elif row:
            kind = schema.field(row[1]).type
            lines.append(f"| `{row[1]}` | {kind} | {line[row.end() :]}")
        elif line.startswith("|---"):
            lines.append("|---|---|---|")
        else:
            lines.append("| column | type | meaning |")
    return "\n".join(lines) + "\n"
