"""What the grid shows: how each classifier does on each view, and the gain that can be deployed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from osteo_ray.arms.registry import ARMS
from osteo_ray.base.formatting import format_level, format_p
from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.evidence import Evidence
from osteo_ray.experiment.gathering import gather_evidence
from osteo_ray.experiment.grid import VIEW
from osteo_ray.experiment.judging import Judged, correct_over_models, design_tests
from osteo_ray.statistics.inference import Estimate
from osteo_ray.statistics.metrics.registry import METRICS
from osteo_ray.statistics.predictions import encode_predictions
from osteo_ray.statistics.resampling import N_DRAWS

_TEST = "test"


@dataclass(frozen=True)
class GridCell:
    """The endpoint of the classifiers of one arm on one view of the test images.

    Attributes:
        model: The timm name.
        arm: What they were trained on.
        view: The arm whose view they are tested on.
        n_seeds: Number of seeds.
        mean: Mean over seeds.
        low: Lower end of its interval.
        high: Upper end.
    """

    model: str
    arm: str
    view: str
    n_seeds: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class DeployableGain:
    """The judged arm minus the baseline, both tested on whole images.

    New images come without a mask, so this is the only gain that can be used without explaining
    every one of them first.

    Attributes:
        model: The timm name.
        arm: The judged arm.
        n_seeds: Number of seeds.
        difference: Mean over seeds.
        low: Lower end of its interval.
        high: Upper end.
        p: Two-sided, after Holm's correction over models.
        words: What it says, in a sentence.
    """

    model: str
    arm: str
    n_seeds: int
    difference: float
    low: float
    high: float
    p: float | None
    words: str


def describe_grid(
    grid: pa.Table,
    predictions: pa.Table,
    images: pd.DataFrame,
    analysis: Analysis,
    judged: Judged,
    *,
    n_draws: int = N_DRAWS,
) -> dict[str, Any]:
    """Measure the grid.

    Args:
        grid: The predictions of other views, as `grid.read_grid` returns them.
        predictions: The predictions of all arms, each of its own view.
        images: image_id and group.
        analysis: What was planned.
        judged: The verdicts on the arms.
        n_draws: Bootstrap samples of the test images.

    Returns:
        `cells` and `deployable`, lists of the fields of `GridCell` and `DeployableGain`.
    """
    coded = encode_predictions(
        _name_cells(grid, predictions),
        analysis.classes,
        analysis.positive_class,
        analysis.ordinal,
    )
    seeds = {model: analysis.list_seeds(model) for model in analysis.models}
    design = design_tests(coded, analysis)
    evidence, _ = gather_evidence(
        coded, images, design, endpoint=analysis.metric, seeds=seeds, n_draws=n_draws
    )
    present = {key.arm for key in coded.groups}
    names = [name for arm in ARMS for view in ARMS if (name := f"{arm}{_ON}{view}") in present]
    cells = [
        cell
        for model, found in evidence.items()
        for name in names
        if (cell := _measure(found, model, name, analysis)) is not None
    ]
    return {
        "cells": [asdict(cell) for cell in cells],
        "deployable": [asdict(gain) for gain in _list_deployable(evidence, analysis, judged)],
    }


def _name_cells(grid: pa.Table, predictions: pa.Table) -> pa.Table:
    """Join both tables; the arm becomes the name of a cell of the grid."""
    own = predictions.filter(pc.equal(predictions["split"].cast(pa.string()), _TEST))
    arms = own["arm"].cast(pa.string())
    trained = pc.unique(grid["arm"].cast(pa.string())).to_pylist()
    shown = [name for name in trained if name in ARMS and ARMS[name].in_grid]
    own = own.filter(pc.is_in(arms, pa.array(shown, pa.string())))
    parts = [own.append_column(VIEW, own["arm"].cast(pa.string())), grid]
    return pa.concat_tables([_name_part(part, own.schema) for part in parts])


def _name_part(part: pa.Table, schema: pa.Schema) -> pa.Table:
    names = pc.binary_join_element_wise(
        part["arm"].cast(pa.string()), part[VIEW].cast(pa.string()), _ON
    )
    columns = {
        name: names if name == "arm" else part[name].cast(_plain(schema.field(name).type))
        for name in schema.names
        if name != VIEW
    }
    return pa.table(columns)


_ON = " on "  # between the two arms in the name of a cell; no arm has a space in its name


def _plain(found: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_dictionary(found) else found


def _measure(evidence: Evidence, model: str, name: str, analysis: Analysis) -> GridCell | None:
    found = evidence.estimate({name: 1})
    if found is None:
        return None
    arm, _, view = name.partition(_ON)
    mean, low, high = _orient(found, analysis)
    return GridCell(model, arm, view, found.n_seeds, mean, low, high)


def _orient(found: Estimate, analysis: Analysis) -> tuple[float, float, float]:
    """Return mean and interval as the metric is printed, and not as more being better."""
    low, high = found.interval(analysis.alpha)
    if METRICS[analysis.metric].higher_is_better:
        return found.mean, low, high
    return -found.mean, -high, -low


def _list_deployable(
    evidence: Mapping[str, Evidence], analysis: Analysis, judged: Judged
) -> list[DeployableGain]:
    roles = judged.roles
    whole = {arm: f"{arm}{_ON}{roles.baseline}" for arm in (roles.judged, roles.baseline)}
    estimates = {
        model: one.estimate({whole[roles.judged]: 1, whole[roles.baseline]: -1})
        for model, one in evidence.items()
    }
    p_values = correct_over_models(
        {model: None if one is None else one.p_other_than() for model, one in estimates.items()}
    )
    p_equivalent = correct_over_models(
        {
            model: None if one is None else one.p_within(judged.margins[model].value)
            for model, one in estimates.items()
        }
    )
    found = []
    for model, one in estimates.items():
        if one is None:
            continue
        p, (mean, low, high) = p_values[model], _orient(one, analysis)
        start = _say(one, p, p_equivalent[model], analysis.alpha, roles.judged)
        figures = (
            f"{METRICS[analysis.metric].label} {mean:+.3f} over {one.n_seeds} seeds, "
            f"{format_level(analysis.alpha)} interval {low:+.3f} to {high:+.3f}, p {format_p(p)}"
        )
        words = (
            f"{start}. ({roles.judged} minus {roles.baseline}, both on whole images: {figures}.)"
        )
        found.append(DeployableGain(model, roles.judged, one.n_seeds, mean, low, high, p, words))
    return found


def _say(
    found: Estimate, p: float | None, p_equivalent: float | None, alpha: float, arm: str
) -> str:
    """Say what the deployable gain is."""
    if p is not None and p < alpha:
        if found.mean > 0:
            return f"Without a mask at test time, {arm} is better as well: the gain can be deployed"
        return f"Without a mask at test time, {arm} is worse, so each new image would need a mask"
    if p_equivalent is not None and p_equivalent < alpha:
        return f"Without a mask at test time, {arm} makes no difference that matters"
    return f"It is open whether {arm} is better without a mask at test time"
