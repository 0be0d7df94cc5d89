"""`osteo-ray audit`."""

from collections.abc import Sequence
from functools import partial

from osteo_ray.base.formatting import count_missing
from osteo_ray.base.noise import Capture
from osteo_ray.commands.as_json import print_json
from osteo_ray.commands.help_text import JSON
from osteo_ray.commands.parsing import DONE, FAILED, FINDINGS, parse_config
from osteo_ray.commands.terminal import ERROR, run_captured, say
from osteo_ray.config.audit import AuditConfig

_AUDIT_HELP = """\
Find copies, label conflicts, blank images and shortcuts in a set of images.

osteo-ray audit DATA writes audit.json, audit.html (pairs of copies side by side) and tables to
--out. With --against OTHER it also says what the two sets share: copies, patients, and radiographs
that they label differently. With --measure-leak it also trains --models with and without copies
across the split, --seeds times each, and reports how much copies inflate accuracies published on
such a set; only then do the settings of models and training matter. Exit code 0: nothing was found;
3: there are findings.
"""


def parse_audit(arguments: Sequence[str]) -> AuditConfig:
    """Build the configuration of `audit`, whose first word may be the data."""
    return parse_config(AuditConfig, arguments, "osteo-ray audit", _AUDIT_HELP)


def audit_command(arguments: list[str]) -> int:
    """Run `osteo-ray audit` with these words; return the exit code."""
    kept = "Finished trainings are kept. Run the same command again to resume."
    return run_captured(
        partial(run_audit, as_json=JSON in arguments), parse_audit(arguments), kept=kept
    )


def run_audit(config: AuditConfig, captured: Capture, *, as_json: bool = False) -> int:
    """Run an audit, show its progress and its findings; return the exit code."""
    # Imported here: Ray takes seconds to import, and `--help` does without it.
    from osteo_ray.base.progress import JobProgress
    from osteo_ray.commands.audit_tables import show_audit
    from osteo_ray.pipeline.audit.audit_set import audit
    from osteo_ray.report.audit_page import write_audit_page

    outcome = audit(config, JobProgress(captured.err), write_audit_page)
    page = outcome.out / "audit.html"
    if as_json:
        print_json(captured.out, {"report": page, "audit": outcome.audit})
    else:
        show_audit(captured.out, outcome.audit)
        say(captured.out, f"Report: {page}")
    if outcome.failures:
        captured.keep_log(outcome.out / "logs")
        first = outcome.failures[0]
        text = (
            f"{count_missing(len(outcome.failures))}. The first to fail was {first.trial}: "
            f"{first.reason}. Run the same command again to retry."
        )
        say(captured.err, text, ERROR)
        return FAILED
    return FINDINGS if outcome.audit["findings"] else DONE
