"""What an external cohort shows: contrasts and a verdict of its own, beside those of the run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from osteo_ray.base.errors import InputError
from osteo_ray.base.formatting import format_level
from osteo_ray.base.paths import name_source
from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.comparison import analyse
from osteo_ray.experiment.external import ExternalExperiment, list_external, takes_part
from osteo_ray.experiment.grid import VIEW, read_grid
from osteo_ray.experiment.trials import list_arms
from osteo_ray.statistics.sizes import Sizes

_CONTRAST = (
    *("family", "model", "arm", "baseline", "n_seeds", "difference"),
    *("decisive_low", "decisive_high", "p_decisive", "p_holm", "inference"),
)
_UNSETTLED = ("inconclusive", "nothing learned")


def judge_external(
    external: ExternalExperiment,
    predictions: pa.Table,
    analysis: Analysis,
    internal: Mapping[str, Any],
) -> dict[str, Any]:
    """Test and judge what the classifiers of a run predicted of an external cohort.

    All seeds test the same images, so the two-way error by seed and by group of images decides. The
    rule and the error rate are those of the run. The threshold of balanced accuracy is the one that
    the run's own validation images set.

    Args:
        external: The trainings of the run, with the images of the cohort.
        predictions: Of the run's own images by all arms, each of its own view.
        analysis: What was planned, at the error rate of the run's conclusion.
        internal: The content of `comparison.json` without `external`.

    Returns:
        What `comparison.json` holds as `external`; plain types only.

    Raises:
        InputError: There are no predictions, as the weights of all classifiers were removed.
    """
    table = read_grid(external, list_external(external, list_arms(external)))
    if table is None:
        raise InputError(
            f"Expected trained classifiers in {external.trained.run.root} to predict --test-data, "
            "but the weights of all of them were removed. Leave --test-data out, or compare again "
            "in another --out."
        )
    cohort = external.cohort
    own, others = _divide_views(table)
    plan = replace(
        analysis,
        arms=tuple(arm for arm in analysis.arms if takes_part(arm)),
        # Without a number of training images, the two-way error decides alone.
        sizes=Sizes(n_test=len(external.image_ids), n_train=math.inf),
        # No classifier has seen the cohort, whatever split it was trained on, nor has a teacher.
        copies_leak=False,
        protocol="clean",
        roles=None,
    )
    images = pd.DataFrame({"image_id": external.image_ids, "group": external.groups})
    validation = predictions.filter(
        pc.and_(
            pc.equal(predictions["split"].cast(pa.string()), "validation"),
            pc.is_in(predictions["arm"].cast(pa.string()), pa.array(plan.arms)),
        )
    )
    both = pa.concat_tables([_to_strings(validation), _to_strings(own)])
    _, found = analyse(both, images, plan, grid=others if len(others) else None)
    name = name_source(cohort.source)
    grid = found.get("grid") or {"cells": [], "deployable": []}
    return {
        "source": cohort.source,
        "name": name,
        "n_images": len(external.image_ids),
        "n_groups": int(images["group"].nunique()),
        "n_rejects": cohort.n_rejects,
        "dropped": cohort.dropped[["path", "reason"]].to_dict("records"),
        "alpha": plan.alpha,
        "contrasts": [
            {key: row[key] for key in _CONTRAST}
            for row in found["contrasts"]
            if row["metric"] == plan.metric
        ],
        # What to do next is the run's to say: more seeds add no images to the cohort.
        "verdicts": [_leave_advice_out(one) for one in found["verdicts"]],
        "verdict": _leave_advice_out(found["verdict"]),
        **grid,
        "agreement": match_verdicts(internal, found, name),
    }


def match_verdicts(
    internal: Mapping[str, Any], external: Mapping[str, Any], name: str
) -> list[dict[str, Any]]:
    """Say where the verdicts on a run's own test images and on a cohort agree, and where not.

    Args:
        internal: `comparison.json` of the run.
        external: The same of the cohort.
        name: Of the cohort.

    Returns:
        For each model, and first for all of them (None) if there are several: `model`, `internal`
        and `external` (the verdicts), `agree`, and `words`, a sentence or two.
    """
    pairs = [
        (one["model"], one["verdict"], other["verdict"])
        for one, other in zip(internal["verdicts"], external["verdicts"], strict=True)
    ]
    if len(pairs) > 1:
        overall = (None, internal["verdict"]["verdict"], external["verdict"]["verdict"])
        pairs = [overall, *pairs]
    return [
        {
            "model": model,
            "internal": inside,
            "external": outside,
            "agree": inside == outside,
            "words": _say(model, inside, outside, (internal, external), name),
        }
        for model, inside, outside in pairs
    ]


def _say(
    model: str | None,
    inside: str,
    outside: str,
    comparisons: Sequence[Mapping[str, Any]],
    name: str,
) -> str:
    who = "All models together" if model is None else model
    own, elsewhere = (_describe_gain(one, model) for one in comparisons)
    if inside == outside:
        return f"{who}: the verdict on {name} is that of the run, {inside}{elsewhere}."
    words = (
        f"{who}: the verdicts disagree. On the run's own test images it is {inside}{own}; on "
        f"{name} it is {outside}{elsewhere}."
    )
    if inside in _UNSETTLED and outside in _UNSETTLED:
        return f"{words} Neither settles anything."
    if outside in _UNSETTLED:
        return f"{words} So it is not confirmed there, nor is it contradicted."
    if inside in _UNSETTLED:
        return f"{words} So only the external images settle it."
    return f"{words} So what holds for images like the run's own does not hold there."


def _describe_gain(comparison: Mapping[str, Any], model: str | None) -> str:
    """Describe the gain of a model in brackets; nothing where there is none."""
    row = next(
        (
            row
            for row in comparison["contrasts"]
            if row["family"] == "primary"
            and row["metric"] == comparison["metric"]
            and (row["model"], row["arm"], row["baseline"])
            == (model, comparison["judged"], comparison["baseline"])
        ),
        None,
    )
    if row is None or row["decisive_low"] is None or row["decisive_high"] is None:
        return ""
    interval = f"{row['decisive_low']:+.3f} to {row['decisive_high']:+.3f}"
    level = format_level(comparison["alpha"])
    return f" (difference {row['difference']:+.3f}, {level} interval {interval})"


def _leave_advice_out(verdict: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in verdict.items() if key != "next"}


def _divide_views(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Divide predictions into those of each arm's own view, without the column, and all others."""
    own = pc.equal(table["arm"].cast(pa.string()), table[VIEW].cast(pa.string()))
    return table.filter(own).drop_columns([VIEW]), table.filter(pc.invert(own))


def _to_strings(table: pa.Table) -> pa.Table:
    """Write dictionaries out as strings, so that tables of different origin can be joined."""
    return table.cast(
        pa.schema(
            [
                pa.field(one.name, pa.string() if pa.types.is_dictionary(one.type) else one.type)
                for one in table.schema
            ]
        )
    )
