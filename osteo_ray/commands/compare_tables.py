"""A comparison on a terminal."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from osteo_ray.base.formatting import (
    format_difference,
    format_interval,
    format_level,
    format_p,
    format_percent,
    format_score,
)
from osteo_ray.commands.terminal import print_table, say
from osteo_ray.experiment.coverage import say_recall
from osteo_ray.statistics.metrics.registry import METRICS

_COLUMNS = {
    "sensitivity_at_threshold": "sens.",
    "specificity_at_threshold": "spec.",
    **{name: METRICS[name].heading for name in ("auc", "brier", "calibration_error")},
    **{name: metric.heading for name, metric in METRICS.items() if metric.is_ordinal},
}
_LEAST_FOR_CALIBRATION = 500
"""Test images below which the calibration error is mostly noise: a perfect model has .12 of 74."""


def show_comparison(console: Console, comparison: dict[str, Any]) -> None:
    """Show what comparison.json holds."""
    _show_arms(console, comparison)
    level = format_level(comparison["alpha"])
    models = comparison["models"]
    label = _label_endpoint(comparison)
    _show_contrasts(console, comparison, models, f"difference in {label} on test images")
    if comparison.get("grid"):
        _show_grid(console, comparison)
    if comparison.get("coverage"):
        _show_coverage(console, comparison)
    for row in comparison.get("mask_notes", []):
        masks = f"{row['model']}: {row['n']} of {row['n_masks']} masks of the kind {row['kind']}"
        say(console, f"{masks}: {row['note']}")
    for share in comparison["shares"]:
        if share["share"] is None:
            continue
        name = f"{share['model']}: {share['control']}"
        if share["share"] <= 0:
            say(console, f"{name} does not share the gain")
            continue
        interval = format_interval(share["low"], share["high"], format_percent)
        found = f"{format_percent(share['share'])} of the gain ({level} interval {interval})"
        does = "keeps" if share.get("gain_must_survive") else "accounts for"
        say(console, f"{name} {does} {found}")
    for row in comparison.get("trainings", []):  # tables that were judged have none
        if row["words"]:
            say(console, f"Trainings: {row['words']}")
    for verdict in comparison["verdicts"]:
        say(console, f"{verdict['model']}: {verdict['verdict']}")
    overall = comparison["verdict"]
    say(console, f"Verdict: {overall['verdict']}", "bold")
    say(console, overall["reason"])
    for verdict in comparison["verdicts"]:
        for remark in verdict["remarks"]:
            say(console, f"Also, {verdict['model']}: {remark}")
    if overall["next"]:
        say(console, f"Next: {overall['next']}")
    if comparison.get("external"):
        _show_external(console, comparison)


def _label_endpoint(comparison: dict[str, Any]) -> str:
    metric = METRICS[comparison["metric"]]
    return metric.label if metric.higher_is_better else f"{metric.label} (lower is better)"


def _show_contrasts(
    console: Console, found: dict[str, Any], models: Sequence[str], title: str
) -> None:
    """Show the contrasts of a comparison, or of its external cohort, in a table per model."""
    level = format_level(found["alpha"])
    for model in models:
        contrasts = [row for row in found["contrasts"] if row["model"] == model]
        print_table(
            console,
            ("contrast", "mean", f"{level} interval", "p"),
            [
                (
                    f"{row['arm']} − {row['baseline']}",
                    format_difference(row["difference"]),
                    format_interval(row["decisive_low"], row["decisive_high"]),
                    format_p(row["p_holm"]),
                )
                for row in contrasts
            ],
            title=f"{model}: {title}",
            styles=["" if row["family"] == "primary" else "dim" for row in contrasts],
        )


def _show_external(console: Console, comparison: dict[str, Any]) -> None:
    """Show what an external cohort says, and where that differs from the run."""
    external = comparison["external"]
    label = _label_endpoint(comparison)
    title = f"difference in {label} on the {external['n_images']} images of {external['name']}"
    _show_contrasts(console, external, comparison["models"], title)
    if external["dropped"]:
        first = external["dropped"][0]
        n_dropped = len(external["dropped"])
        images = "image was" if n_dropped == 1 else "images were"
        named = f"{first['path']}: {first['reason']}"
        say(console, f"{n_dropped} {images} dropped from {external['name']}, the first {named}")
    say(console, f"Verdict on {external['name']}: {external['verdict']['verdict']}", "bold")
    say(console, external["verdict"]["reason"])
    for row in external["deployable"]:
        say(console, f"Also, {row['model']} on {external['name']}: {row['words']}")
    for row in external["agreement"]:
        say(console, row["words"], "" if row["agree"] else "bold")


def _show_grid(console: Console, comparison: dict[str, Any]) -> None:
    """Show how the classifiers of each arm do on each view of the test images."""
    cells = comparison["grid"]["cells"]
    views = list(dict.fromkeys(cell["view"] for cell in cells))
    for model in comparison["models"]:
        means = {(c["arm"], c["view"]): c["mean"] for c in cells if c["model"] == model}
        arms = list(dict.fromkeys(arm for arm, _ in means))
        print_table(
            console,
            ("trained on", *views),
            [(arm, *(format_score(means.get((arm, view))) for view in views)) for arm in arms],
            title=f"{model}: {METRICS[comparison['metric']].label} by what is tested on",
        )


def _show_coverage(console: Console, comparison: dict[str, Any]) -> None:
    """Show how much of the given regions the masks of each kind cover."""
    level = format_level(comparison["alpha"])
    headings = ("masks", "IoU", level, "recall", "precision", "pointing", "IoU − random", level)
    for model in comparison["models"]:
        rows = []
        for one in comparison["coverage"]["masks"]:
            if one["model"] != model:
                continue
            means = {name: figure["mean"] for name, figure in one["figures"].items()}
            iou = one["figures"]["iou"]
            rows.append(
                (
                    one["kind"],
                    format_score(iou["mean"]),
                    format_interval(iou["low"], iou["high"], format_score),
                    *(format_score(means.get(n)) for n in ("recall", "precision", "pointing")),
                    format_difference(iou["more"]),
                    format_interval(iou["more_low"], iou["more_high"]),
                )
            )
        area = format_percent(comparison["coverage"]["area"])
        title = f"{model}: masks against the given regions ({area} of an image), test images"
        print_table(console, headings, rows, title=title)
        say(console, say_recall(comparison["coverage"], model))


def _show_arms(console: Console, comparison: dict[str, Any]) -> None:
    """Show the means over seeds on test images, in a table per model."""
    metric, binary = comparison["metric"], len(comparison["classes"]) == 2
    headings = {metric: f"{METRICS[metric].label} ± sd"} | {
        name: heading
        for name, heading in _COLUMNS.items()
        if name != metric
        and (comparison.get("ordinal") or name not in METRICS or not METRICS[name].is_ordinal)
        and (binary or not name.endswith("_at_threshold"))
        and (name != "calibration_error" or (comparison["n_test"] or 0) >= _LEAST_FOR_CALIBRATION)
    }

    def describe(arm: str, found: dict[str, dict[str, Any]]) -> tuple[str, ...]:
        means = [format_score(found.get(name, {}).get("mean")) for name in headings]
        return (arm, f"{means[0]} ± {format_score(found[metric]['sd'])}", *means[1:])

    for model in comparison["models"]:
        print_table(
            console,
            ("arm", *headings.values()),
            [
                describe(row["arm"], row["metrics"])
                for row in comparison["arms"]
                if row["model"] == model
            ],
            title=f"{model}: test images, mean over seeds",
        )
    notes = ["calib.: calibration error"] if "calibration_error" in headings else []
    if binary:
        notes.append(
            f"sens., spec.: sensitivity and specificity for {comparison['positive_class']}, at the "
            "threshold set on validation images"
        )
    else:
        notes.append(f"{len(comparison['classes'])} classes: auc is a macro average over them")
    if comparison.get("ordinal"):
        notes.append(f"grades: {' < '.join(comparison['ordinal'])}")
    if notes:
        say(console, "; ".join(notes))
