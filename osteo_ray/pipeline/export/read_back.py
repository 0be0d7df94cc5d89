"""Read an exported data set back, whichever form it has."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from osteo_ray.base.errors import InputError
from osteo_ray.base.tables import read_table
from osteo_ray.data.decoding.grays import DEEP_MODES
from osteo_ray.pipeline.export.forms import CONTENT, SHORT_NAMES, Form


@dataclass(frozen=True)
class Export:
    """An exported data set, read back, in order of `image_ids`.

    Attributes:
        images: uint8 or uint16, (n, height, width); as the arm showed them.
        keep_masks: bool, (n, height, width), True = kept; all True if the arm has no masks.
        labels: str, (n,).
        splits: str, (n,); train, validation or test.
        image_ids: str, (n,).
    """

    images: np.ndarray
    keep_masks: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    image_ids: np.ndarray


def read_export(path: Path) -> Export:
    """Read an exported data set of any form.

    Args:
        path: The folder of one data set: OUT/MODEL/seed-N.

    Raises:
        InputError: The folder holds no data set.
    """
    readers: dict[Form, Callable[[Path], Export]] = {
        "folder": _read_folder,
        "npz": _read_npz,
        "parquet": _read_parquet,
    }
    for form, name in CONTENT.items():
        if (path / name).is_file():
            found = readers[form](path)
            order = np.argsort(found.image_ids)
            return Export(**{name: values[order] for name, values in vars(found).items()})
    raise InputError(
        f"Expected an exported data set, with {' or '.join(CONTENT.values())}, but {path} holds "
        "none. Give the folder of one model and seed: OUT/MODEL/seed-N."
    )


def _read_folder(path: Path) -> Export:
    with (path / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    images = np.stack([_decode_png(_open_within(path, row["path"])) for row in rows])
    masks = np.ones(images.shape, bool)
    for number, row in enumerate(rows):
        if row["mask"]:
            masks[number] = _decode_png(_open_within(path, row["mask"])) > 0
    return _gather(images, masks, rows)


def _open_within(folder: Path, name: str) -> bytes:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InputError(
            f"Expected paths within {folder} in its manifest.csv, but got {name[:80]!r}, which "
            "leads out of it. The export was modified after it was written."
        )
    return path.read_bytes()


def _read_npz(path: Path) -> Export:
    with np.load(path / "data.npz", allow_pickle=False) as file:

        def join(what: str) -> np.ndarray:
            return np.concatenate([file[f"{name}_{what}"] for name in SHORT_NAMES.values()])

        counts = [len(file[f"{name}_ids"]) for name in SHORT_NAMES.values()]
        return Export(
            images=join("images"),
            keep_masks=join("masks"),
            labels=file["classes"][join("labels")[:, 0]],
            splits=np.repeat(list(SHORT_NAMES), counts),
            image_ids=join("ids"),
        )


def _read_parquet(path: Path) -> Export:
    columns = ["image", "label", "split", "image_id", "mask"]
    rows = []
    for file in sorted((path / "data").glob("*.parquet")):
        table = read_table(file, columns)
        features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
        names = features["label"]["names"]
        rows += [{**row, "label": names[row["label"]]} for row in table.to_pylist()]
    images = np.stack([_decode_png(row["image"]["bytes"]) for row in rows])
    masks = np.ones(images.shape, bool)
    for number, row in enumerate(rows):
        if row["mask"] is not None:
            masks[number] = _decode_png(row["mask"]["bytes"]) > 0
    return _gather(images, masks, rows)


def _gather(
    images: np.ndarray, keep_masks: np.ndarray, rows: Sequence[Mapping[str, Any]]
) -> Export:
    labels, splits, image_ids = (
        np.array([row[name] for row in rows], str) for name in ("label", "split", "image_id")
    )
    return Export(images, keep_masks, labels, splits, image_ids)


def _decode_png(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image if image.mode in DEEP_MODES else image.convert("L"))
