"""What a comparison describes seed by seed: operating points, and pairs of arms.

Each figure is about the trained models at hand on other images; none is about training again, which
the verdict is about. Predictions of several seeds are never pooled as if they were independent.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from osteo_ray.statistics.metrics.auc import AUC
from osteo_ray.statistics.paired import Placements, compare_aucs, count_discordant, place_scores
from osteo_ray.statistics.predictions import Group, Key, Predictions
from osteo_ray.statistics.thresholds import OPERATING_NAMES

_ARGMAX = {"sensitivity": "recall", "specificity": "specificity"}  # names in the results


@dataclass(frozen=True)
class PairedSeed:
    """Two arms on the test images of one seed; it describes that pair of trained models alone.

    Attributes:
        model: The timm name.
        seed: Its number.
        arm: The first classifier.
        baseline: The second.
        n_images: Test images that both predicted. This and all that follow are None where they
            cannot be computed.
        n01: Images that `arm` gets wrong and `baseline` right.
        n10: Images that `arm` gets right and `baseline` wrong.
        mcnemar_p: Two-sided, exact.
        auc_difference: AUC of `arm` minus that of `baseline`.
        auc_low: Lower end of DeLong's interval of that difference, which ends where AUC ends.
        auc_high: Upper end.
        delong_p: Two-sided.
        note: What is missing, and why.
    """

    model: str
    seed: int
    arm: str
    baseline: str
    n_images: int | None = None
    n01: int | None = None
    n10: int | None = None
    mcnemar_p: float | None = None
    auc_difference: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    delong_p: float | None = None
    note: str | None = None


def describe_operating_points(
    results: pd.DataFrame, predictions: Predictions, *, alpha: float
) -> list[dict[str, Any]]:
    """Give sensitivity and specificity on the test images of each training, with intervals.

    The intervals are Wilson's (recommended for few images by Brown, Cai and DasGupta, "Interval
    estimation for a binomial proportion", 2001), for one trained model on other images like these,
    taken as independent.

    Args:
        results: As `results_table.compute_results` returns it.
        predictions: Those that the results were computed from.
        alpha: Intervals have the level 1 - alpha.

    Returns:
        A mapping per model, seed and arm: these, n_positive, n_negative, sensitivity and
        specificity of the more probable class, those and the predictive values at the threshold
        that the validation images set, `_low` and `_high` of each rate, and a note on what is
        None, or None. Empty with more than two classes.
    """
    if len(predictions.classes) > 2 or results.empty:
        return []
    test = results[results["split"] == "test"]
    keys = [Key(*key) for key in test[list(Key._fields)].itertuples(index=False)]
    of_positive = [predictions.groups[key].labels == predictions.positive for key in keys]
    sizes = {"sensitivity": np.array([int(found.sum()) for found in of_positive])}
    sizes["specificity"] = np.array([len(found) for found in of_positive]) - sizes["sensitivity"]
    columns: dict[str, Sequence[Any]] = {
        **{name: test[name].tolist() for name in ("model", "seed", "arm")},
        "n_positive": sizes["sensitivity"].tolist(),
        "n_negative": sizes["specificity"].tolist(),
        **{name: _to_known(test[name]) for name in OPERATING_NAMES},
    }
    for rate in _ARGMAX:
        for name, source in ((rate, _ARGMAX[rate]), (f"{rate}_at_threshold",) * 2):
            columns |= _bound_rate(name, test[source].to_numpy(np.float64), sizes[rate], alpha)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    validated = [key._replace(split="validation") in predictions.groups for key in keys]
    return [
        {**row, "note": _note_missing(row, found)}
        for row, found in zip(rows, validated, strict=True)
    ]


def describe_pairs(
    predictions: Predictions,
    pairs: Sequence[tuple[str, str]],
    *,
    models: Sequence[str],
    seeds: Sequence[int],
    alpha: float,
) -> list[dict[str, Any]]:
    """Compare arms on the test images of each seed, by McNemar's exact test and by DeLong's.

    Args:
        predictions: Of all trained models.
        pairs: Arm and baseline.
        models: Those planned.
        seeds: Those planned.
        alpha: Intervals have the level 1 - alpha.

    Returns:
        The fields of `PairedSeed` per model, seed and pair, in that order. Where a training is
        missing, there is only a note.
    """
    return [
        asdict(entry)
        for model in models
        for seed in seeds
        for entry in _describe_seed(predictions, model, int(seed), pairs, alpha)
    ]


def _describe_seed(
    predictions: Predictions, model: str, seed: int, pairs: Sequence[tuple[str, str]], alpha: float
) -> Iterator[PairedSeed]:
    arms = dict.fromkeys(arm for pair in pairs for arm in pair)
    groups = {arm: predictions.groups.get(Key(model, seed, arm, "test")) for arm in arms}
    tested = {arm: group for arm, group in groups.items() if group is not None}
    placed = {arm: _place(predictions, group) for arm, group in tested.items()}
    right = {arm: group.predicted == group.labels for arm, group in tested.items()}
    for arm, baseline in pairs:
        entry = PairedSeed(model, seed, arm, baseline)
        first, second = groups[arm], groups[baseline]
        if first is None or second is None:
            lost = [name for name in (arm, baseline) if groups[name] is None]
            yield replace(entry, note=f"No test predictions of {' and '.join(lost)}.")
        elif not first.shares_images(second):
            yield replace(entry, note="The two arms were tested on different images.")
        else:
            found = count_discordant(right[arm], right[baseline])
            entry = replace(
                entry, n_images=len(first.labels), n01=found.n01, n10=found.n10, mcnemar_p=found.p
            )
            yield _add_delong(entry, placed[arm], placed[baseline], alpha)


def _place(predictions: Predictions, group: Group) -> Placements | str:
    """Return what DeLong's test needs, or why it is impossible."""
    if len(predictions.classes) > 2:
        return "DeLong's test is for two classes."
    positive = group.labels == predictions.positive
    if positive.all() or not positive.any():
        return "AUC needs test images of both classes."
    return place_scores(group.probabilities[:, predictions.positive], positive)


def _add_delong(
    entry: PairedSeed, first: Placements | str, second: Placements | str, alpha: float
) -> PairedSeed:
    if isinstance(first, str) or isinstance(second, str):
        return replace(entry, note=first if isinstance(first, str) else str(second))
    found = compare_aucs(first, second, confidence=1 - alpha)
    entry = replace(entry, auc_difference=found.difference)
    if math.isnan(found.variance):
        return replace(entry, note="DeLong's test needs at least 2 test images of each class.")
    if found.variance == 0:
        note = "The AUCs differ by the same on every image: without spread, no DeLong test."
        return replace(entry, note=note)
    low, high = (AUC.cut_difference(end) for end in (found.low, found.high))
    return replace(entry, auc_low=low, auc_high=high, delong_p=found.p)


def _bound_rate(
    name: str, shares: np.ndarray, sizes: np.ndarray, alpha: float
) -> dict[str, list[float | None]]:
    """Return the columns of a rate and its Wilson interval; None where the rate is NaN."""
    known = np.isfinite(shares)
    counts = np.rint(shares[known] * sizes[known])
    low, high = (np.full(len(shares), np.nan) for _ in range(2))
    low[known], high[known] = proportion_confint(counts, sizes[known], alpha, method="wilson")
    bounds = {name: shares, f"{name}_low": low, f"{name}_high": high}
    return {column: _to_known(values) for column, values in bounds.items()}


def _note_missing(row: Mapping[str, Any], validated: bool) -> str | None:
    notes = []
    for name, size in (("positive", row["n_positive"]), ("negative", row["n_negative"])):
        if size == 0:
            notes.append(f"No {name} test images.")
    if row["threshold"] is None:
        why = (
            "the validation images lack a class" if validated else "there are no validation images"
        )
        notes.append(f"No threshold: {why}.")
    elif notes == [] and None in (row["ppv_at_threshold"], row["npv_at_threshold"]):
        notes.append("At the threshold, all test images are called the same class.")
    return " ".join(notes) or None


def _to_known(values: "np.ndarray | pd.Series[float]") -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]
