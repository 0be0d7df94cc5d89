"""The listing of a source: one row per image, whatever the source is."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from osteo_ray.config import hash_settings
from osteo_ray.data.readers import Reader

ITEM_COLUMNS = ("path", "position", "label", "size", "patient_id", "side", "site", "split")
OPTIONAL_COLUMNS = ("patient_id", "side", "site", "split")
SPLIT_SYNONYMS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Source:
    """A data set as it was found.

    Attributes:
        uri: Where; a URI, or an absolute path.
        kind: One of folders, manifest, table, archive, list.
        items: A row per image, with `ITEM_COLUMNS`: path (unique within the source), position (in
            an archive or table, else -1), label, size (bytes, 0 if unknown), and patient_id, side,
            site, split (empty if unknown).
        refused: What cannot even be tried: path, reason.
        reader: Fetches the images.
    """

    uri: str
    kind: str
    items: pd.DataFrame
    refused: pd.DataFrame
    reader: Reader

    @property
    def fingerprint(self) -> str:
        """Hash of names, sizes, labels and patients, to notice that a source has changed."""
        return hash_settings(self.items.to_numpy().tolist())


def tabulate_items(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Make the items table of a source: sorted by path, every column there."""
    table = pd.DataFrame(list(rows), columns=list(ITEM_COLUMNS))
    table = table.assign(
        position=table["position"].fillna(-1).astype(np.int64),
        size=table["size"].fillna(0).astype(np.int64),
        **{
            name: table[name].astype(object).where(table[name].notna(), "").astype(str)
            for name in ("path", "label", *OPTIONAL_COLUMNS)
        },
    )
    return table.sort_values(["path", "position"], ignore_index=True)


def list_refused(rows: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """Make the table of what cannot even be tried: path, reason."""
    return pd.DataFrame(list(rows), columns=["path", "reason"])
