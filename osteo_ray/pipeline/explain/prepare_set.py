"""Open a set of explanations: read the images of a new one, or find what an earlier try left."""

import json
import os
from collections.abc import Callable, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from osteo_ray.base.errors import InputError
from osteo_ray.base.mappings import hash_settings, list_differences
from osteo_ray.base.paths import PHANTOM, name_source
from osteo_ray.base.progress import Report, ignore_progress
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place, digest_file, fill_directory, is_free, locate, reach
from osteo_ray.base.tables import (
    READ_IMAGES,
    REJECTS,
    read_json,
    write_json,
    write_table,
    write_yaml,
)
from osteo_ray.cluster.connection import describe_environment, plan_resources
from osteo_ray.cluster.settings import ResourceSettings
from osteo_ray.config.build import build, read_yaml
from osteo_ray.config.explain import ExplainConfig
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.data.sources.listing import Source
from osteo_ray.models.checkpoint import Checkpoint, describe_checkpoint
from osteo_ray.pipeline.ingest.intake import check_unchanged, take_in


@dataclass(frozen=True)
class Subject:
    """The classifier that is to be explained.

    Attributes:
        path: Of its checkpoint.
        checkpoint: What the file says about itself.
        digest: SHA-256 of the file.
    """

    path: Place
    checkpoint: Checkpoint
    digest: str


def find_subject(config: ExplainConfig) -> Subject:
    """Describe the classifier that is to be explained.

    Raises:
        InputError: There is no checkpoint, or not one that can be explained.
    """
    if config.checkpoint is None:
        raise InputError(
            "Expected --checkpoint FILE, the classifier to explain, but got none. `osteo-ray "
            "compare` writes one per training: RUN/trials/MODEL/seed-N/ARM-KEY/model.safetensors."
        )
    path = reach(config.checkpoint, "--checkpoint")
    return Subject(path, describe_checkpoint(path), digest_file(path))


def locate_set(config: ExplainConfig, subject: Subject) -> Run:
    """Return the directory of a set of explanations, whether or not it exists yet.

    Raises:
        InputError: `--out` cannot be written to, holds something else than explanations, or holds
            those of other settings or of another checkpoint.
    """
    if config.out is None:
        key = hash_settings({**config.identity(), "checkpoint": subject.digest})
        run = Run(locate("explanations") / f"{name_source(config.data)}-{key}")
    else:
        run = Run(reach(config.out))
    if isinstance(run.root, Path):
        _check_writable(run.root)
    if is_free(run.root, run.config.name):
        return run
    stored = _read_stored(run)
    if stored is None:
        raise InputError(
            f"Expected --out to be new, empty or earlier explanations, but {run.root} holds "
            "something else. Choose another --out."
        )
    found, wanted = build(ExplainConfig, read_yaml(run.config)).identity(), config.identity()
    # What only one of two methods has goes without saying.
    shared = found.keys() & wanted.keys()
    differences = list_differences(_pick(found, shared), _pick(wanted, shared))
    if stored["checkpoint"]["digest"] != subject.digest:
        digests = stored["checkpoint"]["digest"][:12], subject.digest[:12]
        differences.append(
            f"the content of the checkpoint (there SHA-256 {digests[0]}…, here {digests[1]}…)"
        )
    if differences:
        raise InputError(
            "Expected --out to be new or explanations of this checkpoint with these settings, but "
            f"{run.root} holds some that differ in {'; '.join(differences)}. Choose another --out, "
            "or give the settings of those to go on with them."
        )
    return run


def _pick(settings: dict[str, Any], keys: Set[str]) -> dict[str, Any]:
    return {key: settings[key] for key in keys}


def _check_writable(root: Path) -> None:
    place = next(place for place in (root, *root.parents) if os.path.lexists(place))
    problem = ""
    if not place.is_dir():
        problem = "is not a folder"
    elif not os.access(place, os.W_OK | os.X_OK):
        problem = "may not be written to"
    if problem:
        raise InputError(
            f"Expected --out to be a folder that can be written to, but {place} {problem}. Choose "
            "another --out."
        )


def _read_stored(run: Run) -> dict[str, Any] | None:
    """Return what environment.json holds, or None where it is not that of explanations."""
    if not run.config.is_file() or not run.environment.is_file():
        return None
    try:
        stored = read_json(run.environment)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    return stored if isinstance(stored, dict) and "checkpoint" in stored else None


def list_source(config: ExplainConfig, run: Run) -> Source | None:
    """List the images of the source, or None where phantoms are to be drawn.

    Raises:
        InputError: The source cannot be used, or is not what it was when the run began.
    """
    if config.data == PHANTOM:
        return None
    source = open_source(config.data, labels_needed=False)
    check_unchanged(source, run)
    return source


def create_set(
    run: Run,
    config: ExplainConfig,
    subject: Subject,
    source: Source | None,
    confirm: Callable[[], None],
    *,
    report: Report = ignore_progress,
) -> None:
    """Read the images into a new directory, which is there once config.yaml is in it.

    Args:
        run: Where.
        config: Of the explanations.
        subject: The classifier; images are resized to what it was trained on.
        source: Of the images, or None where phantoms are to be drawn.
        confirm: Called when all is read; if it raises, nothing stays.
        report: Told how far it is.

    Raises:
        InputError: The images cannot be used.
    """
    with fill_directory(run.root):
        with take_in(
            run,
            source or config.phantom,
            image_size=subject.checkpoint.image_size,
            max_reject_share=config.max_reject_share,
            labels_needed=False,
            report=report,
        ) as (ingest, fingerprint):
            pass  # nothing but the images is asked for
        for path, table, schema in (
            (run.images, ingest.images[READ_IMAGES.names], READ_IMAGES),
            (run.rejects, ingest.rejects, REJECTS),
        ):
            write_table(path, pa.Table.from_pandas(table, schema, preserve_index=False))
        environment = {
            **describe_environment(
                plan_resources(ResourceSettings(**config.resources.model_dump()))
            ),
            "source_fingerprint": fingerprint,
            "checkpoint": {**asdict(subject.checkpoint), "digest": subject.digest},
            "plan_hash": hash_settings(config.identity()),
        }
        write_json(run.environment, environment)
        confirm()
        write_yaml(run.config, config.model_dump(mode="json"))  # last: with it, the set is there
