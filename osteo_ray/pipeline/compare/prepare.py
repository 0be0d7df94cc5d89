"""Open a run: read and split the data of a new one, or find what an earlier one left."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from osteo_ray.arms.pairs import list_primary
from osteo_ray.base.errors import InputError, suggest
from osteo_ray.base.mappings import hash_settings, list_differences
from osteo_ray.base.paths import PHANTOM, name_source
from osteo_ray.base.progress import Report, ignore_progress
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import fill_directory, is_free, locate, reach
from osteo_ray.base.tables import (
    IMAGES,
    REJECTS,
    SPLITS,
    read_json,
    read_table,
    write_json,
    write_table,
    write_yaml,
)
from osteo_ray.cluster.connection import describe_environment, plan_resources
from osteo_ray.config.build import build, read_yaml
from osteo_ray.config.compare import PLANNED, CompareConfig
from osteo_ray.data.phantoms.sets import CLASSES as PHANTOM_CLASSES
from osteo_ray.data.sources.kinds import open_source
from osteo_ray.data.sources.listing import Source
from osteo_ray.data.splits.assignment import SPLIT_NAMES, assign_fold_splits, assign_splits
from osteo_ray.data.splits.checks import check_class_sizes, check_groups_whole
from osteo_ray.experiment.dataset import fingerprint_images
from osteo_ray.pipeline.ingest.auditing import audit_images
from osteo_ray.pipeline.ingest.findings import describe_audit
from osteo_ray.pipeline.ingest.intake import check_unchanged, take_in


def locate_run(config: CompareConfig) -> Run:
    """Return the run directory of a configuration, whether or not it exists yet.

    Raises:
        InputError: `--out` holds something else than a run, or a run of another configuration.
    """
    if config.out is None:
        name = name_source(config.data) if config.data != PHANTOM else PHANTOM
        run = Run(locate("runs") / f"{name}-{hash_settings(config.identity())}")
    else:
        run = Run(reach(config.out))
    if run.config.exists():
        found = _read_identity(run, config)
        different = list_differences(found, config.identity())
        if different:
            raise InputError(
                f"Expected --out to be new or a run of this configuration, but {run.root} holds "
                f"one that differs in {'; '.join(different)}. Choose another --out, or give the "
                "settings of that run to go on with it."
            )
    elif not is_free(run.root, run.config.name):
        raise InputError(
            f"Expected --out to be new, empty or a run, but {run.root} holds something else. "
            "Choose another --out."
        )
    return run


def _read_identity(run: Run, config: CompareConfig) -> dict[str, Any]:
    try:
        return build(type(config), read_yaml(run.config)).identity()
    except InputError as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"Expected --out to be new, empty or a run, but {run.config} is not the configuration "
            f"of one: {reason} Choose another --out."
        ) from None


def knows_models(run: Run, config: CompareConfig) -> bool:
    """Tell whether a run has all models of a configuration, with the same first weights."""
    if not run.config.exists():
        return False
    stored = build(type(config), read_yaml(run.config))
    found = {name: stored.weights_of(name) for name in stored.models}
    return {name: config.weights_of(name) for name in config.models}.items() <= found.items()


def list_source(config: CompareConfig, run: Run) -> Source | None:
    """List the images of the source, or None where phantoms are to be drawn.

    Raises:
        InputError: The source cannot be used, or is not what it was when the run began.
    """
    if config.data == PHANTOM:
        _check_positive_class(config, PHANTOM_CLASSES)
        return None
    source = open_source(config.data)
    _check_positive_class(config, source.items["label"].unique())
    check_unchanged(source, run)
    return source


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
    source: Source | None,
    confirm: Callable[[], None],
    *,
    report: Report = ignore_progress,
) -> None:
    """Read the data into a new run directory, which is there once config.yaml is in it.

    Args:
        run: Where.
        config: Of the comparison.
        source: Of the images, or None where phantoms are to be drawn.
        confirm: Called when all is read; if it raises, nothing stays.
        report: Told how far it is.

    Raises:
        InputError: The data cannot be used.
    """
    with fill_directory(run.root):
        with take_in(
            run,
            source or config.phantom,
            image_size=config.image_size,
            max_reject_share=config.max_reject_share,
            labels_needed=True,
            report=report,
        ) as (ingest, fingerprint):
            audit = audit_images(ingest, config.conflict_policy, report=report)
        images = audit.images[IMAGES.names]
        splits = split_images(images, config)
        write_table(run.images, pa.Table.from_pandas(images, IMAGES, preserve_index=False))
        write_table(
            run.rejects, pa.Table.from_pandas(ingest.rejects, REJECTS, preserve_index=False)
        )
        write_table(run.splits, pa.Table.from_pandas(splits, SPLITS, preserve_index=False))
        write_json(run.plan, [describe_plan(config)])
        write_json(run.audit, describe_audit(audit))
        write_json(run.environment, _describe_environment(config, images, fingerprint))
        confirm()
        write_yaml(run.config, config.model_dump(mode="json"))  # last: with it, the run is there


def describe_plan(config: CompareConfig) -> dict[str, Any]:
    """Return what is planned, when, and a hash of it."""
    settings = config.model_dump(mode="json", include=set(PLANNED) - {"weights"})
    return {
        "hash": config.plan_hash(),
        "stated": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **settings,
        "primary": list_primary(config.arms)[:1],
    }


def extend_run(run: Run, config: CompareConfig) -> None:
    """Go on with a run by another plan: more seeds, arms or models, or another analysis.

    What is planned now stands in config.yaml; plan.json keeps every plan there was, so that a plan
    that was changed after results were seen is shown as such.

    Raises:
        InputError: There are too few images for the seeds.
    """
    plans = read_json(run.plan) if run.plan.exists() else []
    plan = describe_plan(config)
    if not plans or plan["hash"] != plans[-1]["hash"]:
        plan["results_seen"] = run.comparison.exists()
        write_json(run.plan, [*plans, plan])
    images = read_table(run.images).to_pandas()
    splits = read_table(run.splits).to_pandas()
    missing = [seed for seed in config.seed_numbers if seed not in set(splits["seed"])]
    if missing:
        more = split_images(images, config, missing)
        table = pd.concat([splits, more], ignore_index=True)
        write_table(run.splits, pa.Table.from_pandas(table, SPLITS, preserve_index=False))
    write_yaml(run.config, config.model_dump(mode="json"))


def split_images(
    images: pd.DataFrame, config: CompareConfig, seeds: Sequence[int] | None = None
) -> pd.DataFrame:
    """Divide the images that are used, once per seed (by default, of the plan).

    Returns:
        seed, image_id, split.

    Raises:
        InputError: There are too few images, or the source's own split lacks a part.
        LeakError: The source's own split tears a group apart.
    """
    used = images[images["used"]]
    labels = used["label"].to_numpy(str)
    random = config.split == "random"
    groups = np.arange(len(used)) if random else used["group"].to_numpy()
    if config.split == "given":
        given = _check_given_split(used, config)
    else:
        check_class_sizes(labels, groups, config.split_ratio, config.folds)
    parts = []
    for seed in config.seed_numbers if seeds is None else seeds:
        number = config.seeds_of(seed).split
        if config.split == "given":
            assigned = given
        elif config.folds is None:
            assigned = assign_splits(labels, groups, config.split_ratio, seed=number)
        else:
            assigned = assign_fold_splits(
                labels, groups, config.split_ratio, n_folds=config.folds, number=number
            )
        parts.append(pd.DataFrame({"seed": seed, "image_id": used["image_id"], "split": assigned}))
    table = pd.concat(parts, ignore_index=True)
    return table[table["split"] != ""]


def _check_given_split(used: pd.DataFrame, config: CompareConfig) -> np.ndarray:
    given: np.ndarray = used["given_split"].to_numpy(str)
    for split in SPLIT_NAMES:
        missing = sorted(set(used["label"]) - set(used["label"][given == split]))
        if missing:
            raise InputError(
                f"Expected {config.data} to say which images are for {', '.join(SPLIT_NAMES)}, as "
                f"--split given asks, but none of class {missing[0]} is for {split}. Give each "
                "image its part, or use --split grouped."
            )
    check_groups_whole(used["group"].to_numpy(), given, used["path"].tolist())
    return given


def _describe_environment(
    config: CompareConfig, images: pd.DataFrame, source: str
) -> dict[str, Any]:
    return {
        **describe_environment(plan_resources(config.resources)),
        "source_fingerprint": source,
        "data_fingerprint": fingerprint_images(images, config),
    }
