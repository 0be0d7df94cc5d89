"""`osteo-ray plan`."""

from collections.abc import Sequence
from functools import partial

from osteo_ray.base.noise import capture_noise
from osteo_ray.commands.as_json import print_json
from osteo_ray.commands.help_text import JSON
from osteo_ray.commands.parsing import DONE, parse_config
from osteo_ray.commands.terminal import say
from osteo_ray.config.variants import PlanConfig

_PLAN_HELP = """\
Say, before anything is computed, what a comparison can detect and what it will cost.

osteo-ray plan DATA takes the options of osteo-ray compare. It lists the images without reading
them, draws the results of many such comparisons (--tables) from a model whose truth is known, and
judges each by the rule of the verdict. It prints the chance of each verdict if there is no
difference, a gain of the margin (--statistics.margin) and one of twice the margin, what cannot be
shown, and which design (seeds, folds, ratio, more images, a fixed external test set) can settle the
question within --hours. It also prints the planned looks (--statistics.looks), trainings, hours,
and a hash of the plan. How far results spread is taken from an earlier run (--pilot RUN), or from
--statistics.disagreement and --baseline-auc.
"""


def parse_plan(arguments: Sequence[str]) -> PlanConfig:
    """Build the configuration of `plan`, whose first word may be the data."""
    return parse_config(PlanConfig, arguments, "osteo-ray plan", _PLAN_HELP)


def plan_command(arguments: list[str]) -> int:
    """Run `osteo-ray plan` with these words; return the exit code."""
    config, as_json = parse_plan(arguments), JSON in arguments
    # Imported here: SciPy and Ray take seconds to import, and `--help` does without them.
    from osteo_ray.commands.plan_tables import show_arm_costs, show_plan
    from osteo_ray.commands.prospects_tables import show_foresight
    from osteo_ray.pipeline.compare.costing import list_arm_costs, list_preset_costs
    from osteo_ray.pipeline.compare.foresight import foresee
    from osteo_ray.pipeline.compare.plan import make_plan, measure_speed

    with capture_noise() as captured:
        plan = make_plan(config)
        speed = None
        if config.measure:
            say(captured.err, "Measuring the speed of this cluster …")
            speed = measure_speed(config, partial(say, captured.err))
        foresight = foresee(config, plan, speed, say=partial(say, captured.err))
        compared = config.to_compare()
        arms, presets = (
            find(compared, plan.scheme, plan.n_classes)
            for find in (list_arm_costs, list_preset_costs)
        )
        if as_json:
            costs = {"arms": arms, "presets": presets}
            hours = None if speed is None else speed.estimate_hours(plan.work)
            found = {"plan": plan, "costs": costs, "speed": speed, "hours": hours}
            print_json(captured.out, {**found, "foresight": foresight})
            return DONE
        show_plan(captured.out, plan, speed)
        show_arm_costs(captured.out, arms, presets, speed)
        show_foresight(captured.out, plan, foresight)
        say(captured.out, f"Plan: {plan.hash}")
    return DONE
