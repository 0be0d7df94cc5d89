"""Open a run: read and split the data of a new one, or find what an earlier one left."""

import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import yaml

from osteo_ray.cluster import describe_cluster
from osteo_ray.compare.dataset import fingerprint_images
from osteo_ray.config import PHANTOM, CompareConfig, build_config, hash_settings, read_yaml
from osteo_ray.data.copies import group_copies
from osteo_ray.data.groups import find_conflicts
from osteo_ray.data.phantom import write_phantoms
from osteo_ray.data.sources import (
    Ingest,
    fingerprint_listing,
    ingest_images,
    list_class_folders,
)
from osteo_ray.data.splits import assign_splits, check_class_sizes
from osteo_ray.errors import InputError, suggest
from osteo_ray.runs import (
    IMAGES,
    REJECTS,
    SPLITS,
    Run,
    read_json,
    write_json,
    write_table,
    write_whole,
)

_PACKAGES = ("osteo-ray", "ray", "torch", "timm", "scikit-image", "scikit-learn", "numpy", "lime")


def locate_run(config: CompareConfig) -> Run:
    """Return the run directory of a configuration, whether or not it exists yet.

    Raises:
        InputError: `--out` holds something else than a run, or a run of another configuration.
    """
    if config.out is None:
        name = Path(config.data).name if config.data != PHANTOM else PHANTOM
        run = Run(Path("runs").resolve() / f"{name}-{hash_settings(config.identity())}")
    else:
        run = Run(Path(config.out).expanduser().resolve())
    if run.config.exists():
        found = build_config(read_yaml(run.config)).identity()
        different = sorted(_list_differences(found, config.identity()))
        if different:
            raise InputError(
                f"Expected --out to be new or a run of this configuration, but {run.root} holds "
                f"one that differs in {'; '.join(different)}. Choose another --out, or give the "
                "settings of that run to go on with it."
            )
    elif run.root.exists() and (not run.root.is_dir() or any(run.root.iterdir())):
        raise InputError(
            f"Expected --out to be new, empty or a run, but {run.root} holds something else. "
            "Choose another --out."
        )
    return run


def _list_differences(found: dict[str, Any], wanted: dict[str, Any], at: str = "") -> Iterable[str]:
    for key in sorted(found.keys() | wanted.keys()):
        ours, theirs = wanted.get(key), found.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            yield from _list_differences(theirs, ours, f"{at}{key}.")
        elif ours != theirs:
            yield f"{at}{key} (there {theirs}, here {ours})"


def list_source(config: CompareConfig, run: Run) -> pd.DataFrame | None:
    """List the files of the source, or None where phantoms are to be drawn.

    Raises:
        InputError: The source cannot be used, or is not what it was when the run began.
    """
    if config.data == PHANTOM:
        return None
    listing = list_class_folders(Path(config.data))
    _check_positive_class(config, listing["label"].unique())
    if run.environment.exists():
        before = read_json(run.environment)["source_fingerprint"]
        if before != fingerprint_listing(listing):
            raise InputError(
                f"Expected the files of {config.data} to be those that the run {run.root} began "
                "with, but names or sizes have changed. Choose another --out."
            )
    return listing


def _check_positive_class(config: CompareConfig, classes: Iterable[str]) -> None:
    known = sorted(classes)
    if config.positive_class is not None and config.positive_class not in known:
        raise InputError(
            f"Expected --positive-class to be one of {', '.join(known)}, but got "
            f"`{config.positive_class}`.{suggest(config.positive_class, known)}"
        )


def create_run(
    run: Run,
    config: CompareConfig,
    listing: pd.DataFrame | None,
    confirm: Callable[[], None],
) -> None:
    """Read the data into a new run directory, which appears whole or not at all.

    Args:
        run: Where.
        config: Of the comparison.
        listing: The files of the source, or None where phantoms are to be drawn.
        confirm: Called when all is read; if it raises, nothing appears.

    Raises:
        InputError: The data cannot be used.
    """
    if run.root.is_dir():
        run.root.rmdir()  # empty, as `locate_run` has seen
    with write_whole(run.root) as unfinished:
        draft = Run(unfinished)
        if listing is None:
            write_phantoms(draft.phantom, **config.phantom.model_dump())
            root = draft.phantom / "images"
            listing = list_class_folders(root)
            _check_positive_class(config, listing["label"].unique())
            source = PHANTOM
        else:
            root = Path(config.data)
            source = fingerprint_listing(listing)
        ingest = ingest_images(listing, root, draft.pixels, image_size=config.image_size)
        images, splits = _split_images(ingest, config)
        write_table(draft.images, pa.Table.from_pandas(images, IMAGES, preserve_index=False))
        write_table(
            draft.rejects, pa.Table.from_pandas(ingest.rejects, REJECTS, preserve_index=False)
        )
        write_table(draft.splits, pa.Table.from_pandas(splits, SPLITS, preserve_index=False))
        write_json(draft.audit, _describe_findings(images, ingest, config))
        write_json(draft.environment, _describe_environment(config, images, source))
        settings = config.model_dump(mode="json")
        draft.config.write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
        confirm()


def _split_images(ingest: Ingest, config: CompareConfig) -> tuple[pd.DataFrame, pd.DataFrame]:
    images = ingest.images.copy()
    images["group"] = group_copies(images["digest"].tolist(), ingest.thumbnails)
    images["conflict"] = find_conflicts(images["group"].to_numpy(), images["label"].tolist())
    grouped = config.split == "grouped"
    used = images[~images["conflict"]] if grouped else images
    labels = used["label"].to_numpy()
    groups = used["group"].to_numpy() if grouped else np.arange(len(used))
    check_class_sizes(labels, groups, config.split_ratio)
    parts = []
    for seed in config.seed_numbers:
        assigned = assign_splits(labels, groups, config.split_ratio, seed=seed)
        parts.append(pd.DataFrame({"seed": seed, "image_id": used["image_id"], "split": assigned}))
    return images[IMAGES.names], pd.concat(parts, ignore_index=True)


def _describe_findings(
    images: pd.DataFrame, ingest: Ingest, config: CompareConfig
) -> dict[str, Any]:
    copies = [part["path"].tolist() for _, part in images.groupby("group") if len(part) > 1]
    conflicts = [part["path"].tolist() for _, part in images[images["conflict"]].groupby("group")]
    grouped = config.split == "grouped"
    return {
        "n_images": len(images),
        "n_rejects": len(ingest.rejects),
        "classes": {str(name): int(n) for name, n in images["label"].value_counts().items()},
        "n_groups": int(images["group"].nunique()),
        "copies": copies,
        "conflicts": conflicts,
        "set_aside": int(images["conflict"].sum()) if grouped else 0,
    }


def _describe_environment(
    config: CompareConfig, images: pd.DataFrame, source: str
) -> dict[str, Any]:
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        "hardware": describe_cluster(),
        "source_fingerprint": source,
        "data_fingerprint": fingerprint_images(images, config),
        "plan_hash": hash_settings(config.identity()),
    }
