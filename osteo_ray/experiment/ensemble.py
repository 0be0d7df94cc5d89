"""Which classifiers of a run predict new images, and with what probability. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize_scalar

from osteo_ray.arms.arm import ORIGINAL
from osteo_ray.arms.registry import ARMS
from osteo_ray.base.errors import InputError, suggest

Values = npt.NDArray[np.float64]
REAL_GAIN = "real gain"
_FEWEST = 10  # validation images, with which a temperature is fitted
_SMALLEST = 1e-12  # probability, whose logarithm is taken
_RANGE = (np.log(0.05), np.log(20.0))  # of the logarithm of a temperature


@dataclass(frozen=True)
class Ensemble:
    """The classifiers that a verdict recommends for new images.

    Attributes:
        model: Name of the network.
        arm: The arm whose classifiers predict.
        seeds: Their seeds.
        why: Why this arm, in a sentence.
    """

    model: str
    arm: str
    seeds: tuple[int, ...]
    why: str


@dataclass(frozen=True)
class Member:
    """One classifier of an ensemble, as its validation images calibrate it.

    Attributes:
        seed: Of its training.
        temperature: By which its logits are divided; 1 leaves them as they are.
        n_validation: Validation images that the temperature was fitted to; 0 if it was not.
    """

    seed: int
    temperature: float
    n_validation: int


def choose_ensemble(
    comparison: Mapping[str, Any], predictions: pd.DataFrame, model: str | None = None
) -> Ensemble:
    """Say which classifiers the verdict recommends: those on the images, unless a gain is real.

    A real gain of given regions recommends those on the images, too: new images come without.

    Args:
        comparison: What comparison.json holds.
        predictions: The predictions table of the run.
        model: The network; by default the one with the lowest log loss on validation images.

    Raises:
        InputError: The run has no such network, or no predictions of it.
    """
    models = list(comparison["models"])
    if model is not None and model not in models:
        raise InputError(
            f"Expected --model among those of the run, {', '.join(models)}, but got `{model}`."
            + suggest(model, models)
        )
    verdicts = {row["model"]: row["verdict"] for row in comparison["verdicts"]}
    baseline = comparison.get("baseline", ORIGINAL)
    found: list[tuple[float, Ensemble]] = []
    for name in models if model is None else [model]:
        gains, judged = verdicts.get(name) == REAL_GAIN, comparison["judged"]
        unable = judged in ARMS and ARMS[judged].shows_regions
        arm = judged if gains and not unable else baseline
        part = predictions[(predictions["model"] == name) & (predictions["arm"] == arm)]
        if part.empty:
            continue
        verdict = verdicts.get(name, "unknown")
        if not gains:
            reason = f"so masks are not: {arm} is used"
        elif unable:
            reason = f"but new images come without the regions of {judged}, so {arm} is used"
        else:
            reason = f"so {arm} is used"
        why = f"The verdict on {name} is {verdict}, {reason}."
        seeds = tuple(sorted({int(seed) for seed in part["seed"]}))
        loss = _measure_loss(part[part["split"] == "validation"], comparison["classes"])
        found.append((loss, Ensemble(name, arm, seeds, why)))
    if not found:
        raise InputError(
            "Expected predictions of the arm that the verdict recommends, but there are none. "
            "Finish the run with the command that began it."
        )
    return min(found, key=lambda one: one[0])[1]


def _measure_loss(table: pd.DataFrame, classes: Sequence[str]) -> float:
    if table.empty:
        return np.inf
    said, labels = _code(table, classes)
    chosen = said[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, _SMALLEST)).mean())


def _code(table: pd.DataFrame, classes: Sequence[str]) -> tuple[Values, npt.NDArray[np.int64]]:
    """Return probabilities, (n, n_classes), and the numbers of the true classes."""
    said = table[[f"p_{name}" for name in classes]].to_numpy(float)
    numbers = {name: number for number, name in enumerate(classes)}
    return said, table["label"].map(numbers).to_numpy(int)


def calibrate_members(
    table: pd.DataFrame, classes: Sequence[str], recommendation: Ensemble
) -> list[Member]:
    """Fit a temperature to the validation images of each member of an ensemble.

    Args:
        table: The predictions table of the run.
        classes: Its classes, in the order of the probabilities.
        recommendation: The members.
    """
    wanted = (
        (table["model"] == recommendation.model)
        & (table["arm"] == recommendation.arm)
        & (table["split"] == "validation")
    )
    members = []
    for seed in recommendation.seeds:
        part = table[wanted & (table["seed"] == seed)]
        said, labels = _code(part, classes)
        if len(part) < _FEWEST or len(set(labels.tolist())) < 2:
            members.append(Member(seed, 1.0, 0))
        else:
            members.append(Member(seed, fit_temperature(said, labels), len(part)))
    return members


def fit_temperature(probabilities: Values, labels: npt.NDArray[np.int64]) -> float:
    """Return the temperature between 0.05 and 20 with the least log loss (Guo et al. 2017).

    Args:
        probabilities: float, (n, n_classes).
        labels: int, (n,); numbers of the true classes.
    """

    def measure(log_temperature: float) -> float:
        softened = soften(probabilities, float(np.exp(log_temperature)))
        chosen = softened[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(chosen, _SMALLEST)).mean())

    found = minimize_scalar(measure, bounds=_RANGE, method="bounded")
    return float(np.exp(found.x))


def soften(probabilities: Values, temperature: float) -> Values:
    """Return probabilities as if their logits had been divided by a temperature.

    Example:
        >>> soften(np.array([[0.9, 0.1]]), 2.0).round(2).tolist()
        [[0.75, 0.25]]
    """
    scaled = np.log(np.maximum(probabilities, _SMALLEST)) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    softened: Values = powers / powers.sum(axis=-1, keepdims=True)
    return softened
