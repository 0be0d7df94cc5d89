"""`osteo-ray variance`."""

from functools import partial

from osteo_ray.base.noise import Capture
from osteo_ray.commands.as_json import print_json
from osteo_ray.commands.help_text import JSON
from osteo_ray.commands.parsing import parse_config
from osteo_ray.commands.terminal import run_captured, say, tell_failures
from osteo_ray.config.variants import VarianceConfig

_VARIANCE_HELP = """\
Measure how much variance each source of randomness contributes to a result: the split, the
initialization, the order of the images, augmentation, and the samples of LIME.

A base is trained and explained; then, for each source, --repeats reruns change that source alone.
Takes the options of compare; --seeds is not used. Run the same command again to resume it.
"""


def variance_command(arguments: list[str]) -> int:
    """Run `osteo-ray variance` with these words; return the exit code."""
    config = parse_config(VarianceConfig, arguments, "osteo-ray variance", _VARIANCE_HELP)
    return run_captured(partial(run_variance, as_json=JSON in arguments), config)


def run_variance(config: VarianceConfig, captured: Capture, *, as_json: bool = False) -> int:
    """Run all repeats, show progress and results; return the exit code."""
    # Imported here: Ray takes seconds to import, and `--help` does without it.
    from osteo_ray.base.progress import JobProgress
    from osteo_ray.commands.logs import keeping_log
    from osteo_ray.commands.variance_tables import show_variance
    from osteo_ray.experiment.run_files import VARIANCE
    from osteo_ray.pipeline.compare.prepare import locate_run
    from osteo_ray.pipeline.compare.variance_runs import measure_variance

    run = locate_run(config, partial(say, captured.err))
    with keeping_log(captured, run):
        _, budget, failures = measure_variance(config, JobProgress(captured.err))
    if as_json:
        print_json(captured.out, {"run": run.root, "budget": budget})
    else:
        show_variance(captured.out, budget)
        say(captured.out, f"Written: {run.root / VARIANCE}")
    return tell_failures(failures, captured)
