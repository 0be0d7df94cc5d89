"""The forms of an exported data set: a folder of PNG files, NPZ, Parquet.

All forms hold the same data. Each is laid out as the libraries that read such data expect:

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
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy
from PIL import Image

from osteo_ray.base.tables import write_json
from osteo_ray.data.packed_masks import PackedMasks
from osteo_ray.data.pixels import Pixels

Form = Literal["folder", "npz", "parquet"]
FORMS: tuple[Form, ...] = get_args(Form)

CONTENT: dict[Form, str] = {
    "folder": "manifest.csv",
    "npz": "data.npz",
    "parquet": "data/train-00000-of-00001.parquet",
}
SHORT_NAMES = {"train": "train", "validation": "val", "test": "test"}  # as MedMNIST names them
COLUMNS = ("label", "split", "patient_id", "image_id", "source_path", "source_digest")
_BATCH = 16  # images that are made at a time: of larger arrays, the C library gives little back
_ROWS_PER_GROUP = 96  # of Parquet, which is read as a whole


@dataclass(frozen=True)
class Content:
    """The content of a data set, in order of image_id, whatever its form.

    Attributes:
        rows: For each image the values of `COLUMNS`, and `error`: why it is kept whole, or None.
        images: uint8 or uint16, (n, height, width), in memory or made when asked for.
        keep_masks: Those of all images of the run; None if the arm has no masks.
        order: int, (n,); the row of each image in `keep_masks`.
        classes: Sorted.
    """

    rows: list[dict[str, Any]]
    images: Pixels
    keep_masks: PackedMasks | None
    order: np.ndarray
    classes: tuple[str, ...]

    @cached_property
    def size(self) -> tuple[int, ...]:
        """The height and width of each image."""
        return self.images[np.arange(1)].shape[1:]

    @cached_property
    def dtype(self) -> "np.dtype[Any]":
        """The type of the gray values: uint8 or uint16."""
        return self.images[np.arange(1)].dtype

    def read_masks(self, rows: np.ndarray) -> np.ndarray:
        """Return the masks of some rows, bool, (k, height, width); all True if the arm has none."""
        if self.keep_masks is None:
            return np.ones((len(rows), *self.size), bool)
        found: np.ndarray = self.keep_masks[self.order[rows]]
        return found

    @property
    def kept_share(self) -> float | None:
        """The share of all pixels that the masks keep; None if the arm has no masks."""
        if self.keep_masks is None:
            return None
        return float(self.keep_masks.areas_px[self.order].mean() / np.prod(self.size))

    def rows_of(self, split: str) -> np.ndarray:
        """Return the numbers of the rows of a part of the split."""
        return np.flatnonzero(np.array(self.column("split")) == split)

    def column(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows]

    def number_labels(self) -> np.ndarray:
        """Return the number of each image's class, int64, (n,)."""
        return np.searchsorted(self.classes, self.column("label")).astype(np.int64)

    def list_splits(self) -> list[str]:
        """Return the parts of the split that hold images: train, validation, test."""
        return [split for split in SHORT_NAMES if split in set(self.column("split"))]


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


def _take_turns(rows: np.ndarray, size: int = _BATCH) -> list[np.ndarray]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _encode_images(content: Content, rows: np.ndarray) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Encode the images of some rows and their masks as PNG; give the number of the row first."""
    for part in _take_turns(rows):
        shown = zip(part.tolist(), content.images[part], content.read_masks(part), strict=True)
        for number, image, mask in shown:
            masked = content.keep_masks is not None
            yield number, _encode_png(image), _encode_mask(mask) if masked else None


def _write_folder(path: Path, content: Content) -> None:
    # Every part has a folder of every class: readers number classes by the folders that they find.
    for split in content.list_splits():
        for label in content.classes:
            (path / split / _name_folder(label)).mkdir(parents=True)
    if content.keep_masks is not None:
        (path / "masks").mkdir()
    rows = []
    for number, png, mask in _encode_images(content, np.arange(len(content.rows))):
        row = content.rows[number]
        image_id, folder = row["image_id"], Path(row["split"], _name_folder(row["label"]))
        places = {"path": f"{folder.as_posix()}/{image_id}.png", "mask": ""}
        (path / places["path"]).write_bytes(png)
        if mask is not None:
            places["mask"] = f"masks/{image_id}.png"
            (path / places["mask"]).write_bytes(mask)
        rows.append({**row, **places})
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


def _write_npz(path: Path, content: Content) -> None:
    numbers = content.number_labels()
    ids, patients = (np.array(content.column(name), str) for name in ("image_id", "patient_id"))
    with zipfile.ZipFile(path / "data.npz", "w", zipfile.ZIP_DEFLATED) as file:

        def write(name: str, array: np.ndarray) -> None:
            with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                npy.write_array(entry, array, allow_pickle=False)

        def write_parts(
            name: str, shape: tuple[int, ...], dtype: npt.DTypeLike, parts: Iterable[np.ndarray]
        ) -> None:
            descr = npy.dtype_to_descr(np.dtype(dtype))
            with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                header = {"descr": descr, "fortran_order": False, "shape": shape}
                npy.write_array_header_1_0(entry, header)
                for part in parts:
                    entry.write(part.tobytes())

        write("classes", np.array(content.classes, str))
        for split, name in SHORT_NAMES.items():
            rows = content.rows_of(split)
            write(f"{name}_labels", numbers[rows, None])
            write(f"{name}_ids", ids[rows])
            write(f"{name}_patients", patients[rows])
            shape = (len(rows), *content.size)
            parts = _take_turns(rows)
            images = (content.images[part] for part in parts)
            write_parts(f"{name}_images", shape, content.dtype, images)
            write_parts(f"{name}_masks", shape, bool, map(content.read_masks, parts))


def _write_parquet(path: Path, content: Content) -> None:
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields = {
        "image": picture,
        "label": pa.int64(),
        **dict.fromkeys(COLUMNS[1:], pa.string()),
        "mask": picture,
        "error": pa.string(),
    }
    # The `datasets` library decodes the columns by these types.
    text = {"dtype": "string", "_type": "Value"}
    kinds: dict[str, dict[str, Any]] = {
        "image": {"_type": "Image"},
        "mask": {"_type": "Image"},
        "label": {"names": list(content.classes), "_type": "ClassLabel"},
    }
    features = {name: kinds.get(name, text) for name in fields}
    schema = pa.schema(fields, {"huggingface": json.dumps({"info": {"features": features}})})
    labels = content.number_labels().tolist()
    (path / "data").mkdir()
    for split in content.list_splits():
        file = path / CONTENT["parquet"].replace("train", split)
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for group in _take_turns(content.rows_of(split), _ROWS_PER_GROUP):
                rows = []
                for number, png, mask in _encode_images(content, group):
                    row, name = content.rows[number], f"{content.rows[number]['image_id']}.png"
                    found = {"image": {"bytes": png, "path": name}, "label": labels[number]}
                    found["mask"] = mask and {"bytes": mask, "path": name}
                    rows.append({**row, **found})
                writer.write_table(pa.Table.from_pylist(rows, schema))


def _encode_png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def _encode_mask(keep_mask: np.ndarray) -> bytes:
    return _encode_png(keep_mask.astype(np.uint8) * 255)
