"""The chance of each verdict, before anything is computed: the whole rule, applied to simulations.

Tables of predictions are drawn for the planned arms, models, seeds and images from a model whose
truth is known (`experiment.simulated`), and each is judged as a run would be (`judge_predictions`).
How often a verdict comes out is its chance. The judged arm has no effect, one of the margin, or one
of twice the margin; every control fails: it does as well as the baseline, and a silhouette hardly
better than chance. Images are taken to have two classes and no copies, and all trainings to finish.
Of a set so large that only the luck of trainings is left to matter, a part is simulated, whose test
images are as many as tell (`luck.count_telling`).
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import optimize
from threadpoolctl import threadpool_limits

from osteo_ray.arms.registry import ARMS
from osteo_ray.arms.roles import Candidate, Control, Oracle, Reference, Role
from osteo_ray.experiment.analysis import Analysis
from osteo_ray.experiment.conclusions import share_alpha
from osteo_ray.experiment.judging import judge_predictions
from osteo_ray.experiment.looks import share_alpha_of_look
from osteo_ray.experiment.luck import Assumed, count_telling, measure_expected
from osteo_ray.experiment.simulated import CLASSES, Population, SimulatedArm
from osteo_ray.experiment.simulated_run import Scheme, draw_run
from osteo_ray.experiment.verdict import SETTLED, VERDICTS
from osteo_ray.statistics.metrics.registry import METRICS
from osteo_ray.statistics.settings import Spending, StatisticsSettings
from osteo_ray.statistics.sizes import Sizes

N_TABLES = 100
"""Simulated runs per effect."""
NONE, MARGIN, TWICE = 0, 1, 2
"""True effects that are simulated, in margins."""
_N_DRAWS = 200  # of test images; a variance is estimated, so that few suffice
_SILHOUETTE_AUC = 0.55
_HIGHEST_AUC = 0.999


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
        looks: Numbers of seeds after which the run may end early; those that a design does not
            reach are left out.
        spending: How looks spend the error rate.
    """

    arms: tuple[str, ...]
    n_models: int
    metric: str
    margin: float | None
    alpha: float
    goes_on: bool = False
    looks: tuple[int, ...] = ()
    spending: Spending = "obrien_fleming"


@dataclass(frozen=True)
class Chances:
    """How often each verdict came out of simulated runs with the same true effect.

    Attributes:
        counts: By verdict; those that never came out are left out.
        n_tables: Simulated runs.
        mean_seeds: After how many seeds runs ended on average; None if there were no looks.
    """

    counts: Mapping[str, int]
    n_tables: int
    mean_seeds: float | None = None

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
    of_one = scheme.n_seeds if scheme.fixed else 1
    margin = find_margin(question, assumed)
    scheme = scheme.shrink(count_telling(assumed, question.metric, margin, of_one))
    n_tables = scheme.count_tables(len(arms) * question.n_models, n_tables)
    # The matrices are small: threads would wait for each other longer than they compute.
    with threadpool_limits(1, user_api="blas"):
        ends = [
            _judge_one(scheme, question, arms, assumed.population, (seed, number))
            for number in range(n_tables)
        ]
    counts = Counter(verdict for verdict, _ in ends)
    return Chances(
        {name: counts[name] for name in VERDICTS if counts[name]},
        n_tables,
        float(np.mean([n_seeds for _, n_seeds in ends])) if question.looks else None,
    )


def find_target(question: Question, assumed: Assumed, effect: float) -> float | None:
    """Return the AUC at which the endpoint differs from the baseline's by so many margins.

    The luck of trainings is left out of it.

    Returns:
        None where no classifier differs by so much.
    """
    if effect == 0:
        return assumed.baseline_auc
    metric = METRICS[question.metric]
    share = assumed.population.positive_share

    def measure(auc: float) -> float:
        return metric.sign * measure_expected(question.metric, auc, share)

    wanted = measure(assumed.baseline_auc) + effect * find_margin(question, assumed)
    low, high = assumed.baseline_auc, _HIGHEST_AUC
    if low >= high or measure(high) < wanted:
        return None
    return float(optimize.brentq(lambda auc: measure(auc) - wanted, low, high, xtol=1e-5))


def find_margin(question: Question, assumed: Assumed) -> float:
    """Return the margin in units of the endpoint: that of an error is a share of the baseline's."""
    metric = METRICS[question.metric]
    margin = metric.margin if question.margin is None else question.margin
    if not metric.margin_is_relative:
        return margin
    share = assumed.population.positive_share
    return margin * measure_expected(question.metric, assumed.baseline_auc, share)


def _assume_arms(question: Question, assumed: Assumed, target: float) -> dict[str, SimulatedArm]:
    """Say how well each arm does: candidates as the effect has it, and all controls fail."""
    found = {}
    for name in question.arms:
        arm = ARMS[name]
        auc = assumed.baseline_auc
        if arm.shuffled:
            auc = 0.5
        elif isinstance(arm.role, Candidate | Oracle | Reference) or _must_gain(arm.role):
            auc = target
        elif isinstance(arm.role, Control) and arm.view == "silhouette":
            auc = min(auc, _SILHOUETTE_AUC)
        found[name] = SimulatedArm(auc, assumed.skill)
    return found


def _must_gain(role: Role) -> bool:
    return isinstance(role, Control) and role.gain_must_survive


def _judge_one(
    scheme: Scheme,
    question: Question,
    arms: Mapping[str, SimulatedArm],
    population: Population,
    stream: tuple[int, int],
) -> tuple[str, int]:
    """Draw the predictions of one run; return its verdict, and after how many seeds it ended."""
    predictions = draw_run(scheme, arms, question.n_models, population, stream)
    models = tuple(dict.fromkeys(key.model for key in predictions.groups))
    whole = Analysis(
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
    looks = tuple(look for look in question.looks if look < scheme.n_seeds)
    statistics = StatisticsSettings(looks=looks, spending=question.spending)
    for number, n_seeds in enumerate((*looks, scheme.n_seeds), start=1):
        alpha = whole.alpha
        if looks:
            alpha *= share_alpha_of_look(whole, statistics, n_planned=scheme.n_seeds, number=number)
        judged = judge_predictions(
            # Mypy infers no type for a lambda with defaults.
            predictions.select(lambda key, n=n_seeds: key.seed < n),  # type: ignore[misc]
            images,
            replace(whole, seeds=whole.seeds[:n_seeds], alpha=alpha),
            n_draws=_N_DRAWS,
        )
        if {one.verdict for one in judged.verdicts} <= SETTLED:
            break
    return judged.overall.verdict, n_seeds
