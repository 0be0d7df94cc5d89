"""Read, check and describe every image of a source on the cluster; pixels go straight to files."""

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
from osteo_ray.base.progress import tell_progress
from osteo_ray.base.storage import Place
from osteo_ray.cluster.connection import allow_lost_blocks
from osteo_ray.data.copies.groups import join_groups
from osteo_ray.data.copies.thumbnails import Thumbnails
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.pixels import Bits
from osteo_ray.data.sources.columns import TOLD
from osteo_ray.data.sources.listing import Source
from osteo_ray.pipeline.ingest.blocks import FOUND, decode_block, veil_patient

_LEAST_PER_BLOCK, _MOST_PER_BLOCK, _BLOCKS = 32, 512, 16  # images in a block; blocks to aim for
_TRIES = 3  # for a block whose process dies, and then for each of its images alone
_MOST_LOST = 16  # blocks, and then images; beyond that, single images are not to blame


@dataclass(frozen=True)
class Ingest:
    """What was read from a source.

    Attributes:
        images: A row per accepted image, sorted by path: item (path of the row of the source that
            it comes from), film (path of the film of both knees that it is, or is half of; else
            empty), image_id, path, label, patient (a number,
            -1 if unknown), side, site (as the source says, else the number of a DICOM header's
            institution), split, maker, device, view, age, sex (empty if unknown), width, height
            (of the file, in pixels), digest, format, mode, size (bytes), remarks (of decoding, as
            `write_notes` joins them), contrast (standard deviation of gray), look and preview (see
            `osteo_ray.data.appearance`).
        thumbnails: Thumbnails of the accepted images, in the order of `images`.
        rejects: A row per refused file, sorted by path: path, reason.
        veiled: str, (n,); the patients of the accepted images as digests, empty if unknown; never
            to be stored. Those of two sources that were read with the same key are equal where
            both name the same patient; who paths only suggest, or stands for a patient, such as
            the halves of a film, is equal within a source only.
        notes: How the source was read, in sentences for the user.
        doubts: What only the user can decide; see `Source.doubts`.
        guessed: Whether patients are what paths suggest; see `Source.guessed`.
        names_patients: Whether the source or a header names the patient of any image.
    """

    images: pd.DataFrame
    thumbnails: Thumbnails
    rejects: pd.DataFrame
    veiled: np.ndarray
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    guessed: bool = False
    names_patients: bool = True


def ingest_images(
    source: Source,
    scratch: Path,
    *,
    pixels: Place | None = None,
    image_size: ImageSize | None = None,
    bits: Bits = 8,
    max_reject_share: float = 1.0,
    workers_see_scratch: bool = True,
    key: bytes | None = None,
) -> Ingest:
    """Read every image of a source.

    Only small columns come back: thumbnails are appended to a file, and the workers write the
    pixels in parts of a few dozen images. So memory does not grow with the pixels. An image that
    kills the process that reads it, even when it is read alone, is refused.

    Args:
        source: The images.
        scratch: Folder for the thumbnails.
        pixels: Folder for the pixels at `image_size`, or None to keep none.
        image_size: Height and width that pixels are resized to.
        bits: Of the gray values that are kept, and that identify an image.
        max_reject_share: Largest share of images that may be refused, in [0, 1].
        workers_see_scratch: Whether every worker can read `scratch`.
        key: Veils patients; by default a random one. Patients of two sources can be compared only
            if both were veiled with the same key.

    Raises:
        InputError: All images were refused, or too many of them.
        IncompleteError: Blocks could not be read, and their images are not to blame.
    """
    # A random key is forgotten at the end, and with it the way back to the patients.
    own_key = secrets.token_bytes(16)
    key = own_key if key is None else key
    rows = _tabulate_rows(source, key, own_key)
    per_block = min(max(len(rows) // _BLOCKS, _LEAST_PER_BLOCK), _MOST_PER_BLOCK)
    decode = partial(
        decode_block,
        reader=source.reader,
        key=key,
        own_key=own_key,
        pixels=pixels,
        image_size=image_size,
        laterality=source.laterality,
        bits=bits,
    )
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / "thumbnails.u8"
    table = _collect(_read(rows, per_block, decode), path, len(rows))
    good = pc.equal(table["reason"], "")
    images = table.filter(good).drop_columns(["reason"]).to_pandas()
    images["row"] = np.arange(len(images))
    images = images.sort_values("path", ignore_index=True)
    rejects = table.filter(pc.invert(good)).select(["path", "reason"]).to_pandas()
    rejects = pd.concat([rejects, source.refused]).sort_values("path", ignore_index=True)
    _check_rejects(source, len(images), rejects, max_reject_share)
    images["patient"] = _join_patients(images["patient"], images.pop("person"))
    of_patients = images["patient"].to_numpy(str)
    images["patient"] = _number(images["patient"])
    names_patients = bool(images.pop("is_named").any())
    numbers = _number(images.pop("institution"))
    named = (images["site"] != "") | (numbers < 0)
    images["site"] = images["site"].where(named, [f"institution-{n + 1}" for n in numbers])
    for name in TOLD:
        listed = source.attributes.get(name, {})
        pairs = zip(images["item"], images[name], strict=True)
        images[name] = [listed.get(item) or told for item, told in pairs]
    stored = images.pop("row").to_numpy(np.int64)
    thumbnails = Thumbnails(path, stored, workers_see_scratch)
    doubts = (*source.doubts, *doubt_lost_classes(source, images))
    told = (source.notes, doubts, source.guessed, names_patients)
    return Ingest(images, thumbnails, rejects, of_patients, *told)


def doubt_lost_classes(source: Source, images: pd.DataFrame) -> list[str]:
    """Say which classes of a source have no image that could be read.

    Args:
        source: The images as they are listed.
        images: Those that were read, with their labels.
    """
    listed = source.items["label"].value_counts().drop(images["label"].unique(), errors="ignore")
    return [
        f"The class `{name}` is lost, as none of its {n} files can be read."
        for name, n in sorted(listed.items())
        if name
    ]


def _tabulate_rows(source: Source, key: bytes, own_key: bytes) -> pa.Table:
    """Return the items of a source as workers get them, with patients veiled.

    Patients that paths only suggest are of this source alone: the same number in two sets need not
    be one person.
    """
    chosen = own_key if source.guessed else key
    veiled = [veil_patient(patient, chosen) for patient in source.items["patient_id"]]
    named, suggested = ("", veiled) if source.guessed else (veiled, "")
    items = source.items.drop(columns="patient_id").assign(patient=named, suggested=suggested)
    return pa.Table.from_pandas(items, preserve_index=False)


def _collect(batches: Iterator[pa.Table], thumbnails: Path, total: int) -> pa.Table:
    """Write the thumbnails of all batches to a file, and join the small columns."""
    parts, done = [], 0
    tell_progress("read images", 0, total)
    with thumbnails.open("wb") as file:
        for batch in batches:
            for chunk in batch["thumbnail"].chunks:
                file.write(_join_values(chunk.drop_null()))
            small = batch.drop_columns(["thumbnail", "failure"])
            # Copy the rows: a view would keep the whole block, thumbnails included, in Ray's store.
            parts.append(small.take(np.arange(len(small))))
            done += pc.count_distinct(batch["item"]).as_py()
            tell_progress("read images", done, total)
    return pa.concat_tables(parts)


def _join_values(column: pa.BinaryArray) -> memoryview:
    """Return the bytes of all values of a column, one after the other, without copying them."""
    if len(column) == 0:
        return memoryview(b"")
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return memoryview(data)[ends[0] : ends[-1]]


def _read(
    rows: pa.Table, per_block: int, decode: Callable[[dict[str, np.ndarray]], pa.Table]
) -> Iterator[pa.Table]:
    """Decode rows in blocks, those of a lost block one by one, and refuse what is still lost."""
    for size in (per_block, 1):
        found: set[str] = set()
        for batch in _read_blocks(rows, size, decode) if len(rows) else ():
            found.update(batch["item"].to_pylist())
            yield batch
        lost = [path not in found for path in rows["path"].to_pylist()]
        rows = rows.filter(pa.array(lost, pa.bool_()))
    reason = f"the process that read only this image died {_TRIES} times"
    if len(rows):
        told = [
            {"item": row["path"], "path": row["path"], "label": row["label"], "reason": reason}
            for row in rows.to_pylist()
        ]
        yield pa.Table.from_pylist(told, schema=FOUND)


def _read_blocks(
    rows: pa.Table, size: int, decode: Callable[[dict[str, np.ndarray]], pa.Table]
) -> Iterator[pa.Table]:
    blocks = [rows.slice(start, size).combine_chunks() for start in range(0, len(rows), size)]
    with allow_lost_blocks(_MOST_LOST):
        dataset = ray.data.from_arrow(blocks).map_batches(
            decode, batch_size=None, max_retries=_TRIES - 1
        )
        batches: Any = dataset.iter_batches(batch_size=None, batch_format="pyarrow")
        try:
            for batch in batches:
                (*failures,) = filter(None, batch["failure"].to_pylist())
                if failures:
                    raise IncompleteError(
                        f"Expected images to be read, but a worker failed: {failures[0]}"
                    )
                yield batch
        except (RayError, ExecutionTimeoutError) as error:
            raise IncompleteError(
                "Expected blocks of images to be read, but the processes of more than "
                f"{_MOST_LOST} blocks died repeatedly, which single images do not explain. Check "
                "the memory of the workers, and run the same command again. The last error: "
                f"{error}"
            ) from error


def _join_patients(patients: "pd.Series[str]", people: "pd.Series[str]") -> list[str]:
    """Return the patient of each image, "" where nobody is known.

    The halves of a film and the slices of a volume are of one patient, even where a table names
    only some of them, or names several patients.

    Args:
        patients: What a source or header says of each image, veiled.
        people: What its halves or slices have in common; stands for a patient if none is named.
    """
    groups = join_groups(_number(patients), _number(people)).tolist()
    first: dict[int, str] = {}
    for names in (patients, people):
        for group, name in zip(groups, names, strict=True):
            if name:
                first.setdefault(group, name)
    return [first.get(group, "") for group in groups]


def _number(names: "pd.Series[str]") -> np.ndarray:
    """Number names in the order in which they first appear; -1 where there is none."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names[names != ""]))}
    return np.array([numbers.get(name, -1) for name in names], np.int64)


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
            f"Expected images in {source.uri}, but none of {total} could be read: {told}. The "
            f"first: {first['path']}. Check that --data names the right place."
        )
    raise InputError(
        f"Expected at most {max_reject_share:.0%} of the images in {source.uri} to be refused, but "
        f"{len(rejects)} of {total} were: {told}. The first: {first['path']}. `osteo-ray audit` "
        "lists all of them. Repair or remove them, or raise --max-reject-share."
    )
