"""`osteo-ray reproduce`."""

from collections.abc import Sequence
from functools import partial

from osteo_ray.base.noise import Capture
from osteo_ray.commands.as_json import print_json
from osteo_ray.commands.help_text import JSON
from osteo_ray.commands.parsing import DONE, DRIFT, FAILED, parse_config
from osteo_ray.commands.terminal import run_captured, say
from osteo_ray.config.reproduce import ReproduceConfig

_REPRODUCE_HELP = """\
Rerun a stored run of osteo-ray compare in the present environment, and report what has drifted.

osteo-ray reproduce RUN trains and explains again, in full or for a sample of the trainings
(--sample N, --share 0.1). It compares predictions, masks, metrics, effects and verdicts with those
in RUN, appends a row to a ledger, and writes a page about the ledger. Where hardware and versions
are known to be those of the run, equal bits are expected; elsewhere, agreement within --tolerances.
Exit code 0: reproduced; 4: drifted; 1: something failed or could not be compared. Run the same
command again to resume a reproduction that was stopped; otherwise it starts a new one.
"""


def parse_reproduce(arguments: Sequence[str]) -> ReproduceConfig:
    """Build the configuration of `reproduce`, whose first word may be the run."""
    return parse_config(
        ReproduceConfig, arguments, "osteo-ray reproduce", _REPRODUCE_HELP, positional="run"
    )


def reproduce_command(arguments: list[str]) -> int:
    """Run `osteo-ray reproduce` with these words; return the exit code."""
    return run_captured(
        partial(run_reproduce, as_json=JSON in arguments), parse_reproduce(arguments)
    )


def run_reproduce(config: ReproduceConfig, captured: Capture, *, as_json: bool = False) -> int:
    """Reproduce a run, show progress and the outcome; return the exit code."""
    # Imported here: Ray takes seconds to import, and `--help` does without it.
    from osteo_ray.base.progress import JobProgress
    from osteo_ray.commands.reproduce_tables import show_reproduction
    from osteo_ray.experiment.reproduction.drift import REPRODUCED
    from osteo_ray.pipeline.reproduce.rerun import reproduce
    from osteo_ray.report.reproductions_page import (
        place_reproductions_page,
        write_reproductions_page,
    )

    found = reproduce(config, JobProgress(captured.err), write_reproductions_page)
    if found.kept is not None:
        captured.keep_log(found.kept / "logs")
    page = place_reproductions_page(found.ledger)
    if as_json:
        print_json(captured.out, {"page": page, "reproduction": found})
    else:
        show_reproduction(captured.out, found)
        say(captured.out, f"Ledger: {found.ledger}")
        say(captured.out, f"Drift over time: {page}")
    outcome = found.entry["outcome"]
    if outcome in REPRODUCED:
        return DONE
    return DRIFT if outcome == "drifted" else FAILED
