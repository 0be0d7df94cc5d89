"""`osteo-ray protocols`."""

from functools import partial

from osteo_ray.base.noise import Capture
from osteo_ray.commands.as_json import print_json
from osteo_ray.commands.help_text import JSON
from osteo_ray.commands.parsing import parse_config
from osteo_ray.commands.terminal import run_captured, say, tell_failures
from osteo_ray.config.variants import ProtocolsConfig

_PROTOCOLS_HELP = """\
Run the same comparison under two protocols, and report how much of a gain the protocol creates.

clean: grouped splits; the model behind the masks saw only training images. paper: random splits;
one model, trained on another split, makes the masks of all images. Takes the options of compare.
Both runs lie in --out, each with its report. Run the same command again to resume it.
"""


def protocols_command(arguments: list[str]) -> int:
    """Run `osteo-ray protocols` with these words; return the exit code."""
    config = parse_config(ProtocolsConfig, arguments, "osteo-ray protocols", _PROTOCOLS_HELP)
    return run_captured(partial(run_protocols, as_json=JSON in arguments), config)


def run_protocols(config: ProtocolsConfig, captured: Capture, *, as_json: bool = False) -> int:
    """Run both comparisons, show progress and results; return the exit code."""
    # Imported here: Ray takes seconds to import, and `--help` does without it.
    from osteo_ray.base.progress import JobProgress
    from osteo_ray.commands.protocols_tables import show_protocols
    from osteo_ray.pipeline.compare.protocols import compare_protocols
    from osteo_ray.report.page import write_report

    root, gains, outcomes = compare_protocols(
        config, JobProgress(captured.err), write_report=write_report
    )
    captured.keep_log(root / "logs")
    reports = [outcome.run.report for outcome in outcomes]
    if as_json:
        print_json(captured.out, {"reports": reports, "gains": gains})
    else:
        show_protocols(captured.out, gains, alpha=outcomes[0].comparison["alpha"])
        for report in reports:
            say(captured.out, f"Report: {report}")
    return tell_failures([one for outcome in outcomes for one in outcome.failures], captured)
