"""From a folder of images to the images table, read by Ray Data."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import ray.data

from osteo_ray.config import hash_settings
from osteo_ray.data.copies import digest_pixels, make_thumbnail
from osteo_ray.data.images import UnreadableImageError, decode_image, identify_image, resize_image
from osteo_ray.errors import InputError
from osteo_ray.runs import PIXELS, write_table

_IMAGES_PER_BLOCK = 64


@dataclass(frozen=True)
class Ingest:
    """What was read from a source.

    Attributes:
        images: A row per accepted image, sorted by path: image_id, path, label, width, height,
            digest.
        thumbnails: float32, (n, d); a row per row of `images`.
        rejects: A row per refused file, sorted by path: path, reason.
    """

    images: pd.DataFrame
    thumbnails: np.ndarray
    rejects: pd.DataFrame


def list_class_folders(root: Path) -> pd.DataFrame:
    """List the files of a folder that has a subfolder per class.

    Hidden files are passed over. Sub-subfolders belong to their class.

    Returns:
        Sorted by path: path (relative to the root, with `/`), label (name of the class folder),
        size (bytes).

    Raises:
        InputError: The folder is missing, or has no class folders with files in them.
    """
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise InputError(
            f"Expected --data to be a folder with a subfolder per class, but {root} {what}."
        )
    rows = []
    for folder in sorted(root.iterdir()):
        if not folder.is_dir() or folder.name.startswith("."):
            continue
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not file.name.startswith("."):
                path = file.relative_to(root).as_posix()
                rows.append((path, folder.name, file.stat().st_size))
    if not rows:
        raise InputError(
            f"Expected images in subfolders of {root}, one subfolder per class, but found none. "
            "Put each image into a folder named after its class."
        )
    listing = pd.DataFrame(rows, columns=["path", "label", "size"])
    classes = sorted(listing["label"].unique())
    if len(classes) < 2:
        raise InputError(
            f"Expected at least two class folders with images in {root}, but found one: "
            f"{classes[0]}."
        )
    return listing


def fingerprint_listing(listing: pd.DataFrame) -> str:
    """Return a hash of the names and sizes of the files, to notice that a source has changed."""
    return hash_settings(listing[["path", "size"]].to_numpy().tolist())


def ingest_images(listing: pd.DataFrame, root: Path, pixels: Path, *, image_size: int) -> Ingest:
    """Read, check and resize every listed file on the cluster.

    Pixels go straight from the workers to Parquet files under `pixels`, in parts of a few dozen
    images; only the small columns come back.

    Raises:
        InputError: Not one file could be read.
    """
    rows = listing[["path", "label"]].to_dict("records")
    blocks = -(-len(rows) // _IMAGES_PER_BLOCK)
    dataset = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
        partial(_decode_batch, root=root, pixels=pixels, image_size=image_size),
        batch_size=_IMAGES_PER_BLOCK,
    )
    table = dataset.to_pandas().sort_values("path", ignore_index=True)
    refused = table["reason"] != ""
    if refused.all():
        raise InputError(
            f"Expected images in {root}, but not one of {len(table)} files could be read; the "
            f"first, {table['path'][0]}: {table['reason'][0]}."
        )
    images = table[~refused].reset_index(drop=True)
    thumbnails = np.stack([np.frombuffer(row, np.float32) for row in images["thumbnail"]])
    return Ingest(
        images.drop(columns=["thumbnail", "reason"]),
        thumbnails,
        table.loc[refused, ["path", "reason"]].reset_index(drop=True),
    )


def _decode_batch(
    batch: dict[str, np.ndarray], root: Path, pixels: Path, image_size: int
) -> dict[str, list[object]]:
    """Decode files, write the pixels of the good ones, return everything else."""
    columns = ("image_id", "path", "label", "width", "height", "digest", "thumbnail", "reason")
    found: dict[str, list[object]] = {name: [] for name in columns}
    kept: dict[str, list[object]] = {name: [] for name in PIXELS.names}
    for path, label in zip(batch["path"].tolist(), batch["label"].tolist(), strict=True):
        try:
            image = decode_image(_read(root / path)).pixels
            digest = digest_pixels(image)
            row = (
                identify_image(path, digest),
                path,
                label,
                image.shape[1],
                image.shape[0],
                digest,
                make_thumbnail(image).tobytes(),
                "",
            )
            values = (row[0], digest, resize_image(image, image_size).tobytes())
            for name, value in zip(PIXELS.names, values, strict=True):
                kept[name].append(value)
        except UnreadableImageError as error:
            row = ("", path, label, 0, 0, "", b"", str(error))
        for name, value in zip(columns, row, strict=True):
            found[name].append(value)
    if kept["image_id"]:
        part = pixels / f"part-{hash_settings(kept['image_id'])}.parquet"
        write_table(part, pa.table(kept, schema=PIXELS))
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(error.strerror or str(error)) from None
