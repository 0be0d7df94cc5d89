"""`osteo-ray compare` and the commands beside it: plan, protocols, variance."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from osteo_ray.base.noise import Capture, capture_noise
from osteo_ray.commands.parsing import BAD_INPUT, DONE, FAILED, name_data, parse_config
from osteo_ray.config.compare import CompareConfig, PlanConfig, ProtocolsConfig, VarianceConfig

if TYPE_CHECKING:
    from osteo_ray.base.storage import Place
    from osteo_ray.pipeline.compare.sweeps import Failure


_COMPARE_HELP = """\
Fine-tune, explain with LIME, mask, retrain, compare; then say whether the gain is real.

Without options: synthetic knees and small networks, a few minutes. With --data FOLDER (a subfolder
per class): the paper's networks and recipe. --config FILE.yaml sets any option below by its name
(groups nest: `lime: {samples: 500}`); flags win over the file. Rerunning a command resumes it.
"""


def parse_compare(arguments: Sequence[str]) -> CompareConfig:
    """Build the configuration of `compare`: see `parse_config`."""
    return parse_config(CompareConfig, arguments, "osteo-ray compare", _COMPARE_HELP)


def compare_command(arguments: list[str]) -> int:
    """Run `osteo-ray compare` with these words; return the exit code."""
    config = parse_compare(arguments)
    with capture_noise() as captured:
        try:
            return run_compare(config, captured)
        except KeyboardInterrupt:
            captured.err.print(
                "\nInterrupted. What finished is kept; the same command goes on from there.",
                style="yellow",
            )
            return BAD_INPUT


def run_compare(config: CompareConfig, captured: Capture) -> int:
    """Run a comparison, show its progress and its result; return the exit code."""
    # Imported here: Ray takes seconds to import, and `--help` does without it.
    from osteo_ray.base.progress import JobProgress
    from osteo_ray.commands.compare_tables import show_comparison
    from osteo_ray.commands.logs import keeping_log
    from osteo_ray.pipeline.compare.prepare import locate_run
    from osteo_ray.pipeline.compare.stages import compare
    from osteo_ray.report.page import write_report

    run = locate_run(config)
    captured.err.print(f"Run directory: {run.root}", highlight=False, soft_wrap=True)
    with keeping_log(captured, run):
        outcome = compare(config, JobProgress(captured.err), write_report=write_report)
    show_comparison(captured.out, outcome.comparison)
    captured.out.print(f"Report: {run.report}", highlight=False, soft_wrap=True)
    code = _tell_failures(outcome.failures, captured, run.logs / "driver.log")
    if outcome.untracked is not None:
        captured.err.print(
            f"Not handed to MLflow: {outcome.untracked} The same command tries it again.",
            style="red",
            markup=False,
            soft_wrap=True,
        )
        return FAILED
    return code


def _tell_failures(
    failures: "Sequence[Failure]", captured: Capture, details: "Place | None" = None
) -> int:
    """Name the trials that are missing; return the exit code."""
    if not failures:
        return DONE
    for failure in failures:
        captured.err.print(
            f"Failed: {failure.trial}: {failure.reason}", style="red", markup=False, soft_wrap=True
        )
    where = "" if details is None else f" Details: {details}"
    captured.err.print(
        f"{len(failures)} trainings are missing; the same command tries them again.{where}",
        soft_wrap=True,
    )
    return FAILED


_PLAN_HELP = """\
Say, before anything is computed, what a comparison could find out and what it would cost.

osteo-ray plan DATA takes the options of osteo-ray compare. It lists the images without reading
them, and prints the primary endpoint and contrast, the power for the smallest effect of interest
(--statistics.margin), the smallest difference that could be found, now and with any number of
seeds, the looks (--statistics.looks), trainings, hours, and a hash of the plan. The spread over
seeds comes from an earlier run (--pilot RUN) or from --statistics.disagreement.
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
            captured.err.print("Measuring the speed of this cluster …", highlight=False)
            hours = measure_hours(config, plan.work)
        show_plan(captured.out, plan, hours)
    return DONE


_PROTOCOLS_HELP = """\
Run the same comparison twice, and say how much of a gain the protocol alone makes.

clean: grouped splits, masks from a model that saw the training images only. paper: random splits,
masks for all images from a model that was trained on another split. Takes the options of compare;
both runs lie in --out, each with its report. Rerunning a command resumes it.
"""


def protocols_command(arguments: list[str]) -> int:
    """Run `osteo-ray protocols` with these words; return the exit code."""
    words = name_data(arguments)
    config = parse_config(ProtocolsConfig, words, "osteo-ray protocols", _PROTOCOLS_HELP)
    with capture_noise() as captured:
        from osteo_ray.base.progress import JobProgress
        from osteo_ray.commands.compare_tables import show_protocols
        from osteo_ray.pipeline.compare.protocols import compare_protocols
        from osteo_ray.report.page import write_report

        root, gains, outcomes = compare_protocols(
            config, JobProgress(captured.err), write_report=write_report
        )
        captured.keep_log(root / "logs")
        show_protocols(captured.out, gains)
        for outcome in outcomes:
            captured.out.print(f"Report: {outcome.run.report}", highlight=False, soft_wrap=True)
        return _tell_failures([f for outcome in outcomes for f in outcome.failures], captured)


_VARIANCE_HELP = """\
Say how much of the variance of a result each source of chance makes: the split, the initialisation,
the order of the images, augmentation, the samples of LIME.

A base is trained and explained, then for each source --repeats reruns that change it alone. Takes
the options of compare; --seeds is not used. Rerunning a command resumes it.
"""


def variance_command(arguments: list[str]) -> int:
    """Run `osteo-ray variance` with these words; return the exit code."""
    words = name_data(arguments)
    config = parse_config(VarianceConfig, words, "osteo-ray variance", _VARIANCE_HELP)
    with capture_noise() as captured:
        from osteo_ray.base.progress import JobProgress
        from osteo_ray.commands.compare_tables import show_variance
        from osteo_ray.pipeline.compare.variance_runs import measure_variance

        run, budget, failures = measure_variance(config, JobProgress(captured.err))
        captured.keep_log(run.logs)
        show_variance(captured.out, budget)
        written = run.root / "variance.json"
        captured.out.print(f"Written: {written}", highlight=False, soft_wrap=True)
        return _tell_failures(failures, captured)
