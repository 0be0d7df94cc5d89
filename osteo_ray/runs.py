"""A run directory: where each artifact lies, and writes that are whole or do not happen.

Every artifact is addressed by what determines it, so a rerun finds what is there and makes only
what is missing. The columns of each table are the schemas below; README.md explains them.
"""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from osteo_ray.errors import InputError

SCHEMA_VERSION = b"4"


def _schema(*fields: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema(list(fields), metadata={b"osteo_ray": SCHEMA_VERSION})


IMAGES = _schema(
    ("image_id", pa.string()),
    ("path", pa.string()),
    ("label", pa.string()),
    ("given_label", pa.string()),
    ("copies", pa.int64()),
    ("patient", pa.int64()),
    ("group", pa.int64()),
    ("conflict", pa.bool_()),
    ("used", pa.bool_()),
    ("side", pa.string()),
    ("site", pa.string()),
    ("given_split", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("format", pa.string()),
    ("mode", pa.string()),
    ("digest", pa.string()),
)
READ_IMAGES = _schema(  # where nothing but the images themselves is asked for
    *(
        (name, IMAGES.field(name).type)
        for name in (
            *("image_id", "path", "label", "patient", "side", "site"),
            *("width", "height", "format", "mode", "digest"),
        )
    )
)
REJECTS = _schema(("path", pa.string()), ("reason", pa.string()))
SPLITS = _schema(("seed", pa.int64()), ("image_id", pa.string()), ("split", pa.string()))
PIXELS = _schema(("image_id", pa.string()), ("digest", pa.string()), ("pixels", pa.binary()))
MASKS = _schema(
    ("model", pa.string()),
    ("seed", pa.int64()),
    ("teacher", pa.string()),
    ("target", pa.string()),
    ("kind", pa.string()),
    ("image_id", pa.string()),
    ("keep_mask", pa.binary()),
    ("weights", pa.list_(pa.float64())),
    ("explained_class", pa.int64()),
    ("n_samples", pa.int64()),
    ("local_fit", pa.float64()),
    ("stability", pa.float64()),
    ("unstable", pa.bool_()),
    ("error", pa.string()),
)
FAITHFULNESS = _schema(
    ("model", pa.string()),
    ("seed", pa.int64()),
    ("kind", pa.string()),
    ("image_id", pa.string()),
    ("insertion_auc", pa.float64()),
    ("deletion_auc", pa.float64()),
    ("drop", pa.float64()),
)
HEATMAPS = _schema(
    ("model", pa.string()),
    ("seed", pa.int64()),
    ("image_id", pa.string()),
    ("heatmap", pa.binary()),
)


@dataclass(frozen=True)
class Run:
    """The paths of one run.

    Attributes:
        root: The run directory, absolute.
    """

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    @property
    def environment(self) -> Path:
        return self.root / "environment.json"

    @property
    def images(self) -> Path:
        return self.root / "images.parquet"

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def rejects(self) -> Path:
        return self.root / "rejects.parquet"

    @property
    def audit(self) -> Path:
        return self.root / "audit.json"

    @property
    def splits(self) -> Path:
        return self.root / "splits.parquet"

    @property
    def pixels(self) -> Path:
        return self.root / "pixels"

    @property
    def phantom(self) -> Path:
        return self.root / "phantom"

    @property
    def trials(self) -> Path:
        return self.root / "trials"

    @property
    def masks(self) -> Path:
        return self.root / "masks"

    @property
    def faithfulness(self) -> Path:
        return self.root / "faithfulness"

    @property
    def heatmaps(self) -> Path:
        return self.root / "heatmaps"

    @property
    def predictions(self) -> Path:
        return self.root / "predictions.parquet"

    @property
    def results(self) -> Path:
        return self.root / "results.parquet"

    @property
    def comparison(self) -> Path:
        return self.root / "comparison.json"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def logs(self) -> Path:
        return self.root / "logs"


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write a file or directory to; it takes the place at the end.

    If the block raises, or the process dies in it, `path` stays as it was. A directory that
    another process finished first is kept and this one dropped: both hold the same content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield unfinished
        if unfinished.is_dir() and path.exists():
            return
        os.replace(unfinished, path)
    finally:
        if unfinished.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
        else:
            unfinished.unlink(missing_ok=True)


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file whole."""
    with write_whole(path) as unfinished:
        pq.write_table(table, unfinished, compression="zstd")


def write_pixels(path: Path, table: pa.Table) -> None:
    """Write a Parquet file of pixels whole: plain, as packing them takes longer than decoding."""
    with write_whole(path) as unfinished:
        pq.write_table(
            table, unfinished, compression="none", use_dictionary=False, write_statistics=False
        )


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole; NaN is refused, as JSON has none."""
    with write_whole(path) as unfinished:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        unfinished.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def check_version(part: str) -> None:
    """Refuse a Parquet file whose columns are those of another version of this package.

    Raises:
        InputError: It was written by another version, or by something else.
    """
    found = (pq.read_schema(part).metadata or {}).get(b"osteo_ray")
    if found != SCHEMA_VERSION:
        version = "none" if found is None else f"version {found.decode(errors='replace')}"
        raise InputError(
            f"Expected tables of version {SCHEMA_VERSION.decode()}, which this osteo_ray writes, "
            f"but found {version} in {part}. Go on with the osteo_ray that wrote it, or begin anew "
            "in another --out."
        )


def list_parts(directory: Path) -> list[str]:
    """Return the finished Parquet files under a directory, in order of their names."""
    return sorted(
        str(path) for path in directory.rglob("*.parquet") if not path.name.startswith(".")
    )


def read_parts(directory: Path, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
    """Read a table that lies in several Parquet files; empty where there are none.

    Raises:
        InputError: A file was written with other columns than this version has.
    """
    parts = list_parts(directory)
    for part in parts:
        check_version(part)
    files = pyarrow.dataset.dataset(parts, schema=schema, format="parquet")
    return files.to_table(columns=columns)
