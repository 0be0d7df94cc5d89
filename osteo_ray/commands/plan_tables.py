"""A plan as text on a terminal."""

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from osteo_ray.experiment.costs import Hours
from osteo_ray.experiment.planning import MOST_SEEDS
from osteo_ray.pipeline.compare.plan import Plan
from osteo_ray.statistics.sequential import LookPlan


def show_plan(console: Console, plan: Plan, hours: Hours | None) -> None:
    """Show a plan; `hours` is None where the speed of the cluster was not measured."""
    table = Table(box=box.SIMPLE, show_header=False)
    table.add_column()
    table.add_column()
    for name, value in [*_list_design(plan), *_list_prospects(plan), *_list_costs(plan, hours)]:
        table.add_row(name, escape(value))
    console.print(table)
    if plan.looks is not None and len(plan.looks.looks) > 1:
        console.print(_tabulate_looks(plan.looks, plan.finds))
    console.print(f"Plan: {plan.hash}", highlight=False)


def _list_design(plan: Plan) -> list[tuple[str, str]]:
    design, parts = plan.design, plan.parts
    total = parts.train + parts.validation + parts.test
    return [
        ("primary endpoint", f"{design.metric} on test images"),
        ("primary contrast", f"{design.arm} − {design.baseline}"),
        ("smallest effect of interest", f"{design.effect:g}"),
        (
            "error rate",
            f"{design.alpha:g} over {design.n_contrasts} contrasts, "
            f"{design.strictest:.2g} in Holm's strictest step",
        ),
        (
            "images listed",
            f"{total:.0f}; per seed about {parts.train:.0f} train, {parts.validation:.0f} "
            f"validate, {parts.test:.0f} test, if none is a copy or set aside",
        ),
        ("seeds", str(design.n_seeds)),
        ("sd of a seed's difference", f"{design.sd:.3f}, {plan.sd.basis}"),
    ]


def _list_prospects(plan: Plan) -> list[tuple[str, str]]:
    design, prospects = plan.design, plan.prospects
    wanted = f"{design.power:g}"
    power, smallest = prospects.power, prospects.smallest
    needed = f"none of up to {MOST_SEEDS}" if prospects.n_seeds is None else str(prospects.n_seeds)
    rows = [
        (
            "power for that effect",
            "none: a test needs 2 seeds" if power is None else f"{power:.3f}",
        ),
        (
            f"found with power {wanted}",
            "nothing" if smallest is None else f"a true difference of {_show(smallest)}",
        ),
        (
            "  with any number of seeds",
            f"{_show(prospects.smallest_ever)}; never significant if observed below "
            f"{prospects.least_d:.2f} sd = {_show(prospects.least_d * design.sd)}",
        ),
        (f"seeds for power {wanted}", needed),
    ]
    if plan.looks is not None and len(plan.looks.looks) > 1:
        rows.append(("power with the looks below", f"{sum(plan.finds):.3f}"))
    return rows


def _list_costs(plan: Plan, hours: Hours | None) -> list[tuple[str, str]]:
    work = plan.work
    trainings = work.n_models * work.n_trainings
    explanations = work.n_models * work.n_explanations
    rows = [
        ("trainings", f"{trainings}, {_count(trainings * work.training_passes)} forward passes"),
        (
            "explanations",
            f"{explanations}, {_count(explanations * work.explanation_passes)} forward passes at "
            "most",
        ),
    ]
    if hours is not None:
        rows.append(
            (
                "hours on this cluster",
                f"{_show_hours(hours.training)} training, {_show_hours(hours.explaining)} "
                "explaining at most",
            )
        )
    return rows


def _tabulate_looks(plan: LookPlan, finds: tuple[float, ...]) -> Table:
    table = Table(
        title=f"Looks, {plan.spending} spending of {plan.alpha:.2g}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE,
    )
    for heading in ("seeds", "information", "spent", "stop if |t| ≥", "p <", "power"):
        table.add_column(heading, justify="right")
    for look, found in zip(plan.looks, finds, strict=True):
        table.add_row(
            str(look.n_seeds),
            f"{look.fraction:.2f}",
            f"{look.spent:.2g}",
            f"{look.t:.2f}",
            f"{look.nominal_p:.2g}",
            f"{found:.3f}",
        )
    table.caption = "power: to find the smallest effect of interest there, and not before"
    table.caption_justify = "left"
    return table


def _show(difference: float) -> str:
    return f"{difference:.3f}" if difference < 1 else "more than 1: none that there can be"


def _count(number: float) -> str:
    return f"{number:,.0f}" if number < 1e6 else f"{number / 1e6:.1f} million"


def _show_hours(hours: float) -> str:
    return f"{hours:.2g}" if hours < 10 else f"{hours:.0f}"
