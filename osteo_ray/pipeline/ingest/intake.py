"""Read a source, or phantoms drawn for the purpose, into a directory that is being made."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from osteo_ray.base.paths import PHANTOM
from osteo_ray.base.progress import Report
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place, write_whole
from osteo_ray.data.phantoms.sets import write_phantoms
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.listing import Source
from osteo_ray.data.sources.opening import open_source
from osteo_ray.pipeline.ingest.reading import Ingest, ingest_images


@contextmanager
def take_in(
    draft: Run,
    source: Source | None,
    phantom: PhantomSettings,
    *,
    image_size: int,
    max_reject_share: float,
    labels_needed: bool,
    keep_pixels: bool = True,
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
        keep_pixels: Whether pixels are written at all.
        report: Told how far it is.

    Raises:
        InputError: The images cannot be used.
    """
    fingerprint = PHANTOM
    if source is None:
        with write_whole(draft.phantom, last="truth.csv") as unfinished:
            write_phantoms(unfinished, **phantom.model_dump())
        source = open_source(str(draft.phantom / "images"), labels_needed=labels_needed)
    else:
        fingerprint = source.fingerprint
    with _make_scratch(draft.root) as scratch:
        yield (
            ingest_images(
                source,
                scratch,
                pixels=draft.pixels if keep_pixels else None,
                image_size=image_size,
                max_reject_share=max_reject_share,
                workers_see_scratch=isinstance(draft.root, Path),
                report=report,
            ),
            fingerprint,
        )


@contextmanager
def _make_scratch(root: Place) -> Iterator[Path]:
    """Give a folder in the run, which all workers see, or else one of this machine."""
    if isinstance(root, Path):
        yield root / "scratch"
        shutil.rmtree(root / "scratch")
        return
    with tempfile.TemporaryDirectory(prefix="osteo-ray-") as name:
        yield Path(name)
