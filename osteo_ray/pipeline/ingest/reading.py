"""Read, check and reduce every image of a source on the cluster; pixels go straight to files."""

import hashlib
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import ray.data
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError

from osteo_ray.base.errors import IncompleteError, InputError
from osteo_ray.base.mappings import hash_settings
from osteo_ray.base.progress import Report, ignore_progress
from osteo_ray.base.storage import Place
from osteo_ray.base.tables import PIXELS, write_pixels
from osteo_ray.cluster.connection import allow_lost_blocks
from osteo_ray.data.decoding.description import describe_look, measure_contrast, shrink_to_preview
from osteo_ray.data.decoding.images import (
    Decoded,
    UnreadableImageError,
    convert_array,
    decode_image,
    identify_image,
    is_dicom,
    resize_image,
)
from osteo_ray.data.decoding.thumbnails import SQUARE_PX, Thumbnails, digest_pixels, make_thumbnail
from osteo_ray.data.sources.listing import Source
from osteo_ray.data.sources.readers import Reader

_LEAST_PER_BLOCK, _MOST_PER_BLOCK, _BLOCKS = 32, 512, 16  # images; blocks of a set in between
_TRIES = 3  # of a block whose process dies, and then of each image of it alone
_MOST_LOST = 16  # blocks, and then images; above that it is not the images
_FOUND = pa.schema(
    [
        ("image_id", pa.string()),
        ("path", pa.string()),
        ("label", pa.string()),
        ("patient", pa.string()),
        ("side", pa.string()),
        ("site", pa.string()),
        ("split", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("digest", pa.string()),
        ("format", pa.string()),
        ("mode", pa.string()),
        ("size", pa.int64()),
        ("contrast", pa.float32()),
        ("look", pa.binary()),
        ("preview", pa.binary()),
        ("thumbnail", pa.binary()),
        ("reason", pa.string()),
        ("failure", pa.string()),  # why the block could not be read at all
    ]
)


@dataclass(frozen=True)
class Ingest:
    """What was read from a source.

    Attributes:
        images: A row per accepted image, sorted by path: image_id, path, label, patient (a number,
            -1 if unknown), side, site, split, width, height (of the file, pixels), digest, format,
            mode, size (bytes), contrast (standard deviation of gray), look and preview (see
            `looks`).
        thumbnails: In the order of `images`.
        rejects: A row per refused file, sorted by path: path, reason.
    """

    images: pd.DataFrame
    thumbnails: Thumbnails
    rejects: pd.DataFrame


def ingest_images(
    source: Source,
    scratch: Path,
    *,
    pixels: Place | None = None,
    image_size: int | None = None,
    max_reject_share: float = 1.0,
    workers_see_scratch: bool = True,
    report: Report = ignore_progress,
) -> Ingest:
    """Read every image of a source.

    Only small columns come back; thumbnails are appended to a file, and pixels are written by the
    workers, in parts of a few dozen images. So memory does not grow with the pixels. An image that
    kills the process that reads it, also when it is alone, is refused.

    Args:
        source: What to read.
        scratch: Folder for the thumbnails.
        pixels: Folder for the pixels at `image_size`, or None to keep none.
        image_size: Side to which images are resized, in pixels.
        max_reject_share: Refusals above this share of all images end the reading.
        workers_see_scratch: Whether that folder is on storage that every worker can read.
        report: Told how far it is.

    Raises:
        InputError: Too many images were refused, or all of them.
        IncompleteError: Blocks could not be read for other reasons than their images.
    """
    items = source.items
    key = secrets.token_bytes(16)  # forgotten at the end, and with it whose images these were
    rows = items.drop(columns="patient_id").to_dict("records")
    for row, patient in zip(rows, items["patient_id"], strict=True):
        row["patient"] = _veil(patient, key)
    per_block = min(max(len(rows) // _BLOCKS, _LEAST_PER_BLOCK), _MOST_PER_BLOCK)
    decode_batch = partial(
        _decode_or_tell, reader=source.reader, key=key, pixels=pixels, image_size=image_size
    )
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / "thumbnails.u8"
    parts, done = [], 0
    report("read images", 0, len(rows))
    with path.open("wb") as file:
        for batch in _read(rows, per_block, decode_batch):
            for thumbnail in batch["thumbnail"].drop_null():
                file.write(thumbnail.as_py())
            small = batch.drop_columns(["thumbnail", "failure"])
            # A copy: what views a block keeps all of it, thumbnails too, in Ray's object store.
            parts.append(small.take(np.arange(len(small))))
            done += len(batch)
            report("read images", done, len(rows))
    table = pa.concat_tables(parts)
    good = pc.equal(table["reason"], "")
    images = table.filter(good).drop_columns(["reason"]).to_pandas()
    images["row"] = np.arange(len(images))
    images = images.sort_values("path", ignore_index=True)
    rejects = table.filter(pc.invert(good)).select(["path", "reason"]).to_pandas()
    rejects = pd.concat([rejects, source.refused]).sort_values("path", ignore_index=True)
    _check_rejects(source, len(images), rejects, max_reject_share)
    images["patient"] = _number(images["patient"])
    rows = images.pop("row").to_numpy(np.int64)
    thumbnails = Thumbnails(path, rows, workers_see_scratch)
    return Ingest(images, thumbnails, rejects)


Rows = list[dict[str, Any]]


def _read(
    rows: Rows, per_block: int, decode: Callable[[dict[str, np.ndarray]], pa.Table]
) -> Iterator[pa.Table]:
    """Decode rows in blocks; those of a lost block one by one; refuse what is lost even so."""
    for size in (per_block, 1):
        found: set[str] = set()
        for batch in _read_blocks(rows, size, decode) if rows else ():
            found.update(batch["path"].to_pylist())
            yield batch
        rows = [row for row in rows if row["path"] not in found]
    reason = f"the process that read this image alone died {_TRIES} times"
    if rows:
        lost = [{"path": row["path"], "label": row["label"], "reason": reason} for row in rows]
        yield pa.Table.from_pylist(lost, schema=_FOUND)


def _read_blocks(
    rows: Rows, size: int, decode: Callable[[dict[str, np.ndarray]], pa.Table]
) -> Iterator[pa.Table]:
    blocks = max(1, -(-len(rows) // size))
    with allow_lost_blocks(_MOST_LOST):
        dataset = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
            decode, batch_size=size, max_retries=_TRIES - 1
        )
        batches: Any = dataset.iter_batches(batch_size=None, batch_format="pyarrow")
        try:
            for batch in batches:
                (*failures,) = filter(None, batch["failure"].to_pylist())
                if failures:
                    raise IncompleteError(f"Reading images failed: {failures[0]}")
                yield batch
        except (RayError, ExecutionTimeoutError) as error:
            raise IncompleteError(
                f"Reading was given up: the processes of more than {_MOST_LOST} blocks died again "
                f"and again, which single images do not explain. The last error: {error}"
            ) from error


def _veil(patient: str, key: bytes) -> str:
    """Make a patient's name unreadable, but equal to itself within one ingest."""
    return hashlib.blake2b(patient.encode(), key=key, digest_size=12).hexdigest() if patient else ""


def _number(patients: "pd.Series[str]") -> np.ndarray:
    numbers = {name: number for number, name in enumerate(dict.fromkeys(patients[patients != ""]))}
    return np.array([numbers.get(name, -1) for name in patients], np.int64)


def _check_rejects(
    source: Source, n_images: int, rejects: pd.DataFrame, max_reject_share: float
) -> None:
    total = n_images + len(rejects)
    if n_images and len(rejects) <= max_reject_share * total:
        return
    reasons = Counter(rejects["reason"]).most_common(3)
    told = "; ".join(f"{reason} ({count}×)" for reason, count in reasons)
    first = rejects.iloc[0]
    if not n_images:
        raise InputError(
            f"Expected images in {source.uri}, but not one of {total} could be read: {told}. The "
            f"first: {first['path']}."
        )
    raise InputError(
        f"Expected at most {max_reject_share:.0%} of the images in {source.uri} to be refused, but "
        f"{len(rejects)} of {total} were: {told}. The first: {first['path']}. `osteo-ray audit` "
        "lists all of them; mend or remove them, or raise --max-reject-share."
    )


def decode(content: bytes | np.ndarray) -> Decoded:
    """Decode what a reader fetched, by its content.

    Raises:
        UnreadableImageError: It holds no usable image.
    """
    if isinstance(content, np.ndarray):
        return convert_array(content)
    if not is_dicom(content):
        return decode_image(content)
    # Imported here: pydicom takes a second to import, and most sets do without.
    from osteo_ray.data.decoding.dicom import decode_dicom

    return decode_dicom(content)


def _decode_or_tell(batch: dict[str, np.ndarray], **named: Any) -> pa.Table:
    """Decode images; tell what went wrong, where a lost block would look like a dead process."""
    try:
        return _decode_batch(batch, **named)
    except Exception as error:
        told = {"path": "", "reason": "", "failure": f"{type(error).__name__}: {error}"}
        return pa.Table.from_pylist([told], schema=_FOUND)


def _decode_batch(
    batch: dict[str, np.ndarray],
    reader: Reader,
    key: bytes,
    pixels: Place | None,
    image_size: int | None,
) -> pa.Table:
    """Decode images, write the pixels of the good ones, return everything else."""
    found: list[dict[str, Any]] = []
    kept: list[bytes] = []
    accepted: list[dict[str, Any]] = []
    names = list(batch)
    for values in zip(*(batch[name].tolist() for name in names), strict=True):
        item = dict(zip(names, values, strict=True))
        try:
            decoded = decode(reader.read(item["path"], item["position"]))
        except UnreadableImageError as error:
            found.append({"path": item["path"], "label": item["label"], "reason": str(error)})
            continue
        square = resize_image(decoded.pixels, SQUARE_PX)
        found.append(_describe(item, decoded, square, key))
        if pixels is not None and image_size is not None:
            same = image_size == SQUARE_PX
            resized = square if same else resize_image(decoded.pixels, image_size)
            kept.append(resized.tobytes())
            accepted.append(found[-1])
    if kept and pixels is not None:
        ids, digests = ([row[name] for row in accepted] for name in ("image_id", "digest"))
        part = pixels / f"part-{hash_settings(ids)}.parquet"
        write_pixels(part, pa.table([ids, digests, kept], schema=PIXELS))
    return pa.Table.from_pylist(found, schema=_FOUND)


def _describe(
    item: dict[str, Any], decoded: Decoded, square: np.ndarray, key: bytes
) -> dict[str, Any]:
    """Describe an image, for the most part by what it looks like resized to a square."""
    image = decoded.pixels
    digest = digest_pixels(image)
    return {
        "image_id": identify_image(item["path"], digest),
        "path": item["path"],
        "label": item["label"],
        "patient": item["patient"] or _veil(decoded.patient_id or "", key),
        "side": item["side"] or decoded.side or "",
        "site": item["site"],
        "split": item["split"],
        "width": image.shape[1],
        "height": image.shape[0],
        "digest": digest,
        "format": decoded.format,
        "mode": decoded.mode,
        "size": item["size"],
        "contrast": measure_contrast(square),
        "look": describe_look(square).tobytes(),
        "preview": shrink_to_preview(square).tobytes(),
        "thumbnail": make_thumbnail(image, square).tobytes(),
        "reason": "",
    }
