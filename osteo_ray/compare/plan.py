"""The plan of a comparison: gathered from its settings, its data and an earlier run."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from osteo_ray.cluster import connect, plan_resources
from osteo_ray.compare.arms import list_primary
from osteo_ray.compare.calibration import measure_rates
from osteo_ray.compare.costs import Hours, Parts, Work, count_parts, count_work, estimate_hours
from osteo_ray.compare.planning import (
    AssumedSd,
    Design,
    Prospects,
    assess,
    assume_sd,
    read_pilot,
)
from osteo_ray.compare.prepare import list_source, locate_run
from osteo_ray.compare.sequential import LookPlan, crossing_probabilities, plan_looks
from osteo_ray.config import CompareConfig, PlanConfig, hash_settings
from osteo_ray.data.listing import Source
from osteo_ray.errors import InputError
from osteo_ray.runs import Run, read_json


@dataclass(frozen=True)
class Plan:
    """What is fixed before a comparison runs, and what follows from it.

    Attributes:
        settings: All that determine the results of the run.
        design: The primary contrast and the numbers behind its power.
        sd: Its assumed spread, with its source.
        prospects: What the design can find.
        looks: When it is looked at; None with fewer than 2 seeds.
        finds: Per look, the probability to find the smallest effect of interest there first.
        parts: Images per seed, if all that are listed are used.
        work: What is to be computed.
    """

    settings: dict[str, Any]
    design: Design
    sd: AssumedSd
    prospects: Prospects
    looks: LookPlan | None
    finds: tuple[float, ...]
    parts: Parts
    work: Work

    @property
    def hash(self) -> str:
        """Hash of what determines the plan: settings, primary contrast and assumptions."""
        return hash_settings({"settings": self.settings, "design": asdict(self.design)})


@dataclass(frozen=True)
class _Counts:
    parts: Parts
    positive_share: float


def make_plan(config: PlanConfig) -> Plan:
    """Plan a comparison; images are listed, not read.

    Raises:
        InputError: The data, the earlier run or the settings cannot be used.
    """
    compared = config.to_compare()
    source = list_source(compared, locate_run(compared))
    counts = _count(compared, source)
    statistics = compared.statistics
    try:
        arm, baseline = _name_primary(compared.arms)
        sd = _find_sd(config, arm, baseline, counts)
    except ValueError as error:
        raise InputError(str(error)) from None
    design = Design(
        metric=statistics.metric,
        arm=arm,
        baseline=baseline,
        effect=statistics.margin,
        alpha=statistics.alpha,
        n_contrasts=len(compared.models) * len(list_primary(compared.arms)),
        power=statistics.power,
        n_seeds=compared.seeds,
        n_train=counts.parts.train,
        n_test=counts.parts.test,
        sd=sd.value,
    )
    looks, finds = _plan_looks(design, compared)
    work = count_work(
        n_models=len(compared.models),
        n_seeds=compared.seeds,
        arms=compared.arms,
        parts=counts.parts,
        epochs=compared.training.epochs,
        samples=compared.lime.samples,
        crossfit_folds=compared.crossfit_folds,
        protocol=compared.protocol,
    )
    return Plan(compared.identity(), design, sd, assess(design), looks, finds, counts.parts, work)


def _name_primary(arms: Sequence[str]) -> tuple[str, str]:
    primary = list_primary(arms)
    if not primary:
        raise ValueError(f"Expected lime among the arms, but got {', '.join(arms)}.")
    return primary[0]


def measure_hours(config: PlanConfig, work: Work) -> Hours:
    """Connect to the cluster, measure how fast its workers are, and turn work into hours.

    Raises:
        InputError: The cluster is too small, or a model cannot be built.
    """
    with connect():
        layout = plan_resources(config.resources)
        rates = measure_rates(config, layout.slot)
    return estimate_hours(
        work,
        rates,
        trainings_at_once=layout.concurrent_trials,
        workers=layout.workers,
        explainers=layout.slots,
    )


def _plan_looks(design: Design, config: CompareConfig) -> tuple[LookPlan | None, tuple[float, ...]]:
    if design.n_seeds < 2:
        return None, ()
    looks = plan_looks(
        config.statistics.looks,
        design.n_seeds,
        n_test=design.n_test,
        n_train=design.n_train,
        alpha=design.strictest,
        spending=config.statistics.spending,
    )
    finds = crossing_probabilities(looks, design.effect / design.sd)[:, 0]
    return looks, tuple(finds.tolist())


def _find_sd(config: PlanConfig, arm: str, baseline: str, counts: _Counts) -> AssumedSd:
    metric = config.statistics.metric
    if config.pilot is not None:
        return read_pilot(_read_comparison(Path(config.pilot)), metric, arm, baseline)
    return assume_sd(
        config.statistics.disagreement,
        metric,
        n_test=counts.parts.test,
        positive_share=counts.positive_share,
    )


def _read_comparison(root: Path) -> dict[str, Any]:
    path = Run(root).comparison
    try:
        comparison = read_json(path)
    except OSError as error:
        raise InputError(
            f"Expected --pilot to be a finished run, but {path}: {error.strerror}."
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"Expected JSON in {path}, but found: {error}.") from None
    if not isinstance(comparison, dict):
        raise InputError(f"Expected {path} to be that of a run, but it holds something else.")
    return comparison


def _count(config: CompareConfig, source: Source | None) -> _Counts:
    """Count the images of each part and class, as if every one that is listed is used."""
    if source is None:
        parts = count_parts(config.phantom.n_images, config.split_ratio, config.folds)
        return _Counts(parts, config.phantom.positive_share)
    labels = source.items["label"]
    positive = config.positive_class or max(labels)
    share = float((labels == positive).mean())
    if config.split != "given":
        return _Counts(count_parts(len(labels), config.split_ratio, config.folds), share)
    given = source.items["split"].value_counts()
    parts = Parts(*(float(given.get(name, 0)) for name in ("train", "validation", "test")))
    if not (parts.train and parts.test):
        raise InputError(
            f"Expected {config.data} to say which images are for training and test, as --split "
            f"given asks, but it names {parts.train:g} and {parts.test:g}."
        )
    return _Counts(parts, share)
