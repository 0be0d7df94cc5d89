"""The page of a judgement of tables: the verdict and its figures, from its tables alone."""

from collections import defaultdict
from typing import Any

import pyarrow.dataset as ds

from osteo_ray.arms.registry import label_arm
from osteo_ray.base.runs import Run
from osteo_ray.base.storage import Place, write_whole
from osteo_ray.base.tables import read_json, scan_table
from osteo_ray.experiment.positive_class import PositiveClass
from osteo_ray.experiment.verdict import VERDICTS
from osteo_ray.report import figures
from osteo_ray.report.templates import open_template
from osteo_ray.statistics.metrics.registry import METRICS, list_metrics

_ALWAYS_SHOWN = ("auc", "balanced_accuracy", "accuracy", "mcc", "brier")
Values = dict[str, dict[int, dict[str, float]]]


def write_judgement_page(run: Run) -> Place:
    """Write report.html beside the tables of a judgement; return its path."""
    page = open_template("judgement.html").render(_collect(run))
    with write_whole(run.report) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return run.report


def _collect(run: Run) -> dict[str, Any]:
    """Return the variables of the template."""
    comparison = read_json(run.comparison)
    judgement, metric = comparison["judgement"], comparison["metric"]
    contrasts = comparison["contrasts"]
    values = _read_values(run, metric)
    arms = list(dict.fromkeys(row["arm"] for row in comparison["arms"]))
    known = list_metrics(ordinal=bool(comparison.get("ordinal")))
    grades = [name for name in known if METRICS[name].is_ordinal]
    shown = (metric, *_ALWAYS_SHOWN, *grades)
    return {
        "name": run.root.name,
        "comparison": comparison,
        "judgement": judgement,
        "contrasts": contrasts,
        "label_arm": label_arm,
        "label_contrast": figures.label_contrast,
        "metric": METRICS[metric].label,
        "shown": {name: METRICS[name].label for name in dict.fromkeys(shown)},
        "positive": PositiveClass(
            comparison["positive_class"], judgement["positive_class_basis"]
        ).describe()
        if len(comparison["classes"]) == 2
        else None,
        "forest": contrasts
        and figures.draw_forest(contrasts, margin=comparison["margin"], alpha=comparison["alpha"]),
        "paired": values and figures.draw_paired(values, arms, METRICS[metric].label),
        "verdicts": VERDICTS,
    }


def _read_values(run: Run, metric: str) -> Values:
    """Return the endpoint on test images, by model, seed and arm."""
    known = (ds.field("split") == "test") & ds.field(metric).is_valid()
    values: Values = defaultdict(lambda: defaultdict(dict))
    for row in scan_table(run.results, known).to_pylist():
        values[row["model"]][row["seed"]][row["arm"]] = row[metric]
    return values
