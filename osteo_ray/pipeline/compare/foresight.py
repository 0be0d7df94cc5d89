"""What a planned comparison would find, and which design would find it more surely."""

from collections.abc import Callable
from dataclasses import dataclass

from osteo_ray.base.formatting import say_number
from osteo_ray.config.variants import PlanConfig
from osteo_ray.experiment.alternatives import (
    Alternative,
    Assessed,
    Recommendation,
    assess_design,
    list_alternatives,
    recommend,
)
from osteo_ray.experiment.costs import Speed
from osteo_ray.experiment.prospects import MARGIN, NONE, TWICE, Chances, simulate_chances
from osteo_ray.pipeline.compare.costing import count_planned
from osteo_ray.pipeline.compare.plan import Plan

_FEWEST_SCREENED = 10  # simulated runs of a design that is not the planned one


@dataclass(frozen=True)
class Foresight:
    """The chances of a plan, and of others.

    Attributes:
        chances: Per true effect, in margins, those of the verdicts; None where no classifier can
            be so much better than the baseline.
        designs: The planned design, then alternatives.
        recommendation: Which of them to run.
        hours: The most that it may take, as the user says.
    """

    chances: dict[int, Chances | None]
    designs: tuple[Assessed, ...]
    recommendation: Recommendation
    hours: float | None


def foresee(
    config: PlanConfig,
    plan: Plan,
    speed: Speed | None,
    *,
    say: Callable[[str], object] = lambda _: None,
) -> Foresight:
    """Simulate the planned comparison, and designs that could be run instead.

    Args:
        config: Configuration of the plan.
        plan: The plan.
        speed: Of this cluster; None where it was not measured.
        say: Told what is being simulated.
    """
    say("Simulating the verdicts of the planned design …")
    assumed = plan.assumptions.assumed
    chances = {
        effect: simulate_chances(
            plan.scheme, plan.question, assumed, effect, n_tables=config.tables
        )
        for effect in (NONE, MARGIN, TWICE)
    }
    compared = config.to_compare()

    def assess(design: Alternative, n_tables: int, seed: int = 0) -> Assessed:
        work = count_planned(compared, design.scheme, compared.arms, plan.n_classes)
        return assess_design(
            design,
            plan.question,
            assumed,
            cost=work.passes / plan.work.passes,
            hours=None if speed is None else speed.estimate_hours(work).total,
            n_tables=n_tables,
            seed=seed,
        )

    def confirm(assessed: Assessed) -> Assessed:
        """Simulate anew; the planned design has been simulated often enough."""
        design = assessed.design
        return assessed if design is planned else assess(design, config.tables // 2, seed=1)

    planned = Alternative(f"as planned, {say_number(config.seeds, 'seed', 'seeds')}", plan.scheme)
    others = list_alternatives(
        plan.scheme,
        config.split_ratio,
        may_fold=config.split not in ("given", "site") and config.protocol == "clean",
    )
    designs = [assess(planned, config.tables)]
    for number, one in enumerate(others, start=1):
        say(f"Simulating another design, {number} of {len(others)}: {one.words} …")
        designs.append(assess(one, max(_FEWEST_SCREENED, config.tables // 5)))
    recommendation = recommend(
        designs,
        alpha=config.statistics.alpha,
        power=config.statistics.power,
        hours=config.hours,
        confirm=confirm,
    )
    return Foresight(chances, tuple(designs), recommendation, config.hours)
