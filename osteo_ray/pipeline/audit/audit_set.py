"""The audit job: read a set of images, find what is wrong with it, and write that down."""

import secrets
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from osteo_ray.base.errors import InputError
from osteo_ray.base.lock import hold
from osteo_ray.base.paths import PHANTOM, name_source
from osteo_ray.base.progress import Clock, JobProgress
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import LOCK, Place, locate, reach, remove_tree
from osteo_ray.base.tables import IMAGES, REJECTS, write_json, write_table
from osteo_ray.base.time_left import Stage
from osteo_ray.cluster.connection import confirm, connect, plan_resources
from osteo_ray.cluster.observer import Observer
from osteo_ray.cluster.settings import ResourceSettings
from osteo_ray.config.audit import AuditConfig
from osteo_ray.data.decoding.resizing import resize_whole
from osteo_ray.data.decoding.result import UnreadableImageError
from osteo_ray.data.laterality import read_half
from osteo_ray.data.phantoms.sets import CLASSES as PHANTOM_CLASSES
from osteo_ray.data.pixels import Bits
from osteo_ray.data.sources.kinds import open_second_source, open_source
from osteo_ray.data.sources.listing import Source
from osteo_ray.experiment.healing import heal_run
from osteo_ray.pipeline.audit.leak import SPLITS, describe_leak, measure_leak
from osteo_ray.pipeline.before_reading import check_setup, check_weights_hubs
from osteo_ray.pipeline.compare.model_check import check_models, waits_for_check
from osteo_ray.pipeline.compare.network_code import read_networks, store_networks
from osteo_ray.pipeline.compare.sweeps import Failure
from osteo_ray.pipeline.ingest.auditing import Audit, audit_images
from osteo_ray.pipeline.ingest.films import read_views
from osteo_ray.pipeline.ingest.findings import describe_audit
from osteo_ray.pipeline.ingest.intake import take_in
from osteo_ray.pipeline.ingest.overlap import describe_overlap
from osteo_ray.pipeline.ingest.reading import Ingest, ingest_images
from osteo_ray.pipeline.site import Site, follow_reading

_PICTURED_PAIRS = 60
_PICTURE_PX = 240
_TRAIN = "train"


class WritePage(Protocol):
    """Writes the page of an audit; `osteo_ray.report.audit_page.write_audit_page` is one."""

    def __call__(
        self,
        path: Place,
        source: str,
        audit: Mapping[str, Any],
        pairs: Sequence[Mapping[str, Any]],
        pictures: Mapping[str, np.ndarray],
        labels: Mapping[str, str],
    ) -> object:
        """Write the page."""


@dataclass(frozen=True)
class AuditOutcome:
    """How an audit ended.

    Attributes:
        out: The output directory.
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
            f"Expected --out to be a new or empty folder, or an earlier audit, but {out} holds "
            "something else. Choose another --out."
        )
    return out


def audit(config: AuditConfig, progress: JobProgress, write_page: WritePage) -> AuditOutcome:
    """Audit a set of images; with `measure_leak`, train to find how much copies inflate accuracy.

    Writes audit.json, audit.html, images.parquet and rejects.parquet into the output directory, in
    place of those of an earlier audit: once when copies have been found, and again when their
    effect has been measured.

    Args:
        config: Configuration of the audit.
        progress: Where to show progress.
        write_page: Writes audit.html. Called whenever audit.json has been written, so that the page
            of a finished audit exists even if measuring the leak is interrupted.

    Raises:
        InputError: The input cannot be used, or another process writes there; nothing was written.
            Or the set is too small to train on; then what was found is written.
        IncompleteError: Too few trainings finished to say how much copies inflate accuracy.
    """
    out = locate_audit(config)
    codes = read_networks(config)
    check_setup(config, trains=config.measure_leak)
    source = None if config.data == PHANTOM else open_source(config.data, config.source_options)
    other = _open_other(config, source)
    if config.measure_leak:
        check_weights_hubs(config)
    with hold(out, progress.say):
        return _audit(config, out, source, other, codes, progress, write_page)


def _open_other(config: AuditConfig, source: Source | None) -> Source | None:
    """List the images of `--against`, without reading any; the first source may be phantoms."""
    if config.against is None:
        return None
    classes = set(PHANTOM_CLASSES if source is None else source.items["label"])
    try:
        return open_second_source(config.against, config.source_options, classes)
    except InputError as error:
        raise InputError(str(error).replace("--data", "--against")) from error


def _audit(
    config: AuditConfig,
    out: Place,
    source: Source | None,
    other: Source | None,
    codes: dict[str, str],
    progress: JobProgress,
    write_page: WritePage,
) -> AuditOutcome:
    progress.say("start Ray")
    key = secrets.token_bytes(16)  # for both sets, so that their patients can be compared
    with connect(), _make_room(out) as room:
        plan_resources(_find_needed(config), progress.say)
        check = None
        if config.measure_leak:
            training = config.training
            check = check_models.remote(
                *(config.first_weights, config.image_size, (), training, codes, ()),
                (config.phantom if source is None else source).n_classes,
            )
            if waits_for_check(config):
                progress.say("check the models")
                confirm(check)
        with (
            follow_reading(progress, config.resources.stall_timeout),
            take_in(
                room,
                source or config.phantom,
                image_size=config.image_size,
                bits=config.bits,
                max_reject_share=1.0,
                labels_needed=True,
                keep_pixels=config.measure_leak,
                key=key,
            ) as (ingest, _),
        ):
            found = audit_images(ingest, config.conflict_policy)
            overlap = None if other is None else _compare(ingest, other, key, config.bits)
        if check is not None:
            confirm(check)
        source = source or open_source(str(room.phantom / "images"))
        described = describe_audit(found)
        pictures = _read_pictures(source, described)
        if other is not None and overlap is not None:
            reading = [*other.notes, *other.doubts]
            described["against"] = {"source": other.uri, "reading": reading, **overlap}
            described["findings"] += overlap["findings"]
            pictures |= _read_others(source, other, overlap)
        _write(out, source, found, described, pictures, write_page)
        failures: list[Failure] = []
        if config.measure_leak:
            store_networks(Run(out / "leak"), codes)
            described["leak"], failures = _measure(config, found, room, Run(out / "leak"), progress)
            _write(out, source, found, described, pictures, write_page)
    return AuditOutcome(out, described, failures)


def _compare(ingest: Ingest, other: Source, key: bytes, bits: Bits) -> dict[str, Any]:
    """Read another set as the first was read, and say what both share."""
    scratch = ingest.thumbnails.path.parent / "against"
    seen = ingest.thumbnails.workers_see
    there = ingest_images(other, scratch, bits=bits, workers_see_scratch=seen, key=key)
    return describe_overlap(ingest, there, scratch)


@contextmanager
def _make_room(out: Place) -> Iterator[Run]:
    """Give a temporary directory beside the results, where every worker can reach it."""
    room = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.tmp")
    if isinstance(room, Path):
        room.mkdir(parents=True)
    try:
        yield Run(room)
    finally:
        remove_tree(room)


def _find_needed(config: AuditConfig) -> ResourceSettings:
    """Return what an audit needs; to read images, one CPU will do."""
    if config.measure_leak:
        return config.resources
    return ResourceSettings(gpus_per_worker=0, wait_for_nodes=config.resources.wait_for_nodes)


def _measure(
    config: AuditConfig, found: Audit, room: Run, run: Run, progress: JobProgress
) -> tuple[dict[str, Any], list[Failure]]:
    heal_run(run, progress.say)
    layout = plan_resources(config.resources, progress.say)
    site = Site(layout, config.resources, progress, Clock(), Observer(run.logs))
    total = len(SPLITS) * len(config.models) * config.seeds
    with progress.showing([Stage(_TRAIN, "trainings", total, 1.0)]), site.stage(_TRAIN) as listener:
        images = found.images[IMAGES.names]
        leaks, failures = measure_leak(config, images, room, run, site, listener)
    return describe_leak(leaks, failures), failures


def _write(
    out: Place,
    source: Source,
    found: Audit,
    described: dict[str, Any],
    pictures: dict[str, np.ndarray],
    write_page: WritePage,
) -> None:
    images = found.images[IMAGES.names]
    write_table(out / "images.parquet", pa.Table.from_pandas(images, IMAGES, preserve_index=False))
    rejects = pa.Table.from_pandas(found.rejects, REJECTS, preserve_index=False)
    write_table(out / "rejects.parquet", rejects)
    write_json(out / "audit.json", described)
    write_page(
        out / "audit.html",
        source.uri,
        described,
        _choose_pairs(described),
        pictures,
        dict(zip(found.images["path"], found.images["given_label"], strict=True)),
    )


def _choose_pairs(described: dict[str, Any]) -> list[dict[str, Any]]:
    """Choose the pairs to show: conflicts first, then mirrored pairs, then the least alike."""
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
    """Read the images that the page shows, by path: uint8 (H, W), no side longer than 240 px."""
    pairs = _choose_pairs(described)
    paths = {path for pair in pairs for path in (pair["first"], pair["second"])}
    paths |= set(described["blank"][:_PICTURED_PAIRS])
    return _show(source, paths)


def _read_others(source: Source, other: Source, overlap: dict[str, Any]) -> dict[str, np.ndarray]:
    """Read the pairs across two sets, those of the other set under its own names."""
    pairs = overlap["pairs"][:_PICTURED_PAIRS]
    here = _show(source, {pair["first"] for pair in pairs})
    there = _show(other, {pair["second"] for pair in pairs})
    return here | {f"{other.uri}: {path}": picture for path, picture in there.items()}


def _show(source: Source, paths: set[str]) -> dict[str, np.ndarray]:
    films = {read_half(path)[0] for path in paths} if source.laterality == "split" else set()
    rows = source.items[source.items["path"].isin(paths | films)]
    pictures = {}
    for row in rows.itertuples():
        try:
            views = read_views(source.reader, row.path, row.position, row.side, source.laterality)
        except UnreadableImageError:  # it has gone since; the page does without it
            continue
        for view in views:
            if view.path in paths:
                pictures[view.path] = resize_whole(view.decoded.pixels, _PICTURE_PX)
    return pictures
