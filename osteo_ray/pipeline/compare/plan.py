"""The plan of a comparison, from its settings, its data and possibly an earlier run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from osteo_ray.arms.pairs import list_primary
from osteo_ray.arms.registry import ARMS, find_roles
from osteo_ray.arms.roles import Candidate
from osteo_ray.base.errors import InputError
from osteo_ray.base.formatting import format_percent
from osteo_ray.base.forms import GROUP, Form, read_record
from osteo_ray.base.runs import Run, open_run
from osteo_ray.cluster.connection import connect, plan_resources
from osteo_ray.config.compare import CompareConfig
from osteo_ray.config.variants import PlanConfig
from osteo_ray.data.image_size import ImageSize
from osteo_ray.data.pixels import Bits
from osteo_ray.data.settings import PhantomSettings
from osteo_ray.data.sources.listing import Source
from osteo_ray.experiment.assumptions import Assumptions, assume, assume_from_pilot, find_sd
from osteo_ray.experiment.conclusions import share_alpha
from osteo_ray.experiment.costs import Parts, Speed, Work
from osteo_ray.experiment.planning import (
    AssumedSd,
    Design,
    Detectable,
    assess,
    read_pilot,
)
from osteo_ray.experiment.positive_class import find_positive_class
from osteo_ray.experiment.prospects import NONE, TWICE, Question, find_margin, simulate_chances
from osteo_ray.experiment.simulated_run import Scheme
from osteo_ray.experiment.soundness import refuse_damage
from osteo_ray.pipeline.before_reading import check_setup
from osteo_ray.pipeline.compare.calibration import calibrate
from osteo_ray.pipeline.compare.cohort import describe_reading
from osteo_ray.pipeline.compare.costing import count_listed, count_planned
from osteo_ray.pipeline.compare.prepare import list_images, locate_run, settle_rule
from osteo_ray.pipeline.compare.training_check import check_listed
from osteo_ray.statistics.sequential import LookPlan, crossing_probabilities, plan_looks
from osteo_ray.statistics.sizes import Sizes

_CONTRAST: Form = {"model": str, "arm": str, "baseline": str, "n_seeds": int, "sd?": float}
_ARM: Form = {"arm": str, "metrics": GROUP}
_PILOT: Form = {"metric": str, "n_test": float, "contrasts": [_CONTRAST], "arms?": [_ARM]}
_N_STATED = 40  # simulated runs per effect at the start of a comparison


@dataclass(frozen=True)
class Plan:
    """What is fixed before a comparison runs, and what follows from it.

    Attributes:
        hash: Hash of all settings that are stated before the run, as in plan.json.
        design: The primary contrast and the numbers that determine its power.
        sd: The assumed standard deviation of the contrast over seeds, and where it comes from.
        detectable: What the test of the primary contrast alone can detect; None where all seeds
            test the same images, so that another test decides.
        looks: When results are looked at; None with fewer than two seeds.
        finds: For each look, the probability that the smallest effect of interest is detected
            there and not before.
        parts: Images per seed if all listed images are used.
        work: What has to be computed.
        scheme: How the images are divided.
        question: What is asked of the results.
        assumptions: What simulations take to be true.
        image_size: Height and width that images are resized to.
        bits: Of their gray values.
        n_classes: Number of classes.
        reading: How the images are read, and what only the user can decide of them, in words.
    """

    hash: str
    design: Design
    sd: AssumedSd
    detectable: Detectable | None
    looks: LookPlan | None
    finds: tuple[float, ...]
    parts: Parts
    work: Work
    scheme: Scheme
    question: Question
    assumptions: Assumptions
    image_size: ImageSize
    bits: Bits
    n_classes: int = 2
    reading: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Counts:
    parts: Parts
    positive_share: float
    n_classes: int = 2


def make_plan(config: PlanConfig) -> Plan:
    """Plan a comparison. Images are listed, but not read.

    Raises:
        InputError: The data, the earlier run or the settings cannot be used.
    """
    compared = config.to_compare()
    run = locate_run(compared)
    compared = settle_rule(run, compared)
    check_setup(compared, here=False)  # on whatever cluster it will run
    source = list_images(compared, run)
    check_listed(compared, source)
    counts = _count(compared, source)
    try:
        arm, baseline = _name_primary(compared.arms)
        sd, assumptions = _find_assumptions(config, arm, baseline, counts)
        plan = plan_comparison(compared, counts.parts, sd, assumptions, counts.n_classes)
    except ValueError as error:
        raise InputError(str(error)) from None
    return replace(plan, reading=tuple(describe_reading(source)))


def plan_comparison(
    config: CompareConfig,
    parts: Parts,
    sd: AssumedSd,
    assumptions: Assumptions,
    n_classes: int = 2,
) -> Plan:
    """Determine what a comparison can detect and what has to be computed for it.

    Args:
        config: Configuration of the comparison.
        parts: Images per seed.
        sd: Assumed standard deviation of the primary difference over seeds.
        assumptions: What simulations take to be true.
        n_classes: Number of classes.

    Raises:
        ValueError: No LIME arm is planned, or a number is out of its range.
    """
    statistics = config.statistics
    arm, baseline = _name_primary(config.arms)
    question = Question(
        arms=config.arms,
        n_models=len(config.models),
        metric=statistics.metric,
        margin=statistics.margin,
        alpha=statistics.alpha,
        goes_on=config.second_start == "first",
        looks=statistics.looks,
        spending=statistics.spending,
    )
    design = Design(
        metric=statistics.metric,
        arm=arm,
        baseline=baseline,
        effect=find_margin(question, assumptions.assumed),
        alpha=statistics.alpha * share_alpha(1),
        n_models=len(config.models),
        power=statistics.power,
        n_seeds=config.seeds,
        sizes=Sizes(n_test=parts.test, n_train=parts.train),
        sd=sd.value,
    )
    looks, finds = _plan_looks(design, config)
    folds = config.folds
    if config.split == "site":  # as in folds, each image is tested once per round of seeds
        folds = round(sum(vars(parts).values()) / parts.test)
    scheme = Scheme(config.seeds, parts, folds, fixed=config.split == "given")
    detectable = assess(design)
    return Plan(
        config.plan_hash(),
        design,
        sd,
        None if scheme.fixed else detectable,
        looks,
        finds,
        parts,
        count_planned(config, scheme, config.arms, n_classes),
        scheme,
        question,
        assumptions,
        config.image_size,
        config.bits,
        n_classes,
    )


def state_plan(config: CompareConfig, parts: Parts, positive_share: float) -> str:
    """Return a plan in two sentences, for the start of a comparison.

    Args:
        config: Configuration of the comparison.
        parts: Images per seed.
        positive_share: Share of the images that are of the positive class.
    """
    statistics = config.statistics
    try:
        assumptions = assume(statistics.disagreement, positive_share=positive_share)
        sd = find_sd(assumptions, statistics.disagreement, statistics.metric, parts.test)
        plan = plan_comparison(config, parts, sd, assumptions)
    except ValueError as error:
        return f"Plan {config.plan_hash()}: no contrast to judge. {error}"
    design, work = plan.design, plan.work
    return (
        f"Plan {plan.hash}: {design.arm} minus {design.baseline} in {design.metric}, margin "
        f"{design.effect:.3g}, {design.n_seeds} seeds. {_state_chances(plan)} "
        f"{work.n_models * work.n_trainings} trainings, "
        f"{work.n_models * work.n_explanations} explanations."
    )


def _state_chances(plan: Plan) -> str:
    none, twice = (
        simulate_chances(
            plan.scheme, plan.question, plan.assumptions.assumed, effect, n_tables=_N_STATED
        )
        for effect in (NONE, TWICE)
    )
    assert none is not None
    gain = (
        f"a gain of twice the margin is found real in {format_percent(twice.of('real gain'))}"
        if twice is not None
        else "a gain of twice the margin is impossible"
    )
    return (
        f"Of {none.n_tables} simulated runs: {gain}, and no difference is found equivalent in "
        f"{format_percent(none.of('equivalent'))}."
    )


def _name_primary(arms: Sequence[str]) -> tuple[str, str]:
    primary = list_primary(arms)
    if not primary:
        known = " or ".join(find_roles(ARMS, Candidate))
        raise ValueError(f"Expected {known} among the arms, but got {', '.join(arms)}.")
    return primary[0]


def measure_speed(config: PlanConfig, say: Callable[[str], None] = lambda text: None) -> Speed:
    """Connect to the cluster and measure how fast its workers are.

    Args:
        config: What is planned.
        say: Receives a message about what is being waited for.

    Raises:
        InputError: The cluster is too small, or a model cannot be built.
        IncompleteError: Nodes of the cluster did not come in time.
    """
    with connect():
        layout = plan_resources(config.resources, say)
        return calibrate(config, layout)


def _plan_looks(design: Design, config: CompareConfig) -> tuple[LookPlan | None, tuple[float, ...]]:
    if design.n_seeds < 2:
        return None, ()
    looks = plan_looks(
        config.statistics.looks,
        design.n_seeds,
        design.sizes,
        alpha=design.strictest,
        spending=config.statistics.spending,
    )
    finds = crossing_probabilities(looks, design.effect / design.sd)[:, 0]
    return looks, tuple(finds.tolist())


def _find_assumptions(
    config: PlanConfig, arm: str, baseline: str, counts: _Counts
) -> tuple[AssumedSd, Assumptions]:
    metric, disagreement = config.statistics.metric, config.statistics.disagreement
    share, auc = counts.positive_share, config.baseline_auc
    if config.pilot is None:
        assumptions = assume(disagreement, positive_share=share, baseline_auc=auc)
        return find_sd(assumptions, disagreement, metric, counts.parts.test), assumptions
    comparison = _read_comparison(open_run(config.pilot))
    sd = read_pilot(comparison, metric, arm, baseline)
    return sd, assume_from_pilot(
        comparison, sd, disagreement, baseline=baseline, positive_share=share, baseline_auc=auc
    )


def _read_comparison(run: Run) -> dict[str, Any]:
    path = run.comparison
    refuse_damage(run, [path.name])
    try:
        found: dict[str, Any] = read_record(path, _PILOT)
    except OSError as error:
        raise InputError(
            f"Expected --pilot to be a finished run, but {path}: {error.strerror}."
        ) from None
    return found


def _count(config: CompareConfig, source: Source | PhantomSettings) -> _Counts:
    """Count the images of each part and class, assuming that all listed images are used."""
    parts = count_listed(config, source)
    if isinstance(source, PhantomSettings):
        return _Counts(parts, source.positive_share)
    labels = source.items["label"]
    positive = find_positive_class(sorted(set(labels)), config.positive_class).name
    return _Counts(parts, float((labels == positive).mean()), source.n_classes)
