"""What a gain is made of: the paper's gain step by step, each step with its interval. Pure.

A gain under the paper's protocol, minus what the protocol and the copies that it leaks add, is the
gain of a clean run. That is the sum of four differences of arms: what a second training adds to
the baseline, what any crop adds to that, what masks of the network's region add for a classifier
that cannot read labels from them, and what is added if it can. Steps may be negative; they add up.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import pyarrow as pa

from osteo_ray.arms.registry import label_arm
from osteo_ray.arms.roles import Explanation
from osteo_ray.base.errors import InputError
from osteo_ray.experiment.evidence import Evidence
from osteo_ray.experiment.gathering import encode_judged, gather_evidence, is_fixed
from osteo_ray.experiment.roles import Roles, assign_roles, name_roles
from osteo_ray.statistics.inference import Estimate, TestDesign, subtract_estimates
from osteo_ray.statistics.metrics.registry import METRICS
from osteo_ray.statistics.resampling import N_DRAWS

Record = Mapping[str, Any]
_Link = tuple[str, tuple[bool, bool], tuple[bool, bool]]


@dataclass(frozen=True)
class Step:
    """A row of the decomposition.

    Attributes:
        model: Name of the network.
        name: What the gain, or the part of it, is.
        basis: The arms that are subtracted, or the protocols.
        is_total: Whether it is a gain, of which the following steps are parts.
        mean: In units of the endpoint; more is better.
        low: Lower end of its interval.
        high: Upper end.
        n_seeds: Number of seeds, the smaller one where two runs are subtracted.
    """

    model: str
    name: str
    basis: str
    is_total: bool
    mean: float
    low: float
    high: float
    n_seeds: int

    @classmethod
    def of(
        cls,
        model: str,
        name: str,
        basis: str,
        found: Estimate,
        alpha: float,
        *,
        is_total: bool = False,
    ) -> "Step":
        """Take mean and interval from an estimate."""
        low, high = found.interval(alpha)
        return cls(model, name, basis, is_total, found.mean, low, high, found.n_seeds)


@dataclass(frozen=True)
class Decomposed:
    """A run or a judgement as the decomposition reads it.

    Attributes:
        name: What it is called in messages.
        comparison: What its comparison.json holds.
        evidence: What its predictions say, by model.
    """

    name: str
    comparison: Record
    evidence: Mapping[str, Evidence]

    @property
    def follows_paper(self) -> bool:
        """Whether its masks come from a model trained on another split."""
        return bool(self.comparison.get("protocol") == "paper")

    @property
    def leaks(self) -> bool:
        """Whether copies of test images are in the training set."""
        known = self.comparison.get("copies_leak", False)
        return bool(known or self.comparison["split"] == "random")

    @property
    def roles(self) -> Roles:
        """Which of its arms plays which part."""
        sides = (self.comparison["baseline"], self.comparison["judged"])
        arms = list(dict.fromkeys(row["arm"] for row in self.comparison["arms"]))
        found = assign_roles(arms, goes_on=self.comparison.get("goes_on", False))
        if (found.baseline, found.judged) == sides:
            return found
        return name_roles(arms, baseline=sides[0], judged=sides[1])

    @property
    def alpha(self) -> float:
        """Error rate of its intervals."""
        return float(self.comparison["alpha"])


def gather_decomposed(
    name: str,
    comparison: Record,
    predictions: pa.Table,
    images: pd.DataFrame,
    *,
    n_draws: int = N_DRAWS,
) -> Decomposed:
    """Gather the evidence of a run or a judgement from its tables.

    Args:
        name: What it is called in messages.
        comparison: What comparison.json holds.
        predictions: Of all arms.
        images: image_id and group.
        n_draws: Bootstrap samples of the test images.
    """
    coded = encode_judged(predictions, comparison)
    coded = coded.select(lambda key: key.arm not in comparison.get("shuffled", {}))
    design = TestDesign(
        n_test=comparison["n_test"], n_train=comparison["n_train"], fixed=is_fixed(coded)
    )
    seeds, of_model = comparison["seeds"], comparison.get("seeds_of_model", {})
    evidence, _ = gather_evidence(
        coded,
        images,
        design,
        endpoint=comparison["metric"],
        seeds={model: of_model.get(model, seeds) for model in comparison["models"]},
        n_draws=n_draws,
    )
    return Decomposed(name, comparison, evidence)


def decompose(runs: Sequence[Decomposed]) -> list[Step]:
    """Decompose the gain of each model that a clean run has.

    Args:
        runs: One clean run, and optionally one for each other combination of protocol and split.

    Raises:
        InputError: There is no clean run, there are two of a kind, or they have unlike endpoints.
    """
    metrics = {str(run.comparison["metric"]) for run in runs}
    if len(metrics) > 1:
        raise InputError(
            f"Expected runs with one endpoint, but got {' and '.join(sorted(metrics))}. Judge the "
            "tables again with one --metric."
        )
    by_kind: dict[tuple[bool, bool], Decomposed] = {}
    for run in runs:
        kind = (run.follows_paper, run.leaks)
        if kind in by_kind:
            protocol = "the paper's protocol" if run.follows_paper else "the clean protocol"
            raise InputError(
                f"Expected one run of each kind, but {by_kind[kind].name} and {run.name} both "
                f"follow {protocol}. Judge them as one: osteo-ray judge {by_kind[kind].name} "
                f"{run.name} --out DIR"
            )
        by_kind[kind] = run
    clean = by_kind.get((False, False))
    if clean is None:
        raise InputError(
            "Expected a clean run, without --protocol paper and with copies kept together, whose "
            "arms show what a gain is made of, but there is none."
        )
    return [step for model in clean.evidence for step in _decompose_model(model, clean, by_kind)]


def _decompose_model(
    model: str, clean: Decomposed, by_kind: Mapping[tuple[bool, bool], Decomposed]
) -> list[Step]:
    chain = _list_chain(clean.roles, clean.evidence[model])
    top, base = chain[0][0], clean.roles.baseline
    arms = [*(arm for arm, _ in chain), base]
    shared = _share_seeds(clean.evidence[model], arms)
    gain = shared.estimate({top: 1, base: -1})
    if gain is None:
        return []
    gains = {_CLEAN: gain}
    for kind, run in by_kind.items():
        found = run.evidence[model].estimate({top: 1, base: -1}) if model in run.evidence else None
        if kind != _CLEAN and found is not None:
            gains[kind] = found
    alpha, basis = clean.alpha, f"{label_arm(top)} − {label_arm(base)}"
    steps = []
    if _PAPER in gains:
        steps = [
            Step.of(model, "Gain in the paper’s way", basis, gains[_PAPER], alpha, is_total=True),
            *(
                Step.of(
                    model,
                    name,
                    f"{_say(one)} − {_say(other)}",
                    subtract_estimates(gains[one], gains[other]),
                    alpha,
                )
                for name, one, other in _link_protocols(gains)
            ),
        ]
    name = "Gain without leaks" if steps else "Gain"
    steps.append(Step.of(model, name, basis, gain, alpha, is_total=True))
    parts = [
        Step.of(model, words, f"{label_arm(arm)} − {label_arm(other)}", part, alpha)
        for (arm, words), other in zip(chain, arms[1:], strict=True)
        if (part := shared.estimate({arm: 1, other: -1})) is not None
    ]
    # As the gain is peeled: what a second training makes comes first, and what is left last.
    parts.reverse()
    return [*steps, *sorted(parts, key=lambda step: step.name in (WHAT_IS_LEFT, _NOT_TOLD_APART))]


WHAT_IS_LEFT = "What is left"
_NOT_TOLD_APART = "What is left, encoding included"
_ENCODING = "Encoding: the mask tells the class"
_MEMORY = "Encoding: the mask knows training labels"
_CLEAN, _PAPER = (False, False), (True, True)
"""Whether masks come from a model trained on another split, and whether copies leak."""


def _list_chain(roles: Roles, evidence: Evidence) -> list[tuple[str, str]]:
    """List arms from the one that gains, each with what it adds to the next, or to the baseline."""
    known = evidence.metrics[evidence.endpoint].values

    def find(verdict: Explanation, *, must_survive: bool = False) -> str | None:
        kind = (verdict, must_survive)
        found = (one for one in roles.controls if (one.verdict, one.gain_must_survive) == kind)
        return next((one.name for one in found if one.name in known), None)

    survivor = find("leakage", must_survive=True)
    links = [
        (roles.memorising if roles.memorising in known else None, _MEMORY),
        (roles.judged, _NOT_TOLD_APART if survivor is None else _ENCODING),
        (survivor, WHAT_IS_LEFT),
        (find("any crop"), "Any crop"),
        (find("second training"), "A second training"),
    ]
    return [(arm, words) for arm, words in links if arm is not None]


def _link_protocols(gains: Collection[tuple[bool, bool]]) -> list[_Link]:
    """List what lies between the paper's gain and the clean one, with the runs that tell it."""
    copies, masks = "Copies in training", "Masks from another split"
    if (False, True) in gains:
        return [(masks, _PAPER, (False, True)), (copies, (False, True), _CLEAN)]
    if (True, False) in gains:
        return [(copies, _PAPER, (True, False)), (masks, (True, False), _CLEAN)]
    return [("Protocol and copies", _PAPER, _CLEAN)]


def _say(kind: tuple[bool, bool]) -> str:
    if kind in (_CLEAN, _PAPER):
        return "clean gain" if kind == _CLEAN else "paper’s gain"
    return "gain with leaking copies" if kind[1] else "gain with masks from another split"


def _share_seeds(evidence: Evidence, arms: Sequence[str]) -> Evidence:
    """Keep the seeds on which all arms have results, so that parts add up to the whole."""
    values = evidence.metrics[evidence.endpoint].values
    seeds = tuple(s for s in evidence.seeds if all(s in values.get(arm, {}) for arm in arms))
    return replace(evidence, seeds=seeds)


def say_orientation(metric: str) -> str:
    """Say what a positive step means where a lower value of the endpoint is better."""
    if METRICS[metric].higher_is_better:
        return ""
    return f" A positive step is a lower, hence better, {METRICS[metric].label}."
