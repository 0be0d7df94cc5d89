"""A plan on a terminal."""

from rich.console import Console

from osteo_ray.base.formatting import format_percent, format_score
from osteo_ray.commands.terminal import print_table, say
from osteo_ray.experiment.costs import Speed, Work
from osteo_ray.experiment.planning import MOST_SEEDS
from osteo_ray.pipeline.compare.costing import ArmCost
from osteo_ray.pipeline.compare.plan import Plan
from osteo_ray.statistics.metrics.registry import METRICS


def show_plan(console: Console, plan: Plan, speed: Speed | None) -> None:
    """Show a plan; `speed` is None where that of the cluster was not measured."""
    rows = [*_list_design(plan), *_list_detectable(plan), *_list_costs(plan, speed)]
    print_table(console, ("", ""), rows, prose=(1,))
    _show_looks(console, plan)
    for line in plan.reading:
        say(console, line)


def show_arm_costs(
    console: Console, arms: list[ArmCost], presets: list[ArmCost], speed: Speed | None
) -> None:
    """Show what each planned arm adds, and what each preset would take."""
    columns = ("trainings", "explanations", "forward passes", *["hours"] * (speed is not None))
    print_table(
        console,
        ("", *columns),
        [(one.name, *_write_cost(one.added, speed)) for one in arms],
        title="What each planned arm adds to the others",
    )
    print_table(
        console,
        ("", "arms", *columns),
        [(one.name, one.n_arms, *_write_cost(one.added, speed)) for one in presets],
        title="What --arms PRESET takes in all",
    )
    say(
        console,
        "Trainings and explanations are of all models and seeds. Arms that share their masks do "
        "not pay for them twice, so what they add is less than what they would take alone."
        + ("" if speed is None else " Hours are those of this cluster, at most."),
    )


def _write_cost(work: Work, speed: Speed | None) -> tuple[str, ...]:
    hours = [] if speed is None else [_round_hours(speed.estimate_hours(work).total)]
    counts = (work.n_models * work.n_trainings, work.n_models * work.n_explanations)
    return (*(f"{count:,}" for count in counts), _count(work.passes), *hours)


def _list_design(plan: Plan) -> list[tuple[str, str]]:
    design, parts = plan.design, plan.parts
    total = parts.train + parts.validation + parts.test
    return [
        ("primary endpoint", f"{design.metric} on test images"),
        ("primary contrast", f"{design.arm} − {design.baseline}"),
        (
            "margin",
            f"{design.effect:.3g}, {_name_margin(plan)}",
        ),
        (
            "error rate",
            f"{plan.question.alpha:g}, of which the first conclusion spends {design.alpha:.2g}, "
            + (
                "on one model"
                if design.n_models == 1
                else f"by Holm's method on {design.n_models} models"
            ),
        ),
        (
            "images listed",
            f"{total:.0f}; per seed about {parts.train:.0f} for training, {parts.validation:.0f} "
            f"for validation, {parts.test:.0f} for testing, if none is a copy or set aside",
        ),
        ("image size", f"{plan.image_size.tell()}, {plan.bits} bits"),
        ("seeds", str(design.n_seeds)),
        ("sd of the difference over seeds", f"{format_score(design.sd)}, {plan.sd.basis}"),
    ]


def _name_margin(plan: Plan) -> str:
    whose = "the default margin" if plan.question.margin is None else "your margin"
    metric = METRICS[plan.design.metric]
    if not metric.margin_is_relative:
        return whose
    share = metric.margin if plan.question.margin is None else plan.question.margin
    return (
        f"{whose} of {format_percent(share)} of the {metric.label} that {plan.design.baseline} is "
        "assumed to have"
    )


def _list_detectable(plan: Plan) -> list[tuple[str, str]]:
    """List what the corrected t-test of the primary contrast alone detects, where it decides."""
    design, detectable = plan.design, plan.detectable
    if detectable is None:
        return []
    wanted = f"{design.power:g}"
    power, needed = detectable.power, f"over {MOST_SEEDS}, and possibly no number suffices"
    if detectable.n_seeds is not None:
        needed = str(detectable.n_seeds)
    rows = [
        (
            "power of the test of the contrast alone, at the margin",
            "none: a test needs at least 2 seeds" if power is None else format_score(power),
        ),
        (
            f"  detectable with power {wanted}",
            _describe_difference(detectable.smallest),
        ),
        (
            "  with any number of seeds",
            f"{_describe_difference(detectable.smallest_ever)}; an observed one below "
            f"{detectable.least_d:.2f} sd = {format_score(detectable.least_d * design.sd)} is "
            "never significant",
        ),
        (f"  seeds needed for power {wanted}", needed),
    ]
    if plan.looks is not None and len(plan.looks.looks) > 1:
        rows.append(("  power with the looks below", format_score(sum(plan.finds))))
    return rows


def _list_costs(plan: Plan, speed: Speed | None) -> list[tuple[str, str]]:
    work = plan.work
    trainings = work.n_models * work.n_trainings
    explanations = work.n_models * work.n_explanations
    rows = [
        (
            "trainings",
            f"{trainings}, {_count(work.n_models * work.training_passes)} forward passes",
        ),
        (
            "explanations",
            f"{explanations}, at most {_count(work.n_models * work.explaining_passes)} forward "
            "passes",
        ),
    ]
    if speed is not None:
        rows.append(("on this cluster", speed.layout))
        hours = speed.estimate_hours(plan.work)
        training, explaining = _round_hours(hours.training), _round_hours(hours.explaining)
        text = f"{training} for training, at most {explaining} for explaining"
        rows.append(("hours on this cluster", text))
    return rows


def _show_looks(console: Console, plan: Plan) -> None:
    looks = plan.looks
    if looks is None or len(looks.looks) < 2:
        return
    print_table(
        console,
        ("seeds", "information", "spent", "stop if |t| ≥", "p <", "power"),
        [
            (
                look.n_seeds,
                f"{look.fraction:.2f}",
                f"{look.spent:.2g}",
                f"{look.t:.2f}",
                f"{look.nominal_p:.2g}",
                format_score(found),
            )
            for look, found in zip(looks.looks, plan.finds, strict=True)
        ],
        title=f"Looks, {looks.spending} spending of {looks.alpha:.2g}",
    )
    say(console, "power: to detect a gain of the margin at that look, not before")


def _describe_difference(difference: float | None) -> str:
    """Describe the smallest detectable difference of two fractions, which is below 1 if any."""
    if difference is None or difference >= 1:
        return "no possible difference"
    return f"a true difference of {format_score(difference)}"


def _count(number: float) -> str:
    return f"{number:,.0f}" if number < 1e6 else f"{number / 1e6:.1f} million"


def _round_hours(hours: float) -> str:
    return f"{hours:.2g}" if hours < 10 else f"{hours:.0f}"
