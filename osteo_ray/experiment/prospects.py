"""The chance of each verdict, before anything is computed: the whole rule, applied to simulations.

Tables of predictions are drawn for the planned arms, models, seeds and images from a model whose
truth is known (`experiment.simulated`), and each is judged as a run would be (`judge_predictions`).
How often a verdict comes out is its chance. The judged arm has no effect, one of the margin, or one
of twice the margin; every control fails: it does as well as the baseline, and a silhouette hardly
better than chance. Images are taken to have two classes and no copies, and all trainings to finish.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, special

from osteo_ray.arms.registry import ARMS
from osteo_ray.arms.roles import Candidate, Control, Oracle, Reference
from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.conclusions import share_alpha
from osteo_ray.experiment.costs import Parts
from osteo_ray.experiment.judging import judge_predictions
from osteo_ray.experiment.simulated import (
    CLASSES,
    Population,
    SimulatedArm,
    draw_arm,
    draw_images,
)
from osteo_ray.experiment.verdict import VERDICTS
from osteo_ray.statistics.metrics.registry import METRICS
from osteo_ray.statistics.predictions import Group, Key, Predictions
from osteo_ray.statistics.sample import Sample
from osteo_ray.statistics.sizes import Sizes

N_TABLES = 100
"""Simulated runs per effect."""
FEWEST_TABLES = 20
"""Simulated runs per effect, however long one takes."""
NONE, MARGIN, TWICE = 0, 1, 2
"""True effects that are simulated, in margins."""
_N_DRAWS = 200  # of test images; a variance is estimated, so that few suffice
_SILHOUETTE_AUC = 0.55
_HIGHEST_AUC = 0.999
_MOST_WORK = 40_000
_N_QUANTILES = 2000  # images per class by which a metric is computed


@dataclass(frozen=True)
class Scheme:
    """How a comparison divides its images.

    Attributes:
        n_seeds: Trainings per arm and model.
        parts: Images per seed.
        folds: Of a repeated cross-validation; None for hold-outs.
        fixed: All seeds test the same images.
    """

    n_seeds: int
    parts: Parts
    folds: int | None = None
    fixed: bool = False

    def count_tables(self, n_trained: int, wanted: int) -> int:
        """Return how many runs are simulated: fewer than wanted where one takes long.

        Args:
            n_trained: Models × arms.
            wanted: How many, if one takes no longer than usual.
        """
        work = n_trained * self.n_seeds * (1 + self.parts.test / 300)  # of about 0.4 ms each
        return min(wanted, max(FEWEST_TABLES, round(_MOST_WORK / work)))


@dataclass(frozen=True)
class Question:
    """What is asked of the results.

    Attributes:
        arms: The planned ones.
        n_models: How many models are judged.
        metric: The endpoint.
        margin: As the user states it; None for the endpoint's default.
        alpha: Error rate of the run; its first conclusion spends only a share of it.
        goes_on: Whether the masked arms start from the weights of the first model.
    """

    arms: tuple[str, ...]
    n_models: int
    metric: str
    margin: float | None
    alpha: float
    goes_on: bool = False


@dataclass(frozen=True)
class Assumed:
    """What is taken to be true of the images and trainings.

    Attributes:
        baseline_auc: AUC of the baseline, above .5.
        skill: Luck of a training: standard deviation, in units of the separation of the classes.
        population: What the images have in common.
    """

    baseline_auc: float
    skill: float
    population: Population


@dataclass(frozen=True)
class Chances:
    """How often each verdict came out of simulated runs with the same true effect.

    Attributes:
        counts: By verdict; those that never came out are left out.
        n_tables: Simulated runs.
    """

    counts: Mapping[str, int]
    n_tables: int

    def of(self, verdict: str) -> float:
        """Return the share of runs that end with a verdict."""
        return self.counts.get(verdict, 0) / self.n_tables

    def error_of(self, verdict: str) -> float:
        """Return the standard error of `of`, which is due to the number of simulated runs.

        It is not 0 where a verdict came out never or always: the share is then drawn towards one
        half by a run of each kind (Agresti and Coull).
        """
        share = (self.counts.get(verdict, 0) + 1) / (self.n_tables + 2)
        return math.sqrt(share * (1 - share) / (self.n_tables + 2))


@lru_cache(maxsize=256)
def simulate_chances(
    scheme: Scheme,
    question: Question,
    assumed: Assumed,
    effect: float,
    *,
    n_tables: int = N_TABLES,
    seed: int = 0,
) -> Chances | None:
    """Simulate the verdicts of a comparison.

    The same arguments give the same chances. Effects and arms share their randomness, so that a
    larger effect and one more arm are compared on the same draws.

    Args:
        scheme: How the images are divided.
        question: What is asked.
        assumed: What is taken to be true.
        effect: True difference between judged arm and baseline, in margins.
        n_tables: Simulated runs; fewer where one takes long.
        seed: Of the simulation.

    Returns:
        None where no classifier can be so much better than the baseline.
    """
    target = find_target(question, assumed, effect)
    if target is None:
        return None
    arms = _assume_arms(question, assumed, target)
    n_tables = scheme.count_tables(len(arms) * question.n_models, n_tables)
    counts = Counter(
        _judge_one(scheme, question, arms, assumed.population, (seed, number))
        for number in range(n_tables)
    )
    return Chances({name: counts[name] for name in VERDICTS if counts[name]}, n_tables)


def find_target(question: Question, assumed: Assumed, effect: float) -> float | None:
    """Return the AUC at which the endpoint differs from the baseline's by so many margins.

    The luck of trainings is left out of it.

    Returns:
        None where no classifier differs by so much.
    """
    metric = METRICS[question.metric]
    share = assumed.population.positive_share

    def measure(auc: float) -> float:
        return metric.sign * measure_expected(question.metric, auc, share)

    base = measure(assumed.baseline_auc)
    margin = metric.margin if question.margin is None else question.margin
    if metric.margin_is_relative:
        margin *= abs(base)
    wanted = base + effect * margin
    if effect == 0:
        return assumed.baseline_auc
    low, high = assumed.baseline_auc, _HIGHEST_AUC
    if low >= high or measure(high) < wanted:
        return None
    return float(optimize.brentq(lambda auc: measure(auc) - wanted, low, high, xtol=1e-5))


@lru_cache(maxsize=512)
def measure_expected(metric: str, auc: float, positive_share: float) -> float:
    """Return the metric of a simulated classifier on a great many images, without luck.

    Any metric is measured by its own formula, on images that lie at the quantiles of the scores
    that `simulated` draws.

    Args:
        metric: A name in `METRICS`.
        auc: Of the classifier.
        positive_share: Share of images of the positive class.

    Example:
        >>> round(measure_expected("auc", 0.85, 0.3), 3)
        0.85
    """
    n_positive = max(1, round(2 * _N_QUANTILES * positive_share))
    n_negative = max(1, 2 * _N_QUANTILES - n_positive)
    separation = SimulatedArm(auc).separation
    z = np.concatenate(
        [
            side * separation + special.ndtri((np.arange(n) + 0.5) / n)
            for side, n in ((-1, n_negative), (1, n_positive))
        ]
    )
    p = special.ndtr(z)
    labels = np.repeat([0, 1], [n_negative, n_positive])
    group = Group(np.arange(len(p), dtype=np.int32), labels, np.stack([1 - p, p], axis=1))
    return float(METRICS[metric].measure(Sample.of(group, 1)))


def _assume_arms(question: Question, assumed: Assumed, target: float) -> dict[str, SimulatedArm]:
    """Say how well each arm does: candidates as the effect has it, and all controls fail."""
    found = {}
    for name in question.arms:
        arm = ARMS[name]
        auc = assumed.baseline_auc
        if arm.shuffled:
            auc = 0.5
        elif isinstance(arm.role, Candidate | Oracle | Reference):
            auc = target
        elif isinstance(arm.role, Control) and arm.view == "silhouette":
            auc = min(auc, _SILHOUETTE_AUC)
        found[name] = SimulatedArm(auc, assumed.skill)
    return found


def _judge_one(
    scheme: Scheme,
    question: Question,
    arms: Mapping[str, SimulatedArm],
    population: Population,
    stream: tuple[int, int],
) -> str:
    """Draw the predictions of one run, and return the name of the verdict on it."""
    predictions = draw_run(scheme, arms, question.n_models, population, stream)
    models = tuple(dict.fromkeys(key.model for key in predictions.groups))
    analysis = Analysis(
        models=models,
        arms=question.arms,
        seeds=tuple(range(scheme.n_seeds)),
        metric=question.metric,
        alpha=question.alpha * share_alpha(1),
        margin=question.margin,
        sizes=Sizes(n_test=scheme.parts.test, n_train=scheme.parts.train),
        classes=CLASSES,
        positive_class=CLASSES[1],
        goes_on=question.goes_on,
    )
    ids = list(predictions.image_ids)
    images = pd.DataFrame({"image_id": ids, "group": np.arange(len(ids))})
    return judge_predictions(predictions, images, analysis, n_draws=_N_DRAWS).overall.verdict


def draw_run(
    scheme: Scheme,
    arms: Mapping[str, SimulatedArm],
    n_models: int,
    population: Population,
    stream: tuple[int, int],
) -> Predictions:
    """Draw the predictions of all trainings of a run on validation and test images.

    Every arm of every model has randomness of its own, so that one more changes no other.

    Args:
        scheme: How the images are divided.
        arms: By name.
        n_models: How many models there are; all do equally well.
        population: What the images have in common.
        stream: Seed of the simulation, and number of the run.
    """
    train, validation, test = (round(part) for part in vars(scheme.parts).values())
    n_images = validation + test + (0 if scheme.fixed else train)
    images = draw_images(n_images, population, np.random.default_rng((*stream, 0)))
    splits = _draw_splits(
        scheme, images.positive, validation, test, np.random.default_rng((*stream, 1))
    )
    both = [np.concatenate(split) for split in splits]
    labels = images.positive.astype(np.int64)
    groups = {}
    for number in range(n_models):
        for name, arm in arms.items():
            rng = np.random.default_rng((*stream, 2, number, *name.encode()))
            for seed, p in enumerate(draw_arm(arm, images, both, population, rng)):
                parts = np.split(p, [len(splits[seed][0])])
                for split, chosen, scores in zip(
                    ("test", "validation"), splits[seed], parts, strict=True
                ):
                    if len(chosen):
                        groups[Key(f"model {number}", seed, name, split)] = Group(
                            chosen.astype(np.int32),
                            labels[chosen],
                            np.stack([1 - scores, scores], axis=1),
                        )
    return Predictions(CLASSES, 1, groups, tuple(f"{number:07}" for number in range(n_images)))


def _draw_splits(
    scheme: Scheme,
    positive: npt.NDArray[np.bool_],
    n_validation: int,
    n_test: int,
    rng: np.random.Generator,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw the test and the validation images of each seed, each with its share of each class."""
    if scheme.fixed:
        order = _mix_classes(positive, rng)
        return [(np.sort(order[:n_test]), np.sort(order[n_test:]))] * scheme.n_seeds
    tested: list[Sequence[int] | np.ndarray] = []
    while len(tested) < scheme.n_seeds:
        order = _mix_classes(positive, rng)
        tested += [order[:n_test]] if scheme.folds is None else np.array_split(order, scheme.folds)
    splits = []
    for chosen in tested[: scheme.n_seeds]:
        rest = np.setdiff1d(np.arange(len(positive)), chosen)
        validation = rest[_mix_classes(positive[rest], rng)[:n_validation]]
        splits.append((np.sort(chosen), np.sort(validation)))
    return splits


def _mix_classes(positive: npt.NDArray[np.bool_], rng: np.random.Generator) -> np.ndarray:
    """Order images at random, such that any stretch holds both classes in their shares."""
    places = np.empty(len(positive))
    for of_class in (positive, ~positive):
        n = int(of_class.sum())
        places[of_class] = (rng.permutation(n) + rng.random()) / max(1, n)
    return np.argsort(places, kind="stable")
