"""Evidence on a model, made by hand for tests of the verdict."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from osteo_ray.experiment.evidence import Evidence, Measured
from osteo_ray.experiment.roles import Roles, assign_roles
from osteo_ray.experiment.rule import judge_model
from osteo_ray.experiment.verdict import Circumstances, Margin, Verdict
from osteo_ray.statistics.inference import TestDesign

DESIGN = TestDesign(n_test=100, n_train=700, fixed=False)
REAL = {
    "original": 0.80, "original_retrained": 0.80, "lime": 0.90, "random_mask": 0.74,
    "silhouette": 0.55,
}  # fmt: skip
N_SEEDS, N_DRAWS = 10, 50


def measure(
    means: Mapping[str, float],
    *,
    sd: float = 0.01,
    seeds: Mapping[str, tuple[int, ...]] | None = None,
    higher_is_better: bool = True,
) -> Measured:
    """Make values of arms, and draws that vary as much as the values do."""
    values, draws = dict[str, dict[int, float]](), dict[str, dict[int, np.ndarray]]()
    for number, (arm, mean) in enumerate(means.items()):
        rng = np.random.default_rng(number)
        of_arm = mean + sd * rng.normal(size=N_SEEDS)
        kept = (seeds or {}).get(arm, tuple(range(N_SEEDS)))
        values[arm] = {seed: float(of_arm[seed]) for seed in kept}
        noise = sd * rng.normal(size=(N_SEEDS, N_DRAWS))
        draws[arm] = {seed: of_arm[seed] + noise[seed] for seed in kept}
    return Measured(values, draws, higher_is_better)


def make_evidence(
    means: Mapping[str, float],
    *,
    endpoint: str = "auc",
    others: Mapping[str, Mapping[str, float]] | None = None,
    collapsed: Mapping[str, float] | None = None,
    design: TestDesign = DESIGN,
    **named: Any,
) -> Evidence:
    metrics = {endpoint: measure(means, **named)}
    for metric, of_arm in (others or {}).items():
        metrics[metric] = measure(of_arm)
    return Evidence(
        model="m",
        endpoint=endpoint,
        metrics=metrics,
        design=design,
        seeds=tuple(range(N_SEEDS)),
        groups={seed: np.arange(20 * seed, 20 * seed + 30) for seed in range(N_SEEDS)},
        collapsed=collapsed or {},
    )


def judge(evidence: Evidence, roles: Roles | None = None, **known: Any) -> Verdict:
    arms = tuple(evidence.metrics[evidence.endpoint].values)
    roles = roles or assign_roles(arms)
    gain = evidence.estimate({roles.judged: 1, roles.baseline: -1})
    stated = {"alpha": 0.05, "margin": Margin(0.03, "the default margin"), **known}
    if gain is not None:
        p_equivalent = gain.p_within(stated["margin"].value)
        stated = {"p_gain": gain.p_other_than(), "p_equivalent": p_equivalent, **stated}
    return judge_model(evidence, roles, Circumstances(**{"p_gain": None, **stated}))
