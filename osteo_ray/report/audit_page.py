"""The page of an audit: findings in words, and pairs of copies side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from osteo_ray.base.storage import Place, write_whole
from osteo_ray.data.copies.likeness import COPY_LIKENESS
from osteo_ray.report.figures import encode_picture
from osteo_ray.report.page import open_template

SHORTCUT_LABELS = {
    "frame": "file and frame: format, mode, size, aspect ratio, edges",
    "metadata": "the same and the histogram of gray",
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
        path: Where to.
        source: What was audited.
        audit: What audit.json holds.
        pairs: Of `audit["pairs"]`, those to show.
        pictures: By path, uint8 (H, W); an image that is missing is left out.
        labels: The class of each path.
    """
    page = open_template("audit.html").render(
        source=source,
        audit=audit,
        pairs=pairs,
        pictures={name: encode_picture(pixels) for name, pixels in pictures.items()},
        labels=labels,
        shortcut_labels=SHORTCUT_LABELS,
        copy_likeness=COPY_LIKENESS,
    )
    with write_whole(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
