"""Decode a block of images in a worker, and describe each of them."""

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa

from osteo_ray.base.mappings import hash_settings
from osteo_ray.base.storage import Place
from osteo_ray.base.tables import PIXELS, write_pixels
from osteo_ray.data.appearance import describe_look, measure_contrast, shrink_to_preview
from osteo_ray.data.copies.thumbnails import SQUARE, make_thumbnail
from osteo_ray.data.decoding.identity import digest_pixels, identify_image
from osteo_ray.data.decoding.resizing import resize_image
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.laterality import Laterality
from osteo_ray.data.notes import write_notes
from osteo_ray.data.pixels import Bits, show_8_bits
from osteo_ray.data.sources.columns import TOLD
from osteo_ray.data.sources.patients import fold_patient, know_patient
from osteo_ray.data.sources.readers import Reader
from osteo_ray.pipeline.ingest.films import View
from osteo_ray.pipeline.ingest.grouped_views import Row, read_groups

FOUND = pa.schema(
    [
        ("item", pa.string()),  # path of the row of the source that it comes from
        ("film", pa.string()),  # path of the film of both knees that it is, or is half of
        ("image_id", pa.string()),
        ("path", pa.string()),
        ("label", pa.string()),
        ("patient", pa.string()),
        ("person", pa.string()),  # equal for the halves of a film, or for the slices of a volume
        ("is_named", pa.bool_()),  # whether a table, a pattern or a header says who the patient is
        ("side", pa.string()),
        ("site", pa.string()),
        ("institution", pa.string()),
        ("split", pa.string()),
        *((name, pa.string()) for name in TOLD),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("digest", pa.string()),
        ("format", pa.string()),
        ("mode", pa.string()),
        ("size", pa.int64()),
        ("remarks", pa.string()),
        ("contrast", pa.float32()),
        ("look", pa.binary()),
        ("preview", pa.binary()),
        ("thumbnail", pa.binary()),
        ("reason", pa.string()),
        ("failure", pa.string()),  # why nothing of the block could be read
    ]
)
"""A row for each image: refused with a reason, or described."""


def decode_block(batch: dict[str, np.ndarray], **named: Any) -> pa.Table:
    """Decode images and describe them; a failure is returned, as raising it would lose the block.

    Args:
        batch: Columns of the items of a source; see `_decode_batch` for the others.

    Returns:
        A table with the columns of `FOUND`: a row for each image, or one with the failure.
    """
    try:
        return _decode_batch(batch, **named)
    except Exception as error:
        told = {"item": "", "path": "", "reason": "", "failure": f"{type(error).__name__}: {error}"}
        return pa.Table.from_pylist([told], schema=FOUND)


def _decode_batch(
    batch: dict[str, np.ndarray],
    reader: Reader,
    key: bytes,
    own_key: bytes,
    pixels: Place | None,
    image_size: ImageSize | None,
    laterality: Laterality,
    bits: Bits = 8,
) -> pa.Table:
    """Decode images, write the pixels of those accepted, and return everything else.

    Args:
        batch: Columns of the items of a source, with two columns in place of patient_id, both
            veiled: patient, and suggested, which counts if neither source nor header names any.
        reader: Fetches the images.
        key: Veils patients and institutions.
        own_key: Veils what stands for a patient within this source only.
        pixels: Folder for the pixels, or None to keep none.
        image_size: Height and width that pixels are resized to.
        laterality: Whether films of both knees are cut in two.
        bits: Of the gray values that are kept.
    """
    found: list[Row] = []
    kept: list[bytes] = []
    accepted: list[Row] = []
    names = list(batch)
    items = [
        dict(zip(names, values, strict=True))
        for values in zip(*(batch[name].tolist() for name in names), strict=True)
    ]
    for group in read_groups(items, reader, laterality, bits):
        found += group.refused
        described = _describe(group.items, group.views, key, own_key)
        found += described
        if pixels is not None and image_size is not None:
            kept += [_fit(view, image_size, bits).tobytes() for view in group.views]
            accepted += described
    if kept and pixels is not None:
        ids, digests = ([row[name] for row in accepted] for name in ("image_id", "digest"))
        part = pixels / f"part-{hash_settings(ids)}.parquet"
        write_pixels(part, pa.table([ids, digests, kept], schema=PIXELS))
    return pa.Table.from_pylist(found, schema=FOUND)


def _fit(view: View, size: ImageSize, bits: Bits) -> np.ndarray:
    same = size == SQUARE and bits == 8
    return view.square if same else resize_image(view.decoded.pixels, size)


def _describe(items: list[Row], views: list[View], key: bytes, own_key: bytes) -> list[Row]:
    """Describe images, mostly by what they show once resized to a square."""
    images, squares = [view.decoded.pixels for view in views], [view.square for view in views]
    digests = [digest_pixels(image) for image in images]
    contrasts = [measure_contrast(square) for square in squares]
    looks = [describe_look(square).tobytes() for square in squares]
    previews = [shrink_to_preview(square).tobytes() for square in squares]
    thumbnails = [
        make_thumbnail(show_8_bits(image), square).tobytes()
        for image, square in zip(images, squares, strict=True)
    ]
    return [
        {
            **_tell(items[place], view, key, own_key),
            "image_id": identify_image(view.path, digests[place]),
            "digest": digests[place],
            "contrast": contrasts[place],
            "look": looks[place],
            "preview": previews[place],
            "thumbnail": thumbnails[place],
        }
        for place, view in enumerate(views)
    ]


def _tell(item: Row, view: View, key: bytes, own_key: bytes) -> Row:
    """Return what a source and a file say of an image."""
    decoded = view.decoded
    named = item["patient"] or veil_patient(know_patient(decoded.patient_id or ""), key)
    return {
        "item": item["path"],
        "film": view.film,
        "path": view.path,
        "label": item["label"],
        "patient": named or item["suggested"],
        "person": veil(view.person, own_key),
        "is_named": bool(named),
        "side": item["side"] or decoded.side or "",
        "site": item["site"],
        "institution": veil(decoded.institution or "", key),
        "split": item["split"],
        **{name: decoded.attributes.get(name, "") for name in TOLD},
        "width": decoded.pixels.shape[1],
        "height": decoded.pixels.shape[0],
        "format": decoded.format,
        "mode": decoded.mode,
        "size": item["size"],
        "remarks": write_notes(decoded.remarks) or "",
        "reason": "",
    }


def veil_patient(identifier: str, key: bytes) -> str:
    """Replace the identifier of a patient by a digest, equal for all spellings of it."""
    return veil(fold_patient(identifier), key)


def veil(name: str, key: bytes) -> str:
    """Replace a name by a digest, equal for equal names and keys; "" stays as it is."""
    return hashlib.blake2b(name.encode(), key=key, digest_size=12).hexdigest() if name else ""
