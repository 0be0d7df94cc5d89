"""`osteo-ray plan`."""

from collections.abc import Sequence

from osteo_ray.base.noise import capture_noise
from osteo_ray.commands.parsing import DONE, name_data, parse_config
from osteo_ray.commands.terminal import say
from osteo_ray.config.compare import PlanConfig

_PLAN_HELP = """\
Say, before anything is computed, what a comparison can detect and what it will cost.

osteo-ray plan DATA takes the options of osteo-ray compare. It lists the images without reading
them, and prints the primary endpoint and contrast, the power to detect the smallest effect of
interest (--statistics.margin), the smallest detectable difference for this and for any number of
seeds, the planned looks (--statistics.looks), trainings, hours, and a hash of the plan. The spread
over seeds is taken from an earlier run (--pilot RUN) or from --statistics.disagreement.
"""


def parse_plan(arguments: Sequence[str]) -> PlanConfig:
    """Build the configuration of `plan`, whose first word may be the data."""
    return parse_config(PlanConfig, name_data(arguments), "osteo-ray plan", _PLAN_HELP)


def plan_command(arguments: list[str]) -> int:
    """Run `osteo-ray plan` with these words; return the exit code."""
    config = parse_plan(arguments)
    # Imported here: SciPy and Ray take seconds to import, and `--help` does without them.
    from osteo_ray.commands.plan_tables import show_plan
    from osteo_ray.pipeline.compare.plan import make_plan, measure_hours

    with capture_noise() as captured:
        plan = make_plan(config)
        hours = None
        if config.measure:
            say(captured.err, "Measuring the speed of this cluster …")
            hours = measure_hours(config, plan.work)
        show_plan(captured.out, plan, hours)
    return DONE
