"""Read a source, or phantoms drawn for the purpose, into a directory that is being made."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from osteo_ray.config import PHANTOM, PhantomSettings
from osteo_ray.data.ingest import Ingest, ingest_images
from osteo_ray.data.listing import Source
from osteo_ray.data.phantom_set import write_phantoms
from osteo_ray.data.sources import open_source
from osteo_ray.progress import Report
from osteo_ray.runs import Run


@contextmanager
def take_in(
    draft: Run,
    source: Source | None,
    phantom: PhantomSettings,
    *,
    image_size: int,
    max_reject_share: float,
    labels_needed: bool,
    report: Report,
) -> Iterator[tuple[Ingest, str]]:
    """Read images; give what was found and a fingerprint of the source.

    What reading leaves beside the pixels (thumbnails, for instance) is there in the block only.

    Args:
        draft: Where pixels go, and phantoms.
        source: Of the images, or None where phantoms are to be drawn.
        phantom: How.
        image_size: Side to which images are resized, pixels.
        max_reject_share: Share of unreadable images above which reading ends.
        labels_needed: Whether each image must have a label.
        report: Told how far it is.

    Raises:
        InputError: The images cannot be used.
    """
    fingerprint = PHANTOM
    if source is None:
        write_phantoms(draft.phantom, **phantom.model_dump())
        source = open_source(str(draft.phantom / "images"), labels_needed=labels_needed)
    else:
        fingerprint = source.fingerprint
    scratch = draft.root / "scratch"
    ingest = ingest_images(
        source,
        scratch,
        pixels=draft.pixels,
        image_size=image_size,
        max_reject_share=max_reject_share,
        report=report,
    )
    yield ingest, fingerprint
    shutil.rmtree(scratch)
