"""Where an exported data set comes from: for machines provenance.json, for people a datasheet."""

import importlib.metadata
import shlex
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from osteo_ray.arms.arm import CHANGES, ORIGINAL, TEACHERS
from osteo_ray.arms.registry import ARMS, label_arm
from osteo_ray.base.forms import COMPARISON, read_record
from osteo_ray.base.mappings import hash_settings
from osteo_ray.base.paths import PHANTOM
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place, digest_file
from osteo_ray.base.tables import count_rows
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.settings import BACKGROUNDS
from osteo_ray.data.splits.assignment import SPLIT_NAMES
from osteo_ray.data.splits.wording import list_aside, word_split
from osteo_ray.experiment.trials import WEIGHTS, Experiment, Trial
from osteo_ray.pipeline.export.forms import Content, Form


def list_mask_models(experiment: Experiment, trial: Trial) -> dict[str, Place]:
    """Return the files of the classifiers whose explanations the masks are."""
    teachers = [job.teacher for job in experiment.list_jobs(trial)]
    return {one.arm: experiment.path_of(one) / WEIGHTS for one in teachers}


def describe_origin(
    trial: Trial, form: Form, experiment: Experiment, config: CompareConfig
) -> dict[str, Any]:
    """Return what determines a data set, and when and by what it was written."""
    arm = ARMS[trial.arm]
    explained = arm.masks is not None and not arm.shows_regions
    model_digests = {}
    for teacher, path in list_mask_models(experiment, trial).items():
        model_digests[teacher] = digest_file(path)
    splits = experiment.splits[trial.seed]
    counts = {
        split: {
            label: int(np.sum((splits == split) & (experiment.labels == label)))
            for label in experiment.classes
        }
        for split in SPLIT_NAMES
    }
    return {
        "schema_version": 3,
        "osteo_ray": importlib.metadata.version("osteo-ray"),
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "form": form,
        "arm": arm.name,
        "view": arm.view,
        "masks": asdict(arm.masks) if arm.masks else None,
        "training_masks": arm.training_masks,
        "tested_whole": arm.tested_whole,
        "background": config.background,
        "unexplained": config.unexplained_rule if explained else None,
        "model": trial.model,
        "seed": trial.seed,
        "mask_models_sha256": model_digests,
        "data_fingerprint": experiment.fingerprint,
        "settings_hash": hash_settings(config.identity()),
        "lime": experiment.settings.lime.model_dump(mode="json") if explained else None,
        "split": {
            "protocol": config.protocol,
            "kind": config.split,
            "ratio": list(config.split_ratio),
            "folds": config.folds,
        },
        "image_size": config.image_size.written,
        **({} if config.bits == 8 else {"bits": config.bits}),
        "classes": list(experiment.classes),
        "counts": counts,
        "set_aside": int(np.sum(splits == "")),
    }


def write_datasheet(
    run: Run,
    config: CompareConfig,
    content: Content,
    provenance: Mapping[str, Any],
    command: str,
) -> str:
    """Return the datasheet of a data set, after Gebru et al., Datasheets for Datasets."""
    parts: dict[str, set[str]] = {}
    for row in content.rows:
        parts.setdefault(row["patient_id"], set()).add(row["split"])
    comparison = read_record(run.comparison, COMPARISON) if run.comparison.is_file() else None
    if comparison is not None:  # an earlier version did not name the baseline
        comparison = {"baseline": ORIGINAL, **comparison}
    folder = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=folder, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = environment.get_template("datasheet.md").render(
        provenance=provenance,
        arm=ARMS[provenance["arm"]],
        teachers={name: teacher.meaning for name, teacher in TEACHERS.items()},
        changes=CHANGES,
        size=config.image_size,
        bits=config.bits,
        source=None if config.data == PHANTOM else Path(config.data).name,
        n_images=len(content.rows),
        n_groups=len(parts),
        n_straddling=sum(len(splits) > 1 for splits in parts.values()),
        n_rejects=count_rows(run.rejects) if run.rejects.is_file() else 0,
        kept=content.kept_share,
        split=word_split(config.split, config.split_ratio, config.folds),
        aside=list_aside(config.split, config.conflict_policy),
        background=BACKGROUNDS[config.background].rstrip(","),
        comparison=comparison,
        judged=label_arm(comparison["judged"]) if comparison else None,
        arms=config.arms,
        remake=shlex.join(
            ["osteo-ray", "compare", "--config", str(run.config), "--out", str(run.root)]
        ),
        command=command,
    )
    return text.rstrip() + "\n"
