"""The page of an audit: findings in words, and pairs of copies side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from osteo_ray.base.storage import Place, write_whole
from osteo_ray.data.attributes import ATTRIBUTES
from osteo_ray.data.copies.kinds import KINDS_FOUND, KINDS_MISSED
from osteo_ray.data.copies.likeness import COPY_LIKENESS
from osteo_ray.report.pictures import encode_picture
from osteo_ray.report.templates import open_template

SHORTCUT_LABELS = {
    "frame": "file and frame: format, mode, size, aspect ratio, edges",
    "metadata": "the same, and the histogram of gray levels",
    "preview": "a preview of 16 × 16 pixels",
}


def write_audit_page(
    path: Place,
    source: str,
    audit: Mapping[str, Any],
    pairs: Sequence[Mapping[str, Any]],
    pictures: Mapping[str, np.ndarray],
    labels: Mapping[str, str],
) -> None:
    """Write the page of an audit, in one self-contained file.

    Args:
        path: The file to write.
        source: Path or URI of the audited images.
        audit: What audit.json holds.
        pairs: The pairs of copies to show, of `audit["pairs"]`.
        pictures: uint8 (H, W) by path; an image without a picture is shown without one.
        labels: The class of each image, by path.
    """
    page = open_template("audit.html").render(
        source=source,
        audit=audit,
        pairs=pairs,
        pictures={name: encode_picture(pixels) for name, pixels in pictures.items()},
        labels=labels,
        attribute_labels=ATTRIBUTES,
        shortcut_labels=SHORTCUT_LABELS,
        copy_likeness=COPY_LIKENESS,
        kinds_found=KINDS_FOUND,
        kinds_missed=KINDS_MISSED,
    )
    with write_whole(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
