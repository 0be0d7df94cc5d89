"""The forms of an exported data set: a folder of PNG files, NPZ, Parquet.

All forms hold the same data, and `read_export` reads each of them back. Each is laid out as the
libraries that read such data expect:

| form | laid out as | read by |
|---|---|---|
| folder | a folder per part, and in it one per class | torchvision's `ImageFolder`, `datasets` |
| | `dataset.json`, as of the Medical Segmentation Decathlon | MONAI |
| npz | MedMNIST | `medmnist`, and code for it |
| parquet | a data set of the Hub: a file per part, with types in its metadata | `datasets` |
"""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from osteo_ray.base.errors import InputError
from osteo_ray.base.tables import read_table, write_json
from osteo_ray.data.packed_masks import PackedMasks

Form = Literal["folder", "npz", "parquet"]
FORMS: tuple[Form, ...] = get_args(Form)

CONTENT: dict[Form, str] = {
    "folder": "manifest.csv",
    "npz": "data.npz",
    "parquet": "data/train-00000-of-00001.parquet",
}
_SHORT = {"train": "train", "validation": "val", "test": "test"}  # as MedMNIST names them
COLUMNS = ("label", "split", "patient_id", "image_id", "source_path", "source_digest")
_ROWS_PER_GROUP = 100  # of Parquet: readers fetch whole row groups, and images are large


@dataclass(frozen=True)
class Content:
    """The content of a data set, in order of image_id, whatever its form.

    Attributes:
        rows: For each image the values of `COLUMNS`, and `error`: why it is kept whole, or None.
        images: uint8, (n, s, s).
        keep_masks: Those of the images; None if the arm has no masks.
        classes: Sorted.
    """

    rows: list[dict[str, Any]]
    images: np.ndarray
    keep_masks: PackedMasks | None
    classes: tuple[str, ...]

    def column(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows]

    def number_labels(self) -> np.ndarray:
        """Return the number of each image's class, int64, (n,)."""
        return np.searchsorted(self.classes, self.column("label")).astype(np.int64)

    def list_splits(self) -> list[str]:
        """Return the parts of the split that hold images: train, validation, test."""
        return [split for split in _SHORT if split in set(self.column("split"))]


@dataclass(frozen=True)
class Export:
    """An exported data set, read back, in order of `image_ids`.

    Attributes:
        images: uint8, (n, s, s); as the arm showed them.
        keep_masks: bool, (n, s, s), True = kept; all True if the arm has no masks.
        labels: str, (n,).
        splits: str, (n,); train, validation or test.
        image_ids: str, (n,).
    """

    images: np.ndarray
    keep_masks: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    image_ids: np.ndarray


def write_content(path: Path, content: Content, form: Form) -> None:
    """Write a data set in one of the forms into an existing folder.

    Raises:
        OSError: The folder cannot be written to.
    """
    writers: dict[Form, Callable[[Path, Content], None]] = {
        "folder": _write_folder,
        "npz": _write_npz,
        "parquet": _write_parquet,
    }
    writers[form](path, content)


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


def _write_folder(path: Path, content: Content) -> None:
    masks = content.keep_masks
    # Every part has a folder of every class: readers number classes by the folders that they find.
    for split in content.list_splits():
        for label in content.classes:
            (path / split / _name_folder(label)).mkdir(parents=True)
    rows = []
    for number, row in enumerate(content.rows):
        image = Path(row["split"], _name_folder(row["label"]), f"{row['image_id']}.png")
        (path / image).write_bytes(_encode_png(content.images[number]))
        mask = "" if masks is None else f"masks/{row['image_id']}.png"
        if masks is not None:
            (path / "masks").mkdir(exist_ok=True)
            (path / mask).write_bytes(_encode_mask(masks[number]))
        rows.append({**row, "path": image.as_posix(), "mask": mask})
    with (path / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        names = ("path", *COLUMNS, "mask", "error")
        manifest = csv.DictWriter(file, names, lineterminator="\n")
        manifest.writeheader()
        manifest.writerows(rows)
    write_json(path / "dataset.json", _list_items(rows, content))


def _list_items(rows: Sequence[Mapping[str, Any]], content: Content) -> dict[str, Any]:
    """Return a data list as the Medical Segmentation Decathlon has it, with classes as labels."""
    parts: dict[str, list[dict[str, Any]]] = {"training": [], "validation": [], "test": []}
    for row, label in zip(rows, content.number_labels().tolist(), strict=True):
        mask = {"mask": row["mask"]} if row["mask"] else {}
        item = {"image": row["path"], "label": label, **mask, "patient_id": row["patient_id"]}
        parts["training" if row["split"] == "train" else row["split"]].append(item)
    return {
        "labels": {str(number): name for number, name in enumerate(content.classes)},
        "numTraining": len(parts["training"]),
        "numTest": len(parts["test"]),
        **parts,
    }


def _name_folder(label: str) -> str:
    """Return a label as a folder name, with characters escaped that folder names may not have."""
    return re.sub(r'[\x00-\x1f%/\\:*?"<>|]|^\.', lambda found: f"%{ord(found[0]):02X}", label)


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


def _write_npz(path: Path, content: Content) -> None:
    splits = np.array(content.column("split"))
    masks = content.keep_masks
    if masks is None:
        masks = PackedMasks.whole(*content.images.shape[:2])
    numbers = content.number_labels()
    arrays = {"classes": np.array(content.classes, str)}
    for split, name in _SHORT.items():
        rows = np.flatnonzero(splits == split)
        arrays[f"{name}_images"] = content.images[rows]
        arrays[f"{name}_labels"] = numbers[rows, None]
        arrays[f"{name}_masks"] = masks[rows]
        arrays[f"{name}_ids"] = np.array(content.column("image_id"), str)[rows]
        arrays[f"{name}_patients"] = np.array(content.column("patient_id"), str)[rows]
    np.savez_compressed(path / "data.npz", allow_pickle=False, **arrays)


def _read_npz(path: Path) -> Export:
    with np.load(path / "data.npz", allow_pickle=False) as file:

        def join(what: str) -> np.ndarray:
            return np.concatenate([file[f"{name}_{what}"] for name in _SHORT.values()])

        counts = [len(file[f"{name}_ids"]) for name in _SHORT.values()]
        return Export(
            images=join("images"),
            keep_masks=join("masks"),
            labels=file["classes"][join("labels")[:, 0]],
            splits=np.repeat(list(_SHORT), counts),
            image_ids=join("ids"),
        )


def _write_parquet(path: Path, content: Content) -> None:
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

    def encode(pngs: list[bytes]) -> pa.Array:
        names = [f"{image_id}.png" for image_id in content.column("image_id")]
        values = [{"bytes": png, "path": name} for png, name in zip(pngs, names, strict=True)]
        return pa.array(values, picture)

    masks = content.keep_masks
    columns = {
        "image": encode([_encode_png(image) for image in content.images]),
        "label": pa.array(content.number_labels()),
        **{name: pa.array(content.column(name), pa.string()) for name in COLUMNS[1:]},
        "mask": pa.nulls(len(content.rows), picture)
        if masks is None
        else encode([_encode_mask(mask) for mask in masks]),
        "error": pa.array(content.column("error"), pa.string()),
    }
    # The `datasets` library decodes the columns by these types.
    text = {"dtype": "string", "_type": "Value"}
    kinds: dict[str, dict[str, Any]] = {
        "image": {"_type": "Image"},
        "mask": {"_type": "Image"},
        "label": {"names": list(content.classes), "_type": "ClassLabel"},
    }
    features = {name: kinds.get(name, text) for name in columns}
    table = pa.table(columns).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    (path / "data").mkdir()
    for split in content.list_splits():
        part = table.filter(pc.equal(table["split"], split))
        file = path / CONTENT["parquet"].replace("train", split)
        pq.write_table(part, file, compression="zstd", row_group_size=_ROWS_PER_GROUP)


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


def _encode_png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def _encode_mask(keep_mask: np.ndarray) -> bytes:
    return _encode_png(keep_mask.astype(np.uint8) * 255)


def _decode_png(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("L"))
