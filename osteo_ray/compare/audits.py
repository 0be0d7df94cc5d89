"""The audit job: read a set, find what is wrong with it, and write it down."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from osteo_ray.cluster import confirm, connect, plan_resources
from osteo_ray.compare.leak import SPLITS, describe_leak, list_trials, measure_leak
from osteo_ray.compare.model_check import check_models
from osteo_ray.compare.sweeps import Failure
from osteo_ray.config import PHANTOM, AuditConfig, name_source
from osteo_ray.data.audit import Audit, audit_images, describe_audit
from osteo_ray.data.images import UnreadableImageError, resize_whole
from osteo_ray.data.ingest import decode, ingest_images
from osteo_ray.data.listing import Source
from osteo_ray.data.phantom_set import write_phantoms
from osteo_ray.data.sources import open_source
from osteo_ray.errors import InputError
from osteo_ray.progress import JobProgress, Stage
from osteo_ray.report.audit_page import write_audit_page
from osteo_ray.runs import IMAGES, REJECTS, Run, write_json, write_table
from osteo_ray.storage import locate, remove_tree
from osteo_ray.watchdog import watch

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

    out: Path
    audit: dict[str, Any]
    failures: list[Failure]


def locate_audit(config: AuditConfig) -> Path:
    """Return the directory of an audit, whether or not it exists yet.

    Raises:
        InputError: `--out` holds something else than an audit.
    """
    out = locate(config.out or f"audits/{name_source(config.data)}")
    if not isinstance(out, Path):
        raise InputError(
            f"Expected --out of an audit to be a folder, but got {out}. Give a path; "
            "the images may lie in object storage."
        )
    in_use = out.exists() and (not out.is_dir() or any(out.iterdir()))
    if in_use and not (out / "audit.html").is_file():
        raise InputError(
            f"Expected --out to be new, empty or an earlier audit, but {out} holds something else. "
            "Choose another --out."
        )
    return out


def audit(config: AuditConfig, progress: JobProgress) -> AuditOutcome:
    """Audit a set of images; with `measure_leak`, train to say what its copies are worth.

    Writes audit.json, audit.html, images.parquet and rejects.parquet into the output directory, in
    place of those of an earlier audit.

    Raises:
        InputError: The input cannot be used; nothing was written.
        IncompleteError: Too few trainings finished to say what copies are worth.
    """
    out = locate_audit(config)
    source = None if config.data == PHANTOM else open_source(config.data)
    progress.say("start Ray")
    with connect(), _make_scratch(out) as name:
        scratch = Path(name)
        check = check_models.remote(config) if config.measure_leak else None
        if source is None:
            write_phantoms(scratch / "phantom", **config.phantom.model_dump())
            source = open_source(str(scratch / "phantom" / "images"))
        leak = out / "leak"
        run, pixels = Run(leak), scratch / "pixels"
        stall_timeout_s = config.resources.stall_timeout
        with (
            progress.following() as told,
            watch("read images and compare them", stall_timeout_s) as beat,
        ):
            report = beat.with_reports(told)
            ingest = ingest_images(
                source,
                scratch,
                pixels=pixels if config.measure_leak else None,
                image_size=config.image_size,
                report=report,
            )
            found = audit_images(ingest, config.conflict_policy, report=report)
        described = describe_audit(found)
        failures: list[Failure] = []
        if check is not None:
            confirm(check)
            remove_tree(run.pixels)
            leak.mkdir(parents=True, exist_ok=True)
            shutil.move(pixels, leak)
            described["leak"], failures = _measure(config, found, run, progress)
        _write(out, source, found, described)
    return AuditOutcome(out, described, failures)


def _make_scratch(out: Path) -> Any:
    # Beside the results, as both must be where every worker can reach them.
    out.parent.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent)


def _measure(
    config: AuditConfig, found: Audit, run: Run, progress: JobProgress
) -> tuple[dict[str, Any], list[Failure]]:
    plan = plan_resources(config.resources, progress.say)
    total = len(SPLITS) * len(list_trials(config))
    stage = Stage(_TRAIN, "trainings", total, 1.0)
    with progress.showing([stage]), progress.stage(_TRAIN):
        leaks, failures = measure_leak(
            config,
            found.images[IMAGES.names],
            run,
            plan,
            lambda share: progress.advance(_TRAIN, share),
        )
    return describe_leak(leaks, failures), failures


def _write(out: Path, source: Source, found: Audit, described: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    images = found.images[IMAGES.names]
    write_table(out / "images.parquet", pa.Table.from_pandas(images, IMAGES, preserve_index=False))
    rejects = pa.Table.from_pandas(found.rejects, REJECTS, preserve_index=False)
    write_table(out / "rejects.parquet", rejects)
    write_json(out / "audit.json", described)
    shown = _choose_pairs(described)
    paths = {path for pair in shown for path in (pair["first"], pair["second"])}
    write_audit_page(
        out / "audit.html",
        source.uri,
        described,
        shown,
        _read_pictures(source, paths | set(described["blank"][:_PICTURED_PAIRS])),
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


def _read_pictures(source: Source, paths: set[str]) -> dict[str, np.ndarray]:
    """Read some images again, to show them: uint8 (H, W), no side longer than 240 px."""
    rows = source.items[source.items["path"].isin(paths)]
    pictures = {}
    for path, position in zip(rows["path"], rows["position"], strict=True):
        try:
            pixels = decode(source.reader.read(path, position)).pixels
        except UnreadableImageError:  # gone since; the page does without
            continue
        pictures[path] = resize_whole(pixels, _PICTURE_PX)
    return pictures
