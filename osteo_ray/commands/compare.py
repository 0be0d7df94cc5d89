"""`osteo-ray compare`."""

from collections.abc import Sequence
from functools import partial

from osteo_ray.base.noise import Capture
from osteo_ray.base.paths import PHANTOM
from osteo_ray.commands.as_json import print_json
from osteo_ray.commands.card import tell_old_card
from osteo_ray.commands.help_text import DEMO, DRY_RUN, JSON
from osteo_ray.commands.parsing import DONE, FAILED, parse_config
from osteo_ray.commands.terminal import ERROR, run_captured, say, tell_failures
from osteo_ray.config.compare import CompareConfig

_COMPARE_HELP = """\
Fine-tune, explain with LIME, mask, retrain and compare, then judge whether the gain is real.

osteo-ray compare FOLDER (a subfolder per class) uses the paper's networks and recipe. --demo, or no
word at all, compares small networks on synthetic knees, which takes a few minutes. --config
FILE.yaml sets any option below by its name (groups nest: `lime: {samples: 500}`); flags override
the file; `osteo-ray init FOLDER` writes such a file. Run the same command again to resume it.
"""
_SWITCHES = (JSON, DRY_RUN)


def parse_compare(arguments: Sequence[str]) -> CompareConfig:
    """Build the configuration of `compare`, which without any words is the demo."""
    return parse_config(
        CompareConfig,
        arguments or [DEMO],
        "osteo-ray compare",
        _COMPARE_HELP,
        switches=_SWITCHES,
    )


def compare_command(arguments: list[str]) -> int:
    """Run `osteo-ray compare` with these words; return the exit code."""
    config, as_json = parse_compare(arguments), JSON in arguments
    if DRY_RUN in arguments:
        return run_captured(partial(preview_run, as_json=as_json), config)
    return run_captured(partial(run_compare, as_json=as_json), config)


def preview_run(config: CompareConfig, captured: Capture, *, as_json: bool) -> int:
    """Check a comparison and say what it would do; return the exit code."""
    # Imported here, as below: Ray takes seconds to import, and `--help` does without it.
    from osteo_ray.commands.preview_tables import show_preview
    from osteo_ray.pipeline.compare.preview import preview

    found = preview(config)
    (print_json if as_json else show_preview)(captured.out, found)
    return DONE


def run_compare(config: CompareConfig, captured: Capture, *, as_json: bool = False) -> int:
    """Run a comparison, show its progress and its result; return the exit code."""
    from osteo_ray.base.progress import JobProgress
    from osteo_ray.commands.compare_tables import show_comparison
    from osteo_ray.commands.doubts import show_doubts
    from osteo_ray.commands.logs import keeping_log
    from osteo_ray.pipeline.compare.prepare import locate_run
    from osteo_ray.pipeline.compare.stages import compare
    from osteo_ray.report.page import write_report

    run = locate_run(config, partial(say, captured.err))
    say(captured.err, f"Run directory: {run.root}")
    with keeping_log(captured, run):
        outcome = compare(config, JobProgress(captured.err), write_report=write_report)
    if as_json:
        places = {"run": run.root, "report": run.report}
        print_json(captured.out, {**places, "comparison": outcome.comparison})
    else:
        show_comparison(captured.out, outcome.comparison)
        show_doubts(captured.out, outcome.comparison)
        tell_old_card(captured.out, run)
        say(captured.out, f"Report: {run.report}")
        if config.data == PHANTOM:
            say(captured.out, _NEXT)
    code = tell_failures(outcome.failures, captured, run.logs / "driver.log")
    if outcome.untracked is not None:
        text = f"The run was not logged to MLflow: {outcome.untracked}"
        say(captured.err, f"{text} Run the same command again to retry.", ERROR)
        return FAILED
    return code


_NEXT = (
    "Your own images, a subfolder per class: `osteo-ray audit FOLDER` finds copies and shortcuts, "
    "`osteo-ray init FOLDER` writes a file of settings to edit, and `osteo-ray compare FOLDER` "
    "compares."
)
