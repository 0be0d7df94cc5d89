"""`osteo-ray compare`."""

from collections.abc import Sequence

from osteo_ray.base.noise import Capture
from osteo_ray.commands.parsing import FAILED, parse_config
from osteo_ray.commands.terminal import ERROR, run_captured, say, tell_failures
from osteo_ray.config.compare import CompareConfig

_COMPARE_HELP = """\
Fine-tune, explain with LIME, mask, retrain and compare, then judge whether the gain is real.

Without options, it compares small networks on synthetic knees, which takes a few minutes. With
--data FOLDER (a subfolder per class), it uses the paper's networks and recipe. --config FILE.yaml
sets any option below by its name (groups nest: `lime: {samples: 500}`); flags override the file.
Run the same command again to resume it.
"""


def parse_compare(arguments: Sequence[str]) -> CompareConfig:
    """Build the configuration of `compare`; see `parse_config`."""
    return parse_config(CompareConfig, arguments, "osteo-ray compare", _COMPARE_HELP)


def compare_command(arguments: list[str]) -> int:
    """Run `osteo-ray compare` with these words; return the exit code."""
    return run_captured(run_compare, parse_compare(arguments))


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
    say(captured.err, f"Run directory: {run.root}")
    with keeping_log(captured, run):
        outcome = compare(config, JobProgress(captured.err), write_report=write_report)
    show_comparison(captured.out, outcome.comparison)
    say(captured.out, f"Report: {run.report}")
    code = tell_failures(outcome.failures, captured, run.logs / "driver.log")
    if outcome.untracked is not None:
        text = f"The run was not logged to MLflow: {outcome.untracked}"
        say(captured.err, f"{text} Run the same command again to retry.", ERROR)
        return FAILED
    return code
