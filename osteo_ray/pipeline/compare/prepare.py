"""Open the run of a comparison: read and divide the images of a new one, or resume an old one."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from osteo_ray.arms.pairs import list_primary
from osteo_ray.base.digests import write_record
from osteo_ray.base.errors import InputError
from osteo_ray.base.forms import PLANS, read_record
from osteo_ray.base.mappings import hash_settings, list_differences
from osteo_ray.base.paths import name_source
from osteo_ray.base.runs import Run
from osteo_ray.base.tables import (
    IMAGES,
    SPLITS,
    read_table,
    write_json,
    write_table,
    write_yaml,
)
from osteo_ray.cluster.connection import describe_environment
from osteo_ray.cluster.placement import Layout
from osteo_ray.config.build import build, read_yaml
from osteo_ray.config.compare import PLANNED, CompareConfig
from osteo_ray.config.parts import SplitSettings
from osteo_ray.config.tuning import TUNING_SEED
from osteo_ray.data.phantoms.sets import CLASSES as PHANTOM_CLASSES
from osteo_ray.data.regions.given import GivenRegions
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.listing import Source
from osteo_ray.data.splits.assignment import (
    SPLIT_NAMES,
    assign_fold_splits,
    assign_site_splits,
    assign_splits,
)
from osteo_ray.data.splits.checks import check_class_sizes, check_groups_whole
from osteo_ray.experiment.dataset import fingerprint_images
from osteo_ray.experiment.positive_class import check_order, find_positive_class
from osteo_ray.experiment.searches import read_choices
from osteo_ray.pipeline.compare.given_regions import check_region_arms, store_regions
from osteo_ray.pipeline.compare.sites import check_listed_sites, check_read_sites, place_images
from osteo_ray.pipeline.ingest.auditing import Audit, audit_images
from osteo_ray.pipeline.ingest.findings import describe_audit
from osteo_ray.pipeline.ingest.intake import take_in
from osteo_ray.pipeline.output import fill_output, list_source, locate_output, write_images
from osteo_ray.statistics.metrics.registry import METRICS


def locate_run(config: CompareConfig, say: Callable[[str], None] = lambda text: None) -> Run:
    """Return the run directory of a configuration, whether or not it exists yet.

    Args:
        config: The configuration.
        say: Told if the run's own record of it had to be restored.

    Raises:
        InputError: `--out` cannot be written to, holds something else than a run, or a run of
            another configuration.
    """

    def compare_with(run: Run) -> list[str]:
        stored, wanted = build(type(config), read_yaml(run.config)), settle_rule(run, config)
        found, asked = (
            {**one.identity(), "unexplained": one.unexplained_rule} for one in (stored, wanted)
        )
        return list_differences(found, asked)

    identity = config.identity()
    identity.pop("unexplained", None)  # so that a run of before is found by its name
    default = f"runs/{name_source(config.data)}-{hash_settings(identity)}"
    return locate_output(config.out, default, what="a run", list_differences=compare_with, say=say)


def settle_rule(run: Run, config: CompareConfig) -> CompareConfig:
    """Return the configuration with a rule for images that cannot be explained.

    If the user gave none, a run that exists keeps its own.
    """
    rule = config.unexplained_rule
    if config.unexplained is None and run.config.exists():
        rule = build(type(config), read_yaml(run.config)).unexplained_rule
    return config.model_copy(update={"unexplained": rule})


def knows_models(run: Run, config: CompareConfig) -> bool:
    """Tell whether a run already has all models of a configuration, with the same first weights."""
    if not run.config.exists():
        return False
    stored = build(type(config), read_yaml(run.config))
    return config.first_weights.items() <= stored.first_weights.items()


def list_new_arms(run: Run, config: CompareConfig) -> list[str]:
    """List the arms that no earlier command on a run has planned; all of them in a new run."""
    known = build(type(config), read_yaml(run.config)).arms if run.config.exists() else ()
    return [arm for arm in config.arms if arm not in known]


def list_images(config: CompareConfig, run: Run) -> Source | PhantomSettings:
    """List the images to compare on, or return the settings of the phantoms to draw.

    Raises:
        InputError: The source cannot be used, has changed since the run began, or lacks the
            positive class or one of the grades; an arm needs regions where there are none; or
            sites cannot be left out.
    """
    source = list_source(config.data, config.phantom, run, config.source_options)
    check_region_arms(config, run, source)
    check_listed_sites(config, source)
    if isinstance(source, PhantomSettings):
        known = sorted(PHANTOM_CLASSES)
    else:
        known = sorted(source.items["label"].unique())
    if config.statistics.ordinal:
        check_order(config.statistics.ordinal, known)
    metric = METRICS[config.statistics.metric]
    needed_by = metric.name if metric.is_one_sided else None
    find_positive_class(known, config.positive_class, needed_by=needed_by)
    return source


def create_run(
    run: Run,
    config: CompareConfig,
    source: Source | PhantomSettings,
    layout: Layout,
    *,
    given: GivenRegions | None = None,
    confirm: Callable[[], None] = lambda: None,
) -> None:
    """Read the images into a new run directory and divide them.

    Args:
        run: Where.
        config: Configuration of the comparison.
        source: The images, or the settings of phantoms to draw.
        layout: How the run is laid out on the cluster, for its record.
        given: The regions that the user gives with the images, if any; phantoms bring their own.
        confirm: Called when everything is read; if it raises, nothing stays.

    Raises:
        InputError: The images cannot be used.
    """
    with fill_output(run, config, confirm):
        with take_in(
            run,
            source,
            image_size=config.image_size,
            bits=config.bits,
            max_reject_share=config.max_reject_share,
            labels_needed=True,
        ) as (ingest, fingerprint):
            audit = audit_images(ingest, config.conflict_policy)
        if isinstance(source, Source):
            check_classes_left(source, audit)
        images = place_images(audit.images[IMAGES.names], config.site_level)
        _write_splits(run, _divide(images, config, config.seed_numbers))
        write_images(run, images, IMAGES, ingest.rejects)
        store_regions(run, config, given)
        write_json(run.plan, [describe_plan(config)], write_record)
        write_json(run.audit, describe_audit(audit), write_record)
        environment = {
            **describe_environment(layout),
            "source_fingerprint": fingerprint,
            "data_fingerprint": fingerprint_images(images, config.image_size, config.bits),
        }
        write_json(run.environment, environment, write_record)


def check_classes_left(source: Source, audit: Audit) -> None:
    """Refuse a set that has lost a class by the time its images have been read.

    A comparison on the other classes would answer another question than the one that was asked.

    Raises:
        InputError: No image of some class can be used.
    """
    listed, images = source.items, audit.images
    gone = sorted(set(listed["label"]) - set(images["label"][images["used"]]))
    if not gone:
        return
    paths = listed["path"][listed["label"].isin(gone)]
    refused = audit.rejects[audit.rejects["path"].isin(paths)]
    why = []
    if len(refused):
        first = refused.iloc[0]
        why.append(f"{len(refused)} cannot be read, the first of them {first['path']}: ")
        why[0] += first["reason"]
    if n_aside := int(images["given_label"].isin(gone).sum()):
        why.append(f"{n_aside} have copies in another class")
    raise InputError(
        f"Expected images of every class in {source.uri}, but none of {', '.join(gone)} can be "
        f"used. Of {len(paths)}, {'; '.join(why)}. Repair these files, correct their labels, or "
        "leave the class out of --data."
    )


def _write_splits(run: Run, splits: pd.DataFrame) -> None:
    table = pa.Table.from_pandas(splits, SPLITS, preserve_index=False)
    write_table(run.splits, table, how=write_record)


def describe_plan(config: CompareConfig) -> dict[str, Any]:
    """Return what is planned, what the run is, a hash of both, and the time."""
    settings = config.model_dump(mode="json", include=set(PLANNED) - {"weights"})
    return {
        "hash": config.plan_hash(),
        "stated": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **settings,
        "identity": CompareConfig.identity(config),
        "primary": list_primary(config.arms)[:1],
    }


def extend_run(run: Run, config: CompareConfig, given: GivenRegions | None = None) -> None:
    """Continue a run with a new plan: more seeds, arms or models, or another analysis.

    A run that has no regions yet takes in those that are given.

    config.yaml then holds the new plan. plan.json keeps every plan there ever was, so that a plan
    that was changed after results were seen can be recognized.

    Raises:
        InputError: There are too few images for the seeds, or the regions are not those of its
            images.
    """
    store_regions(run, config, given)
    plans = read_record(run.plan, PLANS) if run.plan.exists() else []
    plan = describe_plan(config)
    if not plans or plan["hash"] != plans[-1]["hash"]:
        plan["results_seen"] = run.comparison.exists()
        write_json(run.plan, [*plans, plan], write_record)
    splits = read_table(run.splits).to_pandas()
    missing = sorted(set(config.seed_numbers) - set(splits["seed"]))
    if missing:
        images = read_table(run.images).to_pandas()
        more = _divide(images, config, missing)
        _write_splits(run, pd.concat([splits, more], ignore_index=True))
    write_yaml(run.config, config.model_dump(mode="json"), write_record)


def _divide(images: pd.DataFrame, config: CompareConfig, numbers: Sequence[int]) -> pd.DataFrame:
    if config.split == "site":
        check_read_sites(config, images[images["used"]])
    return split_images(images, SplitSettings.of(config, numbers))


def divide_for_search(run: Run, config: CompareConfig) -> np.ndarray:
    """Divide the images of a run for the seed on which settings are searched.

    Returns:
        str, (n,), in the order of the images table; empty for an image that is set aside.
    """
    images = read_table(run.images).to_pandas()
    splits = _divide(images, config, [TUNING_SEED])
    assigned = splits.set_index("image_id")["split"].reindex(images["image_id"]).fillna("")
    return np.asarray(assigned, "<U10")


def record_choices(run: Run, config: CompareConfig) -> None:
    """Write the training settings that were chosen into the latest plan of a run."""
    *earlier, plan = read_record(run.plan, PLANS)
    chosen = [
        {"model": one.model, "arm": one.arm, "training": one.training.model_dump(mode="json")}
        for one in read_choices(run, config)
    ]
    write_json(run.plan, [*earlier, {**plan, "chosen_training": chosen}], write_record)


def split_images(images: pd.DataFrame, settings: SplitSettings) -> pd.DataFrame:
    """Divide the images that are used, once for each seed.

    Args:
        images: Rows of the images table.
        settings: How to divide them.

    Returns:
        seed, image_id, split.

    Raises:
        InputError: There are too few images, or the source's own split lacks a part.
        LeakError: The source's own split separates a group.
    """
    used = images[images["used"]]
    labels = used["label"].to_numpy(str)
    groups = np.arange(len(used)) if settings.kind == "random" else used["group"].to_numpy()
    if settings.kind == "given":
        given = _check_given_split(used)
    elif settings.kind != "site":  # sites are checked where they are known
        check_class_sizes(labels, groups, settings.ratio, settings.folds)
    parts = []
    for number, seed in settings.seeds.items():
        if settings.kind == "given":
            assigned = given
        elif settings.kind == "site":
            assigned = assign_site_splits(
                labels, groups, used["site"].to_numpy(str), settings.ratio, number=seed
            )
        elif settings.folds is None:
            assigned = assign_splits(labels, groups, settings.ratio, seed=seed)
        else:
            assigned = assign_fold_splits(
                labels, groups, settings.ratio, n_folds=settings.folds, number=seed
            )
        parts.append(
            pd.DataFrame({"seed": number, "image_id": used["image_id"], "split": assigned})
        )
    table = pd.concat(parts, ignore_index=True)
    return table[table["split"] != ""]


def _check_given_split(used: pd.DataFrame) -> np.ndarray:
    given: np.ndarray = used["given_split"].to_numpy(str)
    for split in SPLIT_NAMES:
        missing = sorted(set(used["label"]) - set(used["label"][given == split]))
        if missing:
            raise InputError(
                f"Expected the source to say which images are for {', '.join(SPLIT_NAMES)}, as "
                f"--split given asks, but none of class {missing[0]} is for {split}. Assign each "
                "image to a part, or use --split grouped."
            )
    check_groups_whole(used["group"].to_numpy(), given, used["path"].tolist())
    return given
