"""The report of a run: one self-contained HTML file made from its tables.

It needs no model, no GPU and no cluster, so it can be written again at any time.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from osteo_ray.arms.arm import ORIGINAL, Arm
from osteo_ray.arms.registry import ARMS, label_arm, label_kind
from osteo_ray.base.digests import write_sealed
from osteo_ray.base.forms import ENVIRONMENT, GROUP, PLANS, Form, read_record
from osteo_ray.base.mappings import list_differences
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place
from osteo_ray.base.tables import FAITHFULNESS, read_parts, scan_table
from osteo_ray.config.compare import CompareConfig
from osteo_ray.data.attributes import ATTRIBUTES
from osteo_ray.data.settings import BACKGROUNDS
from osteo_ray.data.splits.wording import word_split
from osteo_ray.experiment.coverage import say_recall
from osteo_ray.experiment.doubts import list_doubts
from osteo_ray.experiment.mask_notes import MAIN_MASKS
from osteo_ray.experiment.run_files import KINDS
from osteo_ray.experiment.soundness import refuse_repeats
from osteo_ray.experiment.verdict import VERDICTS
from osteo_ray.report.confusion import count_confusions
from osteo_ray.report.decomposition_figure import decompose_run
from osteo_ray.report.forest import label_contrast
from osteo_ray.report.gallery import draw_gallery
from osteo_ray.report.judgement_page import write_judgement_page
from osteo_ray.report.paper_table import find_printed, list_paper
from osteo_ray.report.paper_tables import SHOWN_METRICS
from osteo_ray.report.per_class import state_majority
from osteo_ray.report.plots import draw_plots, list_searches
from osteo_ray.report.results import Shown, read_shown
from osteo_ray.report.templates import open_template, read_script
from osteo_ray.statistics.metrics.registry import METRICS, list_metrics
from osteo_ray.statistics.thresholds import OPERATING_NAMES

Rows = list[dict[str, Any]]

_OPERATING_LABELS = {
    **{name: name.replace("_", " ").capitalize() for name in OPERATING_NAMES},
    **{"ppv_at_threshold": "PPV at threshold", "npv_at_threshold": "NPV at threshold"},
}
_ENVIRONMENT = ("created", "versions", "hardware", "data_fingerprint", "durations_s")
_AUDIT = (
    *("n_images", "n_rejects", "classes", "n_radiographs", "copies", "conflicts", "set_aside"),
    *("findings", "reading", "attributes"),
)
READ = frozenset(KINDS) - {
    *("report.html", "trials", "grid", "phantom", "cohort"),
    *("conclusions.json", "networks", "regions.parquet", "tensorboard", "tuning"),
}
"""Names of the files and folders of a run that its page is made from."""


def write_report(run: Run) -> Place:
    """Write report.html into a run directory, or into a judgement of tables; return its path.

    Raises:
        InputError: The run has no comparison yet.
    """
    shown = read_shown(run)
    if shown.config is None:
        return write_judgement_page(shown)
    page = open_template("template.html").render(_collect(shown, shown.config))
    with write_sealed(run.report) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return run.report


def _collect(shown: Shown, config: CompareConfig) -> dict[str, Any]:
    """Return the variables of the template."""
    run, comparison = shown.run, shown.comparison
    classes, contrasts = comparison["classes"], shown.contrasts
    known = list_metrics(ordinal=bool(comparison.get("ordinal")))
    labels = {name: METRICS[name].label for name in known} | _OPERATING_LABELS
    label = labels[comparison["metric"]]
    grades = [name for name in known if METRICS[name].is_ordinal]
    images = scan_table(run.images).to_pylist()
    confusions, plots = count_confusions(shown), draw_plots(shown)
    plots["decomposition"] = decompose_run(shown)
    arms = {(row["model"], row["arm"]): row for row in comparison["arms"]}
    judged, planned = ARMS.get(comparison["judged"]), [ARMS[name] for name in config.arms]
    return {
        "run": run,
        "config": config,
        "comparison": comparison,
        "contrasts": contrasts,
        "corrected_t_counts": shown.corrected_t_counts,
        "margin_in_points": shown.margin_in_points,
        "notes": list(dict.fromkeys(row["note"] for row in contrasts if row["note"])),
        "arm_notes": _list_notes(comparison["arms"]),
        "metric": label,
        "metric_labels": {name: labels[name] for name in (*SHOWN_METRICS, *grades)},
        "grades": comparison.get("ordinal") or [],
        "all_labels": labels,
        "operating_names": OPERATING_NAMES,
        "lower_is_better": {n for n, metric in METRICS.items() if not metric.higher_is_better},
        "backgrounds": BACKGROUNDS,
        "split_words": word_split(config.split, config.split_ratio, config.folds),
        "searches": list_searches(shown),
        "grid": (comparison.get("grid") or {}).get("deployable", []),
        "coverage": comparison.get("coverage"),  # only of runs with regions
        "shares": [row for row in comparison["shares"] if row["share"] is not None or row["note"]],
        **_read_plan(run),
        "compared": _say_compared(judged),
        "judges_regions": judged is not None and judged.shows_regions,
        "explains": any(arm.masks and not arm.shows_regions for arm in planned),
        "shows_regions": any(arm.shows_regions for arm in planned),
        "arm_labels": {name: arm.label for name, arm in ARMS.items()},
        "baseline": ORIGINAL,
        "verdicts": VERDICTS,
        "label_contrast": label_contrast,
        "arms": {name: ARMS[name] for name in config.arms},
        "summaries": arms,
        "environment": _read_known(run.environment, _ENVIRONMENT, ENVIRONMENT),
        "attribute_labels": ATTRIBUTES,
        "audit": _read_known(run.audit, _AUDIT),
        "rejects": scan_table(run.rejects).to_pylist(),
        "leaks": _count_leaks(run, images),
        "paper": list_paper(),
        "find_printed": find_printed,
        "plots": plots,
        "has_curves": "curves" not in plots,
        "operating_points": comparison.get("operating_points", []),  # none in older runs
        "per_seed": comparison.get("per_seed", []),
        "confusions": confusions,
        "majority": state_majority(confusions, classes),
        **draw_gallery(shown),
        "script": read_script(),
        "label_kind": label_kind,
        "say_recall": say_recall,
        "doubts": list_doubts(comparison),
        "masks": _summarise_masks(run),
        "mask_notes": comparison.get("mask_notes", []),
        "unexplained": _list_unexplained(comparison),
        "trainings": [row for row in comparison.get("trainings", []) if row["words"]],
    }


@dataclass(frozen=True)
class _Compared:
    """What was compared: as the question that is asked, and what was done beside training."""

    asked: str
    done: str


def _say_compared(judged: Arm | None) -> _Compared:
    if judged is not None and judged.shows_regions:
        given = " and on the region of each that was given with it"
        return _Compared("training on regions alone", given)
    if judged is not None and judged.guidance is not None:
        again = "trained again on the same images with a penalty on what matters outside its mask"
        return _Compared("telling the network where to look", f", explained with LIME, and {again}")
    masks = ", explained with LIME, and trained again on mask × image"
    return _Compared("training on explanation-masked images", masks)


def _list_notes(summaries: Rows) -> list[str]:
    """List the notes on the metrics of the arms, each once."""
    figures_of = (figure for row in summaries for figure in row["metrics"].values())
    return list(dict.fromkeys(figure["note"] for figure in figures_of if figure.get("note")))


def _read_known(path: Place, keys: Sequence[str], form: Form = GROUP) -> dict[str, Any]:
    """Read a JSON file; missing keys are None, and so is every key of a missing file."""
    return dict.fromkeys(keys) | (read_record(path, form) if path.is_file() else {})


_PLAN_NOTES = ("hash", "stated", "results_seen")  # not part of what is planned


def _read_plan(run: Run) -> dict[str, Any]:
    """Return the hash of the plan, and the changes that were made to it after results were seen."""
    plans = read_record(run.plan, PLANS) if run.plan.is_file() else []
    changed = []
    for before, after in pairwise(plans):
        if after.get("results_seen"):
            old, new = (
                {key: value for key, value in plan.items() if key not in _PLAN_NOTES}
                for plan in (before, after)
            )
            changed += list_differences(old, new, words=("before", "now"))
    return {"plan_hash": plans[-1]["hash"] if plans else None, "changed_plan": changed}


def _count_leaks(run: Run, images: Rows) -> tuple[int, int]:
    """Count the test images, over all seeds, with a copy in training; and all test images."""
    splits = scan_table(run.splits)
    if splits.num_rows == 0:
        return 0, 0
    table = splits.to_pandas()  # not a dictionary for each row, of which there are n × seeds
    group = table["image_id"].map({row["image_id"]: row["group"] for row in images})
    n_leaked = n_tested = 0
    for rows in table.groupby("seed").indices.values():
        found, split = group.to_numpy()[rows], table["split"].to_numpy()[rows]
        n_leaked += int(np.isin(found[split == "test"], found[split == "train"]).sum())
        n_tested += int((split == "test").sum())
    return n_leaked, n_tested


_FAITHFULNESS = ("insertion_auc", "deletion_auc", "drop")
_EXPLAINED = ("model", "seed", "kind", "image_id")
_MASK = (*_EXPLAINED, "teacher", "target")
"""Columns by which rows of the two tables differ."""


def _summarise_masks(run: Run) -> Rows:
    """Count masks and average their figures, per model and kind of mask.

    Raises:
        InputError: A mask, or a figure of it, is there twice.
    """
    columns = [*_MASK, "n_samples", "local_fit", "unstable", "error"]
    table = scan_table(run.masks, MAIN_MASKS, columns)
    if table.num_rows == 0:
        return []
    refuse_repeats(run.masks, table, _MASK)
    wanted = [("image_id", "count"), ("error", "count"), ("unstable", "sum")]
    wanted += [("n_samples", "mean"), ("local_fit", "mean")]
    rows = table.group_by(["model", "kind"]).aggregate(wanted).to_pylist()
    faithful = read_parts(run.faithfulness, FAITHFULNESS, [*_EXPLAINED, *_FAITHFULNESS])
    refuse_repeats(run.faithfulness, faithful, _EXPLAINED)
    means = faithful.group_by(["model", "kind"]).aggregate([(n, "mean") for n in _FAITHFULNESS])
    figures = {(row["model"], row["kind"]): row for row in means.to_pylist()}
    none = {f"{name}_mean": None for name in _FAITHFULNESS}
    joined = [{**none, **figures.get((row["model"], row["kind"]), {}), **row} for row in rows]
    return sorted(joined, key=lambda row: (row["model"], row["kind"]))


def _list_unexplained(comparison: Mapping[str, Any]) -> list[str]:
    """Say per arm how many images without an explanation it showed, over all models and seeds."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for row in comparison.get("unexplained", {}).get("counts", []):  # older runs keep no counts
        found[row["arm"]][row["label"]] += row["n"]
    return [
        f"{label_arm(arm)} {counts.total()} "
        f"({', '.join(f'{counts[label]} {label}' for label in comparison['classes'])})"
        for arm, counts in found.items()
    ]
