"""The audit job: read a set, find what is wrong with it, and write it down."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from osteo_ray.base.errors import InputError
from osteo_ray.base.lock import hold
from osteo_ray.base.paths import PHANTOM, name_source
from osteo_ray.base.progress import JobProgress, Stage
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import LOCK, Place, locate, reach, remove_tree
from osteo_ray.base.tables import IMAGES, REJECTS, write_json, write_table
from osteo_ray.cluster.connection import confirm, connect, plan_resources
from osteo_ray.cluster.watchdog import watch
from osteo_ray.config.audit import AuditConfig
from osteo_ray.data.decoding.content import decode
from osteo_ray.data.decoding.resizing import resize_whole
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.data.sources.listing import Source
from osteo_ray.pipeline.audit.leak import SPLITS, describe_leak, list_trials, measure_leak
from osteo_ray.pipeline.compare.model_check import check_models
from osteo_ray.pipeline.compare.sweeps import Failure
from osteo_ray.pipeline.ingest.auditing import Audit, audit_images
from osteo_ray.pipeline.ingest.findings import describe_audit
from osteo_ray.pipeline.ingest.intake import take_in
from osteo_ray.report.audit_page import write_audit_page

_PICTURED_PAIRS = 60
_PICTURE_PX = 240
_TRAIN = "train"


@dataclass(frozen=True)
class AuditOutcome:
    """How an audit ended.

    Attributes:
        out: Where everything lies.
        audit: What audit.json holds.
        failures: Trainings that are missing.
    """

    out: Place
    audit: dict[str, Any]
    failures: list[Failure]


def locate_audit(config: AuditConfig) -> Place:
    """Return the directory of an audit, whether or not it exists yet.

    Raises:
        InputError: `--out` holds something else than an audit, or its storage cannot be reached.
    """
    out = reach(config.out) if config.out else locate(f"audits/{name_source(config.data)}")
    in_use = out.exists() and (not out.is_dir() or any(one.name != LOCK for one in out.iterdir()))
    if in_use and not (out / "audit.html").is_file():
        raise InputError(
            f"Expected --out to be new, empty or an earlier audit, but {out} holds something else. "
            "Choose another --out."
        )
    return out


def audit(config: AuditConfig, progress: JobProgress) -> AuditOutcome:
    """Audit a set of images; with `measure_leak`, train to say what its copies are worth.

    Writes audit.json, audit.html, images.parquet and rejects.parquet into the output directory, in
    place of those of an earlier audit: when copies are found, and again when they are weighed.

    Raises:
        InputError: The input cannot be used, or another process writes there; nothing was written,
            or what was found in too small a set to train on.
        IncompleteError: Too few trainings finished to say what copies are worth.
    """
    out = locate_audit(config)
    source = None if config.data == PHANTOM else open_source(config.data)
    with hold(out, progress.say):
        return _audit(config, out, source, progress)


def _audit(
    config: AuditConfig, out: Place, source: Source | None, progress: JobProgress
) -> AuditOutcome:
    progress.say("start Ray")
    with connect(), _make_room(out) as room:
        check = check_models.remote(config) if config.measure_leak else None
        with (
            progress.following() as told,
            watch("read images and compare them", config.resources.stall_timeout) as beat,
        ):
            report = beat.with_reports(told)
            with take_in(
                room,
                source or config.phantom,
                image_size=config.image_size,
                max_reject_share=1.0,
                labels_needed=True,
                keep_pixels=config.measure_leak,
                report=report,
            ) as (ingest, _):
                found = audit_images(ingest, config.conflict_policy, report=report)
        if check is not None:
            confirm(check)
        source = source or open_source(str(room.phantom / "images"))
        described = describe_audit(found)
        pictures = _read_pictures(source, described)
        _write(out, source, found, described, pictures)
        failures: list[Failure] = []
        if config.measure_leak:
            described["leak"], failures = _measure(config, found, room, Run(out / "leak"), progress)
            _write(out, source, found, described, pictures)
    return AuditOutcome(out, described, failures)


@contextmanager
def _make_room(out: Place) -> Iterator[Run]:
    """Give a place beside the results, which every worker can reach; it goes at the end."""
    room = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.tmp")
    if isinstance(room, Path):
        room.mkdir(parents=True)
    try:
        yield Run(room)
    finally:
        remove_tree(room)


def _measure(
    config: AuditConfig, found: Audit, room: Run, run: Run, progress: JobProgress
) -> tuple[dict[str, Any], list[Failure]]:
    plan = plan_resources(config.resources, progress.say)
    total = len(SPLITS) * len(list_trials(config))
    stage = Stage(_TRAIN, "trainings", total, 1.0)
    with progress.showing([stage]), progress.stage(_TRAIN):
        leaks, failures = measure_leak(
            config,
            found.images[IMAGES.names],
            room,
            run,
            plan,
            lambda share: progress.advance(_TRAIN, share),
        )
    return describe_leak(leaks, failures), failures


def _write(
    out: Place,
    source: Source,
    found: Audit,
    described: dict[str, Any],
    pictures: dict[str, np.ndarray],
) -> None:
    images = found.images[IMAGES.names]
    write_table(out / "images.parquet", pa.Table.from_pandas(images, IMAGES, preserve_index=False))
    rejects = pa.Table.from_pandas(found.rejects, REJECTS, preserve_index=False)
    write_table(out / "rejects.parquet", rejects)
    write_json(out / "audit.json", described)
    write_audit_page(
        out / "audit.html",
        source.uri,
        described,
        _choose_pairs(described),
        pictures,
        dict(zip(found.images["path"], found.images["given_label"], strict=True)),
    )


def _choose_pairs(described: dict[str, Any]) -> list[dict[str, Any]]:
    """Choose the pairs to look at: conflicts first, then mirrored ones, then the least alike."""
    conflict = {path for group in described["conflicts"] for path in group}
    return sorted(
        described["pairs"],
        key=lambda pair: (
            pair["first"] not in conflict,
            not pair["mirrored"],
            pair["likeness"],
            pair["first"],
        ),
    )[:_PICTURED_PAIRS]


def _read_pictures(source: Source, described: dict[str, Any]) -> dict[str, np.ndarray]:
    """Read again what the page shows, by path: uint8 (H, W), no side longer than 240 px."""
    pairs = _choose_pairs(described)
    paths = {path for pair in pairs for path in (pair["first"], pair["second"])}
    paths |= set(described["blank"][:_PICTURED_PAIRS])
    rows = source.items[source.items["path"].isin(paths)]
    pictures = {}
    for path, position in zip(rows["path"], rows["position"], strict=True):
        try:
            pixels = decode(source.reader.read(path, position)).pixels
        except UnreadableImageError:  # gone since; the page does without
            continue
        pictures[path] = resize_whole(pixels, _PICTURE_PX)
    return pictures
