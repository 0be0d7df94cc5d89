"""Predictions that anybody made, judged as a run judges its own: `osteo-ray judge`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.arms.registry import ARMS, find_roles
from osteo_ray.arms.roles import SanityCheck
from osteo_ray.base.errors import InputError, suggest
from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.comparison import analyse
from osteo_ray.experiment.conclusions import share_alpha
from osteo_ray.experiment.judged_tables import JudgedTables, read_judged_tables
from osteo_ray.experiment.positive_class import (
    PositiveClass,
    check_order,
    find_positive_class,
)
from osteo_ray.experiment.roles import Roles, assign_roles, name_roles
from osteo_ray.statistics.metrics.registry import METRICS, check_endpoint
from osteo_ray.statistics.settings import StatisticsSettings, read_order
from osteo_ray.statistics.sizes import Sizes

Record = Mapping[str, Any]
_DEFAULTS = StatisticsSettings()
_MOST_LOOKS = 50  # less than 1e-15 of alpha is left for one more


@dataclass(frozen=True)
class JudgeRequest:
    """What is asked of tables; None where the tables, or the defaults, tell.

    Attributes:
        baseline: The arm that the others are compared with.
        judged: The arm whose gain is judged.
        controls: Arms that a gain must exceed.
        metric: The endpoint.
        margin: The smallest difference that matters, in (0, 1).
        alpha: Error rate, in (0, 0.5).
        positive_class: Its name.
        ordinal: The classes in their order, as names or as one text with `<` between them.
        n_train: Training images per seed, above 0.
        looks: Conclusions that were drawn on these seeds before, from 0 to 50.
    """

    baseline: str | None = None
    judged: str | None = None
    controls: tuple[str, ...] | None = None
    metric: str | None = None
    margin: float | None = None
    alpha: float | None = None
    positive_class: str | None = None
    ordinal: tuple[str, ...] | str = ()
    n_train: float | None = None
    looks: int | None = None


class Judgement(NamedTuple):
    """A judgement, and what it rests on.

    Attributes:
        results: The table of results, as `comparison.analyse` returns it.
        comparison: The content of comparison.json, as `comparison.analyse` returns it, and a key
            `judgement`: the tables, the stated alpha, the number of earlier conclusions, and how
            the positive class came to be known.
        predictions: Those that were judged, of all tables.
        images: image_id and group.
    """

    results: pd.DataFrame
    comparison: dict[str, Any]
    predictions: pa.Table
    images: pd.DataFrame


def judge_tables(paths: Sequence[str], request: JudgeRequest = JudgeRequest()) -> Judgement:
    """Judge the predictions in one or more tables, taken together.

    Args:
        paths: Parquet files, delimited text, or run directories.
        request: What is asked of them. A run directory tells what was planned; what the request
            states overrides it.

    Raises:
        InputError: A table or the request cannot be used.
    """
    _check_numbers(request)
    tables = read_judged_tables(paths, shuffled=tuple(find_roles(ARMS, SanityCheck)))
    planned = [_recall_alpha(record) for record in tables.records]
    alpha = float(_choose("alpha", request.alpha, planned, _DEFAULTS.alpha))
    analysis, positive = _plan(tables, request, alpha)
    looks = _count_looks(request, planned, analysis)
    analysis = replace(analysis, alpha=alpha * share_alpha(looks + 1))
    results, comparison = analyse(tables.predictions, tables.images, analysis)
    judgement = {
        "tables": list(paths),
        "alpha": alpha,
        "looks": looks,
        "positive_class_basis": positive.basis,
        "n_images": int(pc.count_distinct(tables.predictions["image_id"]).as_py()),
    }
    comparison = {**comparison, "judgement": judgement}
    return Judgement(results, comparison, tables.predictions, tables.images)


def _plan(
    tables: JudgedTables, request: JudgeRequest, alpha: float
) -> tuple[Analysis, PositiveClass]:
    # Before the margin that counts was kept beside the stated one, the latter was `margin`.
    records = [{"stated_margin": one.get("margin"), **one} for one in tables.records]
    metric = _find_endpoint(request, records)
    ordinal = _find_order(request, records, tables.classes, metric)
    found = tables.predictions.group_by(["model", "arm", "seed"]).aggregate([]).to_pandas()
    _check_trained(found, request.baseline or ORIGINAL)
    roles, arms = _find_roles(sorted(set(found["arm"])), request, records)
    seeds_of_model = _list_seeds(found, records)
    seeds = tuple(sorted({seed for of_model in seeds_of_model.values() for seed in of_model}))
    positive = find_positive_class(
        tables.classes,
        _choose("positive_class", request.positive_class, records, None),
        needed_by=metric if METRICS[metric].is_one_sided else None,
    )
    analysis = Analysis(
        models=tuple(seeds_of_model),
        arms=arms,
        seeds=seeds,
        metric=metric,
        alpha=alpha,
        margin=_choose("stated_margin", request.margin, records, None),
        sizes=_find_sizes(tables, request),
        classes=tables.classes,
        positive_class=positive.name,
        ordinal=ordinal,
        prevalence=_recall("prevalence", records),
        split=str(_recall("split", records) or "unknown"),
        protocol=str(_recall("protocol", records) or "unknown"),
        goes_on=any(record.get("goes_on", False) for record in records),
        copies_leak=tables.copies_leak or any(r.get("copies_leak", False) for r in records),
        roles=roles,
        seeds_of_model={model: own for model, own in seeds_of_model.items() if own != seeds},
    )
    return analysis, positive


def _check_numbers(request: JudgeRequest) -> None:
    for flag, value, low, high in (
        ("--margin", request.margin, 0.0, 1.0),
        ("--alpha", request.alpha, 0.0, 0.5),
        ("--n-train", request.n_train, 0.0, math.inf),
    ):
        if value is not None and not low < value < high:
            bound = "above 0" if high == math.inf else f"between 0 and {high:g}"
            raise InputError(f"Expected {flag} {bound}, but got {value:g}. Give another.")
    if request.looks is not None and not 0 <= request.looks <= _MOST_LOOKS:
        raise InputError(
            "Expected --looks to count conclusions that were drawn before, so 0 or more, and at "
            f"most {_MOST_LOOKS}, as nothing is left of alpha after those, but got "
            f"{request.looks}. Judge seeds that no conclusion was drawn on."
        )


def _recall_alpha(record: Record) -> Record:
    """Return what is known of a run, at the error rate before its conclusions spent of it.

    What planned looks left of it stays spent.
    """
    conclusion, judgement = record.get("conclusion") or {}, record.get("judgement") or {}
    looks = record.get("looks") or [{}]
    left = looks[-1].get("alpha_share", 1.0)
    stated = {"alpha": conclusion["planned_alpha"] * left} if conclusion else {}
    number = conclusion.get("number", judgement.get("looks", 0) + 1)
    known = {"number": int(number), "n_drawn": record.get("n_drawn", 0)}
    return {**record, **judgement, **stated, **known}


def _count_looks(request: JudgeRequest, planned: Sequence[Record], analysis: Analysis) -> int:
    """Return how many conclusions came before: those stated, or else those of the runs.

    A judgement of tables counts as the conclusion that it was. Whoever asks what was asked before
    draws the same conclusion; of another question, that one came before as well.

    Args:
        request: What is asked of the tables.
        planned: What is known of each run, as `_recall_alpha` returns it.
        analysis: What is asked, at the whole error rate.
    """
    if request.looks is not None:
        return request.looks
    before = [
        one["number"] - 1 if _asks_the_same(analysis, one) else max(one["number"], one["n_drawn"])
        for one in planned
    ]
    return min(max(before, default=0), _MOST_LOOKS)


def _asks_the_same(analysis: Analysis, record: Record) -> bool:
    """Tell whether a run was judged by the same question, as `identify_conclusion` has it."""
    roles = analysis.roles
    assert roles is not None  # `_plan` assigns them
    asked = {
        **{"metric": analysis.metric, "stated_margin": analysis.margin, "alpha": analysis.alpha},
        **{"positive_class": analysis.positive_class},
        **{"judged": roles.judged, "baseline": roles.baseline},
        **({"ordinal": list(analysis.ordinal)} if METRICS[analysis.metric].is_ordinal else {}),
    }
    before = {"stated_margin": record.get("margin"), **record}
    return all(before.get(name, value) == value for name, value in asked.items())


def _find_endpoint(request: JudgeRequest, records: Sequence[Record]) -> str:
    metric = _choose("metric", request.metric, records, _DEFAULTS.metric)
    try:
        return check_endpoint(metric)
    except ValueError as error:
        raise InputError(f"{error} Name another by --metric.") from None


def _find_order(
    request: JudgeRequest, records: Sequence[Record], classes: Sequence[str], metric: str
) -> tuple[str, ...]:
    planned = [{**one, "ordinal": tuple(one["ordinal"])} for one in records if one.get("ordinal")]
    stated = tuple(read_order(request.ordinal)) if request.ordinal else None
    ordinal = tuple(_choose("ordinal", stated, planned, ()))
    if ordinal:
        check_order(ordinal, classes)
    elif METRICS[metric].is_ordinal:
        raise InputError(
            f"Expected the order of the classes {', '.join(classes)} with --metric {metric}, but "
            f"got none. Say it by --ordinal, such as '{'<'.join(classes)}'."
        )
    return ordinal


def _choose(name: str, stated: Any, records: Sequence[Record], default: Any) -> Any:
    """Return what is stated, else what the runs were planned with, else the default."""
    if stated is not None:
        return stated
    planned = list(dict.fromkeys(record[name] for record in records if name in record))
    if len(planned) > 1:
        name = name.removeprefix("stated_")
        flag = "--" + name.replace("_", "-")
        raise InputError(
            f"Expected runs that were planned alike, but their {name} is "
            f"{' and '.join(map(str, planned))}. Say by {flag} which counts."
        )
    return planned[0] if planned else default


def _recall(name: str, records: Sequence[Record]) -> Any:
    """Return what all runs agree on; None where they do not, or there are none."""
    known = {record.get(name) for record in records}
    return known.pop() if len(known) == 1 else None


def _check_trained(found: pd.DataFrame, baseline: str) -> None:
    arms = sorted(set(found["arm"]))
    for model, part in found.groupby("model"):
        if baseline not in set(part["arm"]):
            own = sorted(set(part["arm"]))
            raise InputError(
                f"Expected the baseline `{baseline}` among the arms of {model}, but it has "
                f"{', '.join(own)}.{suggest(baseline, arms)} Name the arm that the others are "
                "compared with by --baseline, or leave this model out."
            )
    if len(arms) < 2:
        raise InputError(
            f"Expected two or more arms, as the verdict compares them, but found only {arms[0]}. "
            "Add the predictions of the arm whose gain is to be judged."
        )
    n_seeds = found.groupby("model")["seed"].nunique()
    if int(n_seeds.max()) < 2:
        raise InputError(
            "Expected two or more seeds, as one training says nothing of what another would give, "
            f"but every model has 1 (seed {int(found['seed'].iloc[0])}). Train again with other "
            "seeds."
        )


def _find_roles(
    found: Sequence[str], request: JudgeRequest, records: Sequence[Record]
) -> tuple[Roles, tuple[str, ...]]:
    """Return which arm plays which part, and all arms: those planned, in order, and those found."""
    planned = dict.fromkeys(arm for record in records for arm in _list_planned(record))
    stated = (request.baseline, request.judged, request.controls)
    if records and set(found) <= set(planned) and stated == (None, None, None):
        goes_on = any(record.get("goes_on", False) for record in records)
        return assign_roles(list(planned), goes_on=goes_on), tuple(planned)
    roles = name_roles(
        found,
        baseline=request.baseline,
        judged=request.judged,
        controls=request.controls,
    )
    named = [roles.baseline, roles.judged, *(control.name for control in roles.controls)]
    known = [name for name in ARMS if name in found]
    return roles, tuple(dict.fromkeys([*named, *known, *found, *planned]))


def _list_planned(record: Record) -> list[str]:
    """Return the arms of a run, of which older ones list only those that have results."""
    arms = [row["arm"] for row in record.get("arms", [])]
    arms += [row["arm"] for row in record.get("missing", [])]
    return list(dict.fromkeys(arms))


def _list_seeds(found: pd.DataFrame, records: Sequence[Record]) -> dict[str, tuple[int, ...]]:
    """Return the planned seeds per model: those of a run, and all that the model has in any arm."""
    seeds: dict[str, set[int]] = {}
    for record in records:
        for model in record.get("models", []):
            of_model = record.get("seeds_of_model", {}).get(model, record.get("seeds", []))
            seeds.setdefault(str(model), set()).update(map(int, of_model))
    for model, part in found.groupby("model"):
        seeds.setdefault(str(model), set()).update(map(int, part["seed"]))
    return {model: tuple(sorted(of_model)) for model, of_model in seeds.items()}


def _find_sizes(tables: JudgedTables, request: JudgeRequest) -> Sizes:
    test = tables.predictions.filter(pc.equal(tables.predictions["split"], "test"))
    n_train = request.n_train or tables.n_train
    return Sizes(
        n_test=_count_tested(test),
        n_train=n_train or _recall("n_train", tables.records) or math.inf,
    )


def _count_tested(test: pa.Table) -> float:
    counts = test.group_by("seed").aggregate([("image_id", "count_distinct")])
    return float(np.mean(counts["image_id_count_distinct"].to_numpy()))
