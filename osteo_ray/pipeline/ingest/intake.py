"""Read a source, or phantoms drawn for the purpose, into a run that is being made."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from osteo_ray.base.digests import seal_folder
from osteo_ray.base.errors import InputError
from osteo_ray.base.forms import read_record
from osteo_ray.base.paths import PHANTOM
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place, write_whole
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.phantoms.sets import write_phantoms
from osteo_ray.data.pixels import Bits
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.data.sources.listing import Source
from osteo_ray.pipeline.ingest.reading import Ingest, ingest_images


def check_unchanged(source: Source, run: Run) -> None:
    """Refuse a source that has changed since a run began; a run that has not begun accepts any.

    Raises:
        InputError: Names, labels or sizes have changed.
    """
    if not run.config.exists():
        return
    record = read_record(run.environment, {"source_fingerprint": str})
    if record["source_fingerprint"] != source.fingerprint:
        raise InputError(
            f"Expected the files of {source.uri} to be those that the run {run.root} began with, "
            "but names, labels or sizes have changed. Choose another --out."
        )


def draw_phantoms(run: Run, settings: PhantomSettings) -> None:
    """Draw the phantoms of a run, and keep them in it."""
    with write_whole(run.phantom, last="truth.csv") as unfinished:
        write_phantoms(unfinished, settings)
        seal_folder(unfinished)


@contextmanager
def take_in(
    draft: Run,
    source: Source | PhantomSettings,
    *,
    image_size: ImageSize,
    bits: Bits = 8,
    max_reject_share: float,
    labels_needed: bool,
    keep_pixels: bool = True,
    key: bytes | None = None,
) -> Iterator[tuple[Ingest, str]]:
    """Read images into a run; give what was found and a fingerprint of the source.

    Whatever reading leaves beside the pixels, such as thumbnails, exists within the block only.

    Args:
        draft: The run that pixels, and phantoms, are written to.
        source: The images, or the settings of phantoms to draw.
        image_size: Height and width of the images.
        bits: Of the gray values.
        max_reject_share: Largest share of images that may be refused, in [0, 1].
        labels_needed: Whether each image must have a label.
        keep_pixels: Whether to write pixels at all.
        key: See `ingest_images`.

    Raises:
        InputError: The images cannot be used.
    """
    fingerprint = PHANTOM
    if isinstance(source, PhantomSettings):
        draw_phantoms(draft, source)
        source = open_source(str(draft.phantom / "images"), labels_needed=labels_needed)
    else:
        fingerprint = source.fingerprint
    with make_scratch(draft.root) as scratch:
        yield (
            ingest_images(
                source,
                scratch,
                pixels=draft.pixels if keep_pixels else None,
                image_size=image_size,
                bits=bits,
                max_reject_share=max_reject_share,
                workers_see_scratch=isinstance(draft.root, Path),
                key=key,
            ),
            fingerprint,
        )


@contextmanager
def make_scratch(root: Place) -> Iterator[Path]:
    """Give a folder in the run, which all workers can read, or else one of this machine."""
    if isinstance(root, Path):
        yield root / "scratch"
        shutil.rmtree(root / "scratch")
        return
    with tempfile.TemporaryDirectory(prefix="osteo-ray-") as name:
        yield Path(name)
