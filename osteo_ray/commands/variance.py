"""`osteo-ray variance`."""

from osteo_ray.base.noise import Capture
from osteo_ray.commands.parsing import name_data, parse_config
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
    words = name_data(arguments)
    config = parse_config(VarianceConfig, words, "osteo-ray variance", _VARIANCE_HELP)
    return run_captured(run_variance, config)


def run_variance(config: VarianceConfig, captured: Capture) -> int:
    """Run all repeats, show progress and results; return the exit code."""
    # Imported here: Ray takes seconds to import, and `--help` does without it.
    from osteo_ray.base.progress import JobProgress
    from osteo_ray.commands.variance_tables import show_variance
    from osteo_ray.pipeline.compare.variance_runs import measure_variance

    run, budget, failures = measure_variance(config, JobProgress(captured.err))
    captured.keep_log(run.logs)
    show_variance(captured.out, budget)
    say(captured.out, f"Written: {run.root / 'variance.json'}")
    return tell_failures(failures, captured)
