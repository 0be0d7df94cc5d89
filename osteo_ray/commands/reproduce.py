"""`osteo-ray reproduce`."""

from collections.abc import Sequence

from osteo_ray.base.noise import Capture, capture_noise
from osteo_ray.commands.parsing import BAD_INPUT, DONE, DRIFT, FAILED, name_data, parse_config
from osteo_ray.config.reproduce import ReproduceConfig

_REPRODUCE_HELP = """\
Rerun a stored run of osteo-ray compare here and now, and say what has drifted.

osteo-ray reproduce RUN trains and explains again, whole or a sample of the trainings (--sample N,
--share 0.1), compares predictions, masks, metrics, effects and verdicts with those in RUN, and
appends a row to a ledger, of which a page is made. Equal bits are expected where hardware and
versions are known to be those of the run, else agreement within --tolerances. Exit code 0:
reproduced; 4: drifted; 1: something failed or could not be compared. The same command goes on with
a reproduction that was stopped, and otherwise begins a new one.
"""


def parse_reproduce(arguments: Sequence[str]) -> ReproduceConfig:
    """Build the configuration of `reproduce`, whose first word may be the run."""
    words = name_data(arguments, "--run")
    return parse_config(ReproduceConfig, words, "osteo-ray reproduce", _REPRODUCE_HELP)


def reproduce_command(arguments: list[str]) -> int:
    """Run `osteo-ray reproduce` with these words; return the exit code."""
    config = parse_reproduce(arguments)
    with capture_noise() as captured:
        try:
            return run_reproduce(config, captured)
        except KeyboardInterrupt:
            captured.err.print(
                "\nInterrupted. What finished is kept; the same command goes on from there.",
                style="yellow",
            )
            return BAD_INPUT


def run_reproduce(config: ReproduceConfig, captured: Capture) -> int:
    """Reproduce a run, show progress and what it came to; return the exit code."""
    # Imported here: Ray takes seconds to import, and `--help` does without it.
    from osteo_ray.base.progress import JobProgress
    from osteo_ray.commands.reproduce_tables import show_reproduction
    from osteo_ray.pipeline.reproduce.rerun import REPRODUCED, reproduce
    from osteo_ray.report.reproductions_page import write_page

    found = reproduce(config, JobProgress(captured.err))
    if found.kept is not None:
        captured.keep_log(found.kept / "logs")
    page = write_page(found.ledger, found.history)
    show_reproduction(captured.out, found)
    captured.out.print(f"Ledger: {found.ledger}", highlight=False, soft_wrap=True)
    captured.out.print(f"Drift over time: {page}", highlight=False, soft_wrap=True)
    outcome = found.entry["outcome"]
    if outcome in REPRODUCED:
        return DONE
    return DRIFT if outcome == "drifted" else FAILED
