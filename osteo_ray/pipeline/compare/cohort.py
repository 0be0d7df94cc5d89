"""Open an external cohort: check its listing, read it, and drop what the run knows already."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from osteo_ray.base.digests import write_record
from osteo_ray.base.errors import InputError
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import fill_directory
from osteo_ray.base.tables import IMAGES, REJECTS, write_json, write_table
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.phantoms.sets import CLASSES as PHANTOM_CLASSES
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.kinds import open_second_source, open_source
from osteo_ray.data.sources.listing import Source
from osteo_ray.experiment.external import Cohort, CohortRun, read_cohort
from osteo_ray.pipeline.ingest.admission import Admission, admit_cohort
from osteo_ray.pipeline.ingest.intake import make_scratch
from osteo_ray.pipeline.ingest.reading import ingest_images
from osteo_ray.pipeline.output import write_images


def list_cohort(config: CompareConfig, known: Source | PhantomSettings) -> Source | None:
    """List the images of `--test-data`, without reading any; None if there is none.

    Args:
        config: The configuration of the comparison.
        known: The images of the run, or the settings of its phantoms.

    Raises:
        InputError: It cannot be used, or its classes are not those of the run.
    """
    if config.test_data is None:
        return None
    if isinstance(known, PhantomSettings):
        expected = set(PHANTOM_CLASSES)
    else:
        expected = set(known.items["label"])
    with _naming_flag():
        source = open_second_source(config.test_data, config.source_options, expected)
    found = set(source.items["label"])
    if found != expected:
        lacks, adds = sorted(expected - found), sorted(found - expected)
        said = [f"lacks {', '.join(lacks)}"] if lacks else []
        said += [f"also has {', '.join(adds)}"] if adds else []
        raise InputError(
            f"Expected --test-data to have the classes of --data, {', '.join(sorted(expected))}, "
            f"but {source.uri} {' and '.join(said)}. Name its classes as in --data, and leave out "
            "images of other classes."
        )
    return source


def describe_reading(known: Source | PhantomSettings, cohort: Source | None = None) -> list[str]:
    """Say how the images of a run, and those of its cohort, are read, a line for each statement."""
    lines = []
    for name, source in (("--data", known), ("--test-data", cohort)):
        if isinstance(source, Source):
            lines += [f"{name}: {note}" for note in (*source.notes, *source.doubts)]
    return lines


def open_cohort(
    run: Run, config: CompareConfig, source: Source, known: Source | PhantomSettings
) -> Cohort:
    """Read a cohort into the run, or find it there.

    Args:
        run: The run, whose own images have been read.
        config: The configuration of the comparison.
        source: The images of the cohort.
        known: The images of the run, or the settings of its phantoms.

    Raises:
        InputError: Too many images were refused, or no image of a class is left after those were
            dropped that show a radiograph or a patient of the run. Nothing stays of the cohort.
    """
    place = CohortRun.of(run, [source.uri, source.fingerprint], config.image_size, config.bits)
    if place.record.is_file():
        return read_cohort(place)
    if isinstance(known, PhantomSettings):
        known = open_source(str(run.phantom / "images"))
    key = secrets.token_bytes(16)  # for both sets, so that their patients can be compared
    seen = isinstance(place.root, Path)
    with fill_directory(place.root), make_scratch(place.root) as scratch:
        with _naming_flag():
            ours = ingest_images(
                source,
                scratch / "cohort",
                pixels=place.pixels,
                image_size=config.image_size,
                bits=config.bits,
                max_reject_share=config.max_reject_share,
                workers_see_scratch=seen,
                key=key,
            )
        # At full size, since copies cannot be told by the small pixels that the run keeps.
        theirs = ingest_images(
            known, scratch / "known", bits=config.bits, workers_see_scratch=seen, key=key
        )
        found = admit_cohort(theirs, ours, scratch)
        _check_classes(found, source)
        write_images(place, found.images, IMAGES, found.rejects)
        dropped = pa.Table.from_pandas(found.dropped, REJECTS, preserve_index=False)
        write_table(place.dropped, dropped, how=write_record)
        record = {"source": source.uri, "fingerprint": source.fingerprint}
        write_json(place.record, record, write_record)
    return read_cohort(place)


def describe_cohort(cohort: Cohort) -> list[str]:
    """Say what a cohort holds, and name what was dropped, a line for each."""
    total = len(cohort.images) + len(cohort.dropped)
    lines = [f"external cohort {cohort.source}: {len(cohort.images)} of {total} images are used"]
    shown = cohort.dropped.head(_MOST_NAMED)
    lines += [
        f"dropped {path}: {reason}"
        for path, reason in zip(shown["path"], shown["reason"], strict=True)
    ]
    if len(cohort.dropped) > _MOST_NAMED:
        more = len(cohort.dropped) - _MOST_NAMED
        lines.append(f"… and {more} more, listed in {cohort.run.dropped}")
    return lines


_MOST_NAMED = 10  # dropped images on the terminal


def _check_classes(found: Admission, source: Source) -> None:
    left, wanted = set(found.images["label"]), set(source.items["label"])
    gone = sorted(wanted - left)
    if not gone:
        return
    total = len(found.images) + len(found.dropped) + len(found.rejects)
    n_shared = len(found.dropped)
    if n_shared:
        first = found.dropped.iloc[0]
        why = f"{n_shared} of {total} images had to be dropped; the first: {first['path']}"
        why += f" ({first['reason']})"
    else:
        why = f"{len(found.rejects)} of {total} files could not be read"
    raise InputError(
        f"Expected images of every class in --test-data {source.uri} that the run has not seen, "
        f"but none of {', '.join(gone)} is left: {why}. Give a cohort that shares no radiographs "
        "and no patients with --data."
    )


@contextmanager
def _naming_flag() -> Iterator[None]:
    """Name `--test-data` in messages about a source, which otherwise come from `--data`."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace("--data", "--test-data")) from error
