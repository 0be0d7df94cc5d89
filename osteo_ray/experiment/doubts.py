"""Where the quality of a run is in doubt, said up front: before anybody reads its verdict. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.base.formatting import format_percent, format_score
from osteo_ray.experiment.mask_notes import FAILED, UNSTABLE
from osteo_ray.statistics.metrics.registry import METRICS

_TOO_MANY_UNSTABLE, _TOO_MANY_FAILED = 0.2, 0.01


def list_doubts(comparison: Mapping[str, Any]) -> list[str]:
    """List what makes the results of a run doubtful, as sentences; empty if nothing does.

    Args:
        comparison: What comparison.json holds, of a run or of tables that were judged.
    """
    return [
        *_doubt_learning(comparison),
        *_doubt_masks(comparison),
        *_doubt_power(comparison),
    ]


def _doubt_learning(comparison: Mapping[str, Any]) -> Iterator[str]:
    for verdict in comparison["verdicts"]:
        if verdict["verdict"] == "nothing learned":
            model = verdict["model"]
            yield f"{model} may have learned nothing: neither arm is shown to beat chance."
    for row in comparison.get("trainings", []):
        for kind, of_one, of_several in (
            (
                "collapsed",
                "predicts one class for every image",
                "predict one class for every image",
            ),
            ("diverged", "diverged", "diverged"),
        ):
            if n_bad := len(row[kind]):
                what = f"{row['model']}, {row['arm']}: {n_bad} of {row['n']} trainings"
                yield f"{what} {of_one if n_bad == 1 else of_several}."


def _doubt_masks(comparison: Mapping[str, Any]) -> Iterator[str]:
    limits = {
        UNSTABLE: (_TOO_MANY_UNSTABLE, "are unstable: other samples might give other masks"),
        FAILED: (_TOO_MANY_FAILED, "could not be made"),
    }
    for row in comparison.get("mask_notes", []):
        limit, words = limits.get(row["note"], (2.0, ""))
        share = row["n"] / row["n_masks"]
        if share >= limit:
            masks = f"{format_percent(share)} of the masks of the kind {row['kind']}"
            yield f"{row['model']}: {masks} {words}."


def _doubt_power(comparison: Mapping[str, Any]) -> Iterator[str]:
    inconclusive = {
        verdict["model"]
        for verdict in comparison["verdicts"]
        if verdict["verdict"] == "inconclusive"
    }
    metric = METRICS[comparison["metric"]]
    main = (comparison.get("judged"), comparison.get("baseline", ORIGINAL))
    for row in comparison["contrasts"]:
        smallest = row.get("smallest_detectable")
        is_main = main == (row["arm"], row["baseline"]) and row["model"] in inconclusive
        if is_main and smallest is not None and smallest > row["margin"]:
            found = (
                f"only a difference of {format_score(smallest)} in {metric.label}"
                if metric.cut_difference(smallest) == smallest
                else f"no difference that {metric.label} can have"
            )
            yield (
                f"{row['model']}: too little power. With {row['n_seeds']} seeds that spread so "
                f"much, {found} would probably be found, and the margin is "
                f"{format_score(row['margin'])}."
            )
