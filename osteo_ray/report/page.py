"""The report of a run: one self-contained HTML file made from its tables.

It needs no model, no GPU and no cluster, so it can be written again at any time.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.arms.registry import ARMS, label_arm, label_kind, list_presets
from osteo_ray.base.digests import write_sealed
from osteo_ray.base.errors import InputError
from osteo_ray.base.events import read_events
from osteo_ray.base.mappings import list_differences
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place
from osteo_ray.base.tables import FAITHFULNESS, read_json, read_parts, scan_table
from osteo_ray.check_table.matrices import agrees, recompute
from osteo_ray.check_table.published import PUBLISHED, PublishedRow
from osteo_ray.config.build import build_config, read_yaml
from osteo_ray.data.attributes import ATTRIBUTES
from osteo_ray.data.settings import BACKGROUNDS
from osteo_ray.experiment.coverage import say_recall
from osteo_ray.experiment.doubts import list_doubts
from osteo_ray.experiment.judgement_folder import is_judgement
from osteo_ray.experiment.mask_notes import MAIN_MASKS
from osteo_ray.experiment.run_files import KINDS
from osteo_ray.experiment.searches import read_searches
from osteo_ray.experiment.verdict import VERDICTS
from osteo_ray.report import figures
from osteo_ray.report.curves_figure import draw_curves
from osteo_ray.report.grid_figure import draw_views
from osteo_ray.report.judgement_page import write_judgement_page
from osteo_ray.report.per_class import describe_classes, state_majority
from osteo_ray.report.reliability import draw_reliability
from osteo_ray.report.samples import draw_samples
from osteo_ray.report.search_figure import draw_searches
from osteo_ray.report.templates import open_template
from osteo_ray.report.timeline import draw_timeline, make_timeline
from osteo_ray.statistics.metrics.registry import METRICS, list_metrics
from osteo_ray.statistics.thresholds import OPERATING_NAMES

Rows = list[dict[str, Any]]

_OPERATING_LABELS = {
    **{name: name.replace("_", " ").capitalize() for name in OPERATING_NAMES},
    **{"ppv_at_threshold": "PPV at threshold", "npv_at_threshold": "NPV at threshold"},
}
_SHOWN = ("accuracy", "precision", "recall", "f1", "specificity", "auc")  # the paper's first
_ENVIRONMENT = ("created", "versions", "hardware", "data_fingerprint", "durations_s")
_AUDIT = (
    *("n_images", "n_rejects", "classes", "n_groups", "copies", "conflicts", "set_aside"),
    *("findings", "reading", "attributes"),
)
_TEST = ds.field("split") == "test"
READ = frozenset(KINDS) - {"report.html", "trials", "grid", "superpixels", "phantom", "cohort"}
"""Names of the files and folders of a run that its page is made from."""


def write_report(run: Run) -> Place:
    """Write report.html into a run directory, or into a judgement of tables; return its path.

    Raises:
        InputError: The run has no comparison yet, or its configuration cannot be read.
    """
    if not run.comparison.is_file():
        raise InputError(
            f"Expected a run whose comparison is finished, but {run.comparison} is missing. "
            "Run `osteo-ray compare` with this directory as --out first."
        )
    if is_judgement(run):
        return write_judgement_page(run)
    page = open_template("template.html").render(_collect(run))
    with write_sealed(run.report) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return run.report


def _complete(comparison: dict[str, Any]) -> dict[str, Any]:
    """Add what a comparison by an earlier version does not hold."""
    said = {"next": "", "remarks": []}
    return {
        "shuffled": {},
        "conclusion": None,
        "external": None,
        **comparison,
        "verdict": {**said, **comparison["verdict"]},
        "verdicts": [{**said, **verdict} for verdict in comparison["verdicts"]],
        "contrasts": [
            {"decisive_low": row["low"], "decisive_high": row["high"], **row}
            for row in comparison["contrasts"]
        ],
        "looks": [look for look in comparison["looks"] if "verdicts" in look],
    }


def _collect(run: Run) -> dict[str, Any]:
    """Return the variables of the template."""
    config = build_config(read_yaml(run.config))
    comparison = _complete(read_json(run.comparison))
    classes, metric = comparison["classes"], comparison["metric"]
    known = list_metrics(ordinal=bool(comparison.get("ordinal")))
    labels = {name: METRICS[name].label for name in known} | _OPERATING_LABELS
    label = labels[metric]
    grades = [name for name in known if METRICS[name].is_ordinal]
    contrasts = [row for row in comparison["contrasts"] if row["metric"] == metric]
    margin, alpha = comparison["margin"], comparison["alpha"]
    images = scan_table(run.images).to_pylist()
    confusions = _count_confusions(run, classes, config.models)
    arms = {(row["model"], row["arm"]): row for row in comparison["arms"]}
    paired = _pair_results(run, metric)
    tuned = config.tuning.trials > 0
    searches = read_searches(run, config.models, config.arms) if tuned else []
    return {
        "run": run,
        "config": config,
        "comparison": comparison,
        "contrasts": contrasts,
        "notes": list(dict.fromkeys(row["note"] for row in contrasts if row["note"])),
        "arm_notes": _list_notes(comparison["arms"]),
        "metric": label,
        "metric_in_words": label if label[1:2].isupper() or label == "F1" else label.lower(),
        "metric_labels": {name: labels[name] for name in (*_SHOWN, *grades)},
        "grades": comparison.get("ordinal") or [],
        "all_labels": labels,
        "operating_names": OPERATING_NAMES,
        "lower_is_better": {n for n, metric in METRICS.items() if not metric.higher_is_better},
        "backgrounds": BACKGROUNDS,
        "searches": searches,
        "search_figure": draw_searches(searches),
        "grid": (comparison.get("grid") or {}).get("deployable", []),
        "grid_figure": draw_views(
            (comparison.get("grid") or {}).get("cells", []),
            higher_is_better=METRICS[metric].higher_is_better,
        ),
        "coverage": comparison.get("coverage"),  # only of runs with regions
        "external_figure": draw_views(
            (comparison["external"] or {}).get("cells", []),
            higher_is_better=METRICS[metric].higher_is_better,
        ),
        "shares": [row for row in comparison["shares"] if row["share"] is not None or row["note"]],
        **_read_plan(run),
        "arm_labels": {name: arm.label for name, arm in ARMS.items()},
        "baseline": ORIGINAL,
        "verdicts": VERDICTS,
        "label_contrast": figures.label_contrast,
        "arms": {name: ARMS[name] for name in config.arms},
        "summaries": arms,
        "timeline": draw_timeline(make_timeline(read_events(run.logs))),
        "environment": _read_known(run.environment, _ENVIRONMENT),
        "attribute_labels": ATTRIBUTES,
        "audit": _read_known(run.audit, _AUDIT),
        "rejects": scan_table(run.rejects).to_pylist(),
        "leaks": _count_leaks(run, images),
        "paper": _list_paper(),
        "find_printed": _find_printed,
        "forest": contrasts and figures.draw_forest(contrasts, margin=margin, alpha=alpha),
        "paired": paired and figures.draw_paired(paired, config.arms, label),
        "reliability": draw_reliability(run, comparison, config.models),
        "operating_points": comparison.get("operating_points", []),  # none in older runs
        "per_seed": comparison.get("per_seed", []),
        "confusions": confusions,
        "majority": state_majority(confusions, classes),
        **draw_samples(run, config, comparison, images),
        "label_kind": label_kind,
        "say_recall": say_recall,
        "doubts": list_doubts(comparison),
        "masks": _summarise_masks(run),
        "mask_notes": comparison.get("mask_notes", []),
        "unexplained": _list_unexplained(comparison),
        "curves": draw_curves(run, config.models, config.arms),
        "trainings": [row for row in comparison.get("trainings", []) if row["words"]],
    }


def _list_notes(summaries: Rows) -> list[str]:
    """List the notes on the metrics of the arms, each once."""
    figures_of = (figure for row in summaries for figure in row["metrics"].values())
    return list(dict.fromkeys(figure["note"] for figure in figures_of if figure.get("note")))


def _read_known(path: Place, keys: Sequence[str]) -> dict[str, Any]:
    """Read a JSON file; missing keys are None, and so is every key of a missing file."""
    return dict.fromkeys(keys) | (read_json(path) if path.is_file() else {})


_PLAN_NOTES = ("hash", "stated", "results_seen")  # not part of what is planned


def _read_plan(run: Run) -> dict[str, Any]:
    """Return the hash of the plan, and the changes that were made to it after results were seen."""
    plans = read_json(run.plan) if run.plan.is_file() else []
    changed = []
    for before, after in pairwise(plans):
        if after["results_seen"]:
            old, new = (
                {key: value for key, value in plan.items() if key not in _PLAN_NOTES}
                for plan in (before, after)
            )
            changed += list_differences(old, new, words=("before", "now"))
    return {"plan_hash": plans[-1]["hash"] if plans else None, "changed_plan": changed}


def _list_paper() -> list[dict[str, Any]]:
    """Pair each printed figure of the paper with the value that its own confusion matrix gives."""

    def check(row: PublishedRow) -> list[tuple[str, str, float, bool]]:
        values = recompute(row.confusion)
        return [
            (name, cell.text, values[name], agrees(cell, name, row.confusion))
            for name, cell in row.cells.items()
        ]

    return [{"row": row, "figures": check(row)} for row in PUBLISHED]


def _find_printed(model: str, arm: str) -> PublishedRow | None:
    """Find the row of the paper's table that a model and an arm repeat, if any."""
    data_set = dict(zip(list_presets()["paper"], ("original", "new"), strict=True)).get(arm)
    name = model.partition(".")[0].removeprefix("tf_")  # timm's tags of weights and ports
    return next((row for row in PUBLISHED if (row.data_set, row.model) == (data_set, name)), None)


def _count_leaks(run: Run, images: Rows) -> tuple[int, int]:
    """Count the test images, over all seeds, with a copy in training; and all test images."""
    groups = {row["image_id"]: row["group"] for row in images}
    parts: dict[tuple[int, str], list[int]] = defaultdict(list)
    for row in scan_table(run.splits).to_pylist():
        parts[row["seed"], row["split"]].append(groups[row["image_id"]])
    tests = [(seed, found) for (seed, split), found in parts.items() if split == "test"]
    leaked = [np.isin(found, parts.get((seed, "train"), [])).sum() for seed, found in tests]
    return int(sum(leaked)), sum(len(found) for _, found in tests)


def _pair_results(run: Run, metric: str) -> dict[str, dict[int, dict[str, float]]]:
    paired: dict[str, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in scan_table(run.results, _TEST & ds.field(metric).is_valid()).to_pylist():
        paired[row["model"]][row["seed"]][row["arm"]] = row[metric]
    return paired


def _count_confusions(run: Run, classes: Sequence[str], models: Sequence[str]) -> Rows:
    """Sum confusion matrices over seeds; a row per true class, of (count, share of the row)."""
    shown = list_presets()["paper"]
    table = scan_table(run.predictions, _TEST & ds.field("arm").isin(shown))
    if table.num_rows == 0:
        return []
    predicted = np.stack([table[f"p_{name}"].to_numpy() for name in classes]).argmax(axis=0)
    truth = pc.index_in(table["label"], pa.array(classes)).to_numpy()
    trained = np.array([table["model"].to_pylist(), table["arm"].to_pylist()])
    matrices = []
    for model in models:
        for arm in shown:
            rows = (trained == [[model], [arm]]).all(axis=0)
            counts = np.zeros((len(classes), len(classes)), int)
            np.add.at(counts, (truth[rows], predicted[rows]), 1)
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            cells = np.stack([counts, shares], axis=2).tolist()
            described = describe_classes(cells, classes)
            matrices.append({"model": model, "arm": arm, "rows": cells, "classes": described})
    return [matrix for matrix in matrices if np.any(matrix["rows"])]


_FAITHFULNESS = ("insertion_auc", "deletion_auc", "drop")


def _summarise_masks(run: Run) -> Rows:
    """Count masks and average their figures, per model and kind of mask."""
    columns = ["model", "kind", "image_id", "n_samples", "local_fit", "unstable", "error"]
    table = scan_table(run.masks, MAIN_MASKS, columns)
    if table.num_rows == 0:
        return []
    wanted = [("image_id", "count"), ("error", "count"), ("unstable", "sum")]
    wanted += [("n_samples", "mean"), ("local_fit", "mean")]
    rows = table.group_by(["model", "kind"]).aggregate(wanted).to_pylist()
    faithful = read_parts(run.faithfulness, FAITHFULNESS, ["model", "kind", *_FAITHFULNESS])
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
