"""The page of a judgement of tables, or of a run of which only the results can be read."""

from typing import Any

from osteo_ray.arms.registry import label_arm
from osteo_ray.base.digests import write_sealed
from osteo_ray.base.storage import Place, write_whole
from osteo_ray.experiment.verdict import VERDICTS
from osteo_ray.report.forest import label_contrast
from osteo_ray.report.plots import draw_plots
from osteo_ray.report.results import Shown
from osteo_ray.report.templates import open_template
from osteo_ray.statistics.metrics.registry import METRICS, list_metrics

_ALWAYS_SHOWN = ("auc", "balanced_accuracy", "accuracy", "mcc", "brier")


def write_judgement_page(shown: Shown) -> Place:
    """Write report.html beside the tables; return its path."""
    run = shown.run
    page = open_template("judgement.html").render(_collect(shown))
    # The files of a run have digests; a judgement is written anew whenever it is needed.
    write = write_sealed if shown.judgement is None else write_whole
    with write(run.report) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return run.report


def _collect(shown: Shown) -> dict[str, Any]:
    """Return the variables of the template."""
    comparison, metric = shown.comparison, shown.comparison["metric"]
    known = list_metrics(ordinal=bool(comparison.get("ordinal")))
    grades = [name for name in known if METRICS[name].is_ordinal]
    names = dict.fromkeys((metric, *_ALWAYS_SHOWN, *grades))
    return {
        "name": shown.name,
        "comparison": shown.comparison,
        "judgement": shown.judgement,
        "unread": shown.unread or f"{shown.run.config} does not exist",
        "corrected_t_counts": shown.corrected_t_counts,
        "contrasts": shown.contrasts,
        "label_arm": label_arm,
        "label_contrast": label_contrast,
        "metric": METRICS[metric].label,
        "shown": {name: METRICS[name].label for name in names},
        "positive": shown.positive,
        "plots": draw_plots(shown),
        "verdicts": VERDICTS,
    }
